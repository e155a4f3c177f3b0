"""Text without labels: which files are read, what is dropped, what an epoch draws."""

import gzip
import json
from collections import Counter

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alignreg_jax.data import sources, unlabelled
from alignreg_jax.data.schema import Split
from alignreg_jax.data.tasks import get_task
from alignreg_jax.data.unlabelled import UNLABELLED, allotted, draw, without_leaks
from alignreg_jax.errors import UserError

FOLDER = {"task": "folder", "source": "folder", "pair": False, "languages": None}
TOKENS = FOLDER | {"task": "tokens"}
PAIRS = FOLDER | {"task": "xnli", "pair": True}


def lines(*rows):
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def write(folder, files):
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        if content is None:
            path.symlink_to("nowhere")
        else:
            path.write_bytes(content)
    return folder


def read(where, task="folder", data_dir=None, **options):
    options = FOLDER | {"data_dir": None if data_dir is None else str(data_dir)} | options
    del options["task"]
    return unlabelled.read(get_task(task), str(where), **options)


def refused(where, **options):
    with pytest.raises(UserError) as caught:
        read(where, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def texts(*rows, second=None, origin="de"):
    return Split([*rows], second, np.full(len(rows), UNLABELLED, np.int32), origin)


def sentences(*rows):
    words = [row.split() for row in rows]
    return Split(words, None, np.full(sum(map(len, words)), UNLABELLED, np.int32), "de")


# ---- Reading


def test_text_beside_the_data_is_read_by_language_and_not_as_data(tmp_path):
    labelled = lines({"text": "on", "label": "light"}, {"text": "loud", "label": "sound"})
    files = {f"en.{split}.jsonl": labelled for split in ("train", "dev", "test")}
    files |= {
        "sw.unlabelled.txt": b"moja\n\n  \nmbili\r\n",
        "de.unlabelled.jsonl": lines({"text": "an"}, {"text": "laut"}, {"text": "an"}),
        "zh-CN.unlabelled.jsonl.gz": gzip.compress(lines({"text": "开"})),
    }
    found = read("data", data_dir=write(tmp_path, files))
    assert list(found.rows) == ["de", "sw", "zh-CN"]
    assert found.rows["de"].text_a == ["an", "laut", "an"]
    assert found.rows["sw"].text_a == ["moja", "mbili"]
    assert found.rows["sw"].labels.tolist() == [UNLABELLED] * 2
    assert found.rows["sw"].labels.dtype == np.int32
    assert found.notes == ()
    data = sources.load(get_task("folder"), source="folder", data_dir=str(tmp_path), languages=None)
    assert list(data.test) == ["en"]
    assert data.notes == ()


@pytest.mark.parametrize("task", ["intents", "slots"])
def test_bundled_text_is_of_no_evaluated_row_and_in_pieces_that_the_encoder_has(task, tokenizer):
    demo = {"source": "demo", "data_dir": None, "languages": None}
    data = sources.load(get_task(task), **demo)
    found = unlabelled.read(get_task(task), "data", pair=False, **demo)
    assert set(found.rows) == set(data.languages) - {"en"}
    assert {split.rows for split in found.rows.values()} == {90}
    held_out = {("dev", name): split for name, split in data.dev.items()}
    held_out |= {("test", name): split for name, split in data.test.items()}
    cleared = without_leaks(found.rows, held_out)
    assert (cleared.leaked, cleared.repeated) == ({}, {})
    rows = [row for split in found.rows.values() for row in split.text_a]
    pieces = tokenizer.encode_batch(rows, is_pretokenized=task == "slots")
    assert not any(tokenizer.token_to_id("<unk>") in row.ids for row in pieces)


def test_a_folder_of_text_may_leave_out_the_word_unlabelled(tmp_path):
    folder = write(
        tmp_path / "text", {"de.txt": b"an", "sw.jsonl": lines({"text": "moja"}), "README.txt": b""}
    )
    assert list(read(folder).rows) == ["de", "sw"]
    assert "has no <lang>.unlabelled.jsonl" in refused("data", data_dir=folder)


def test_lines_end_at_a_newline_alone_and_a_mark_before_the_first_is_dropped(tmp_path):
    content = "\ufeffeins\u2028zwei\r\n\u0085drei\x0b".encode()
    assert read(write(tmp_path, {"de.txt": content})).rows["de"].text_a == [
        "eins\u2028zwei",
        "\u0085drei\x0b",
    ]


def test_labels_are_passed_over_and_that_is_told(tmp_path):
    rows = lines({"text": "an", "label": -1}, {"text": "aus"})
    found = read(write(tmp_path, {"de.jsonl": rows, "sw.jsonl": lines({"text": "moja"})}))
    assert found.rows["de"].labels.tolist() == [UNLABELLED] * 2
    assert found.notes == (f"{tmp_path}/de.jsonl has labels, which are not used",)
    tagged = lines({"tokens": ["a", "b"], "tags": ["O"]}, {"tokens": ["c"]})
    found = read(write(tmp_path / "tagged", {"de.jsonl": tagged}), **TOKENS)
    assert found.rows["de"].text_a == [["a", "b"], ["c"]]
    assert found.rows["de"].labels.tolist() == [UNLABELLED] * 3
    assert len(found.notes) == 1


def test_a_line_is_cut_into_words_at_spaces_and_is_no_pair(tmp_path):
    folder = write(tmp_path, {"de.txt": "an  aus\u00a0jetzt \nlaut\n".encode()})
    found = read(folder, **TOKENS).rows["de"]
    assert found.text_a == [["an", "aus\u00a0jetzt"], ["laut"]]
    assert found.labels.tolist() == [UNLABELLED] * 3
    assert refused(folder, **PAIRS).startswith(f"{folder}/de.txt: a line is one text")


def test_pairs_are_read_as_pairs(tmp_path):
    rows = lines({"text": "a", "text_pair": "b"}, {"text": "c", "text_pair": "d"})
    folder = write(tmp_path, {"de.jsonl": rows})
    assert read(folder, **PAIRS).rows["de"].text_b == ["b", "d"]
    assert "has a text_pair, and the rows of this task have one text" in refused(folder)
    write(folder, {"de.jsonl": lines({"text": "a"})})
    assert refused(folder, **PAIRS) == f"{folder}/de.jsonl:1: the field text_pair is missing"


@pytest.mark.parametrize("given", [".", "xglue_full_dataset"])
def test_text_of_an_xglue_task_is_in_its_own_folder(tmp_path, given):
    root = tmp_path / "xglue_full_dataset"
    write(root, {"de.unlabelled.jsonl": lines({"text": "of no task", "text_pair": "x"})})
    write(root / "XNLI", {"de.unlabelled.jsonl": lines({"text": "eins", "text_pair": "zwei"})})
    write(root / "NER", {"de.unlabelled.txt": b"drei vier\n"})
    found = read("data", **PAIRS, data_dir=tmp_path / given)
    assert (found.rows["de"].text_a, found.rows["de"].text_b) == (["eins"], ["zwei"])
    assert read("data", task="ner", data_dir=root).rows["de"].text_a == [["drei", "vier"]]
    said = refused("data", task="pos", data_dir=root)
    assert (
        said == f"distill.text=data: no such folder ({root}/POS), nor a Hub data set's owner/name"
    )


def test_languages_that_are_not_asked_for_or_not_there_are_told(tmp_path):
    folder = write(tmp_path, {f"{name}.txt": b"x\n" for name in ("de", "fr", "sw")})
    found = read(folder, languages=("en", "sw", "ur"))
    assert list(found.rows) == ["sw"]
    assert found.notes == (
        "unlabelled text of de, fr is not read: not the run's languages",
        "there is no unlabelled text of ur",
    )
    text = f"distill.text={folder}: there is no text in ur; it has de, fr, sw"
    assert refused(folder, languages=("ur",)) == text


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"de.txt": b"an\n\xff\n"}, "de.txt:2: not UTF-8"),
        ({"de.txt": b"\n \n"}, "de.txt:1: the file has no rows"),
        ({"de.jsonl": b""}, "de.jsonl:1: the file has no rows"),
        ({"de.jsonl": lines({"text": "a"}, ["a"])}, "de.jsonl:2: expected an object with text, "),
        ({"de.jsonl": lines({"text": 1})}, "de.jsonl:1: text must be a string, not a number"),
        ({"de.txt": b"a", "de.unlabelled.txt": b"a"}, "unlabelled.txt: de has unlabelled text in"),
        (
            {"DE.txt": b"a", "de.jsonl": lines({"text": "a"})},
            "de.jsonl: the language is there twice, as de and",
        ),
        ({"de.unlabeled.csv": b"a"}, "de.unlabeled.csv: looks like unlabelled text of de and is"),
        ({"de.txt": None}, "de.txt: cannot be read (No such file or directory)"),
        ({"notes.md": b"a"}, "has neither <lang>.unlabelled.jsonl or .txt"),
    ],
)
def test_files_that_cannot_be_read_are_named(tmp_path, files, expected):
    text = refused(write(tmp_path, files))
    assert expected in text
    assert text.startswith((str(tmp_path), f"distill.text={tmp_path}"))


