"""Names of labels: those that cannot be written, and those that look alike."""

import json

import numpy as np
import pytest

from alignreg_jax.data import oddities
from alignreg_jax.data.names import check_name, look_alikes
from alignreg_jax.data.schema import Split
from alignreg_jax.data.sources import load
from alignreg_jax.data.tasks import get_task
from alignreg_jax.errors import UserError

BAD = ["a\nb", "a\tb", "\x00", "\x1b[31m", "a\u2028b", "a\u0085", "\ud83d", "x\udce9"]


def write(folder, rows, labels=None):
    content = "".join(json.dumps(row) + "\n" for row in rows)
    for split in ("train", "dev", "test"):
        (folder / f"en.{split}.jsonl").write_text(content)
    if labels is not None:
        (folder / "labels.json").write_text(json.dumps(labels))
    return folder


def read(folder, task="folder"):
    return load(get_task(task), source="folder", data_dir=str(folder), languages=None)


@pytest.mark.parametrize("name", BAD)
def test_a_label_that_cannot_be_written_is_refused_wherever_it_is_read(tmp_path, name):
    rows = [{"text": "a", "label": "on"}, {"text": "b", "label": "off"}]
    folder = write(tmp_path, rows, ["on", "off", name])
    with pytest.raises(UserError) as caught:
        read(folder)
    assert str(caught.value).startswith(f"{folder}/labels.json: the label {name!a} has ")
    (folder / "labels.json").unlink()
    write(folder, [rows[0], {"text": "b", "label": name}])
    with pytest.raises(UserError, match=r"en\.train\.jsonl:2: "):
        read(folder)
    tags = [{"tokens": ["a", "b"], "tags": ["X", "Y"]}, {"tokens": ["b"], "tags": [name]}]
    write(folder, tags)
    with pytest.raises(UserError, match=r"en\.train\.jsonl:2: "):
        read(folder, "pos_tags")


@pytest.mark.parametrize("name", ["on", "en español", "日本", "a_b-c/d", "e\u0301", "\u200d"])
def test_any_other_name_is_fine(name):
    check_name(name, "")


@pytest.mark.parametrize(
    ("pair", "shown"),
    [
        (["on ", "on"], "'on ', 'on'"),
        (["On", "on"], "'On', 'on'"),
        (["caf\u00e9", "cafe\u0301"], r"'caf\xe9', 'cafe\u0301'"),
        (["a b", "a\u00a0b"], r"'a b', 'a\xa0b'"),
        (["on", "o\u200bn"], r"'on', 'o\u200bn'"),
    ],
)
def test_labels_that_look_alike_are_told(pair, shown):
    text = f"labels that look alike are different classes: {shown}"
    assert look_alikes(["off", *pair, "open"]) == [text]
    train = Split(["a", "b"], None, np.array([1, 2], np.int32), "en.train")
    assert oddities.notes(["off", *pair], train) == [text]


def test_labels_that_do_not_look_alike_are_not():
    assert look_alikes(["on", "off", "one", "B-PER", "I-PER", "PER"]) == []


def test_texts_with_two_labels_rows_trained_on_and_copies_of_english():
    def split(texts, labels, origin, second=None):
        return Split(texts, second, np.array(labels, np.int32), origin)

    train = split(["a", "b", "a", "c", "c"], [0, 1, 1, 0, 0], "train")
    english, german = split(["a", "x"], [0, 1], "en"), split(["x", "y", "a"], [0, 0, 0], "de")
    fine = split(["a", "y", "z"], [0, 0, 0], "fr")
    assert oddities.notes(["p", "q"], train, {}, {"en": english, "de": german, "fr": fine}) == [
        "train: 1 text has more than one label: 'a'",
        "1 of the 2 rows of en are in train, too, and are trained on",
        "2 of the 3 rows of de have English's texts",
    ]
    # Of pairs both texts count, and of sentences all tags
    pairs = split(["a", "a"], [0, 1], "train", ["b", "c"])
    assert oddities.notes(["p", "q"], pairs, {"en": split(["a"], [0], "en", ["d"])}) == []
    words = split([["a", "b"], ["a", "b"], ["c"]], [0, 1, 0, 0, 1], "train")
    (note,) = oddities.notes(["p", "q"], words, {"en": split([["a"], ["b"]], [0, 0], "en")})
    assert note == "train: 1 text has more than one label: ('a', 'b')"


def test_a_field_that_is_there_twice_is_refused(tmp_path):
    folder = write(tmp_path, [{"text": "a", "label": "on"}])
    twice = '{"text": "a", "label": "on"}\n{"text": "b", "label": "on", "label": "off"}\n'
    (folder / "en.train.jsonl").write_text(twice)
    with pytest.raises(UserError) as caught:
        read(folder)
    assert str(caught.value) == f'{folder}/en.train.jsonl:2: the field "label" is there twice'
    (folder / "en.train.jsonl").write_text('{"tokens": ["a"], "tags": ["X"], "tags": ["Y"]}\n')
    with pytest.raises(UserError, match=r'train\.jsonl:1: the field "tags" is there twice'):
        read(folder, "pos_tags")


