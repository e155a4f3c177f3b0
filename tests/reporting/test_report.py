import json
import re
from html.parser import HTMLParser

import pytest

from alignreg_jax import cli
from alignreg_jax.errors import UserError
from alignreg_jax.reporting import metric_names, page, report
from alignreg_jax.reporting.card import model_card

VOID = {"meta", "br", "link", "wbr"}


class Outline(HTMLParser):
    """Checks that tags are balanced and collects headings, ids and visible text."""

    def __init__(self, text):
        super().__init__()
        self.open, self.headings, self.ids, self.text = [], [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.ids += [value for name, value in attributes if name == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "title", "script"):
            self.text.append(data)
        if self.open and self.open[-1] in ("h1", "h2"):
            self.headings.append(data)


@pytest.fixture
def undrawn(monkeypatch):
    """Figures take most of a page's time; for tests of nothing but its words."""
    monkeypatch.setattr(page, "inline_svg", lambda *given: "")
    monkeypatch.setattr(report, "png", lambda figure: b"")


def check_alone(text):
    """Nothing is loaded from anywhere, and the only script is the page's own."""
    assert not re.search(r"<(link|img|iframe)\b|<script[^>]+src|@import|url\((?!#)", text)
    assert text.count("<script") == text.count("</script>") == 1


def test_the_page_stands_alone_and_is_well_formed(make_run):
    text = report.write_report(make_run()).read_text()
    outline = Outline(text)
    assert outline.headings == [
        "frobenius-mbp on intents",
        "Accuracy against remaining weights",
        "Results",
        "Weights by module and layer",
        "Training",
        "How it was made",
    ]
    assert len(set(outline.ids)) == len(outline.ids)
    assert text.count("<svg") == text.count('role="img"') == 5
    addresses = set(re.findall(r"https?://[^\"' <)]+", text))
    assert addresses == {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    check_alone(text)
    assert len(text) < 600_000


def test_writing_it_again_gives_the_same_bytes(make_run):
    path = report.write_report(make_run())
    files = [path, path.with_name("accuracy.png")]
    before = [file.read_bytes() for file in files]
    report.write_report(path.parent)
    assert [file.read_bytes() for file in files] == before


def test_the_words_carry_the_numbers(undrawn, make_run):
    workdir = make_run()
    last = json.loads((workdir / "results.json").read_text())["prune_steps"][-1]
    visible = "".join(Outline(report.write_report(workdir).read_text()).text)
    assert f"→ {100 * last['en']:.1f}" in visible
    assert f"keeps {100 * last['retention']['en']:.0f} % of its dense score" in visible
    assert "the 9 languages that every step evaluated (de, el, es" in visible
    assert "They differ, from" in visible
    assert "regularizer.weight = 0.0005" in visible
    assert 'versions.jax = "0.10.2"' in visible
    assert "python -m alignreg_jax.main --config configs/demo.py" in visible


def test_layer_scope_without_penalty_says_so(undrawn, make_run):
    workdir = make_run(scope="layer", penalty=False)
    visible = "".join(Outline(report.write_report(workdir).read_text()).text)
    assert "flat because pruning is layer-wise" in visible
    assert "adds no penalty" in visible


def test_a_run_without_pruning_has_a_report(make_run):
    visible = "".join(Outline(report.write_report(make_run(pruning_steps=0)).read_text()).text)
    assert "not pruned" in visible
    assert "against remaining weights" not in visible


def test_text_from_outside_is_escaped(make_run):
    workdir = make_run()
    for name, change in {
        "results.json": {"method": "<script>alert(1)</script>", "task": 'a"&b'},
        "config.json": {"command": "run </code><b>"},
    }.items():
        content = json.loads((workdir / name).read_text())
        (workdir / name).write_text(json.dumps(content | change))
    text = report.write_report(workdir).read_text()
    assert "<script>alert" not in text
    check_alone(text)
    assert "<b>" not in text
    assert Outline(text).headings[0] == '<script>alert(1)</script> on a"&b'


def test_a_loss_that_is_not_finite_is_a_gap(make_run):
    workdir = make_run()
    path = workdir / "metrics.jsonl"
    path.write_text(re.sub(r'"task_loss": [\d.]+', '"task_loss": "NaN"', path.read_text(), count=9))
    Outline(report.write_report(workdir).read_text())


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("results.json", None, r"results.json: no such file; is this the workdir of a run\?"),
        ("config.json", "{", r"config.json: not valid JSON"),
        ("results.json", '{"prune_steps": []}', "no evaluation yet"),
    ],
)
def test_a_workdir_that_cannot_be_reported_is_the_users_to_fix(make_run, name, content, message):
    workdir = make_run()
    (workdir / name).unlink() if content is None else (workdir / name).write_text(content)
    with pytest.raises(UserError, match=message):
        report.write_report(workdir)
    assert not (workdir / "report.html").exists()


