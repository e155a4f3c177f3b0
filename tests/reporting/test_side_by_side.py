"""`alignreg report`: a run again, with the model as it is served, and several runs on one page."""

import json
import re
import shutil

import pytest
from run_cases import LANGUAGES, deploy, write_run
from test_report import Outline, check_alone

from alignreg_jax import cli
from alignreg_jax.reporting import report, side_by_side


def change(workdir, name="results.json", **values):
    path = workdir / name
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def cells(text, row):
    """The cells of the first line of a table with this name."""
    (found, *_) = re.findall(rf'<th scope="row" class="name">{re.escape(row)}</th>(.*?)</tr>', text)
    return [re.sub(r"<[^>]+>", "", cell) for cell in re.findall(r"<td[^>]*>(.*?)</td>", found)]


@pytest.fixture
def two(tmp_path):
    """A run, and one with another method that keeps more and is evaluated less often."""
    one, other = tmp_path / "one", tmp_path / "two"
    write_run(one, between=LANGUAGES)
    write_run(other, pruning_steps=3)
    change(other, method="l2-mbp", seed=4)
    config = json.loads((other / "config.json").read_text())
    config["config"] |= {"method": "l2-mbp", "regularizer": {"name": "none", "weight": 5e-4}}
    (other / "config.json").write_text(json.dumps(config))
    return one, other


def test_the_page_of_two_runs_has_what_each_scores_and_how_they_differ(two, tmp_path, capsys):
    out = tmp_path / "both.html"
    assert cli.execute(["report", *map(str, two), "--out", str(out)]) == 0
    assert capsys.readouterr().out.strip() == str(out)
    text = out.read_text()
    check_alone(text)
    outline = Outline(text)
    assert outline.headings == [
        *("2 runs on intents", "Side by side", "Accuracy against remaining weights"),
        *("Every language", "How they differ"),
    ]
    last = [json.loads((run / "results.json").read_text())["prune_steps"][-1] for run in two]
    assert cells(text, "l2-mbp")[0] == "4"
    shown = [cells(text, name)[3].split(" ")[0] for name in ("frobenius-mbp", "l2-mbp")]
    assert shown == [f"{100 * step['en']:.1f}" for step in last]
    assert cells(text, "de") == [f"{100 * step['languages']['de']:.1f}" for step in last]
    assert cells(text, "pl") == [f"{100 * step['languages']['pl']:.1f}" for step in last]
    # Only languages that every step of both has can be compared
    assert "The mean is over de, el, es, fi, fr, hu, ja, ru, tr." in text
    assert f"same {9}" in text
    table = text.split("Fields whose values differ")[1]
    assert '<th scope="row" class="name">regularizer.name</th>' in table
    assert "pruning.steps" in table
    assert "task.source" not in table
    before = out.read_bytes()
    assert side_by_side.report(two, out, None).read_bytes() == before


def test_the_best_mean_is_over_what_all_runs_have(tmp_path):
    runs = tmp_path / "one", tmp_path / "two"
    for run, scores in zip(runs, ({"de": 0.8, "th": 0.4}, {"de": 0.75}), strict=True):
        write_run(run, pruning_steps=1)
        results = json.loads((run / "results.json").read_text())
        for step in results["prune_steps"]:
            step["languages"] = {"en": 0.9, **scores}
            step["zero_shot_avg"] = sum(scores.values()) / len(scores)
        change(run, prune_steps=results["prune_steps"], method=f"lamp-{run.name}")
    text = side_by_side.report(runs, tmp_path / "out.html", None).read_text()
    found = re.findall(r'class="name">(lamp-\w+)</th>(.*?)</tr>', text, re.S)
    best = {}
    for run, line in found:  # of the first table
        best.setdefault(
            run, ["<strong>" in cell for cell in re.findall(r"<td.*?</td>", line, re.S)]
        )
    heads = ["seed", "steps", "remaining", "en", "zero-shot", "same 1"]
    marked = {run: dict(zip(heads, cells, strict=False)) for run, cells in best.items()}
    assert not any(cells["zero-shot"] for cells in marked.values())
    assert [marked[f"lamp-{run.name}"]["same 1"] for run in runs] == [True, False]


def test_runs_are_told_apart_by_seed_or_folder_where_methods_are_one(two, tmp_path):
    other = shutil.copytree(two[0], tmp_path / "again")
    change(other, seed=2)
    third = shutil.copytree(two[0], tmp_path / "third")
    out = tmp_path / "out.html"
    side_by_side.report([two[0], two[1], other, third], out, None)
    found = re.findall(r'data-row="((?:frob|l2)[^"]*)"', out.read_text())
    assert list(dict.fromkeys(found)) == [
        *("frobenius-mbp, one", "l2-mbp", "frobenius-mbp, seed 2", "frobenius-mbp, third")
    ]


