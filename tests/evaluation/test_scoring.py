"""From numbers to names and scores, and what a model that knows nothing scores."""

import dataclasses

import numpy as np
import pytest
import references

from alignreg_jax.data.schema import Split
from alignreg_jax.data.tasks import get_task
from alignreg_jax.errors import UserError
from alignreg_jax.evaluation import scoring
from alignreg_jax.evaluation.intervals import wilson

TAGS = ("O", "B-PER", "I-PER")


def split(texts, labels):
    return Split(texts, None, np.array(labels, np.int32), "en.test")


def graded(grades, queries):
    return dataclasses.replace(split(list(queries), grades), text_b=[""] * len(grades))


SENTENCES = split([["a", "b"], ["c"], ["d", "e", "f"]], [1, 2, 0, 0, 1, 0])


def test_names_of_rows_and_of_words():
    rows = split(["one", "two"], [1, 0])
    assert scoring.names(rows, rows.labels, ("no", "yes")) == ["yes", "no"]
    found = scoring.names(SENTENCES, SENTENCES.labels, TAGS)
    assert found == [["B-PER", "I-PER"], ["O"], ["O", "B-PER", "O"]]


def test_a_lost_word_is_o():
    numbers = np.array([1, -1, 0, -1, -1, -1], np.int32)
    assert scoring.names(SENTENCES, numbers, ("X", "NOUN", "VERB")) == [
        ["NOUN", "O"],
        ["X"],
        ["O", "O", "O"],
    ]


def test_an_event_has_scores_rows_and_tags():
    said = {
        ("test", "en"): SENTENCES.labels,
        ("dev", "sw"): np.array([1, -1, 0, 0, 0, 0], np.int32),
    }
    gold = dict.fromkeys(said, SENTENCES)
    found = scoring.score(get_task("ner"), TAGS, gold, said)
    assert found["scores"]["test"] == {"en": {"f1": 1.0}}
    assert found["scores"]["dev"] == {"sw": {"f1": 0.0}}  # one word of two is no entity
    assert found["examples"] == {"test": {"en": 3}, "dev": {"sw": 3}}
    assert found["tags"]["test"]["en"]["PER"]["support"] == 2
    assert found["tags"]["dev"]["sw"]["PER"]["precision"] == 0.0


def test_tags_of_words_are_tags_and_a_lost_word_is_not_one_of_them():
    labels = ("NOUN", "VERB", "X")
    said = {("test", "en"): np.array([1, 2, 0, -1, 1, -1], np.int32)}
    found = scoring.score(get_task("pos"), labels, {("test", "en"): SENTENCES}, said)
    assert list(found["scores"]["test"]["en"]) == ["pos_xglue", "word_accuracy"]
    assert found["scores"]["test"]["en"]["word_accuracy"] == pytest.approx(4 / 6)
    tags = found["tags"]["test"]["en"]
    assert {tag: tags[tag]["support"] for tag in tags} == {"NOUN": 3, "O": 0, "VERB": 2, "X": 1}


def test_rows_have_no_tags():
    rows = split(["one", "two"], [1, 0])
    found = scoring.score(
        get_task("intents"), ("a", "b"), {("test", "en"): rows}, {("test", "en"): rows.labels}
    )
    assert found["scores"] == {"test": {"en": {"accuracy": 1.0}}}
    assert found["examples"] == {"test": {"en": 2}}
    assert found["intervals"] == {"test": {"en": {"accuracy": wilson(1.0, 2)}}}
    assert found["mean_intervals"] == {"test": {"avg": wilson(1.0, 2)}}
    assert "tags" not in found


def test_queries_are_the_first_texts():
    rows = graded([3, 1, 0, 0], "qqzz")
    said = {("test", "en"): np.array([1, 3, 0, 0], np.int32)}
    found = scoring.score(get_task("wpr"), tuple("01234"), {("test", "en"): rows}, said)
    expected = references.ndcg("3100", "1300", "qqzz")
    assert found["scores"]["test"]["en"]["ndcg"] == pytest.approx(expected)
    assert set(found["scores"]["test"]["en"]) == {"ndcg", "mcc"}


# ---- Chance -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "labels", "expected"),
    [("intents", 4, 0.25), ("pos_tags", 17, 1 / 17), ("ner", 9, 0.0), ("pos", 17, 0.0)],
)
def test_chance_is_one_label_of_all_where_the_score_is_an_accuracy(task, labels, expected):
    found = scoring.chance(get_task(task), [str(index) for index in range(labels)], {})
    assert found == pytest.approx(expected)


def test_chance_in_ranking_is_what_equal_grades_score():
    gold = {"en": graded([3, 1, 0, 4], "qqzz"), "de": graded([0, 2], "qq")}
    by_language = [
        references.ndcg(grades, ["2"] * len(grades), asked)
        for grades, asked in (("3104", "qqzz"), ("02", "qq"))
    ]
    found = scoring.chance(get_task("wpr"), tuple("01234"), gold)
    assert found == pytest.approx(np.mean(by_language))
    assert 0.6 < found < 0.9


def test_a_language_that_cannot_be_ranked_is_named():
    gold = {("dev", "en"): graded([3, 1], "qq"), ("dev", "pt"): graded([3, 1], "qz")}
    with pytest.raises(UserError, match=r"^en.test \(pt\): metric ndcg: no query has two rows"):
        scoring.check(get_task("wpr"), gold)
    scoring.check(get_task("wpr"), {("dev", "en"): gold["dev", "en"]})
    scoring.check(get_task("qam"), gold)
