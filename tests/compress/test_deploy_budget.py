"""What a budget buys: sizes, pieces, forms, the best worst language inside of it, and refusals."""

import json
import re
import shutil

import budget_cases
import empties
import pytest
import tiny

from alignreg_jax import deploy as program
from alignreg_jax.compress import gate, served
from alignreg_jax.compress.deployment import cutting, searching
from alignreg_jax.compress.deployment.cutting import Cuts
from alignreg_jax.compress.deployment.searching import Budget, Trial, choices
from alignreg_jax.compress.trim import Wanted as Pieces
from alignreg_jax.errors import UserError
from alignreg_jax.models import checkpoints
from alignreg_jax.pruning import size_files

few_texts, quick = empties.few_texts, budget_cases.quick  # in every test here
elastic = budget_cases.elastic


def run(folder, out, data, *flags):
    return program.main(
        [str(folder), "--out", str(out), "--data", str(data), "--max-flips", "100", *flags]
    )


def facts(out):
    return json.loads((out / "deploy.json").read_text())


def trials(text):
    """(fits, size, form, MB, worst) of every form in the table of what was tried."""
    lines = text.splitlines()
    rule = next(number for number, line in enumerate(lines) if set(line) == {"-", " "})
    columns = [slice(*match.span()) for match in re.finditer("-+", lines[rule])]
    heads = [lines[rule - 1][column].strip() for column in columns]
    found = []
    for line in lines[rule + 1 : lines.index("", rule) - 1]:
        row = {head: line[column].strip() for head, column in zip(heads, columns, strict=True)}
        for form in heads[3:]:
            fits, cell = not row[form].startswith("("), row[form].strip("()")
            found.append(
                (fits, float(row["size"]), form, float(cell.split()[0]), row["worst"] or None)
            )
    return found


def test_the_best_worst_language_inside_of_it_is_served(elastic, world, tmp_path, capsys):
    assert run(elastic, tmp_path / "whole", world.data, "--quantize", "q8", "--max-mb", "9") == 0
    every = trials(capsys.readouterr().out)
    assert [size for _, size, *_ in every] == [1.0, 0.9, 0.8, 0.7, 0.6, 0.5]
    assert all(fits for fits, *_ in every)
    assert [mb for *_, mb, _ in every] == sorted((mb for *_, mb, _ in every), reverse=True)
    best = max(float(worst) for *_, worst in every)
    chosen = facts(tmp_path / "whole")
    served_worst = chosen["models"][-1]
    smallest = min(
        size for _, size, _, _, worst in every if float(worst) == pytest.approx(best, abs=0.05)
    )
    assert chosen["size"] == pytest.approx(smallest)
    assert served_worst["name"] == "q8"


def test_what_is_too_large_is_not_measured_further(elastic, world, tmp_path, capsys):
    asked = served.of_folder(world.data, "dense-tanh-out", tiny.LABELS, ())
    wanted = searching.Wanted(kinds=("q8",))
    assert len(choices(elastic, wanted, True)) == 6
    measured = []
    for size in (1.0, 0.7):
        (tmp_path / f"{size}").mkdir()
        sized = cutting.cut(elastic, Cuts(size), tmp_path / f"{size}").folder
        (trial,) = searching._measured(sized, asked, wanted, Cuts(size), Budget(9.0), None, {})
        measured.append(trial.megabytes)
    most = str(sum(measured) / 2)
    assert run(elastic, tmp_path / "out", world.data, "--quantize", "q8", "--max-mb", most) == 0
    every = trials(capsys.readouterr().out)
    assert not every[0][0]
    assert every[0][-1] is None  # no score
    assert every[-1][0]
    assert facts(tmp_path / "out")["size"] < 1
    heads, ffn = facts(tmp_path / "out")["heads"], facts(tmp_path / "out")["ffn"]
    assert heads == [4, 4]
    assert sum(ffn) < 128


def test_nothing_fits_and_the_nearest_is_told(elastic, world, tmp_path, capsys):
    out = tmp_path / "out"
    assert run(elastic, out, world.data, "--max-mb", "0.001", "--max-ms", "5000") == 2
    err = capsys.readouterr().err
    assert "--max-mb=0.001 --max-ms=5000: nothing fits; the nearest is size 0.50, 65 pieces" in err
    assert "; with --languages de,fr no others' pieces stay" in err
    assert list(tmp_path.iterdir()) == []


