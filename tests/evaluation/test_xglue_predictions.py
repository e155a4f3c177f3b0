"""Files for XGLUE's evaluation script, read back by the rules of that script and scored anew."""

from pathlib import Path

import numpy as np
import pytest
import references
from hypothesis import given
from hypothesis import strategies as st

from alignreg_jax.config import default_config, resolve
from alignreg_jax.data.schema import Dataset, Split
from alignreg_jax.data.tasks import TASKS, get_task
from alignreg_jax.evaluation import scoring
from alignreg_jax.evaluation.xglue_predictions import read, text
from alignreg_jax.run.artifacts import Artifacts
from alignreg_jax.run.inputs import Inputs

XGLUE = [name for name, task in TASKS.items() if task.xglue]
SIZES = (3, 1, 4, 2, 5)  # of queries and of sentences
# Folder, gold files and header lines, as the script has them
LAYOUT = {
    "xnli": ("XNLI", "XNLI/{}.{}", 0),
    "pawsx": ("PAWSX", "PAWSX/{}/{}_2k.tsv", 1),
    "nc": ("NC", "NC/xglue.nc.{}.{}", 0),
    "qam": ("QAM", "QAM/xglue.qam.{}.{}", 0),
    "qadsm": ("QADSM", "QADSM/xglue.qadsm.{}.{}", 0),
    "wpr": ("WPR", "WPR/xglue.wpr.{}.{}", 0),
    "ner": ("NER", "NER/{}.{}", 0),
    "pos": ("POS", "POS/{}.{}", 0),
}


def script(predictions, truth, task, language, split):
    """The score that XGLUE's script gives to a file, by its reading rules."""
    folder, gold_file, header = LAYOUT[task]
    said = (predictions / folder / f"{language}.prediction").read_text().split("\n")[:-1]
    lines = (truth / gold_file.format(language, split)).read_text().split("\n")[:-1][header:]
    if task in ("ner", "pos"):
        predicted, gold = [[]], [[]]
        for line in said:
            if not line.strip() and predicted[-1]:
                predicted.append([])
            else:
                predicted[-1].append(line.strip())  # a second blank line would be a tag
        for line in lines:
            if line.strip():
                gold[-1].append(line.split()[-1])
            elif gold[-1]:
                gold.append([])
        predicted, gold = ([tags for tags in side if tags] for side in (predicted, gold))
        for number, tags in enumerate(gold):
            predicted[number] += ["O"] * (len(tags) - len(predicted[number]))
        score = references.entity_f1 if task == "ner" else references.chunk_precision
        return score(gold, predicted)
    predicted = [line.strip() for line in said]
    gold = [line.split("\t")[-1].strip() for line in lines]
    assert len(predicted) == len(gold)
    if task == "wpr":
        return references.ndcg(gold, predicted, [line.split("\t")[0] for line in lines])
    return sum(map(str.__eq__, gold, predicted)) / len(gold)


def made_up(task, generator):
    """A split of a task, and its gold file in XGLUE's form."""
    labels = task.labels
    if task.kind == "token":
        texts = [[f"word{index}" for index in range(size)] for size in SIZES]
        numbers = generator.integers(0, len(labels), sum(SIZES)).astype(np.int32)
        split = Split(texts, None, numbers, "")
        sentences = zip(texts, scoring.names(split, numbers, labels), strict=True)
        return split, "\n".join(
            "".join(f"{word} {tag}\n" for word, tag in zip(*sentence, strict=True))
            for sentence in sentences
        )
    queries = [f"query{index}" for index, size in enumerate(SIZES) for _ in range(size)]
    numbers = generator.integers(0, len(labels), len(queries)).astype(np.int32)
    rows = [f'{query}\tsay "x"\t{labels[n]}\n' for query, n in zip(queries, numbers, strict=True)]
    header = "a\tb\tlabel\n" * LAYOUT[task.name][2]
    return Split(queries, ["b"] * len(queries), numbers, ""), header + "".join(rows)


def artifacts(task, gold, workdir, save="xglue"):
    """What writes a run's files, with no more of a run than it needs for that."""
    config = default_config()
    config.task.name, config.task.source = task.name, "folder"
    config.eval.save_predictions = save
    train = next(iter(gold.values()))
    languages = {language: split for (_, language), split in gold.items()}
    inputs = object.__new__(Inputs)
    for name, value in {
        "dataset": Dataset(task, task.labels, train, {}, languages),
        "gold": gold,
    }.items():
        object.__setattr__(inputs, name, value)
    return Artifacts(workdir, resolve(config), inputs, "the command")


@pytest.mark.parametrize("name", XGLUE)
def test_the_script_gives_the_same_score(tmp_path, name):
    generator, task = np.random.default_rng(3), get_task(name)
    gold, predictions = {}, {}
    for split in ("dev", "test"):
        for language in ("en", "de"):
            rows, content = made_up(task, generator)
            path = tmp_path / "truth" / LAYOUT[name][1].format(language, split)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
            said = np.where(generator.random(len(rows.labels)) < 0.6, rows.labels, 0)
            if task.kind == "token":
                said[-2:] = -1  # cut off
            gold[split, language] = rows
            predictions[split, language] = said.astype(np.int32)
    artifacts(task, gold, tmp_path).predictions(11, predictions)
    found = scoring.score(task, task.labels, gold, predictions)["scores"]
    for split, language in gold:
        folder = tmp_path / "predictions" / "xglue" / "11" / split
        score = script(folder, tmp_path / "truth", name, language, split)
        assert found[split][language][task.metric] == pytest.approx(score, abs=1e-15)
        assert 0 < score < 1
        ours = tmp_path / "predictions" / "11" / f"{language}.{split}.txt"
        theirs = folder / LAYOUT[name][0] / f"{language}.prediction"
        assert ours.read_bytes() == theirs.read_bytes()
    assert sorted(path.name for path in (tmp_path / "predictions").iterdir()) == ["11", "xglue"]


def test_without_xglue_there_is_one_form(tmp_path):
    rows = Split(["a", "b"], None, np.array([1, 0], np.int32), "")
    writer = artifacts(get_task("pawsx"), {("test", "en"): rows}, tmp_path, save=True)
    writer.predictions(0, {("test", "en"): np.array([1, 1], np.int32)})
    found = [path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()]
    assert found == [Path("predictions/0/en.test.txt")]
    assert (tmp_path / found[0]).read_text() == "1\n1\n"


def test_sentences_have_a_blank_line_between_them_and_none_after():
    assert text([["A", "B"], ["C"]]) == "A\nB\n\nC\n"
    assert text(["A", "B"]) == "A\nB\n"


label = st.text("ABC-", min_size=1, max_size=4)


@given(st.lists(label, min_size=1), st.lists(st.lists(label, min_size=1), min_size=1))
def test_what_is_written_is_read(rows, sentences):
    assert read(text(rows), in_words=False) == rows
    assert read(text(sentences), in_words=True) == sentences