def test_where_there_is_no_text_the_field_is_named(tmp_path):
    assert refused("data").startswith("distill.text=data: is beside the files of task.data_dir")
    assert refused("absent").startswith("distill.text=absent: no such folder")
    path = write(tmp_path, {"de.txt": b"a"}) / "de.txt"
    assert refused(path).startswith(f"distill.text={path}: ")
    offline = refused("someone/no-such-text", languages=("de",))
    assert offline.startswith("distill.text=someone/no-such-text: is no folder: ")
    assert "cannot be had from the Hub" in offline


# ---- Parquet in the Hub's layout


def parquet(folder, name, **columns):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.table(columns), path)
    return path


def test_parquet_by_folder_by_name_and_by_column(tmp_path):
    parquet(tmp_path, "de/train-00000-of-00002.parquet", text=["a"], label=[0])
    parquet(tmp_path, "de/train-00001-of-00002.parquet", text=["b"], label=[0])
    parquet(tmp_path, "de/test-00000-of-00001.parquet", text=["never read"])
    parquet(tmp_path, "news/train.sw-00000-of-00001.parquet", text=["c"])
    rows = {"text": ["d", "e", "f"], "language": ["fr", "de", "fr"]}
    parquet(tmp_path, "data/train-00000-of-00001.parquet", **rows)
    found = read(tmp_path)
    assert {name: sorted(split.text_a) for name, split in found.rows.items()} == {
        "de": ["a", "b", "e"],
        "fr": ["d", "f"],
        "sw": ["c"],
    }
    assert found.notes == (f"{tmp_path} has labels, which are not used",)
    assert read(tmp_path, languages=("fr",)).rows["fr"].text_a == ["d", "f"]
    assert refused(tmp_path, languages=("ur",)).endswith("there is no text in ur")


