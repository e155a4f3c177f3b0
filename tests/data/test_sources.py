"""Folders of one file a language and split: what is read, and what is named if it is wrong."""

import json
from collections import Counter

import numpy as np
import pytest
from folder_cases import FOLDER, GOOD, PAIRS, lines, load_folder
from hypothesis import given, settings
from hypothesis import strategies as st

from alignreg_jax.data import jsonl
from alignreg_jax.data.sources import load
from alignreg_jax.data.tasks import TASKS, get_task
from alignreg_jax.errors import UserError, lines_of

MANY = settings(deadline=None, max_examples=200)


def message(call, *arguments, **options):
    with pytest.raises(UserError) as caught:
        call(*arguments, **options)
    first, *others = lines_of(caught.value)
    assert not any("\n" in line for line in (first, *others))
    return first


def test_a_folder_is_read_in_file_order_with_labels_from_train(write_folder):
    german = lines({"text": "laut", "label": "sound"}, {"text": "an", "label": "light"})
    data = load_folder(write_folder({"de.test.jsonl": german}))
    assert data.labels == ("light", "sound")
    assert data.train.text_a == ["on", "loud"]
    assert data.train.text_b is None
    assert data.train.labels.dtype == np.int32
    assert list(data.test) == ["en", "de"]
    assert data.test["de"].text_a == ["laut", "an"]
    assert data.test["de"].labels.tolist() == [1, 0]
    assert list(data.dev) == ["en"]
    assert data.notes == (), "other languages need no dev data"
    folder = write_folder(
        {"de.test.jsonl": german, "fr.dev.jsonl": german, "sw.test.jsonl": german}
    )
    said = ("de, sw have no dev data", "fr has no test data")
    assert load_folder(folder).notes == said, "one has some"


def test_labels_beside_the_data_come_before_those_of_train(write_folder):
    names = ["sound", "never seen", "light"]
    folder = write_folder({"labels.json": json.dumps(names).encode()})
    data = load_folder(folder)
    assert data.labels == tuple(names)
    assert data.train.labels.tolist() == [2, 0]


@pytest.mark.parametrize("content", [b"{}", b"[1, 2]", b'["a", "a"]', b'["a"]', b'["a", ""]', b"["])
def test_a_label_file_that_is_no_list_of_names_is_refused(write_folder, content):
    assert "labels.json" in message(load_folder, write_folder({"labels.json": content}))


def test_a_tasks_own_labels_come_first(write_folder):
    names = b'["neutral", "entailment"]'
    data = load_folder(write_folder({"labels.json": names}, good=PAIRS), get_task("xnli"))
    assert data.labels == ("entailment", "neutral", "contradiction")
    assert data.train.text_b == ["b", "d"]
    text = message(
        load_folder, write_folder(good=PAIRS.replace(b"neutral", b"maybe")), get_task("xnli")
    )
    assert "en.train.jsonl:2: unknown label 'maybe'" in text


def test_languages_that_a_task_of_xglue_lacks_are_told(write_folder):
    folder, task = write_folder({"ru.dev.jsonl": PAIRS}, good=PAIRS), get_task("xnli")
    note = f"{folder} has no ar, bg, de, el, es, fr, hi, sw, th, tr, ur, vi, zh for xnli, so"
    assert load_folder(folder, task).notes[0].startswith(note)
    assert not any("has no ar" in note for note in load_folder(folder, task, ("ru",)).notes)
    text = message(load_folder, folder, task, ("ru", "sw"))
    assert "'sw'; it has en, ru; get XGLUE from" in text
    assert "choose facebook/xnli on the Hub" in text


def test_the_generic_folder_holds_pairs_if_its_first_row_is_one(write_folder):
    data = load_folder(write_folder(good=PAIRS))
    assert data.train.text_b == ["b", "d"]
    mixed = write_folder({"en.dev.jsonl": lines({"text": "a", "label": "neutral"})}, good=PAIRS)
    assert "en.dev.jsonl:1: the field text_pair is missing" in message(load_folder, mixed)
    assert "en.train.jsonl:1: has a text_pair" in message(
        load_folder, write_folder(good=PAIRS), get_task("intents")
    )