def numbered(*labels, folder):
    rows = [{"text": f"text {place}", "label": label} for place, label in enumerate(labels)]
    return write(folder, rows)


def test_numbers_are_names_of_their_own_by_size_or_places_in_labels_json(tmp_path):
    folder = numbered(10, 2, 1, 2, folder=tmp_path)
    data = read(folder)
    assert data.labels == ("1", "2", "10")
    assert data.train.labels.tolist() == [2, 1, 0, 1]
    (folder / "labels.json").write_text(json.dumps([f"name {place}" for place in range(11)]))
    data = read(folder)
    assert data.labels[:2] == ("name 0", "name 1")
    assert data.train.labels.tolist() == [10, 2, 1, 2]
    assert "labels are numbers: 0 is name 0, 1 is name 1, " in " ".join(data.notes)
    assert "has no row with the label name 0, name 3" in " ".join(data.notes)
    (folder / "labels.json").write_text('["x", "y", "z"]')
    with pytest.raises(UserError, match=r"train\.jsonl:1: label 10, .* 3 names, for 0 to 2$"):
        read(folder)
    numbered(0, 2, folder=folder)
    (folder / "labels.json").unlink()
    assert read(folder, "intents").labels == ("0", "2")


def test_numbers_are_places_in_the_labels_of_the_task(tmp_path):
    row = {"text": "a", "text_pair": "b"}
    folder = write(tmp_path, [{**row, "label": number} for number in (2, 0, 1)])
    data = read(folder, "xnli")
    assert data.labels == ("entailment", "neutral", "contradiction")
    assert data.train.labels.tolist() == [2, 0, 1]
    note = "labels are numbers: 0 is entailment, 1 is neutral, 2 is contradiction"
    assert note in data.notes


def test_tags_may_be_numbers(tmp_path):
    rows = [{"tokens": ["a", "b", "c"], "tags": [10, 0, 2]}, {"tokens": ["d"], "tags": [0]}]
    folder = write(tmp_path, rows)
    data = read(folder, "pos_tags")
    assert data.labels == ("0", "2", "10")
    assert data.train.labels.tolist() == [2, 0, 1, 0]
    with pytest.raises(UserError, match="scores spans"):
        read(folder, "tokens")
    (folder / "labels.json").write_text('["O", "B-X", "I-X"]')
    with pytest.raises(UserError, match=r"train\.jsonl:1: label 10, and there are 3 names"):
        read(folder, "tokens")
    write(folder, [{"tokens": ["a", "b", "c"], "tags": [1, 2, 0]}])
    assert read(folder, "tokens").train.labels.tolist() == [1, 2, 0]


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"text": "b", "label": "1"}, "label is a string, and those before it in the file are not"),
        ({"text": "b", "label": 1.0}, "label must be a string or an integer, not a float"),
        ({"text": "b", "label": True}, "label must be a string or an integer, not true or false"),
        ({"text": "b", "label": -1}, "label must not be -1"),
        ({"tokens": ["b"], "tags": ["X"]}, "every one of tags is a string"),
        ({"tokens": ["b"], "tags": [False]}, "every one of tags must be a string or an integer"),
        ({"tokens": ["b"], "tags": [-1]}, "every one of tags must not be -1"),
    ],
)
def test_numbers_are_not_mixed_with_anything(tmp_path, row, says):
    tokens = "tokens" in row
    good = {"tokens": ["a", "b"], "tags": [0, 1]} if tokens else {"text": "a", "label": 0}
    folder = write(tmp_path, [good, row])
    with pytest.raises(UserError) as caught:
        read(folder, "pos_tags" if tokens else "folder")
    assert str(caught.value).startswith(f"{folder}/en.train.jsonl:2: {says}")


def test_files_are_all_of_numbers_or_all_of_names(tmp_path):
    folder = numbered(0, 1, folder=tmp_path)
    (folder / "en.dev.jsonl").write_text('{"text": "a", "label": "0"}\n')
    with pytest.raises(UserError) as caught:
        read(folder)
    assert str(caught.value) == (
        f"{folder}/en.dev.jsonl:1: its labels are names, and those of {folder}/en.train.jsonl are "
        "numbers; write all of them alike"
    )


def test_rows_without_text_are_told():
    texts = Split(["a", " ", "b", ""], None, np.array([0, 1, 0, 1], np.int32), "en.train")
    assert oddities.blank(texts) == ["en.train: 2 rows have no text (first: row 2)"]
    pairs = Split(["a", "b"], ["\t", "c"], np.array([0, 1], np.int32), "en.dev")
    assert oddities.blank(pairs) == ["en.dev: 1 row has an empty text (first: row 1)"]
    words = Split([["a"], ["b", ""]], None, np.array([0, 1, 0], np.int32), "de.test")
    assert oddities.notes(["x", "y"], words) == ["de.test: 1 row has an empty word (first: row 2)"]
    assert oddities.blank(Split(["a"], None, np.array([0], np.int32), "sw.test")) == []
