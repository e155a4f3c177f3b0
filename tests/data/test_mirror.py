"""XGLUE as parquet on the Hub, one config a task: a local folder of that layout, and the cache."""

import json
import os
import subprocess
import sys

import pyarrow
import pyarrow.parquet
import pytest
from datasets import ClassLabel, Dataset, Features, List, Value

from alignreg_jax.data import xglue
from alignreg_jax.data.sources import load
from alignreg_jax.data.tasks import MIRROR, get_task
from alignreg_jax.errors import UserError

TEXT = Value("string")
GRADES = ["Bad", "Fair", "Good", "Excellent", "Perfect"]
CATEGORIES = [
    *("foodanddrink", "sports", "travel", "finance", "lifestyle"),
    *("news", "entertainment", "health", "video", "autos"),
]
# Task -> the mirror's config, columns and names of labels, and a row with the label it should have
TABLE = {
    "xnli": ("xnli", ["premise", "hypothesis", "label"],
             ["entailment", "neutral", "contradiction"], ("a", "b", 2), "contradiction"),
    "pawsx": ("paws-x", ["sentence1", "sentence2", "label"],
              ["different", "same"], ("a", "b", 1), "1"),
    "nc": ("nc", ["news_title", "news_body", "news_category"], CATEGORIES, ("a", "b", 9), "autos"),
    "qam": ("qam", ["question", "answer", "label"], ["False", "True"], ("a", "b", 0), "0"),
    "qadsm": ("qadsm", ["query", "ad_title", "ad_description", "relevance_label"],
              ["Bad", "Good"], ("a", "b", "c", 1), "Good"),
    "wpr": ("wpr", ["query", "web_page_title", "web_page_snippet", "relavance_label"],
            GRADES, ("a", "b", "c", 3), "3"),
    "ner": ("ner", ["words", "ner"], get_task("ner").labels, (["a", "b"], [2, 0]), "I-PER"),
    "pos": ("pos", ["words", "pos"], get_task("pos").labels, (["a", "b"], [7, 16]), "NOUN"),
}  # fmt: skip


def write(folder, name, split, rows, names=None):
    config, columns, labels, _, _ = TABLE[name]
    label = ClassLabel(names=list(names or labels))
    kinds = dict.fromkeys(columns[:-1], TEXT) | {columns[-1]: label}
    if name in ("ner", "pos"):
        kinds = {columns[0]: List(TEXT), columns[1]: List(label)}
    path = folder / config / f"{split}-00000-of-00001.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = dict(zip(columns, map(list, zip(*rows, strict=True)), strict=True))
    Dataset.from_dict(columns, features=Features(kinds)).to_parquet(path)
    return path


def write_task(folder, name, languages=None):
    task, row = get_task(name), TABLE[name][3]
    other = (*row[:-1], [0, 0] if name in ("ner", "pos") else 1 - min(row[-1], 1))
    write(folder, name, "train", [row, other])
    for language in languages or [code for code in task.languages if (name, code) != ("pos", "pt")]:
        for split in ("validation", "test"):
            write(folder, name, f"{split}.{language}", [row, other])
    return folder


@pytest.fixture
def mirror(tmp_path):
    return tmp_path / "mirror"


def read(name, folder, **options):
    options = {"source": "hub", "data_dir": str(folder), "languages": None} | options
    return load(get_task(name), **options)


@pytest.mark.parametrize("name", TABLE)
def test_every_task(mirror, name):
    data = read(name, write_task(mirror, name))
    row, label = TABLE[name][3:]
    text = row[0] if name in ("ner", "pos") else "a"
    for split in (data.train, data.dev["de"], data.test["en"]):
        assert split.text_a == [text, text]
        assert data.labels[split.labels[0]] == label
    if get_task(name).kind == "sequence":
        assert data.train.text_b[0] == ("b c" if len(row) == 4 else "b")
    assert data.labels == get_task(name).labels
    assert next(iter(data.test)) == "en"
    assert set(data.test) == set(get_task(name).languages) - ({"pt"} if name == "pos" else set())


