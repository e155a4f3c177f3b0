"""Labels of the rows that a model is compared on, where a file has some of them or numbers."""

import json

import pytest

from alignreg_jax.compress import served
from alignreg_jax.errors import UserError


def read(folder, *rows, labels=("off", "on", "open"), head="dense-tanh-out", names=None):
    """The labels of rows, of a model whose labels are `labels`; `names` are in labels.json."""
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "en.test.jsonl").write_text(text)
    if names:
        (folder / "labels.json").write_text(json.dumps(names))
    return served.of_folder(folder, head, labels, []).rows["en"].labels.tolist()


def numbered(*labels):
    return [{"text": f"en{row}", "label": label} for row, label in enumerate(labels)]


@pytest.mark.parametrize(
    ("given", "names", "found"),
    [
        ((1, 2, 3), None, [0, 1, 2]),  # all are names of the model's
        ((1, 2), None, [0, 1]),
        ((0, 1, 2), None, [0, 1, 2]),  # 0 is not, so they are places
        ((0, 2), ["3", "2", "1"], [2, 0]),  # as in training: places in labels.json
        (("3", "1"), ["3", "2", "1"], [2, 0]),  # names that are digits
    ],
)
def test_labels_of_a_model_may_be_digits(tmp_path, given, names, found):
    assert read(tmp_path, *numbered(*given), labels=("1", "2", "3"), names=names) == found


@pytest.mark.parametrize("other", ["de.test.jsonl", "en.train.jsonl"])
def test_digits_mean_the_same_in_all_files(tmp_path, other):
    text = "".join(json.dumps(row) + "\n" for row in numbered(0, 1))
    (tmp_path / other).write_text(text)  # 0 is no name, so all are places
    assert read(tmp_path, *numbered(1, 2), labels=("1", "2", "3")) == [1, 2]


def test_a_number_that_is_neither_name_nor_place_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"en\.test\.jsonl:2: the model has no label '4'"):
        read(tmp_path, *numbered(1, 4), labels=("1", "2", "3"))


def test_rows_without_a_label_are_among_others(tmp_path):
    rows = [{"text": "en1"}, {"text": "en2", "label": "on"}, {"text": "en3"}]
    assert read(tmp_path, *rows) == [-1, 1, -1]
    assert read(tmp_path, *rows[1:], *rows[:1]) == [1, -1, -1]
    numbers = [{"text": "en1"}, {"text": "en2", "label": 2}]
    assert read(tmp_path, *numbers) == [-1, 2]
    assert read(tmp_path, {"text": "en1"}) == [-1]


def test_sentences_without_tags_are_among_others(tmp_path):
    rows = [{"tokens": ["a", "b"]}, {"tokens": ["c", "d"], "tags": ["open", "off"]}]
    assert read(tmp_path, *rows, head="token") == [-1, -1, 2, 0]


@pytest.mark.parametrize(
    ("label", "message"),
    [
        (None, "label must be a string or an integer, not null"),
        ([], "label must be a string or an integer, not a list"),
        ("", "the label is empty"),
        (-1, "label must not be -1"),
        ("no", "the model has no label 'no'"),
    ],
)
def test_a_label_that_is_none_is_refused_behind_a_row_without_one(tmp_path, label, message):
    with pytest.raises(UserError, match=rf"en\.test\.jsonl:2: {message}"):
        read(tmp_path, {"text": "en1"}, {"text": "en2", "label": label})