def test_what_does_not_pass_the_gate_is_passed_over(elastic, world, tmp_path, monkeypatch, capsys):
    judged = gate.failed
    seen = []

    def failed(each, most):
        seen.append(each)
        return [] if len(seen) > 3 else judged(each, -1.0)

    monkeypatch.setattr(gate, "failed", failed)
    flags = ("--quantize", "q8", "--max-mb", "9")
    assert run(elastic, tmp_path / "out", world.data, *flags) == 0
    assert facts(tmp_path / "out")["refused"] == {}
    monkeypatch.setattr(gate, "failed", lambda each, most: judged(each, -1.0))
    assert run(elastic, tmp_path / "none", world.data, *flags) == 2
    err = capsys.readouterr().err
    assert "nothing that fits passes the gate: size " in err
    assert re.search(r"size 0\.\d0, 65 pieces: fp32", err)
    assert err.endswith("; allow more, or more --max-flips\n")
    assert not (tmp_path / "none").exists()


def test_without_labels_the_least_changed_is_best(elastic, world, tmp_path, capsys):
    data = tmp_path / "data"
    data.mkdir()
    text = "".join(json.dumps({"text": f"sw{i} sw3"}) + "\n" for i in range(15))
    (data / "sw.test.jsonl").write_text(text)
    assert run(elastic, tmp_path / "out", data, "--quantize", "q8", "--max-mb", "9") == 0
    every = trials(capsys.readouterr().out)
    assert float(every[0][-1]) == 0  # the whole model is what it is compared with
    assert all(float(worst) <= 0 for *_, worst in every)


def test_pieces_are_searched_where_they_are_left_free(world, elastic):
    wanted = searching.Wanted(Cuts(0.5, Pieces({}, {"en": {"en1": 1.0}})))
    free, given = choices(elastic, wanted, True), choices(elastic, wanted, False)
    whole, *fewer = free.pop(0.5)
    assert whole == Cuts(0.5)
    assert [each.pieces.coverage for each in fewer] == [0.999, 0.99, 0.97]
    assert not free
    assert given == {0.5: [wanted.cuts]}


def test_fewer_pieces_are_tried_where_more_do_not_fit(elastic, world, tmp_path):
    """Of each language 9 words are met often and 11 seldom."""
    words = {
        name: {f"{name}{i}": 1000.0 if i < 9 else 9.0 for i in range(20)} for name in tiny.LANGUAGES
    }
    asked = served.of_folder(world.data, "dense-tanh-out", tiny.LABELS, ())
    wanted = searching.Wanted(Cuts(1.0, Pieces({}, words)), ("q8",), max_flips=100.0)

    def found(name, megabytes):
        budget = Budget(megabytes)
        return searching.search(elastic, tmp_path / name, asked, wanted, budget, True)

    (all_of_them,) = found("roomy", 9.0).trials  # what fits needs no fewer
    assert all_of_them.cuts == Cuts(1.0)
    tight = found("tight", all_of_them.megabytes - 1e-6)
    first, second = tight.trials
    assert first == all_of_them._replace(worst=None, milliseconds=first.milliseconds)
    assert second.cuts.pieces.coverage == 0.999
    assert second.pieces < all_of_them.pieces
    assert {trial.milliseconds for trial in tight.trials} == {first.milliseconds}
    assert tight.done.network.config.vocab_size == second.pieces


def test_the_command_says_which_pieces_it_has_tried(elastic, world, tmp_path, capsys):
    lists = tmp_path / "lists"
    lists.mkdir()
    for name in tiny.LANGUAGES:
        words = "".join(f"{name}{number}\n" for number in range(8))
        (lists / f"{name}.txt").write_text(words)
    flags = ("--quantize", "q8", "--size", "1", "--languages", "de,sw", "--word-lists", str(lists))
    assert run(elastic, tmp_path / "whole", world.data, *flags, "--max-mb", "9") == 0
    assert len(trials(capsys.readouterr().out)) == 1
    files = ("onnx/model_quantized.onnx", "tokenizer.json")
    most = str(sum((tmp_path / "whole" / name).stat().st_size for name in files) / 1e6 - 1e-6)
    assert run(elastic, tmp_path / "out", world.data, *flags, "--max-mb", most) == 0
    said = capsys.readouterr().out
    fits = [each[0] for each in trials(said)]
    assert fits == [False, True]
    assert facts(tmp_path / "out")["pieces"] < facts(tmp_path / "whole")["pieces"]
    assert said.endswith(f"{tmp_path / 'out'}: q8\n")