def test_other_tasks_of_the_mirror_are_not_read(mirror):
    write_task(mirror, "nc")
    write_task(mirror, "wpr")
    assert list(read("nc", mirror, languages=("ru",)).test) == ["en", "ru"]
    assert set(read("nc", mirror).test) == {"en", "de", "es", "fr", "ru"}
    with pytest.raises(UserError, match=r"qam/train-\*\.parquet: missing.*hgissbkh/xglue"):
        read("qam", mirror)


def test_pos_has_no_portuguese_there_and_says_so(mirror):
    folder = write_task(mirror, "pos")
    (note,) = read("pos", folder).notes
    assert "has no pt for pos, so that its scores are not XGLUE's" in note
    with pytest.raises(UserError, match=r"task\.languages: .* has no 'pt'; it has ar, bg"):
        read("pos", folder, languages=("pt",))
    assert read("pos", folder, languages=("de",)).notes == ()


def test_names_not_numbers(mirror):
    folder = write_task(mirror, "wpr")
    write(folder, "wpr", "test.pt", [("a", "b", "c", 0)], names=GRADES[::-1])
    data = read("wpr", folder)
    assert [data.labels[label] for label in data.test["pt"].labels] == ["4"]
    write(folder, "wpr", "test.pt", [("a", "b", "c", 0)], names=["Awful", "Fair"])
    with pytest.raises(UserError, match=r"test\.pt-00000-of-00001\.parquet:1: unknown .*'Awful'"):
        read("wpr", folder)


def test_written_out_labels_and_older_spellings(mirror):
    folder = write_task(mirror, "wpr")
    path = folder / "wpr" / "test.pt-00000-of-00001.parquet"
    columns = {"query": ["a"], "wed_page_title": ["b"], "web_page_snippet": ["c"]}
    for spelling in ("relavance_label", "relevance_label"):
        pyarrow.parquet.write_table(pyarrow.table(columns | {spelling: ["Perfect"]}), path)
        data = read("wpr", folder)
        assert data.test["pt"].text_b == ["b c"]
        assert data.test["pt"].labels.tolist() == [4]
    folder = write_task(mirror, "ner")
    path = folder / "ner" / "test.nl-00000-of-00001.parquet"
    table = {"words": [["La", "Caixa"]], "ner": [["B-ORG", "I-ORG"]]}
    pyarrow.parquet.write_table(pyarrow.table(table), path)
    assert read("ner", folder).test["nl"].labels.tolist() == [3, 4]


def test_a_test_split_without_labels(mirror):
    folder = write_task(mirror, "nc")
    write(folder, "nc", "test.ru", [("a", "b", -1), ("c", "d", -1)])
    data = read("nc", folder)
    assert data.unlabelled == (("test", "ru"),)
    assert "ru" in data.dev
    write(folder, "nc", "test.ru", [("a", "b", -1), ("c", "d", 3)])
    with pytest.raises(UserError, match="row 1 has no label"):
        read("nc", folder)
    write(folder, "nc", "validation.ru", [("a", "b", -1)])
    with pytest.raises(UserError, match=r"validation\.ru-.*row 1 has no label"):
        read("nc", folder)


def test_bad_sentences_are_named(mirror):
    folder = write_task(mirror, "ner")
    path = folder / "ner" / "test.nl-00000-of-00001.parquet"

    def refused(says, **table):
        pyarrow.parquet.write_table(pyarrow.table(table), path)
        with pytest.raises(UserError, match=says) as caught:
            read("ner", folder)
        assert str(caught.value).startswith(str(path))
        assert "\n" not in str(caught.value)

    refused("row 2 has 1 words and 2 tags", words=[["a"], ["b"]], ner=[["O"], ["O", "O"]])
    refused("words is null in row 2", words=[["a"], None], ner=[["O"], ["O"]])
    refused("words is empty in row 2", words=[["a"], [None]], ner=[["O"], ["O"]])
    refused("words must be a list of strings", words=["a"], ner=[["O"]])
    refused("has no column ner", words=[["a"]])
    refused("neither file nor card names them", words=[["a"]], ner=[[0]])
    number = "ner must be a list, each item a string or a label's number, not"
    refused(f"{number} list<element: double>", words=[["a"]], ner=[[0.5]])
    refused(f"{number} string", words=[["a"]], ner=["O"])
    refused(f"{number} int64", words=[["a"]], ner=[0])


CARD = """---
dataset_info:
- config_name: nc
  features:
  - name: news_category
    dtype:
      class_label:
        names:
          '0': news
          '1': autos
---
"""


