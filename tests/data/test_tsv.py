"""Tab-separated rows: every trap of XGLUE's files, and whatever hypothesis thinks of."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alignreg_jax.data import tsv
from alignreg_jax.data.tsv import Columns
from alignreg_jax.errors import UserError

MANY = settings(deadline=None, max_examples=200)
PAIR = Columns(("question", "answer", "label"), ("question",), ("answer",))
HEADED = Columns(PAIR.names, PAIR.text_a, PAIR.text_b, header=("question", "answer", "label"))
THREE = Columns(("query", "title", "snippet", "label"), ("query",), ("title", "snippet"))


@pytest.fixture
def read(tmp_path):
    """Read some bytes as a file."""

    def read(content, columns=PAIR, **options):
        path = tmp_path / "xglue.qam.de.test"
        path.write_bytes(content)
        return tsv.read(path, columns, **options)

    return read


def refused(read, *arguments, **options):
    with pytest.raises(UserError) as caught:
        read(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_nothing_is_quoted_and_nothing_stripped(read):
    rows = read(b'"a\tb"\t1\n\'c\t"\t0\n\t  x  \t1\nNA\tnull\t0\n')
    assert rows.text_a == ['"a', "'c", "", "NA"]
    assert rows.text_b == ['b"', '"', "  x  ", "null"]
    assert rows.labels == ["1", "0", "1", "0"]
    assert list(rows.lines) == [1, 2, 3, 4]


@pytest.mark.parametrize(
    "odd", ["\u2028", "\u2029", "\u0085", "\r", "\x0b", "\x0c", "\x1c", "\x1e"]
)
def test_only_a_newline_ends_a_line(read, odd):
    rows = read(f"a{odd}b\tc{odd}\t1\nd\te\t0".encode())
    assert rows.text_a == [f"a{odd}b", "d"]
    assert rows.text_b == [f"c{odd}", "e"]
    assert rows.labels == ["1", "0"]


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("newline", [b"\n", b"\r\n"])
@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n", b"\n\n"])
def test_marks_and_ends(read, mark, newline, end):
    rows = read(mark + b"a\tb\t1" + newline + b"c\td\t0" + end)
    assert (rows.text_a, rows.text_b, rows.labels) == (["a", "c"], ["b", "d"], ["1", "0"])


def test_a_mark_inside_the_file_is_text(read):
    assert read(b"a\tb\t1\n\xef\xbb\xbfc\td\t0\n").text_a == ["a", "\ufeffc"]


def test_columns_are_joined_by_a_space(read):
    rows = read(b"q\tt\ts\tGood\nq\t\t\tBad\n", THREE)
    assert rows.text_a == ["q", "q"]
    assert rows.text_b == ["t s", " "]


@pytest.mark.parametrize(
    ("content", "line", "says"),
    [
        (b"a\tb\t1\nc\td\n", 2, "2 columns and not 3 (question, answer, label)"),
        (b"a\tb\t1\nc\td\te\t0\n", 2, "4 columns and not 3"),
        (b"0\ta\tb\t1\nc\td\t0\n", 1, "4 columns and not 3"),  # pandas would shift them in silence
        (b"a\tb\t1\nword\n", 2, "1 columns and not 3"),
        (b"a\tb\t1\n\nc\td\t0\n", 2, "a blank line between rows"),
        (b"a\tb\t1\nc\td\t\n", 2, "the label is empty"),
        (b"a\tb\t1\ncaf\xe9\td\t0\n", 2, "not UTF-8"),
        (b"a\tb\t1\n\xed\xa0\x80\td\t0\n", 2, "not UTF-8"),
        (b"", 1, "the file has no rows"),
        (b"\xef\xbb\xbf", 1, "the file has no rows"),
        (b"\n\n", 1, "the file has no rows"),
    ],
)
@pytest.mark.parametrize("unlabelled", [False, True])
def test_a_bad_row_is_named_by_file_and_line(read, tmp_path, content, line, says, unlabelled):
    text = refused(read, content, unlabelled=unlabelled)
    assert text.startswith(f"{tmp_path / 'xglue.qam.de.test'}:{line}: ")
    if not (unlabelled and content == b"a\tb\t1\nc\td\n"):
        assert says in text


def test_a_test_file_may_have_no_labels_at_all(read):
    rows = read(b"a\tb\nc\t\n", unlabelled=True)
    assert rows.labels is None
    assert (rows.text_a, rows.text_b) == (["a", "c"], ["b", ""])
    assert "1: 2 columns" in refused(read, b"a\tb\nc\td\n")
    for content in (b"a\tb\nc\td\t1\n", b"c\td\t1\na\tb\n"):
        line = 1 + content.index(b"a\tb\n") // 6
        assert f":{line}: has no label, and other rows" in refused(read, content, unlabelled=True)
    assert ":2: 4 columns" in refused(read, b"a\tb\nc\td\te\t1\n", unlabelled=True)


def test_headers_are_where_they_should_be(read):
    rows = read(b"question\tanswer\tlabel\na\tb\t1\n", HEADED)
    assert rows.text_a == ["a"]
    assert list(rows.lines) == [2]
    assert ":1: should be the names of the columns" in refused(read, b"a\tb\t1\nc\td\t0\n", HEADED)
    assert "no rows but its header" in refused(read, b"question\tanswer\tlabel\n", HEADED)
    assert ":2: 4 col" in refused(read, b"question\tanswer\tlabel\na\tb\tc\t1\n", HEADED)
    for header in (b"question\tanswer\tlabel\n", b"question\tanswer\n"):
        assert read(header + b"a\tb\n", HEADED, unlabelled=True).labels is None
    assert ":1: should be" in refused(read, b"question\tanswer\na\tb\n", HEADED)


def test_progress_is_told_every_byte(read, tmp_path, monkeypatch):
    monkeypatch.setattr("alignreg_jax.data.lines.BYTES_PER_UPDATE", 10)
    told = []
    content = b"a\tb\t1\n" * 7
    read(content, progress=told.append)
    assert sum(told) == len(content)
    assert len(told) > 3


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match=r"absent: cannot be read \(No such file"):
        tsv.read(tmp_path / "absent", PAIR)


fields = st.text(st.characters(codec="utf-8", exclude_characters="\t\n"), max_size=8)
labels = st.text(st.characters(codec="utf-8", exclude_characters="\t\n\r"), min_size=1, max_size=4)


@MANY
@given(
    rows=st.lists(st.tuples(fields, fields, fields, labels), min_size=1, max_size=8),
    labelled=st.booleans(),
    newline=st.sampled_from(["\n", "\r\n"]),
    last=st.booleans(),
)
def test_no_row_is_lost_or_invented(tmp_path_factory, rows, labelled, newline, last):
    path = tmp_path_factory.mktemp("rows") / "test.tsv"
    if not labelled:
        # What ends a line has to be told from text: a return in front of a newline is its own
        rows = [(*row[:2], row[2].rstrip("\r"), row[3]) for row in rows]
    lines = ["\t".join(row if labelled else row[:-1]) for row in rows]
    content = newline.join(lines) + (newline if last else "")
    path.write_bytes(content.encode())
    if content.startswith("\ufeff"):
        rows[0] = (rows[0][0][1:], *rows[0][1:])
    read = tsv.read(path, THREE, unlabelled=True)
    assert read.text_a == [row[0] for row in rows]
    assert read.text_b == [f"{row[1]} {row[2]}" for row in rows]
    assert read.labels == ([row[3] for row in rows] if labelled else None)
    assert list(read.lines) == list(range(1, len(rows) + 1))


@MANY
@given(st.data())
def test_damage_is_a_user_error_or_other_rows_but_never_a_crash(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("damage") / "test.tsv"
    content = bytearray(data.draw(st.sampled_from([b"a\tb\t1\nc\td\t0\n", b"a\tb\nc\td", b""])))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content)))
        content[place : place + data.draw(st.integers(0, 3))] = data.draw(
            st.binary(max_size=4) | st.sampled_from([b"\n", b"\r", b"\t", b"\t\t", b"\xe2\x80\xa8"])
        )
    path.write_bytes(bytes(content))
    try:
        read, error = tsv.read(path, PAIR, unlabelled=data.draw(st.booleans())), ""
    except UserError as caught:
        read, error = None, str(caught)
    if read is None:
        assert "\n" not in error
        assert error.removeprefix(f"{path}:").split(":")[0].isdigit()
    else:
        expected = bytes(content).removeprefix(b"\xef\xbb\xbf").rstrip(b"\r\n").split(b"\n")
        assert len(read.text_a) == len(read.text_b) == len(expected)
        assert read.labels is None or len(read.labels) == len(expected)
