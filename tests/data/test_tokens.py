"""Folders of token JSONL: words and their tags."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alignreg_jax.data import jsonl
from alignreg_jax.data.sources import load
from alignreg_jax.data.tasks import get_task
from alignreg_jax.errors import UserError, lines_of

MANY = settings(deadline=None, max_examples=150)
TOKENS = get_task("tokens")


def lines(*sentences):
    """Each "word tag word tag"."""
    rows = []
    for sentence in sentences:
        fields = sentence.split()
        rows.append(json.dumps({"tokens": fields[::2], "tags": fields[1::2]}) + "\n")
    return "".join(rows).encode()


GOOD = lines("red B-COLOR lamp O", "on O")


@pytest.fixture
def write(tmp_path):
    """Write files into a folder of good English data."""

    def write(**files):
        english = {f"en_{split}": GOOD for split in ("train", "dev", "test")}
        for name, content in {**english, **files}.items():
            (tmp_path / f"{name.replace('_', '.')}.jsonl").write_bytes(content)
        return tmp_path

    return write


def load_folder(folder, task=TOKENS, **options):
    options = {"source": "folder", "data_dir": str(folder), "languages": None} | options
    return load(task, **options)


def message(*arguments, **options):
    with pytest.raises(UserError) as caught:
        load_folder(*arguments, **options)
    first, *others = lines_of(caught.value)
    assert not any("\n" in line for line in (first, *others))
    return first


def test_words_and_tags_in_file_order(write):
    data = load_folder(write(th_test=lines("a I-COLOR b B-COLOR")))
    assert data.labels == ("O", "B-COLOR", "I-COLOR")
    assert data.train.text_a == [["red", "lamp"], ["on"]]
    assert data.train.labels.tolist() == [1, 0, 0]
    assert data.train.rows == 2
    assert data.test["th"].labels.tolist() == [2, 1]


def test_a_tag_that_train_lacks_needs_labels_json(write):
    folder = write(th_test=lines("a O", "b O c B-SIZE"))
    text = message(folder)
    assert text.startswith(f"{folder / 'th.test.jsonl'}:2: unknown tag 'B-SIZE' of 'c'")
    assert "labels.json" in text
    names = ["O", "B-COLOR", "I-COLOR", "B-SIZE", "I-SIZE"]
    (folder / "labels.json").write_text(json.dumps(names))
    data = load_folder(folder)
    assert data.labels == tuple(names)
    assert data.test["th"].labels.tolist() == [0, 0, 3]


def test_demo_slots_are_whole():
    data = load(get_task("slots"), source="demo", data_dir=None, languages=None)
    assert data.train.rows == 3000
    assert len(data.test) == len(data.dev) == 33
    assert data.notes == ()
    assert len(data.labels) == 17
    tags = {label for split in data.test.values() for label in split.labels.tolist()}
    lacking = set(range(17)) - set(data.train.labels.tolist())
    assert [data.labels[label] for label in lacking] == ["I-COLOR"]
    assert lacking <= tags  # th, vi and zh-CN have it


def test_the_bundled_vocabulary_is_that_of_the_slots(tokenizer):
    data = load(get_task("slots"), source="demo", data_dir=None, languages=None)
    unknown = tokenizer.token_to_id("<unk>")
    for split in (data.train, *data.test.values()):
        tokenizer.no_truncation()
        found = tokenizer.encode_batch(split.text_a, is_pretokenized=True)
        pieces = [piece for encoding in found for piece in encoding.ids]
        assert pieces.count(unknown) <= 0.005 * len(pieces), split.origin


BAD_ROWS = {
    "missing tokens": ('{"tags": ["O"]}', "the field tokens is missing"),
    "missing tags": ('{"tokens": ["a"]}', "the field tags is missing"),
    "text": ('{"text": "a", "label": "b"}', "the field tokens is missing"),
    "a string": ('{"tokens": "a", "tags": ["O"]}', "tokens must be a list of strings, not a str"),
    "null": ('{"tokens": null, "tags": ["O"]}', "tokens must be a list of strings, not null"),
    "a number": ('{"tokens": ["a", 3], "tags": ["O", "O"]}', "every one of tokens must be a str"),
    "empty": ('{"tokens": [], "tags": []}', "tokens is empty"),
    "more tokens": ('{"tokens": ["a", "b"], "tags": ["O"]}', "has 2 tokens and 1 tags"),
    "more tags": ('{"tokens": ["a"], "tags": ["O", "O"]}', "has 1 tokens and 2 tags"),
    "empty tag": ('{"tokens": ["a", "b"], "tags": ["O", ""]}', "tag 2 is empty"),
    "surrogate": ('{"tokens": ["\\ud800"], "tags": ["O"]}', "has half a surrogate pair"),
    "list": ('["a"]', "expected an object with tokens and tags, not a list"),
    "not JSON": ('{"tokens": ["a"', "not JSON"),
    "blank line": ("", "a blank line"),
}


@pytest.mark.parametrize("case", BAD_ROWS)
def test_a_bad_row_is_named_by_file_and_line(write, case):
    row, expected = BAD_ROWS[case]
    first, second = GOOD.splitlines(keepends=True)
    folder = write(de_test=first + row.encode() + b"\n" + second)
    text = message(folder)
    assert text.startswith(f"{folder / 'de.test.jsonl'}:2: ")
    assert expected in text


def test_a_task_of_texts_says_which_reads_tokens(write):
    text = message(write(), get_task("folder"))
    assert "en.train.jsonl:1: has tokens, which task.name=tokens and pos_tags read" in text


def test_blanked_sentences_are_left_out_of_training_alone(write):
    blanked = lines("_ DET _ NOUN", "_ PUNCT well INTJ", "_ DET")
    folder = write(en_train=blanked, en_dev=blanked, en_test=blanked)
    task = get_task("pos_tags")
    assert load_folder(folder, task).train.rows == 3
    data = load_folder(folder, task, drop_blanked=True)
    assert data.train.text_a == [["_", "well"]]
    assert [data.labels[label] for label in data.train.labels] == ["PUNCT", "INTJ"]
    assert data.test["en"].rows == 3
    assert "2 training sentences left out" in " ".join(data.notes)
    write(en_train=lines("_ DET", "_ NOUN"))
    assert "task.drop_blanked: " in message(folder, task, drop_blanked=True)
    assert "task.drop_blanked: folder has no words" in message(
        folder, get_task("folder"), drop_blanked=True
    )


letters = st.text(st.characters(codec="utf-8"), max_size=6)
sentence = st.lists(st.tuples(letters, letters.filter(bool)), min_size=1, max_size=4)


@MANY
@given(
    sentences=st.lists(sentence, min_size=1, max_size=6),
    escaped=st.booleans(),
    end=st.sampled_from([b"", b"\n", b"\r\n", b"\n\n"]),
)
def test_no_sentence_is_lost_or_invented(tmp_path_factory, sentences, escaped, end):
    path = tmp_path_factory.mktemp("rows") / "en.train.jsonl"
    rows = [
        {"tokens": [word for word, _ in pairs], "tags": [tag for _, tag in pairs], "id": 3}
        for pairs in sentences
    ]
    written = [json.dumps(row, ensure_ascii=escaped).encode() for row in rows]
    path.write_bytes(b"\n".join(written) + end)
    read = jsonl.read_tokens(path)
    assert read.text_a == [row["tokens"] for row in rows]
    assert read.labels == [row["tags"] for row in rows]


@MANY
@given(st.data())
def test_damage_is_a_user_error_or_other_rows_but_never_a_crash(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("damage") / "en.train.jsonl"
    content = bytearray(GOOD)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content)))
        content[place : place + data.draw(st.integers(0, 3))] = data.draw(
            st.binary(max_size=4) | st.sampled_from([b"\n", b"[", b'"', b",", b"\xe2\x80\xa8"])
        )
    path.write_bytes(bytes(content))
    try:
        read, error = jsonl.read_tokens(path), ""
    except UserError as caught:
        read, error = None, str(caught)
    if read is None:
        assert error.removeprefix(f"{path}:").split(":")[0].isdigit()
    else:
        assert len(read.text_a) == len(bytes(content).rstrip(b" \t\r\n").split(b"\n"))