def test_parquet_of_pairs_and_of_words(tmp_path):
    for number, names in enumerate((("text_a", "text_b"), ("premise", "hypothesis"))):
        folder = tmp_path / str(number)
        parquet(folder, "de/train.parquet", **{names[0]: ["a"], names[1]: ["b"]})
        assert read(folder, **PAIRS).rows["de"].contents == [("a", "b")]
    parquet(tmp_path / "words", "de/train.parquet", tokens=[["a", "b"], ["c"]])
    found = read(tmp_path / "words", **TOKENS).rows["de"]
    assert found.text_a == [["a", "b"], ["c"]]
    assert found.labels.tolist() == [UNLABELLED] * 3


def test_parquet_that_cannot_be_read_is_named(tmp_path):
    path = parquet(tmp_path, "data/train.parquet", text=["a", None])
    assert refused(tmp_path).startswith(f"{path}: has no column language, and neither its folder")
    parquet(tmp_path, "data/train.parquet", text=["a", None], language=["de", "de"])
    assert refused(tmp_path) == f"{path}: text is null in row 2"
    parquet(tmp_path, "data/train.parquet", body=["a"], language=["de"])
    assert refused(tmp_path) == f"{path}: has no column text"
    assert refused(tmp_path, **PAIRS).startswith(f"{path}: has no column text_a and text_b or ")
    path.write_bytes(b"version https://git-lfs")
    assert refused(tmp_path).startswith(f"{path}: not readable as parquet")


# ---- Leaks


def test_rows_that_read_as_evaluated_ones_are_dropped_in_every_language():
    mine = {
        "de": texts("Licht  an!", "licht aus", "ﬁx it", "licht aus", "neu"),
        "nb": texts("LICHT AN", "ny"),
        "sw": texts("taa"),
    }
    held_out = {("dev", "de"): texts("licht an"), ("test", "fr"): texts("Fix, it?", "o\u200bui")}
    cleared = without_leaks(mine, held_out)
    assert {name: split.text_a for name, split in cleared.rows.items()} == {
        "de": ["licht aus", "neu"],
        "nb": ["ny"],
        "sw": ["taa"],
    }
    assert cleared.leaked == {"de": 2, "nb": 1}
    assert cleared.repeated == {"de": 1}
    assert cleared.rows["de"].labels.tolist() == [UNLABELLED] * 2