def test_runs_without_english_and_with_text_to_escape(two, tmp_path):
    for run in two:
        results = json.loads((run / "results.json").read_text())
        for step in results["prune_steps"]:
            del step["languages"]["en"]
            step["en"] = step["retention"]["en"] = None
        (run / "results.json").write_text(json.dumps(results))
    change(two[0], method="<b>$|&")
    out = tmp_path / "out.html"
    side_by_side.report(two, out, None)
    text = out.read_text()
    assert "<b>" not in text
    assert "English" not in "".join(Outline(text).text)
    assert not re.search(r"\bnan\b|\bNone\b", text)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "alignreg report: the following arguments are required: RUN"),
        (("{tmp}/nowhere",), "nowhere/results.json: no such file; is this the workdir of a run?"),
        (("{one}", "{tmp}"), "results.json: no such file; is this the workdir of a run?"),
        (("{one}", "{one}/../one"), "RUN: one run is given twice"),
        (("{one}", "{pos}"), "pos: is of pos on pos_xglue, but "),
        (("{seeds}",), "seeds: holds seeds (s0, s1); give "),
        (("{one}", "--out", "{tmp}/no/x.html"), "no is no folder"),
        (("{one}", "--out", "{tmp}"), "is a folder; give a file in it"),
        (("{one}", "--served", "{tmp}"), "deploy.json: no such file; is this a folder"),
        (("{one}", "{pos}", "--served", "{tmp}"), "--served: is of one run"),
        (("{one}", "--form", "x"), "alignreg report: unrecognized arguments"),
        (("{one}/report.html",), "report.html/results.json: no such file"),
    ],
)  # fmt: skip
def test_what_is_no_run_is_one_line(two, tmp_path, capsys, arguments, says):
    places = {"tmp": tmp_path, "one": two[0], "pos": tmp_path / "pos", "seeds": tmp_path / "seeds"}
    if any("{pos}" in argument for argument in arguments):
        write_run(places["pos"], token=True, pruning_steps=1)
    if "{seeds}" in arguments:
        for seed in (0, 1):
            (places["seeds"] / f"s{seed}").mkdir(parents=True)
            (places["seeds"] / f"s{seed}" / "results.json").write_text("{}")
    (two[0] / "report.html").write_text("as before")
    assert cli.execute(["report", *(argument.format(**places) for argument in arguments)]) == 2
    output = capsys.readouterr()
    (line,) = output.err.splitlines()
    assert line.startswith("error: ")
    assert says in line
    assert output.out == ""
    assert (two[0] / "report.html").read_text() == "as before"


def test_a_report_follows_when_its_model_is_deployed_into_the_run(two):
    report.write_report(two[0])
    report.refresh(two[0], deploy(two[0] / "elsewhere"))
    assert "As it is served" not in (two[0] / "report.html").read_text()
    report.refresh(two[0], deploy(two[0] / "served"))
    assert "As it is served" in (two[0] / "report.html").read_text()
    report.refresh(two[1], deploy(two[1] / "served"))  # that has no report
    assert not (two[1] / "report.html").exists()


# ---- As it is served --------------------------------------------------------------------------


def test_a_deployed_model_in_the_run_or_elsewhere_is_shown_before_and_after(two, tmp_path):
    deploy(two[0] / "served")
    elsewhere = deploy(tmp_path / "elsewhere", kept="int8", refused={}, noticed=7.25)
    side_by_side.report(two[:1], None, None)
    text = (two[0] / "report.html").read_text()
    assert "As it is served" in Outline(text).headings
    assert cells(text, "q8") == ["26.0", "6.0", "93.0", "46.8", "25.0", "1.0", "kept"]
    assert cells(text, "int8")[-2:] == ["7.0", "de"]
    assert "Every language, served as q8 (%)" in text
    assert "a &lt;machine&gt;" in text
    assert ">MB<" in text  # the axis
    assert "q8, zero-shot mean (%): 46.80 at 26.0 MB" in text  # a point
    side_by_side.report(two[:1], tmp_path / "x.html", elsewhere)
    other = (tmp_path / "x.html").read_text()
    assert "Every language, served as int8 (%)" in other
    assert "in which 7.2 % change is noticed in four of five cases" in other
    assert "in four of five cases" not in text
    # and of several runs, those that have one
    deploy(two[1] / "served", kept="int8")
    side_by_side.report(two, tmp_path / "both.html", None)
    both = (tmp_path / "both.html").read_text()
    assert "The form that was kept" in both
    assert "l2-mbp, zero-shot mean (%): 46.70 at 27.0 MB" in both


def test_rows_without_labels_were_deployed_without_scores(two):
    folder = deploy(two[0] / "served")
    facts = json.loads((folder / "deploy.json").read_text())
    for model in facts["models"]:
        model |= {"en": None, "zero_shot_avg": None, "worst": None}
        for each in model["compared"].values():
            each["scores"] = each["difference"] = None
    (folder / "deploy.json").write_text(json.dumps(facts))
    text = side_by_side.report(two[:1], None, None).read_text()
    assert cells(text, "q8") == ["26.0", "6.0", "–", "–", "–", "1.0", "kept"]
    assert not re.search(r"\bnan\b|\bNone\b", text)


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"models": [], "kept": "q8"}'])
def test_a_damaged_deploy_json_is_named(two, capsys, content):
    (deploy(two[0] / "served") / "deploy.json").write_text(content)
    assert cli.execute(["report", str(two[0])]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "served/deploy.json: not " in line


def test_every_size_of_an_elastic_run_has_what_it_weighs(two):
    sizes = [
        {
            **{"size": size, "encoder_weights": size, "parameters": 25e6 * size},
            **{"megabytes": 100 * size, "en": 0.9, "zero_shot_avg": 0.5 * size, "worst": None},
        }
        for size in (1.0, 0.5)
    ]
    (two[0] / "export").mkdir()
    (two[0] / "export" / "sizes.json").write_text(json.dumps({"sizes": sizes}))
    text = side_by_side.report(two[:1], None, None).read_text()
    assert "What each size weighs" in Outline(text).headings
    assert cells(text, "0.5") == ["50.0", "12.5", "50.0", "90.0", "25.0", "–"]
    assert "size 0.5, zero-shot mean (%): 25.00 at 50.0 MB" in text
