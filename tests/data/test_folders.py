"""Which files of a folder are read, and that no language is forgotten without a word."""

import gzip
import json
import random

import pytest

from alignreg_jax.data import folders
from alignreg_jax.data.sources import load
from alignreg_jax.data.tasks import get_task
from alignreg_jax.errors import UserError

GOOD = b'{"text": "on", "label": "light"}\n{"text": "loud", "label": "sound"}\n'


@pytest.fixture
def folder(tmp_path):
    for name in ("en.train", "en.dev", "en.test", "de.test"):
        (tmp_path / f"{name}.jsonl").write_bytes(GOOD)
    return tmp_path


def read(folder, task="folder", **options):
    options = {"source": "folder", "data_dir": str(folder), "languages": None} | options
    return load(get_task(task), **options)


def refused(folder, **options):
    with pytest.raises(UserError) as caught:
        read(folder, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", ["jsonl.gz", "json", "JSONL", "jsonlines", "ndjson", "json.GZ"])
def test_json_lines_by_any_name_are_read(folder, name):
    content = gzip.compress(GOOD) if name.lower().endswith("gz") else GOOD
    (folder / f"sw.test.{name}").write_bytes(content)
    data = read(folder)
    assert list(data.test) == ["en", "de", "sw"]
    assert data.test["sw"].text_a == ["on", "loud"]
    tokens = folder / f"sw.dev.{name}"
    row = b'{"tokens": ["a"], "tags": ["X"]}\n{"tokens": ["b"], "tags": ["Y"]}\n'
    for split in ("train", "dev", "test"):
        (folder / f"en.{split}.jsonl").write_bytes(row)
    tokens.write_bytes(gzip.compress(row) if name.lower().endswith("gz") else row)
    assert read(folder, "pos_tags", splits=("dev",)).dev["sw"].text_a == [["a"], ["b"]]


def test_training_data_may_be_zipped(folder):
    pair = b'{"text": "a", "text_pair": "b", "label": "x"}\n' + GOOD[:0]
    pair += pair.replace(b'"x"', b'"y"')
    for split in ("train", "dev", "test"):
        (folder / f"en.{split}.jsonl").unlink()
        (folder / f"en.{split}.jsonl.gz").write_bytes(gzip.compress(pair))
    (folder / "de.test.jsonl").write_bytes(pair)
    assert read(folder).train.text_b == ["b", "b"]


def test_a_zipped_file_that_is_cut_or_damaged_is_named_where_it_ends(folder):
    words = random.Random(0)
    rows = [json.dumps({"text": words.randbytes(40).hex(), "label": "light"}) for _ in range(500)]
    whole = gzip.compress("\n".join(rows).encode())
    path = folder / "sw.test.jsonl.gz"
    for content in (whole[: len(whole) // 2], whole[:-8] + bytes(8), GOOD, b""):
        path.write_bytes(content)
        text = refused(folder)
        assert text.startswith(f"{path}:")
    path.write_bytes(whole[: len(whole) // 2])
    line = int(refused(folder).removeprefix(f"{path}:").split(":")[0])
    assert 100 < line < 400


@pytest.mark.parametrize(
    "name",
    [
        *("sw.test.jsonl.xz", "sw.test.jsonl.zip", "sw.test.jsonl.bak", "sw.test.jsonl.gz.part"),
        *("sw.test.json.txt", "more/sw.test.jsonl", "sw/test.jsonl", "test/sw.jsonl.gz"),
    ],
)
def test_a_language_is_not_forgotten_because_its_file_is_not_read(folder, name):
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(GOOD)
    text = refused(folder)
    assert text.startswith(f"{path}: looks like test data of sw and is not read")
    assert f"{folder}/sw.test.jsonl is" in text
    assert str(path) in refused(folder, languages=("sw",))
    assert list(read(folder, languages=("de",)).test) == ["en", "de"]  # it was left out on purpose
    (folder / "sw.test.jsonl").write_bytes(GOOD)
    assert f"{path} is not read" in read(folder).notes


def test_training_data_in_another_place_are_named(folder):
    (folder / "en.train.jsonl").rename(folder / "en.train.jsonl.zst")
    assert refused(folder).startswith(f"{folder}/en.train.jsonl.zst: looks like train data of en")


@pytest.mark.parametrize(
    "name",
    [
        *("de.tst.jsonl", "de.valid.jsonl", "de.validation.jsonl.gz", "de-test.jsonl"),
        *("de_test.ndjson", "de.TEST.jsonl", "test.jsonl", "de.jsonl"),
    ],
)
def test_json_lines_under_another_name_are_refused(folder, name):
    (folder / name).write_bytes(GOOD)
    text = refused(folder)
    assert text.startswith(f"{folder / name}: expected a name like en.train.jsonl")
    assert "splits are train, dev and test" in text


@pytest.mark.parametrize("name", ["DE.test.jsonl", "de.test.jsonl.gz", "de.test.json"])
def test_a_language_that_is_there_twice_is_refused(folder, name):
    (folder / name).write_bytes(gzip.compress(GOOD) if name.endswith("gz") else GOOD)
    text = refused(folder)
    if name.startswith("DE"):
        assert text == (
            f"{folder}/de.test.jsonl: the language is there twice, as de and, in DE.test.jsonl,"
            " as DE"
        )
    else:
        assert text.startswith(f"{folder}/de.test.jsonl: de has test data in de.test.json") or (
            text == f"{folder}/{name}: de has test data in de.test.jsonl, too; keep one"
        )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("DE.unlabelled.txt", "de.test.jsonl: the language is there twice, as de and, in DE.unl"),
        ("zh_CN.unlabeled.jsonl", "zh_CN.unlabeled.jsonl: the language is there twice, as zh_CN"),
    ],
)
def test_a_language_is_spelt_alike_in_data_and_in_text_without_labels(folder, name, expected):
    (folder / "zh-CN.test.jsonl").write_bytes(GOOD)
    (folder / name).write_bytes(GOOD)
    _, (mistake,) = folders.unlabelled(folder, bare=False)
    assert str(mistake).startswith(f"{folder}/{expected}")
    (folder / name).rename(folder / "zh-CN.unlabelled.txt")
    files, mistakes = folders.unlabelled(folder, bare=False)
    assert (list(files), mistakes) == (["zh-CN"], ())


def test_the_odd_file_of_a_language_in_two_spellings_is_the_one_that_is_named(folder):
    (folder / "EN.dev.jsonl").write_bytes(GOOD)
    says = "the language is there twice, as EN and, in en.dev.jsonl, as en"
    assert refused(folder) == f"{folder}/EN.dev.jsonl: {says}"


def test_another_english_is_told(folder):
    (folder / "en_US.test.jsonl").write_bytes(GOOD)
    (folder / "en_US.dev.jsonl").write_bytes(GOOD)
    told = [note for note in read(folder).notes if "en_US" in note]
    assert told == [f"{folder}: en_US counts as another language than en"]


def test_other_formats_are_noted_and_other_files_are_not(folder):
    names = ["sw.test.csv", "sw.test.parquet", "sw_test.tsv", "sw.valid.json", "fr.tst.txt"]
    for name in (*names, "README.md", "LICENSE", "run.sh", "dataset_info.json", ".de.test.jsonl"):
        (folder / name).write_bytes(GOOD)
    (folder / "cache").mkdir()
    (folder / "cache" / "lines.jsonl").write_bytes(GOOD)
    expected = [f"{folder}/{name} is not read" for name in sorted([*names, "cache/lines.jsonl"])]
    assert sorted(note for note in read(folder).notes if "is not read" in note) == expected


def test_a_folder_without_json_lines_says_what_it_has(tmp_path):
    (tmp_path / "README.md").write_text("data")
    text = f"{tmp_path}: has no <lang>.<split>.jsonl; a line of en.train.jsonl is"
    assert refused(tmp_path).startswith(text)
    (tmp_path / "en.train.csv").write_text("text,label")
    assert f"<lang>.<split>.jsonl ({tmp_path}/en.train.csv is not read); a line" in refused(
        tmp_path
    )


def test_a_label_file_by_another_name_is_refused(folder):
    (folder / "Labels.json").write_text('["sound", "light"]')
    text = f"{folder}/Labels.json: is not read; the file of the label names is labels.json"
    assert refused(folder) == text


def test_a_language_that_is_asked_for_has_to_have_what_is_evaluated(folder):
    (folder / "de.test.jsonl").rename(folder / "de.dev.jsonl")
    assert "has no 'de'; it has en" in refused(folder, languages=("de",), splits=("test",))
    assert list(read(folder, languages=("de",), splits=("dev",)).dev) == ["en", "de"]


def test_files_that_xglue_does_not_have_are_noted(tmp_path):
    import xglue_tree

    root = xglue_tree.write(tmp_path, "NER", "PAWSX")
    (root / "NER" / "it.test").write_bytes(b"Roma I-LOC\n")
    (root / "PAWSX" / "ja").mkdir()
    (root / "PAWSX" / "ja" / "test_2k.tsv").write_bytes(b"")
    assert f"{root}/NER/it.test is not read" in read(root, "ner").notes
    assert f"{root}/PAWSX/ja/test_2k.tsv is not read" in read(root, "pawsx").notes
