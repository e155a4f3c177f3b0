"""Sentences in parallel: by line or by id, and files that are not."""

import json

import pytest

from alignreg_jax.data import parallel
from alignreg_jax.errors import UserError


def files(folder, **texts):
    paths = []
    for name, lines in texts.items():
        path = folder / name.replace("_", ".")
        rows = [line if isinstance(line, str) else json.dumps(line) for line in lines]
        path.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
        paths.append(str(path))
    return paths


def test_lines_of_the_same_number(tmp_path):
    sentences = [{"tokens": ["eins", "!"]}, {"tokens": ["zwei"]}]
    given = files(tmp_path, en_txt=["one", "two"], de_test_jsonl=sentences)
    found = parallel.read(given, "en")
    assert {name: split.text_a for name, split in found.items()} == {
        "en": ["one", "two"], "de": ["eins !", "zwei"],
    }  # fmt: skip


def test_rows_of_the_same_id_in_the_pivots_order(tmp_path):
    given = files(
        tmp_path,
        de_jsonl=[
            {"id": "b", "text": "zwei"},
            {"id": "a", "text": "eins"},
            {"id": "d", "text": ""},
        ],
        en_jsonl=[{"id": name, "text": name} for name in "cab"],
    )
    found = parallel.read(given, "en")
    assert [list(found), found["en"].text_a, found["de"].text_a] == [
        ["de", "en"], ["a", "b"], ["eins", "zwei"],
    ]  # fmt: skip
    assert {split.rows for split in found.values()} == {2}
    assert parallel.read(given, "de")["en"].text_a == ["b", "a"]


@pytest.mark.parametrize(
    ("texts", "says"),
    [
        ({"en_txt": ["one"]}, "a file of en, en.txt, and of at least one other"),
        ({"de_txt": ["eins"], "sw_txt": ["moja"]}, "a file of en"),
        ({"en_txt": ["one"], "en_dev_txt": ["one"]}, "another file of en"),
        ({"en_txt": ["a", "b"], "de_txt": ["a"]}, "de.txt has 1 rows and .*en.txt 2"),
        ({"en_txt": ["a", "", "b"], "de_txt": ["a"]}, "en.txt:2: a blank line"),
        ({"en_txt": ["a"], "de_csv": ["a"]}, "de.csv: should end with .txt"),
        ({"en_txt": ["a"], "de_jsonl": [{"id": "1", "text": "a"}]}, "en.txt: its rows have no id"),
        ({"en_jsonl": [{"id": "1", "text": "a"}], "de_jsonl": [{"id": "2", "text": "a"}]},
         "no id is in all"),
        ({"en_jsonl": [{"id": "1", "text": "a"}] * 2, "de_jsonl": [{"id": "1", "text": "a"}]},
         'en.jsonl:2: id "1" is there twice'),
        ({"en_jsonl": [{"id": 1, "text": "a"}], "de_jsonl": [{"id": "1", "text": "a"}]},
         "en.jsonl:1: id must be a string"),
        ({"en_jsonl": [{"id": "1", "text": "a"}, {"text": "b"}], "de_txt": ["a"]},
         "en.jsonl:2: the field id is missing"),
        ({"en_jsonl": [{"text": "b"}, {"id": "1", "text": "a"}], "de_txt": ["a", "b"]},
         "en.jsonl:1: the field id is missing"),
        ({"en_txt": ["a"], "d\ne_txt": ["a"]}, "should be named <language>.txt"),
    ],
)  # fmt: skip
def test_what_is_not_parallel_is_told(tmp_path, texts, says):
    with pytest.raises(UserError, match=says):
        parallel.read(files(tmp_path, **texts), "en")