def test_other_languages_are_never_trained_on(write_folder):
    data = load_folder(write_folder({"de.train.jsonl": GOOD, "de.test.jsonl": GOOD}))
    assert data.train.origin.endswith("en.train.jsonl")
    assert any("de has training data" in note for note in data.notes)


def test_languages_asked_for_are_read_and_english_with_them(write_folder):
    folder = write_folder({"de.test.jsonl": GOOD, "fr.test.jsonl": GOOD, "sw.test.jsonl": GOOD})
    assert list(load_folder(folder, languages=("sw", "de")).test) == ["en", "sw", "de"]
    assert list(load_folder(folder, languages=()).test) == ["en", "de", "fr", "sw"]
    text = message(load_folder, folder, languages=("de", "it"))
    assert "task.languages" in text
    assert "'it'; it has de, en, fr, sw" in text


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("en.train.jsonl", "en.train.jsonl: missing; en.train and en.dev"),
        ("en.dev.jsonl", "en.dev.jsonl: missing; en.train and en.dev"),
        ("en.test.jsonl", "en.test.jsonl: missing; at least one language"),
    ],
)
def test_required_files(write_folder, name, expected):
    assert expected in message(load_folder, write_folder({name: None}))


def test_a_test_set_of_another_language_is_enough(write_folder):
    data = load_folder(write_folder({"en.test.jsonl": None, "de.test.jsonl": GOOD}))
    assert list(data.test) == ["de"]
    assert "en has no test data" in data.notes


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("de.tests.jsonl", "expected a name like"),
        ("german.jsonl", "expected a name like"),
        ("zh_cn.test.jsonl", "twice, as zh_cn and, in zh-CN.test.jsonl, as zh-CN"),
    ],
)
def test_misnamed_files_are_not_ignored(write_folder, name, expected):
    folder = write_folder({"zh-CN.test.jsonl": GOOD, name: GOOD, "README.md": b"# words"})
    text = message(load_folder, folder)
    assert expected in text
    assert name in text


BAD_ROWS = {
    "missing text": (b'{"label": "light"}', "the field text is missing"),
    "missing label": (b'{"text": "on"}', "the field label is missing"),
    "number for text": (b'{"text": 3, "label": "light"}', "text must be a string, not a number"),
    "null label": (
        b'{"text": "on", "label": null}',
        "must be a string or an integer, not null",
    ),
    "boolean label": (
        b'{"text": "on", "label": true}',
        "must be a string or an integer, not true or",
    ),
    "empty label": (b'{"text": "on", "label": ""}', "the label is empty"),
    "list": (b"[1]", "expected an object with text and label, not a list"),
    "not JSON": (b'{"text": "on"', "not JSON (Expecting ',' delimiter at column"),
    "digits": (b"1" * 5000, "not JSON"),
    "brackets": (b"[" * 100_000, "not JSON"),
    "surrogate": (b'{"text": "\\ud800", "label": "light"}', "half a surrogate pair"),
    "not UTF-8": (b'{"text": "caf\xe9", "label": "light"}', "not UTF-8"),
    "blank line": (b"", "a blank line"),
    "unknown label": (b'{"text": "on", "label": "dark"}', "unknown label 'dark'"),
}


@pytest.mark.parametrize("case", BAD_ROWS)
def test_a_bad_row_is_named_by_file_and_line(write_folder, case):
    row, expected = BAD_ROWS[case]
    first, second = GOOD.splitlines(keepends=True)
    folder = write_folder({"de.test.jsonl": first + row + b"\n" + second})
    text = message(load_folder, folder)
    assert text.startswith(f"{folder / 'de.test.jsonl'}:2: ")
    assert expected in text


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xef\xbb\xbf\r\n"])
def test_an_empty_file_is_an_error(write_folder, content):
    assert "de.dev.jsonl:1: the file has no rows" in message(
        load_folder, write_folder({"de.dev.jsonl": content})
    )


