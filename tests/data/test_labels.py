"""The label set, and what happens to a label that is not in it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alignreg_jax.data.labels import closed, label_set, number, renamed
from alignreg_jax.data.schema import Rows
from alignreg_jax.data.tasks import get_task
from alignreg_jax.errors import UserError

TOKENS, TAGS, FOLDER = get_task("tokens"), get_task("pos_tags"), get_task("folder")


def sentences(*tags, lines=None, **options):
    words = [[f"w{place}" for place in range(len(listed))] for listed in tags]
    return Rows(words, None, [list(listed) for listed in tags], "en.train", lines, **options)


def texts(*labels):
    return Rows(["text"] * len(labels), None, list(labels), "en.train")


def test_spans_are_closed_and_what_is_outside_comes_first():
    tags = ["I-PER", "B-COLOR", "O"]
    assert closed(tags) == ("O", "B-COLOR", "B-PER", "I-COLOR", "I-PER")
    assert closed(["B-X"]) == ("O", "B-X", "I-X")
    assert closed(["VERB", "NOUN"]) == ("NOUN", "VERB")
    assert closed(["VERB", "O"]) == ("O", "VERB")


def test_bioes_is_closed_over_all_four():
    tags = ["B-X", "E-X", "S-Y", "O"]
    every = {f"{prefix}-{kind}" for prefix in "BIES" for kind in "XY"}
    assert set(closed(tags)) == {"O", *every}
    assert closed(["S-Y", "O"]) == ("O", "S-Y")  # "S-" alone is a name like any other


@pytest.mark.parametrize(
    ("tags", "first"),
    [
        (["B-PER", "L-PER", "U-LOC", "O"], ("L-PER", 2)),  # BILOU
        (["O", "B-PER", "M-PER", "E-PER", "W-LOC"], ("M-PER", 3)),  # BMEWO
        (["B-PER", "I-PER", "O", "PER"], ("PER", 4)),
        (["B-PER", "O", "b-PER"], ("b-PER", 3)),
        (["B-PER", "O", "B_LOC"], ("B_LOC", 3)),
        (["B-PER", "O", "B-"], ("B-", 3)),
        (["U-PER", "U-LOC", "O"], ("U-LOC", 2)),
    ],
)
def test_a_scheme_that_would_be_scored_wrongly_is_refused(tags, first):
    rows = sentences(tags, lines=[1], word_a_line=True)
    tag, line = first
    says = rf"^en\.train:{line}: the tag '{tag}' is of no span: .*write U- and W- as S-, L- as E-"
    with pytest.raises(UserError, match=says):
        label_set(TOKENS, None, rows)
    assert tag in label_set(TAGS, None, rows)
    with pytest.raises(UserError, match=r"^labels\.json: the tag 'L-X'"):
        label_set(TOKENS, ("O", "B-X", "L-X"), sentences(["O", "B-X"]), "labels.json")


def test_schemes_that_are_scored_right_are_taken():
    for tags in (["I-PER", "B-PER", "O"], ["B-X", "I-X", "E-X", "S-X", "O"]):
        assert set(tags) <= set(label_set(TOKENS, None, sentences(tags)))


@given(st.lists(st.from_regex(r"([BI]-)?[A-Z]{1,3}", fullmatch=True), min_size=1))
def test_closing_adds_partners_and_nothing_else(tags):
    found = closed(tags)
    assert len(set(found)) == len(found)
    assert set(tags) <= set(found)
    assert set(found) - set(tags) <= {"O"} | {
        ("I" if tag[0] == "B" else "B") + tag[1:] for tag in tags if tag[1:2] == "-"
    }
    assert closed(found) == found


def test_the_tasks_own_labels_then_those_given_then_those_of_train():
    rows = sentences(["B-PER", "O"])
    assert label_set(TOKENS, None, rows) == ("O", "B-PER", "I-PER")
    assert label_set(TOKENS, ("O", "B-PER"), rows) == ("O", "B-PER")
    assert label_set(get_task("ner"), ("O", "B-PER"), rows)[1] == "B-PER"
    assert len(label_set(get_task("ner"), ("O", "B-PER"), rows)) == 9
    assert label_set(FOLDER, None, texts("b", "a", "b")) == ("a", "b")


def test_nothing_to_learn_and_nothing_to_score():
    with pytest.raises(UserError, match=r"en\.train: there is one label only, a"):
        label_set(FOLDER, None, texts("a", "a"))
    with pytest.raises(UserError, match=r"task\.name=tokens scores spans; task\.name=pos_tags"):
        label_set(TOKENS, None, sentences(["NOUN", "VERB"]))
    assert label_set(TAGS, None, sentences(["NOUN", "VERB"])) == ("NOUN", "VERB")


def test_tags_are_numbered_end_to_end():
    split = number(sentences(["O", "B-PER"], ["I-PER"]), ("O", "B-PER", "I-PER"))
    assert split.labels.tolist() == [0, 1, 2]
    assert split.in_words
    assert split.words.tolist() == [2, 1]


def test_an_unknown_tag_is_named_by_its_own_line():
    rows = sentences(["O"], ["O", "B-X"], lines=[3, 7], word_a_line=True)
    with pytest.raises(
        UserError, match=r"en\.train:8: unknown tag 'B-X' of 'w1'; there are 'O', 'B-PER'!$"
    ):
        number(rows, ("O", "B-PER"), "!")
    rows = sentences(["O"], ["O", "B-X"])
    with pytest.raises(UserError, match=r"en\.train:2: unknown tag 'B-X'"):
        number(rows, ("O", "B-PER"))
    with pytest.raises(UserError, match=r"en\.train:3: unknown label 'c'; there are 'a', 'b'"):
        number(texts("a", "b", "c", "c"), ("a", "b"))


def test_other_spellings():
    rows = renamed(texts("contradictory", "neutral"), {"contradictory": "contradiction"})
    assert rows.labels == ["contradiction", "neutral"]
    bare = Rows(["a"], None, None, "en.test")
    assert renamed(bare, {"a": "b"}) is bare