def test_the_command_line_returns_two_and_one_line_on_errors(undrawn, make_run, capsys, tmp_path):
    assert cli.execute(["report", str(make_run())]) == 0
    assert capsys.readouterr().out.strip().endswith("report.html")
    assert cli.execute(["report", str(tmp_path)]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert cli.execute(["report"]) == 2


def test_what_was_not_evaluated_is_not_spoken_of(make_run):
    """English left out of every evaluation (E9); German left out of the dense one (B3)."""
    workdir = make_run()
    path = workdir / "results.json"
    results = json.loads(path.read_text())
    for step in results["prune_steps"]:
        step["languages"].pop("en")
        step["en"] = step["retention"]["en"] = None
    results["prune_steps"][0]["languages"].pop("de")
    results["prune_steps"][0]["zero_shot_avg"] = 0.987
    path.write_text(json.dumps(results))
    text = report.write_report(workdir).read_text()
    visible = "".join(Outline(text).text)
    assert "English keeps" not in visible
    assert ">English<" not in text  # neither a fact nor an entry of the legend
    assert "98.7 →" not in visible  # a mean over other languages than the last one
    (german,) = re.findall(r'<th scope="row" class="name">de</th>(.*?)</tr>', text)
    assert german.startswith("<td>–</td>")


@pytest.mark.parametrize(
    ("gain", "words"), [(0.0, "No other language loses"), (-0.1, "in “es” (40.0")]
)
def test_a_loss_is_only_told_where_there_is_one(undrawn, make_run, gain, words):
    workdir = make_run()
    path = workdir / "results.json"
    results = json.loads(path.read_text())
    for number, step in enumerate(results["prune_steps"]):
        step["languages"] = {"en": 0.9, "es": 0.4 + gain * bool(number)}
    path.write_text(json.dumps(results))
    text = report.write_report(workdir).read_text()
    assert words in "".join(Outline(text).text)
    assert "mean of 1 " not in text
    assert "Zero-shot, es" in text


def test_nothing_is_kept_of_scores_that_were_not_above_chance(undrawn, make_run):
    workdir = make_run()
    path = workdir / "results.json"
    results = json.loads(path.read_text())
    last = results["prune_steps"][-1]
    assert results["chance"] > 0
    last["retention"] |= {"en": 0.97, "zero_shot_avg": 2.0}
    last["retention_chance_corrected"] |= {"en": 0.96, "zero_shot_avg": None}
    path.write_text(json.dumps(results))
    visible = "".join(Outline(report.write_report(workdir).read_text()).text)
    assert "English keeps 97 % of its dense score." in visible
    assert "In the other languages the dense model is not above chance" in visible
    assert "200.0" not in visible  # in the table of steps


def card(make_run, **changes):
    results = json.loads((make_run() / "results.json").read_text())
    options = {
        **{"labels": ("off", "on"), "base_model": "org/model", "head": "dense-tanh-out"},
        **{"max_length": 64, "command": "make demo", "licence": "mit"},
    }
    return results, model_card(results, **options | changes)


def test_the_card_has_the_metadata_the_hub_reads(make_run):
    import yaml

    results, text = card(make_run)
    metadata = yaml.safe_load(text.split("---\n")[1])
    assert metadata["license"] == "mit"
    assert metadata["base_model"] == "org/model"
    assert metadata["pipeline_tag"] == "text-classification"
    assert metadata["language"].count("pt") == 1  # pt and pt_BR
    assert all(isinstance(code, str) for code in metadata["language"])
    (model,) = metadata["model-index"]
    scores = {found["dataset"]["config"]: found["metrics"][0] for found in model["results"]}
    last = results["prune_steps"][-1]["languages"]
    assert {name: found["value"] for name, found in scores.items()} == pytest.approx(last, abs=1e-4)
    assert {found["type"] for found in scores.values()} == {"accuracy"}
    assert {found["dataset"]["split"] for found in model["results"]} == {"test"}


def test_the_card_says_what_a_reader_must_know(make_run):
    results, text = card(make_run)
    last = results["prune_steps"][-1]
    for share in ("remaining", "nonzero", "remaining_total"):
        assert f"{100 * last[share]:.1f} %" in text
    assert "neither smaller nor faster" in text
    assert "make demo" in text
    for language in last["languages"]:
        assert f"| {language} |" in text


@pytest.mark.parametrize("head", ["dense-tanh-out", "linear", "label-words"])
def test_the_code_on_the_card_is_python(make_run, head):
    _, text = card(make_run, head=head, pair=True, base_model=None, licence=None)
    (code,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    compile(code, "card", "exec")
    assert "max_length=64" in code
    assert "base_model" not in text
    assert "license" not in text


def test_norwegian_stays_a_language(make_run):
    import yaml

    results = json.loads((make_run() / "results.json").read_text())
    for step in results["prune_steps"]:
        step["languages"]["no"] = 0.5
    options = {"labels": ("a",), "base_model": None, "head": "linear", "max_length": 8}
    text = model_card(results, command="", **options)
    assert "no" in yaml.safe_load(text.split("---\n")[1])["language"]


# ---- Token tasks ------------------------------------------------------------------------------


def test_the_page_of_a_token_task_names_its_metric_and_its_tags(make_run):
    text = report.write_report(make_run(token=True)).read_text()
    outline = Outline(text)
    assert "Accuracy of chunks (XGLUE’s POS) against remaining weights" in outline.headings
    visible = "".join(outline.text)
    for words in (
        "Every evaluation: accuracy of chunks (XGLUE’s POS)",
        "Other metrics (%)",
        "accuracy of words: zero-shot",
        "Every tag in English",
        "Every tag in the zero-shot languages",
        "accuracy of chunks (XGLUE’s POS) (%), dense → pruned",
    ):
        assert words in visible
    assert "pos_xglue" not in visible
    assert "chance" not in visible
    assert not re.search(r"\bnan\b|\bNone\b", text)


def test_a_dense_run_of_a_token_task_has_a_page(make_run):
    visible = "".join(
        Outline(report.write_report(make_run(pruning_steps=0, token=True)).read_text()).text
    )
    assert "F1 at 100 %" in visible


def test_the_card_of_a_token_task(make_run):
    import yaml

    results = json.loads((make_run(token=True) / "results.json").read_text())
    options = {"labels": ("NOUN", "VERB"), "base_model": None, "max_length": 64, "command": "x"}
    text = model_card(results, head="token", **options)
    metadata = yaml.safe_load(text.split("---\n")[1])
    assert metadata["pipeline_tag"] == "token-classification"
    assert metadata["metrics"] == ["precision"]
    assert "It gives every word one of 2 tags." in text
    assert "Accuracy of chunks (XGLUE’s POS) on the test sets, in percent." in text
    assert "| accuracy of words: zero-shot |" in text
    (code,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    compile(code, "card", "exec")
    assert "AutoModelForTokenClassification" in code
    assert "is_split_into_words=True" in code
    assert "max_length=64" in code


@pytest.mark.parametrize(
    ("metric", "inside", "first", "hub"),
    [
        ("accuracy", "accuracy", "Accuracy", "accuracy"),
        ("f1", "F1", "F1", "f1"),
        ("ndcg", "nDCG", "nDCG", "ndcg"),
        ("mcc", "Matthews correlation", "Matthews correlation", "matthews_correlation"),
        ("word_accuracy", "accuracy of words", "Accuracy of words", "accuracy"),
        ("bleu", "bleu", "Bleu", "bleu"),
    ],
)
def test_names_of_metrics(metric, inside, first, hub):
    assert metric_names.metric_name(metric) == inside
    assert metric_names.first_word(inside) == first
    assert metric_names.hub_metric(metric) == hub