def test_a_file_that_cannot_be_read_is_named(write_folder):
    folder = write_folder()
    (folder / "de.test.jsonl").symlink_to("nowhere")
    assert "de.test.jsonl: cannot be read (No such file" in message(load_folder, folder)
    (folder / "de.test.jsonl").unlink()
    (folder / "de.test.jsonl").mkdir()
    assert "de.test.jsonl: cannot be read (Is a directory)" in message(load_folder, folder)


def test_a_single_label_is_nothing_to_learn(write_folder):
    assert "one label only" in message(load_folder, write_folder(good=GOOD[: GOOD.index(b"\n")]))


def test_sources_and_folders_that_do_not_fit(tmp_path):
    text = message(load, get_task("intents"), source="hub", data_dir=None, languages=None)
    assert "task.source='hub': intents can be read from demo, folder" in text
    assert "task.data_dir" in message(load, FOLDER, source="folder", data_dir=None, languages=None)
    assert "task.data_dir" in message(
        load, get_task("intents"), source="demo", data_dir=str(tmp_path), languages=None
    )
    absent = f"task.data_dir={tmp_path}/absent: no such folder; it should hold <lang>.<split>.jsonl"
    assert message(load_folder, tmp_path / "absent") == absent
    assert message(load_folder, "~nosuchuser").startswith("task.data_dir=~nosuchuser: no such")
    assert "has no <lang>.<split>.jsonl" in message(load_folder, tmp_path)


def test_an_unknown_task_names_those_there_are():
    assert ", ".join(TASKS) in message(get_task, "xquad")


letters = st.text(st.characters(codec="utf-8"), max_size=12)
rows_of_file = st.lists(
    st.fixed_dictionaries({"text": letters, "label": letters.filter(bool)}), min_size=1, max_size=8
)


@MANY
@given(
    rows=rows_of_file,
    escaped=st.booleans(),
    mark=st.sampled_from([b"", b"\xef\xbb\xbf"]),
    newline=st.sampled_from([b"\n", b"\r\n"]),
    end=st.sampled_from([b"", b"\n", b"\r\n", b"\n\n"]),
)
def test_no_row_is_lost_or_invented(tmp_path_factory, rows, escaped, mark, newline, end):
    path = tmp_path_factory.mktemp("rows") / "en.train.jsonl"
    written = [json.dumps(row, ensure_ascii=escaped).encode() for row in rows]
    path.write_bytes(mark + newline.join(written) + end)
    read = jsonl.read(path, pair=None)
    assert read.text_a == [row["text"] for row in rows]
    assert read.labels == [row["label"] for row in rows]
    assert read.text_b is None


@MANY
@given(st.data())
def test_damage_is_a_user_error_or_other_rows_but_never_a_crash(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("damage") / "en.train.jsonl"
    content = bytearray(data.draw(st.sampled_from([GOOD, PAIRS, b""])))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content)))
        content[place : place + data.draw(st.integers(0, 3))] = data.draw(
            st.binary(max_size=4) | st.sampled_from([b"\n", b"\r", b'"', b"{", b"\xe2\x80\xa8"])
        )
    path.write_bytes(bytes(content))
    try:
        read, error = jsonl.read(path, pair=None), ""
    except UserError as caught:
        read, error = None, "".join(lines_of(caught))
    if read is not None:
        lines_left = bytes(content).rstrip(b" \t\r\n").split(b"\n")
        assert len(read.text_a) == len(read.labels) == len(lines_left)
    else:
        assert "\n" not in error
        assert error.startswith(f"{path}:")
        assert error.removeprefix(f"{path}:").split(":")[0].isdigit()


def test_line_separators_inside_a_text_do_not_split_it(write_folder):
    text = "one\u2028two\u0085three\x0bfour"
    row = lines({"text": text, "label": "light"}, {"text": "x", "label": "sound"})
    assert Counter(load_folder(write_folder(good=row)).train.text_a) == Counter([text, "x"])