def test_metadata_that_cannot_be_read_name_nothing(mirror):
    """The data set's card still may."""
    folder = write_task(mirror, "nc")
    path = folder / "nc" / "test.ru-00000-of-00001.parquet"
    table = pyarrow.table({"news_title": ["a"], "news_body": ["b"], "news_category": [1]})

    def features(label):
        return json.dumps({"info": {"features": {"news_category": label}}})

    for metadata in (
        *("not JSON", "null", b"\xff", json.dumps({"info": {}})),
        features({"_type": "FancyLabel"}),
        features({"_type": "ClassLabel"}),
        features({"_type": "ClassLabel", "names": []}),
        features({"_type": "ClassLabel", "names": [1, 2]}),
    ):
        (folder / "README.md").unlink(missing_ok=True)
        changed = table.replace_schema_metadata({"huggingface": metadata})
        pyarrow.parquet.write_table(changed, path)
        with pytest.raises(UserError, match=rf"{path}: news_category holds numbers, and neither"):
            read("nc", folder, languages=("ru",))
        (folder / "README.md").write_text(CARD)
        data = read("nc", folder, languages=("ru",))
        assert data.test["ru"].labels.tolist() == [CATEGORIES.index("autos")]


def test_a_row_has_one_label(mirror):
    folder = write_task(mirror, "nc")
    path = folder / "nc" / "test.ru-00000-of-00001.parquet"
    table = {"news_title": ["a"], "news_body": ["b"], "news_category": [["autos"]]}
    pyarrow.parquet.write_table(pyarrow.table(table), path)
    with pytest.raises(UserError, match=rf"{path}: news_category must be a string or a .* list<"):
        read("nc", folder)


def test_the_mirror_has_to_be_asked_for():
    for name in ("nc", "ner", "pos", "qam", "qadsm", "wpr"):
        assert get_task(name).hub_id == MIRROR
        assert get_task(name).sources[0] == "folder"
    for name in ("xnli", "pawsx"):
        assert get_task(name).hub_id != MIRROR
    with pytest.raises(UserError, match=r"task\.hub_id: the data are to come from task\.data_dir"):
        read("nc", "anywhere", hub_id="owner/name")
    with pytest.raises(UserError, match="hgissbkh/xglue has no 'sw'; it has de, en, es, fr, ru"):
        read("nc", None, data_dir=None, languages=("sw",))


OFFLINE = """
import sys
from alignreg_jax.data.sources import load
from alignreg_jax.data.tasks import get_task
from alignreg_jax.errors import UserError
for task, hub_id in (("nc", None), ("pos", None), ("pawsx", "some/fork"), ("pawsx", None)):
    try:
        data = load(get_task(task), source="hub", data_dir=None, languages=None, hub_id=hub_id)
        print(data.train.rows, *data.test, *data.notes)
    except UserError as error:
        print(error)
"""


def test_the_hubs_cache_serves_offline(tmp_path):
    for name, tasks in ((MIRROR, ("nc", "pos")), ("some/fork", ("pawsx",))):
        repository = tmp_path / "home" / "hub" / f"datasets--{name.replace('/', '--')}"
        (repository / "refs").mkdir(parents=True)
        (repository / "refs" / "main").write_text("0123abcd")
        for task in tasks:
            write_task(repository / "snapshots" / "0123abcd", task)
    environment = {**os.environ, "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1"}
    environment.pop("HF_HUB_CACHE", None)
    done = subprocess.run(
        [sys.executable, "-c", OFFLINE], env=environment, capture_output=True, text=True, check=True
    )
    nc, pos, fork, absent = done.stdout.splitlines()
    copy = "is a third party's copy of XGLUE, whose terms are at https://microsoft.github.io/XGLUE/"
    assert nc == f"2 en de es fr ru {MIRROR} {copy}"
    assert f"{MIRROR} has no pt for pos, so that its scores are not XGLUE's" in pos
    assert f"{xglue.TERMS}; it lacks pt and the last sentence of every file of pos" in pos
    assert fork == f"2 en de es fr some/fork {copy}"
    assert "google-research-datasets/paws-x cannot be had from the Hub" in absent
    assert xglue.TERMS in absent
