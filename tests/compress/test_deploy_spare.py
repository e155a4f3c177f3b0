"""Forms that a budget turns to where no other of a size fits: four bits."""

import re
from dataclasses import replace

import budget_cases
import empties
import pytest
import tiny

from alignreg_jax import deploy as program
from alignreg_jax.compress import served
from alignreg_jax.compress.deployment import account, cutting, searching
from alignreg_jax.compress.deployment.cutting import Cuts
from alignreg_jax.compress.deployment.searching import Budget
from alignreg_jax.compress.trim import Wanted as Pieces
from alignreg_jax.errors import UserError

few_texts, quick = empties.few_texts, budget_cases.quick  # in every test here
elastic = budget_cases.elastic


def test_a_spare_form_is_for_sizes_of_which_no_other_fits(elastic, world, tmp_path):
    """At half a size q8 fits; at the whole one int8 alone, which is smaller where widths are."""
    asked = served.of_folder(world.data, "dense-tanh-out", tiny.LABELS, ())
    wanted = searching.Wanted(kinds=("q8",), max_flips=100.0)
    sizes = {}
    for size in (1.0, 0.5):
        forms = replace(wanted, kinds=("q8", "int8"))
        (tmp_path / f"{size}").mkdir()
        sized = cutting.cut(elastic, Cuts(size), tmp_path / f"{size}").folder
        every = searching._measured(sized, asked, forms, Cuts(size), Budget(), None, {})
        sizes[size] = [trial.megabytes for trial in every]
    most = (max(sizes[1.0][1], sizes[0.5][0]) + sizes[1.0][0]) / 2
    found = searching.search(
        elastic, tmp_path / "out", asked, wanted, Budget(most), False, ("int8",)
    )
    tried = [(trial.cuts.size, trial.kind) for trial in found.trials]
    assert tried[:2] == [(1.0, "q8"), (1.0, "int8")]
    assert tried[-1] == (0.5, "q8")
    lines = account.tried(found.trials, Budget(most))
    assert re.search(r"\n *1\.00 .*65 +\d+\.\d +\(.*\) +\d", "\n".join(lines))


def test_a_spare_form_is_not_tried_for_one_that_was_refused(elastic, world, tmp_path, monkeypatch):
    """Nor with fewer pieces, where it fits with all."""
    asked = served.of_folder(world.data, "dense-tanh-out", tiny.LABELS, ())
    words = {name: {f"{name}{i}": 1.0 for i in range(9)} for name in tiny.LANGUAGES}
    pieces = Pieces({}, words)
    wanted, told = searching.Wanted(Cuts(1.0, pieces), ("q8", "fp16"), max_flips=100.0), []

    def size(cuts, kind):
        (trial,) = searching._measured(
            elastic, asked, replace(wanted, kinds=(kind,)), cuts, Budget(), None, {}
        )
        return trial.megabytes

    def deploy(folder, out, rows, chosen):
        told.append((chosen.cuts, chosen.kinds))
        raise searching.NotPassed("it changes too many answers")

    def refused(megabytes):
        told.clear()
        with pytest.raises(UserError, match="nothing that fits passes the gate"):
            searching.search(
                elastic, tmp_path / "out", asked, wanted, Budget(megabytes), True, ("int8",)
            )
        return told

    monkeypatch.setattr(searching, "deploy", deploy)
    assert refused(9.0) == [(Cuts(1.0), ("q8", "fp16"))]
    cuts = Cuts(1.0, replace(pieces, coverage=searching.COVERAGES[-1]))
    fewest = min(size(cuts, kind) for kind in wanted.kinds)
    spare = size(Cuts(1.0), "int8")
    assert spare < fewest
    assert refused((spare + fewest) / 2) == [(Cuts(1.0), ("int8",))]


def test_a_table_is_weighed_as_the_form_has_it(elastic, world, tmp_path, monkeypatch):
    asked = served.of_folder(world.data, "dense-tanh-out", tiny.LABELS, ())
    words = {name: {f"{name}1": 1.0} for name in tiny.LANGUAGES}
    wanted = searching.Wanted(Cuts(1.0, Pieces({}, words)), ("q8",))
    told = []
    monkeypatch.setattr(Budget, "too_heavy", lambda *given: told.append(given[2]))
    with pytest.raises(UserError, match="nothing fits"):
        searching.search(elastic, tmp_path / "out", asked, wanted, Budget(1e-6), True, ("int4",))
    assert told == [("q8",), ("int4",)]


@pytest.mark.parametrize(
    ("flags", "spare"),
    [
        (("--max-mb", "9", "--max-flips", "5"), ("int4",)),
        (("--max-mb", "9"), ()),
        (("--max-mb", "9", "--quantize", "int8", "--max-flips", "5"), ()),
        (("--max-ms", "9", "--max-flips", "5"), ()),
    ],
)
def test_four_bits_are_spare_where_megabytes_count(
    elastic, world, tmp_path, monkeypatch, flags, spare
):
    told = []
    monkeypatch.setattr(searching, "search", lambda *each: told.append(each[6:]) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        program.written(
            [str(elastic), "--out", f"{tmp_path}/out", "--data", str(world.data), *flags]
        )
    assert told == [(spare,)]
