"""XGLUE's eight tasks out of files in their original formats, traps included."""

import json

import pytest
import xglue_tree
from xglue_tree import FILES, LANGUAGES, TOP

from alignreg_jax.data import xglue, xglue_sizes
from alignreg_jax.data.sources import load
from alignreg_jax.data.tasks import TASKS, get_task
from alignreg_jax.errors import UserError

NAMES = {task.xglue.folder: name for name, task in TASKS.items() if task.xglue}


@pytest.fixture
def tree(tmp_path):
    return xglue_tree.write(tmp_path)


def read(name, path, **options):
    options = {"source": "folder", "data_dir": str(path), "languages": None} | options
    return load(get_task(name), **options)


def refused(*arguments, **options):
    with pytest.raises(UserError) as caught:
        read(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def names(data, split):
    return [data.labels[label] for label in split.labels]


def test_the_table_has_the_eight_tasks():
    assert set(NAMES) == set(FILES)
    for folder, name in NAMES.items():
        task = get_task(name)
        languages = LANGUAGES[folder].split()
        assert set(task.languages) == set(languages)
        assert task.languages[0] == "en"
        assert len(task.languages) == len(languages)
        assert task.max_length == (128 if name == "pos" else 256)
        assert set(task.text_a + task.text_b) <= set(task.columns[:-1])
        assert set(task.renamed.values()) <= set(task.labels)
        assert set(task.sources) == {"folder", "hub"}
    assert [len(get_task(name).labels) for name in ("nc", "ner", "pos", "wpr")] == [10, 9, 17, 5]
    assert len(get_task("pos").languages) == 18
    assert get_task("pos").metrics == ("pos_xglue", "word_accuracy")
    assert get_task("wpr").metrics == ("ndcg", "mcc")
    assert get_task("ner").metrics == ("f1",)


@pytest.mark.parametrize("name", NAMES.values())
def test_every_task_is_whole(tree, name):
    data = read(name, tree)
    assert list(data.test) == list(data.dev)
    assert set(data.test) == set(get_task(name).languages)
    assert next(iter(data.test)) == "en"
    assert data.labels == get_task(name).labels
    assert xglue_tree.notes(data) == ()
    assert data.unlabelled == ()


def test_xnli(tree):
    data = read("xnli", tree)
    assert data.train.text_a == [
        'He said " and never closed it .',
        "one\u2028two\u0085three\x0bfour\x1cfive",
        "",
    ]
    assert data.train.text_b == ['A quote " here .', "lone \r return", "an empty premise"]
    assert names(data, data.train) == ["contradiction", "neutral", "entailment"]
    assert data.dev["sw"].text_a == ["sw one", "NA"]
    assert data.dev["sw"].text_b == ["two", "null"]
    assert names(data, data.dev["sw"]) == ["neutral", "contradiction"]
    assert data.test["de"].text_a == ["de "]  # behind a byte order mark
    assert data.test["de"].text_b == [" two "]


def test_pawsx(tree):
    data = read("pawsx", tree)
    assert data.train.text_a == ['`` a " b', ""]
    assert data.train.text_b == ["c", ""]
    assert data.train.labels.tolist() == [0, 1]
    assert data.test["fr"].text_a == ["fr test", " x"]
    assert data.test["fr"].text_b == ["zwei", "y "]
    assert data.test["fr"].labels.tolist() == [1, 0]


def test_nc(tree):
    data = read("nc", tree)
    assert data.train.labels.tolist() == list(range(10))
    assert data.train.text_a[0] == 'A "title foodanddrink'
    assert data.train.text_b[0] == "Body, \u2028 of foodanddrink "
    assert names(data, data.test["ru"]) == ["autos", "news"]


def test_qam_and_qadsm(tree):
    data = read("qam", tree)
    assert list(zip(data.train.text_a, data.train.text_b, strict=True)) == [
        ("who ?", "  he  "),
        ("", "no question"),
    ]
    assert names(data, data.train) == ["1", "0"]
    assert data.dev["fr"].text_b == ["a  ", "a  "]  # XGLUE's French has such spaces
    data = read("qadsm", tree)
    assert data.train.text_a == ["shoes", "cars"]
    assert data.train.text_b == ['Buy "shoes cheap ...', " "]
    assert names(data, data.train) == ["Good", "Bad"]


def test_wpr_keeps_queries_in_file_order(tree):
    data = read("wpr", tree)
    assert names(data, data.train) == list("01234")
    split = data.test["pt"]
    assert split.text_a == [
        "one row alone", "all zero", "all zero", "ties", "ties", "ties", "one row alone",
    ]  # fmt: skip
    assert split.text_b[0] == "title snippet ..."
    assert names(data, split) == list("4003301")


def test_ner_mixes_schemes(tree):
    data = read("ner", tree)
    assert data.train.text_a == [["EU", "rejects", "German", "call"], ["Peter", "Bonn", "Rom"]]
    assert names(data, data.train) == ("I-ORG O I-MISC O I-PER I-LOC B-LOC".split())
    assert names(data, data.test["de"]) == "I-PER I-PER I-LOC O I-LOC".split()
    assert names(data, data.test["es"]) == "I-LOC O B-LOC O B-ORG I-ORG".split()
    assert data.test["es"].text_a[0] == ["Paulo", "(", "Brasil", ")"]


def test_pos_keeps_the_last_sentence_and_blanked_words(tree):
    data = read("pos", tree)
    assert data.train.text_a == [["From", "the", "AP"], ["_", "_", "_"], ["_", "well"]]
    assert data.test["th"].text_a == [["th"], ["1\u00a0000", "2"]]
    data = read("pos", tree, drop_blanked=True)
    assert data.train.text_a == [["From", "the", "AP"], ["_", "well"]]
    assert names(data, data.train) == "ADP DET PROPN PUNCT INTJ".split()
    assert xglue_tree.notes(data) == ("1 training sentences left out, their words are all '_'",)


def test_the_parent_and_a_folder_by_another_name(tree, tmp_path):
    assert read("qam", tmp_path).train.rows == 2
    renamed = tree.rename(tmp_path / "xglue")
    assert read("qam", renamed).train.rows == 2
    assert "neither XGLUE's QAM" in refused("qam", tmp_path)


@pytest.mark.parametrize("source", ["folder", "hub"])
def test_what_lies_there_decides(tree, tmp_path, source):
    assert read("xnli", tree, source=source).train.rows == 3
    folder = tmp_path / "jsonl"
    folder.mkdir()
    row = json.dumps({"text": "a", "text_pair": "b", "label": "1"}) + "\n"
    for split in ("train", "dev", "test"):
        (folder / f"en.{split}.jsonl").write_text(row)
    assert read("qam", folder, source=source).train.text_b == ["b"]


def test_languages_that_are_asked_for(tree):
    assert list(read("nc", tree, languages=("ru", "de")).test) == ["en", "ru", "de"]
    assert "task.languages: XGLUE's NC has no 'sw'; it has de, en, es, fr, ru" in refused(
        "nc", tree, languages=("sw",)
    )


@pytest.mark.parametrize(
    ("file", "says"),
    [
        ("xglue.nc.en.train", "nc has no train data of 'en'"),
        ("xglue.nc.en.dev", "nc has no dev data of 'en'"),
        ("xglue.nc.ru.test", "nc has no test data of 'ru'"),
    ],
)
def test_what_is_missing_is_named_with_the_two_ways_to_it(tree, file, says):
    (tree / "NC" / file).unlink()
    text = refused("nc", tree)
    assert text.startswith(f"{tree / 'NC' / file}: missing, so {says}")
    assert xglue.TERMS in text
    assert "hgissbkh/xglue" in text
    if ".ru." in file:
        assert list(read("nc", tree, languages=("de",)).test) == ["en", "de"]


def test_a_task_that_is_missing_is_never_replaced(tmp_path):
    some = xglue_tree.write(tmp_path, "NC", "XNLI")
    text = refused("ner", some)
    assert text.startswith(f"{some}: has no folder NER, so ner is missing; ")
    assert xglue.ways(get_task("ner")) in text
    assert "task.data_dir: ner needs XGLUE's data" in refused("ner", None, data_dir=None)
    assert xglue.ways(get_task("ner")) in refused("ner", None, data_dir=None)


@pytest.mark.parametrize("path", ["nowhere.tar.gz", "~nosuchuser/xglue"])
def test_a_path_where_nothing_is(path):
    text = refused("ner", path)
    assert text.startswith(f"task.data_dir={path}: no such folder or archive; ")
    assert xglue.ways(get_task("ner")) in text


def test_a_file_of_another_size_is_told(tree, monkeypatch):
    folder = tree / "QAM"
    monkeypatch.setattr(xglue_sizes, "_TRAIN", {"qam": 100})
    monkeypatch.setattr(xglue_sizes, "_EVERYWHERE", {"qam": (2, 1_000)})
    unlabel(folder / "xglue.qam.de.test")
    expected = {f"{folder}/xglue.qam.en.train has 2 rows, and XGLUE's 100"}
    expected |= {
        f"{folder}/xglue.qam.{code}.test has 2 rows, and XGLUE's 1,000"
        for code in ("en", "fr", "de")
    }
    data = read("qam", tree)
    assert set(data.notes) - set(xglue_tree.notes(data)) == expected
    monkeypatch.setattr(xglue_sizes, "_TRAIN", {"pos": 3})
    monkeypatch.setattr(xglue_sizes, "_EVERYWHERE", {"pos": (2, 2)})
    dropped = read("pos", tree, drop_blanked=True)  # the file is whole, nonetheless
    assert xglue_tree.notes(dropped) == dropped.notes != ()


def test_sizes_of_all_files_are_known():
    """Spot checks by sums that the specification or the corpora's papers give."""
    sizes = {
        split: {
            name: [xglue_sizes.rows(name, language, split) for language in get_task(name).languages]
            for name in NAMES.values()
        }
        for split in ("dev", "test")
    }
    for split, total in (("dev", 37_350), ("test", 75_150)):
        assert sum(sizes[split]["xnli"]) == total
        assert sum(sizes[split]["nc"]) == 50_000
    assert xglue_sizes.rows("pos", "en", "train") == 12_543 + 3_753 + 3_176 + 1_781 + 4_124
    assert xglue_sizes.rows("pos", "th", "dev") == xglue_sizes.rows("pos", "th", "test") == 498
    assert sizes["test"]["ner"] == [3_454, 3_007, 1_523, 5_202]
    assert sizes["dev"]["wpr"][-1] == 10_002


def unlabel(path):
    """Take the last column off every row, as in XGLUE's first archive."""
    rows = path.read_bytes().removesuffix(b"\n").split(b"\n")
    path.write_bytes(b"\n".join(row.rpartition(b"\t")[0] for row in rows) + b"\n")


@pytest.mark.parametrize("name", ["xnli", "nc", "qam", "qadsm", "wpr", "pawsx"])
def test_an_unlabelled_test_file_is_noted_and_not_evaluated(tree, name):
    task = get_task(name)
    path = tree / task.xglue.path("de", "test")
    unlabel(path)
    data = read(name, tree)
    assert "de" in data.dev
    assert "de" not in data.test
    assert data.unlabelled == (("test", "de"),)
    assert xglue_tree.notes(data) == (f"{path} has no labels, so de is not evaluated on it",)
    unlabel(tree / task.xglue.path("de", "dev"))
    text = refused(name, tree)
    assert text.startswith(f"{tree / task.xglue.path('de', 'dev')}:1: ")
    assert ("names of the columns" if name == "pawsx" else "columns and not") in text


def test_unlabelled_words(tree):
    path = tree / "NER" / "nl.test"
    path.write_bytes(b"La\nCaixa\n\nen\n")
    data = read("ner", tree)
    assert list(data.test) == ["en", "de", "es"]
    assert data.unlabelled == (("test", "nl"),)


def test_a_label_that_the_task_lacks(tree):
    path = tree / "WPR" / "xglue.wpr.zh.dev"
    path.write_bytes(b"q\tt\ts\t0\nq\tt\ts\t5\n")
    assert refused("wpr", tree).startswith(f"{path}:2: unknown label '5'")
    path = tree / "POS" / "zh.dev"
    path.write_bytes(b"a X\n\nb X\nc FOO\n")
    text = refused("pos", tree)
    assert text.startswith(f"{path}:4: unknown tag 'FOO' of 'c'")
    assert "labels.json" not in text


def test_a_training_header_in_an_evaluation_file_is_no_row(tree):
    path = tree / "XNLI" / "de.dev"
    path.write_bytes(b"premise\thypo\tlabel\na\tb\tneutral\n")
    assert refused("xnli", tree).startswith(f"{path}:1: unknown label 'label'")
    path = tree / "PAWSX" / "de" / "dev_2k.tsv"
    path.write_bytes(b"1\ta\tb\t0\n")
    assert refused("pawsx", tree).startswith(f"{path}:1: should be the names of the columns")


def test_reading_shows_progress_when_it_takes_long(tree, monkeypatch, capsys):
    read("xnli", tree)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("alignreg_jax.data.sources.DELAY", 1e-9)
    read("xnli", tree)
    assert "reading xnli: 100%" in capsys.readouterr().err


def test_the_top_folder_is_what_the_archive_calls_it(tree):
    assert tree.name == TOP == xglue.TOP