def test_fewer_pieces_are_not_tried_where_a_size_is_too_slow(elastic, world, tmp_path, monkeypatch):
    asked = served.of_folder(world.data, "dense-tanh-out", tiny.LABELS, ())
    words = {name: {f"{name}1": 1.0} for name in tiny.LANGUAGES}
    wanted = searching.Wanted(Cuts(1.0, Pieces({}, words)), ("q8",))
    tried, measured = [], searching._measured
    monkeypatch.setattr(
        searching, "_measured", lambda *each: tried.append(each[3]) or measured(*each)
    )
    with pytest.raises(UserError, match=r"--max-ms=1e-06: nothing fits; the nearest is size 1.00"):
        searching.search(elastic, tmp_path / "out", asked, wanted, Budget(None, 1e-6), True)
    assert tried == [Cuts(1.0)]


def test_fewer_pieces_are_tried_where_what_fits_is_refused(elastic, world, tmp_path, monkeypatch):
    """With all pieces only the smallest form fits; with fewer a larger one does, too."""
    words = {
        name: {f"{name}{i}": 1000.0 if i < 9 else 9.0 for i in range(20)} for name in tiny.LANGUAGES
    }
    asked = served.of_folder(world.data, "dense-tanh-out", tiny.LABELS, ())
    wanted = searching.Wanted(Cuts(1.0, Pieces({}, words)), ("int8", "q8"), max_flips=100.0)
    real, told = searching.deploy, []

    def deploy(folder, out, rows, chosen):
        told.append(chosen)
        if len(told) == 1:
            raise searching.NotPassed("int8 changes too many answers")
        return real(folder, out, rows, chosen)

    every = searching._measured(elastic, asked, wanted, Cuts(), Budget(), None, {})
    smallest, larger = sorted(every, key=lambda trial: trial.megabytes)
    monkeypatch.setattr(searching, "deploy", deploy)
    budget = Budget((larger.megabytes + smallest.megabytes) / 2)
    found = searching.search(elastic, tmp_path / "out", asked, wanted, budget, True)
    refused, taken = told
    assert (refused.cuts, refused.kinds) == (Cuts(1.0), (smallest.kind,))
    assert taken.cuts.pieces.coverage == 0.999
    assert found.done.network.config.vocab_size < larger.pieces


def test_a_model_of_one_size_has_one(world, elastic, tmp_path):
    plain = shutil.copytree(elastic, tmp_path / "plain")
    (plain / size_files.SIZES).unlink()
    assert choices(plain, searching.Wanted(), True) == {None: [Cuts()]}


def test_order_and_excess():
    one, two = Cuts(0.5), Cuts(1.0)
    first = Trial(one, 9, "int8", 20.0, 3.0, 40.0)
    second = Trial(two, 9, "int8", 40.0, 5.0, 50.0)
    assert Budget(40, 4).excess(second) == pytest.approx(1.25)
    assert Budget(40, 4).too_slow([5.0, 4.5])
    assert not Budget(40, 4).too_slow([5.0, 4.0])
    assert not Budget(40).too_slow([5.0])
    assert Budget(None, 10).excess(second) == pytest.approx(0.5)
    assert sorted([[first], [second, second._replace(kind="q8")]], key=searching._rank)[0] == [
        second, second._replace(kind="q8")
    ]  # fmt: skip
    equal = [[second._replace(worst=40.0)], [first]]
    assert sorted(equal, key=searching._rank)[0] == [first]
    assert searching._fitting([first, second], Budget(30)) == [first]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--max-mb", "0"), "--max-mb=0: should be above 0"),
        (("--max-ms", "nan"), "--max-ms=nan: should be above 0"),
        (("--max-mb", "9", "--quantize", "none"), "--quantize=none leaves nothing to search"),
    ],
)
def test_mistakes(elastic, world, tmp_path, capsys, flags, message):
    assert run(elastic, tmp_path / "out", world.data, *flags) == 2
    assert message in capsys.readouterr().err


def test_a_word_table_may_be_too_heavy_by_itself(elastic):
    table = checkpoints.read_config(elastic).vocab_size * tiny.HIDDEN / 1e6
    assert Budget(0.9 * table).too_heavy(elastic, ("int8", "fp16"))
    assert not Budget(1.1 * table).too_heavy(elastic, ("int8",))
    assert not Budget(0.9 * table).too_heavy(elastic, ("int4",))
    assert Budget(0.4 * table).too_heavy(elastic, ("int4",))
    assert not Budget(None, 1.0).too_heavy(elastic, ("int8",))
