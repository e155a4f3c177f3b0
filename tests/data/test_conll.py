"""A word a line: NER and POS as XGLUE has them, and whatever hypothesis thinks of."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alignreg_jax.data import conll
from alignreg_jax.errors import UserError

MANY = settings(deadline=None, max_examples=200)


@pytest.fixture
def read(tmp_path):
    """Read some bytes as a file."""

    def read(content, **options):
        path = tmp_path / "de.test"
        path.write_bytes(content)
        return conll.read(path, **options)

    return read


def refused(read, *arguments, **options):
    with pytest.raises(UserError) as caught:
        read(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("end", [b"", b"\n", b"\n\n", b"\n\n\n"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("newline", [b"\n", b"\r\n"])
def test_the_last_sentence_is_kept_whatever_the_end(read, end, mark, newline):
    content = (b"Ulm I-LOC\nliegt O\n\nAnna I-PER" + end).replace(b"\n", newline)
    rows = read(mark + content)
    assert rows.text_a == [["Ulm", "liegt"], ["Anna"]]
    assert rows.labels == [["I-LOC", "O"], ["I-PER"]]
    assert list(rows.lines) == [1, 4]
    assert [rows.where(0, 1), rows.where(1)] == [f"{rows.origin}:2", f"{rows.origin}:4"]


@pytest.mark.parametrize("white", [b"\r", b" \r", b"\r ", b"\t\r \r"])
def test_white_at_the_end_of_a_line_is_no_word_and_no_tag(read, white):
    rows = read(b"Ulm I-LOC" + white + b"\n" + white + b"\nAnna I-PER" + white)
    assert rows.text_a == [["Ulm"], ["Anna"]]
    assert rows.labels == [["I-LOC"], ["I-PER"]]


def test_tags_are_taken_as_they_are(read):
    iob1 = b"Anna I-PER\nBerg I-PER\nUlm I-LOC\nBonn B-LOC\n"
    iob2 = b"Anna B-PER\nBerg I-PER\nUlm B-LOC\nBonn B-LOC\n"
    assert read(iob1).labels == [["I-PER", "I-PER", "I-LOC", "B-LOC"]]
    assert read(iob2).labels == [["B-PER", "I-PER", "B-LOC", "B-LOC"]]


def test_the_last_field_is_the_tag_and_the_rest_is_the_word(read):
    rows = read('1\u00a0000 NUM\nNew York NNP PROPN\n\u3000 PUNCT\n" PUNCT \n_\tX\n'.encode())
    assert rows.text_a == [["1\u00a0000", "New York NNP", "\u3000", '"', "_"]]
    assert rows.labels == [["NUM", "PROPN", "PUNCT", "PUNCT", "X"]]


@pytest.mark.parametrize("white", [" ", "\t"])
@pytest.mark.parametrize("columns", ["EU NNP I-NP I-ORG", "EU NNP I-ORG", "1 EU _ PROPN NNP _"])
def test_a_file_of_more_columns_is_refused(read, tmp_path, columns, white):
    line = columns.replace(" ", white).encode()
    content = b"-DOCSTART- -X- O O\n\n" + line + b"\n" + line + b"\n\n" + line
    for unlabelled in (False, True):
        text = refused(read, content, unlabelled=unlabelled)
        assert text.startswith(f"{tmp_path / 'de.test'}:3: has more columns than a word and a tag")


def test_words_with_spaces_are_words_where_others_have_none(read):
    rows = read("hướng dẫn VERB\n. PUNCT\n\nhướng dẫn\tVERB\n".encode())
    assert rows.text_a == [["hướng dẫn", "."], ["hướng dẫn"]]
    assert read("hướng dẫn\tVERB\n".encode()).labels == [["VERB"]]


def test_documents_begin_and_are_no_words(read):
    rows = read(b"-DOCSTART- -X- O O\n\na O\n-DOCSTART- O\nb O\n")
    assert rows.text_a == [["a"], ["b"]]
    assert list(rows.lines) == [3, 5]


@pytest.mark.parametrize("odd", ["\u2028", "\u0085", "\r", "\x0c"])
def test_only_a_newline_ends_a_line(read, odd):
    assert read(f"a{odd}b X\nc Y".encode()).text_a == [[f"a{odd}b", "c"]]


@pytest.mark.parametrize("unlabelled", [False, True])
@pytest.mark.parametrize(
    ("content", "line", "says"),
    [
        (b"a X\nb\n", 2, "the word has no tag"),
        (b"a\n\nb X\n", 1, "the word has no tag"),
        (b"a X\n O\n", 2, "should be a word, a space and a tag"),
        (b"a X\nb\xe9 X\n", 2, "not UTF-8"),
        (b"", 1, "has no sentences"),
        (b"\n \n\t\n", 1, "has no sentences"),
        (b"-DOCSTART- O\n", 1, "has no sentences"),
    ],
)
def test_a_bad_line_is_named(read, tmp_path, content, line, says, unlabelled):
    text = refused(read, content, unlabelled=unlabelled)
    assert text.startswith(f"{tmp_path / 'de.test'}:{line}: ")
    assert says in text


def test_a_test_file_may_have_no_tags_at_all(read):
    rows = read(b"a\nb\n\nc", unlabelled=True)
    assert rows.labels is None
    assert rows.text_a == [["a", "b"], ["c"]]
    assert ":1: the word has no tag" in refused(read, b"a\nb\n\nc")


def word():
    characters = st.characters(codec="utf-8", exclude_characters=" \t\n\r")
    return st.text(characters, min_size=1, max_size=6).filter(
        lambda text: not text.startswith(("-DOCSTART-", "\ufeff"))
    )


@MANY
@given(
    sentences=st.lists(st.lists(st.tuples(word(), word()), min_size=1, max_size=4), min_size=1),
    tagged=st.booleans(),
    gap=st.sampled_from(["\n", "\n\n", " \n", "\t\n"]),
    end=st.sampled_from(["", "\n", "\n\n"]),
)
def test_no_word_is_lost_or_invented(tmp_path_factory, sentences, tagged, gap, end):
    path = tmp_path_factory.mktemp("words") / "en.test"
    blocks = [
        "\n".join(f"{one} {tag}" if tagged else one for one, tag in sentence)
        for sentence in sentences
    ]
    path.write_bytes((("\n" + gap).join(blocks) + end).encode())
    read = conll.read(path, unlabelled=True)
    assert read.text_a == [[one for one, _ in sentence] for sentence in sentences]
    tags = [[tag for _, tag in sentence] for sentence in sentences]
    assert read.labels == (tags if tagged else None)
    lines = path.read_bytes().split(b"\n")
    for row, sentence in enumerate(sentences):
        for place, (one, _) in enumerate(sentence):
            number = int(read.where(row, place).rpartition(":")[2])
            assert lines[number - 1].decode().startswith(one)


@MANY
@given(st.data())
def test_damage_is_a_user_error_or_other_rows_but_never_a_crash(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("damage") / "en.test"
    content = bytearray(data.draw(st.sampled_from([b"a X\nb Y\n\nc X\n", b"a\n\nb", b""])))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content)))
        content[place : place + data.draw(st.integers(0, 3))] = data.draw(
            st.binary(max_size=4) | st.sampled_from([b"\n", b"\r", b" ", b"\t ", b"\xe2\x80\xa8"])
        )
    path.write_bytes(bytes(content))
    try:
        read, error = conll.read(path, unlabelled=data.draw(st.booleans())), ""
    except UserError as caught:
        read, error = None, str(caught)
    if read is None:
        assert "\n" not in error
        assert error.removeprefix(f"{path}:").split(":")[0].isdigit()
    else:
        lines = bytes(content).removeprefix(b"\xef\xbb\xbf").split(b"\n")
        assert sum(map(len, read.text_a)) == sum(bool(line.strip(b" \t\r")) for line in lines)
        for tags, words in zip(read.labels or (), read.text_a, strict=bool(read.labels)):
            assert len(tags) == len(words)