def test_pairs_are_the_same_if_both_texts_are_and_sentences_if_all_words_are():
    pairs = texts("a", "a", "b", second=["b", "c", "c"])
    held_out = {("test", "fr"): texts("A", "x", second=["C.", "b"])}
    assert without_leaks({"de": pairs}, held_out).rows["de"].contents == [("a", "b"), ("b", "c")]
    held_out = {("test", "fr"): sentences("An , bitte")}
    cleared = without_leaks({"de": sentences("an bitte", "an bitte !", "bitte an jetzt")}, held_out)
    assert cleared.rows["de"].text_a == [["bitte", "an", "jetzt"]]
    assert cleared.rows["de"].labels.tolist() == [UNLABELLED] * 3


def test_a_language_without_a_row_left_is_counted_and_gone():
    cleared = without_leaks({"de": texts("a")}, {("test", "de"): texts("a")})
    assert (cleared.rows, cleared.leaked) == ({}, {"de": 1})


def test_a_sentence_is_the_same_however_it_is_cut_into_words():
    held_out = {("test", "en"): sentences("I can 't go , now .")}
    mine = {"en": sentences("I can't go, now.", "I can go now"), "de": texts("I can't go, now")}
    assert without_leaks(mine, held_out).leaked == {"en": 1, "de": 1}


# ---- Draws

COUNTS = st.dictionaries(st.sampled_from("ar de fr sw zh".split()), st.integers(0, 40), min_size=1)
COUNTS = COUNTS.filter(lambda counts: any(counts.values()))
EXPONENT = st.sampled_from([0.0, 0.3, 0.7, 1.0])
SEED = st.integers(0, 5)


@given(COUNTS, st.integers(0, 120), EXPONENT, SEED, st.integers(1, 6))
@settings(deadline=None)
def test_rows_of_a_language_are_used_equally_often(counts, rows, exponent, seed, epochs):
    uses = np.zeros(sum(counts.values()), int)
    for epoch in range(epochs):
        drawn = draw(counts, rows, exponent=exponent, data_seed=seed, epoch=epoch)
        assert drawn.shape == (rows,)
        assert drawn.dtype == np.int32
        np.add.at(uses, drawn, 1)
    sizes = [counts[language] for language in sorted(counts)]
    of_language = np.split(uses, np.cumsum(sizes)[:-1])
    shares = allotted(sizes, rows, exponent)
    assert [part.sum() for part in of_language] == [epochs * share for share in shares]
    assert all(np.ptp(part) <= 1 for part in of_language if part.size)


@given(COUNTS, st.integers(1, 60), EXPONENT, SEED, st.integers(0, 9))
def test_a_draw_follows_from_its_arguments_in_whatever_order(counts, rows, exponent, seed, epoch):
    options = {"exponent": exponent, "data_seed": seed, "epoch": epoch}
    turned = dict(reversed(counts.items()))
    assert draw(counts, rows, **options).tolist() == draw(turned, rows, **options).tolist()


@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=40), st.integers(0, 10**6))
def test_shares_are_equal_at_exponent_0_and_proportional_at_1(counts, rows):
    equal, proportional = allotted(counts, rows, 0.0), allotted(counts, rows, 1.0)
    assert sum(equal) == sum(proportional) == rows
    assert max(equal) - min(equal) <= 1
    for share, count in zip(proportional, counts, strict=True):
        assert abs(share - rows * count / sum(counts)) < 1
    between = Counter(dict(enumerate(allotted(counts, rows, 0.3))))
    smallest = counts.index(min(counts))
    assert proportional[smallest] - 1 <= between[smallest] <= equal[smallest] + 1


def test_seeds_epochs_and_passes_draw_other_rows():
    options = {"exponent": 1.0, "data_seed": 0, "epoch": 0}
    counts = {"de": 60, "sw": 30}
    first = draw(counts, 90, **options)
    assert sorted(first) == list(range(90))
    assert (first[:60] < 60).all()
    for other in ({"data_seed": 1}, {"epoch": 1}):
        assert first.tolist() != draw(counts, 90, **options | other).tolist()
    assert first[:30].tolist() != (first[60:] - 60).tolist()


def test_rows_from_nowhere_are_a_bug():
    with pytest.raises(ValueError, match="there are none"):
        draw({"de": 0}, 1, exponent=0.3, data_seed=0, epoch=0)
