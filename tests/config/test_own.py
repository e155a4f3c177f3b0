"""configs/own.py: what a folder of a user's decides by itself."""

import json

import pytest

from alignreg_jax.config import own_config, resolve
from alignreg_jax.data import folders, guess


def rows(path, *made):
    path.write_text("".join(json.dumps(row) + "\n" for row in made))


@pytest.mark.parametrize(
    ("row", "task"),
    [
        ({"text": "a", "label": "x"}, "folder"),
        ({"text": "a", "text_pair": "b", "label": 1}, "folder"),
        ({"tokens": ["a", "b"], "tags": ["O", "B-X"]}, "tokens"),
        ({"tokens": ["a"], "tags": ["NOUN"]}, "pos_tags"),
        ({"tokens": ["a"], "tags": [3]}, "pos_tags"),
        ({"tokens": ["a"]}, "folder"),
        (["no row"], "folder"),
    ],
)
def test_the_first_rows_decide_over_the_task(tmp_path, row, task):
    rows(tmp_path / "en.train.jsonl", row, row)
    config = own_config(str(tmp_path))
    assert (config.task.name, config.task.data_dir) == (task, str(tmp_path))
    assert config.distill.text is None
    assert resolve(config).pruning.sizes == (1.0, 0.75, 0.5, 0.35, 0.25)


def test_tags_that_are_numbers_have_the_names_in_labels_json(tmp_path):
    rows(tmp_path / "en.train.jsonl", {"tokens": ["a", "b"], "tags": [0, 1]})
    (tmp_path / "labels.json").write_text('["O", "B-PER", "I-PER"]')
    assert own_config(str(tmp_path)).task.name == "tokens"
    (tmp_path / "labels.json").write_text('["NOUN", "VERB"]')
    assert own_config(str(tmp_path)).task.name == "pos_tags"


@pytest.mark.parametrize(("tag", "task"), [("S-X", "tokens"), ("E-X", "tokens"), ("X", "pos_tags")])
def test_rows_are_read_until_a_tag_says_something(tmp_path, tag, task):
    outside = [{"tokens": ["a"], "tags": ["O"]}] * 150
    rows(tmp_path / "en.train.jsonl", *outside, {"tokens": ["a"], "tags": [tag]})
    assert own_config(str(tmp_path)).task.name == task


def test_text_without_labels_is_taken_if_there_is_some(tmp_path):
    rows(tmp_path / "en.train.jsonl", {"text": "a", "label": "x"})
    without = own_config(str(tmp_path))
    (tmp_path / "de.unlabeled.txt").write_text("eins")  # as it is spelt elsewhere
    config = own_config(str(tmp_path))
    assert config.distill.text == "data"
    assert list(folders.unlabelled(tmp_path, bare=False)[0]) == ["de"]
    assert 2 * config.pruning.epochs_per_step == without.pruning.epochs_per_step


def test_what_looks_like_such_text_is_not_passed_over(tmp_path):
    (tmp_path / "de.unlabel.csv").write_text("eins")
    assert own_config(str(tmp_path)).distill.text == "data", "which then says why it is not read"


@pytest.mark.parametrize("name", ["nowhere", "file", ""])
def test_what_is_no_folder_is_left_to_who_reads_it(tmp_path, name):
    (tmp_path / "file").write_text("")
    folder = str(tmp_path / name) if name else ""
    config = own_config(folder)
    assert config.task.data_dir == (folder or None)
    assert config.task.name == "folder"


def test_damaged_rows_are_left_to_who_reads_them(tmp_path):
    (tmp_path / "en.train.jsonl").write_bytes(b"\xff\n")
    assert guess.task_of(tmp_path) == "folder"
    for row in ('{"tokens": 3}', '{"tokens": ["a"], "tags": ' + 100_000 * "["):
        (tmp_path / "en.train.jsonl").write_text(row)
        assert guess.task_of(tmp_path) == "folder"
