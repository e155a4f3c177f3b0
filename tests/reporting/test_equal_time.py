"""tools/equal_time.py: which unit model is compared at equal time, and what is served of it."""

import csv
import json
import re
import runpy
import shutil
import sys
from pathlib import Path

import pytest
import tiny

import alignreg_jax
from alignreg_jax.compress import served
from alignreg_jax.compress.deployment.cutting import Cuts
from alignreg_jax.compress.deployment.deploy import Wanted, deploy

TOOL = tiny.ROOT / "tools" / "equal_time.py"
TEXT = (
    "--config.distill.text=data", "--config.distill.text_languages=de,sw", "--config.export=steps",
    "--config.pruning.schedule=explicit", "--config.pruning.explicit=.31,.2",
    "--config.pruning.steps=2",
)  # fmt: skip
METHODS = {"l2-mbp": TEXT, "elastic": (*TEXT[:3], "--config.pruning.sizes=1,.5")}


@pytest.fixture
def tool(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(TOOL.parent), *sys.path])
    return runpy.run_path(str(TOOL))


def known(tool, means):
    """Runs that had these zero-shot means: by task, seed and method of every step but the first."""
    return [
        tool["Run"](
            task,
            seed,
            method,
            Path("run"),
            None,
            [{"remaining": 1.0}, *map(step, (0.56, 0.31), values)],
        )
        for (task, seed, method), values in means.items()
    ]


def step(left, mean):
    return {"remaining": left, "zero_shot_avg": mean}


def test_a_seed_does_not_choose_for_itself(tool):
    means = {("a", seed, "structured-taylor"): (0.5, 0.4) for seed in range(3)}
    means |= {("a", seed, "elastic"): (0.6 if seed else 0.3, 0.2) for seed in range(3)}
    means |= {("a", seed, "l2-mbp"): (0.9, 0.9) for seed in range(3)}
    runs = known(tool, means)
    assert tool["of_others"](runs, 0) == ("elastic", 1)  # the worst in seed 0, which is not asked
    assert tool["of_others"](runs, 1) == ("structured-taylor", 1)


def test_tasks_count_alike_and_a_row_that_lacks_a_run_is_no_candidate(tool):
    """structured-taylor is behind on one task, and ahead by the mean of both."""
    means = {(task, seed, "elastic"): (0.3,) for task in "ab" for seed in (0, 1)}
    means |= {("a", seed, "structured-fisher"): (0.9,) for seed in (0, 1)}
    means |= {("a", seed, "structured-taylor"): (0.2,) for seed in (0, 1)}
    means |= {("b", seed, "structured-taylor"): (0.5,) for seed in (0, 1)}
    runs = known(tool, means)
    assert tool["of_others"](runs, 0) == ("structured-taylor", 1)
    with pytest.raises(SystemExit, match="in all tasks and seeds beside seed 5"):
        tool["of_others"](known(tool, {("a", 0, "l2-mbp"): (0.3,)}), 5)


def test_a_model_that_has_all_units_is_no_model_of_fewer(tool):
    runs = known(tool, {("a", seed, "structured-taylor"): (0.5, 0.4) for seed in range(2)})
    sizes = [{"remaining": 1.0}, step(1.0, 0.9), step(0.31, 0.6)]
    runs += [tool["Run"]("a", seed, "elastic", Path("run"), None, sizes) for seed in range(2)]
    assert tool["of_others"](runs, 0) == ("elastic", 2)


def test_what_is_missing_is_told_before_anything_is_deployed(tool):
    runs = known(tool, {("a", 0, "l2-mbp"): (0.5, 0.4), ("a", 1, "l2-mbp"): (0.5,)})
    with pytest.raises(SystemExit, match="no run of elastic with text on a, seed 0"):
        tool["models"](runs, "a", 0, ("elastic", 1))
    runs += known(tool, {("a", 1, "elastic"): (0.5,)})
    with pytest.raises(SystemExit, match="run: has no step with 31 % of the weights"):
        tool["models"](runs, "a", 1, ("elastic", 1))


def test_what_is_served_is_the_step_that_is_told(tool, tmp_path, monkeypatch, capsys):
    """And it is not deployed again."""
    world = tiny.build(tmp_path / "world")
    for language in ("de", "sw"):
        texts = [json.dumps({"text": f"{language}{n} {language}{n + 1}"}) for n in range(12)]
        (world.data / f"{language}.unlabelled.jsonl").write_text("\n".join(texts))
    sweep = tmp_path / "sweep"
    for method, flags in METHODS.items():
        first = sweep / "folder" / method / "s0"
        alignreg_jax.run(tiny.configured(world, f"--config.method={method}", *flags), first)
        second = shutil.copytree(first, first.with_name("s1"))  # another seed, for all it matters
        content = json.loads((second / "config.json").read_text())
        content["config"]["seed"] = 1
        (second / "config.json").write_text(json.dumps(content))
    monkeypatch.setattr(sys, "argv", ["", str(sweep), "--out", str(tmp_path / "deployed.csv")])
    runpy.run_path(str(TOOL), run_name="__main__")
    table = tmp_path / "deployed.csv"
    lines = list(csv.DictReader(table.read_text().splitlines()))
    assert [(line["task"], line["seed"]) for line in lines] == [
        (world.data.name, seed) for seed in "0011"
    ]
    assert [line["method"] == "l2-mbp" for line in lines] == [True, False] * 2
    runs = tool["found"]([sweep])
    for line in lines:
        (run,) = (r for r in runs if (r.method, str(r.seed)) == (line["method"], line["seed"]))
        at, step = next(
            (number, step) for number, step in enumerate(run.steps)
            if number and round(step["remaining"], 3) == float(line["left"])
        )  # fmt: skip
        assert float(line["zero_shot_trained"]) == round(100 * step["zero_shot_avg"], 3)
        units = run.method != "l2-mbp"
        assert not units or (run.method, at) == tool["of_others"](runs, run.seed)
        assert units or (at, step["remaining"]) == (1, pytest.approx(0.31, abs=0.01))
        if run.seed == 0:
            out = tmp_path / f"again{at}{units}"
            asked = served.of_run(run.folder, run.config, list(step["languages"]))
            folder, size = ("export", 0.5) if units else ("steps/1", None)
            deploy(run.folder / folder, out, asked, Wanted(Cuts(size), ("int8",), 100.0))
            (model,) = (
                each for each in json.loads((out / "deploy.json").read_text())["models"]
                if each["name"] == "int8"
            )  # fmt: skip
            assert float(line["zero_shot"]) == round(model["zero_shot_avg"], 3)
            assert float(line["MB"]) == round(model["bytes"] / 1e6, 3)
        assert float(line["ms"]) > 0
    capsys.readouterr()
    runpy.run_path(str(TOOL), run_name="__main__")
    assert capsys.readouterr().out == ""
    assert list(csv.DictReader(table.read_text().splitlines())) == lines
    swapped = re.sub(r"elastic,[\d.]+", "elastic,0.25", table.read_text())
    assert swapped != table.read_text()
    table.write_text(swapped)
    with pytest.raises(SystemExit, match=r"elastic at 0\.25.*is not what these runs choose"):
        runpy.run_path(str(TOOL), run_name="__main__")
