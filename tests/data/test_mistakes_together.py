"""Mistakes in one folder are told at once, and none is made up beside another."""

import pytest
from folder_cases import GOOD, lines, load_folder

from alignreg_jax.data import jsonl
from alignreg_jax.data.tasks import get_task
from alignreg_jax.errors import UserError, lines_of


def test_every_mistake_of_a_folder_is_told_at_once(tmp_path):
    """The first of each kind in a file, and how many more; what is sound in others is no news."""
    good = '{"text": "a", "label": "x"}\n{"text": "b", "label": "y"}\n'
    files = {
        "en.train": good + '{"text": "c"}\n{"text": "c"}\n{"text": 3, "label": "x"}\n',
        "en.dev": good,
        "en.test": good,
        "de.test": '{"text": "a", "label": "x"}\n{"text": "b", "label": \n',
        "sw.test": '{"text": "a", "label": "z"}\n',
        "th.test": "",
    }
    for name, text in files.items():
        (tmp_path / f"{name}.jsonl").write_text(text)

    def told():
        with pytest.raises(UserError) as caught:
            load_folder(tmp_path)
        return [line.removeprefix(f"{tmp_path}/") for line in lines_of(caught.value)]

    assert told() == [
        "en.train.jsonl:3: the field label is missing (and 1 more like it)",
        "en.train.jsonl:5: text must be a string, not a number",
        "de.test.jsonl:2: not JSON (Expecting value at column 24)",
        "th.test.jsonl:1: the file has no rows",
        "sw.test.jsonl:1: unknown label 'z'; there are 'x', 'y'; labels.json beside the data may"
        " name others",
    ]
    (tmp_path / "en.train.jsonl").write_text(good)  # what its labels are is known now
    (tmp_path / "th.test.jsonl").write_text(good)
    assert [line.partition(";")[0] for line in told()] == [
        "de.test.jsonl:2: not JSON (Expecting value at column 24)",
        "sw.test.jsonl:1: unknown label 'z'",
    ]


def test_names_of_files_are_told_beside_what_is_in_them(tmp_path):
    """And labels of rows that are sound, where others of the file are not."""
    files = {
        "en.train": '{"text": "a", "label": "x"}\n{"text": 3, "label": "rare"}\n',
        "en.dev": '{"text": 3}\n{"text": "a", "label": "z"}\n{"text": "b", "label": "rare"}\n',
        "en.test": '{"text": "a", "label": "x"}\n{"text": "a", "label": " x"}\n',
        "de.test": '{"text": "a", "label": "x"}\n',
        "DE.dev": '{"text": "a", "label": "x"}\n',
        "sw.tset": '{"text": "a", "label": "x"}\n',
    }
    for name, text in files.items():
        (tmp_path / f"{name}.jsonl").write_text(text)
    with pytest.raises(UserError) as caught:
        load_folder(tmp_path)
    assert [
        line.removeprefix(f"{tmp_path}/").partition(";")[0] for line in lines_of(caught.value)
    ] == [
        "de.test.jsonl: the language is there twice, as de and, in DE.dev.jsonl, as DE",
        "sw.tset.jsonl: expected a name like en.train.jsonl or sw.test.jsonl",
        "en.train.jsonl:2: text must be a string, not a number",
        "en.dev.jsonl:1: text must be a string, not a number",
        "en.dev.jsonl:2: unknown label 'z'",
        "en.test.jsonl:2: unknown label ' x'",
    ]


def test_files_of_which_no_row_is_sound_are_told_beside_numbers_for_labels(write_folder):
    numbers = lines({"text": "a", "label": 0}, {"text": "b", "label": 1})
    folder = write_folder({"de.test.jsonl": b"", "sw.test.jsonl": lines([1])}, good=numbers)
    with pytest.raises(UserError) as caught:
        load_folder(folder)
    assert len(lines_of(caught.value)) == 2


def test_tags_beside_bad_rows_are_closed_as_ever(write_folder):
    good = lines({"tokens": ["a"], "tags": ["B-X"]}, {"tokens": ["b"], "tags": ["O"]})
    inside = lines({"tokens": ["a"], "tags": ["I-X"]}, {"tokens": ["a"], "tags": ["I-Y"]})
    folder = write_folder({"en.train.jsonl": good + lines([1]), "de.test.jsonl": inside}, good=good)
    with pytest.raises(UserError) as caught:
        load_folder(folder, get_task("tokens"))
    first, second = lines_of(caught.value)
    assert "en.train.jsonl:3: expected an object" in first
    assert "de.test.jsonl:2: unknown tag 'I-Y'" in second


@pytest.mark.parametrize(
    "damage",
    [
        b'{"text": "c", "label": "z"\n',  # no JSON: whatever it says is not known
        b"\xff\n",  # no text: what stands behind it is not read
        b"\n".join(b'{"a%d": 1, "a%d": 2}' % (n, n) for n in range(99)) + b"\n",  # not all read
    ],
)
def test_labels_of_rows_that_cannot_be_read_are_not_called_unknown(write_folder, damage):
    rare = lines({"text": "c", "label": "z"})
    folder = write_folder({"en.train.jsonl": GOOD + damage + rare[:-3], "de.test.jsonl": rare})
    with pytest.raises(UserError) as caught:
        load_folder(folder)
    assert not [line for line in lines_of(caught.value) if "unknown label" in line]


def test_of_many_unknown_labels_the_first_are_told_and_how_many_more(write_folder):
    rows = [{"text": str(number), "label": f"new{number}"} for number in range(12)]
    folder = write_folder({"de.test.jsonl": lines(*rows)})
    with pytest.raises(UserError) as caught:
        load_folder(folder)
    said = lines_of(caught.value)
    assert [line.partition(": ")[0] for line in said] == [
        f"{folder}/de.test.jsonl:{number}" for number in range(1, 9)
    ]
    assert said[-1].endswith(" (and 4 more unknown labels)")


def test_of_many_kinds_of_mistakes_the_first_are_told(tmp_path):
    rows = [f'{{"a{number}": 1, "a{number}": 2}}' for number in range(99)]
    (tmp_path / "rows.jsonl").write_text("\n".join(rows))
    with pytest.raises(UserError) as caught:
        jsonl.read(tmp_path / "rows.jsonl", pair=False)
    assert len(lines_of(caught.value)) == jsonl.MISTAKES
