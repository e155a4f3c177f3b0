import json

import pytest
import references
from hypothesis import given, settings
from seqeval.metrics import classification_report
from test_metrics import IOB, UPOS, sentences

from alignreg_jax.evaluation.tags import summarize, tag_scores


def check(found, counts):
    assert list(found) == sorted(counts)
    for tag, (hits, said, right) in counts.items():
        assert found[tag] == {
            "precision": pytest.approx(hits / said if said else 0),
            "recall": pytest.approx(hits / right if right else 0),
            "f1": pytest.approx(2 * hits / (said + right)),
            "support": right,
        }


@settings(deadline=None, max_examples=60)
@given(sentences(IOB, lost=True))
def test_types_of_entities(sides):
    check(tag_scores(*sides, entities=True), references.by_tag(references.spans, *sides))


@settings(deadline=None, max_examples=60)
@given(sentences(UPOS))
def test_tags_of_words(sides):
    def words(tags):
        return {(tag, place) for place, tag in enumerate(tags)}

    check(tag_scores(*sides, entities=False), references.by_tag(words, *sides))


def test_types_are_those_of_seqevals_report():
    gold = [["B-PER", "I-PER", "O", "B-LOC"], ["I-LOC", "O", "B-PER"]]
    predicted = [["I-PER", "I-PER", "O", "B-PER"], ["B-LOC", "I-LOC", "O"]]
    report = classification_report(gold, predicted, output_dict=True, zero_division=0)
    for tag, scores in tag_scores(gold, predicted, entities=True).items():
        theirs = report[tag]
        assert scores["precision"] == pytest.approx(theirs["precision"])
        assert scores["recall"] == pytest.approx(theirs["recall"])
        assert scores["f1"] == pytest.approx(theirs["f1-score"])
        assert scores["support"] == theirs["support"]


def of(f1, support):
    return {"precision": f1, "recall": f1, "f1": f1, "support": support}


def test_means_are_over_the_languages_that_have_the_tag():
    found = summarize(
        {
            "en": {"LOC": of(0.9, 10), "PER": of(0.5, 3)},
            "de": {"LOC": of(0.6, 4), "PER": of(0.0, 0)},
            "sw": {"LOC": of(0.2, 2), "ORG": of(0.4, 5)},
        }
    )
    assert list(found) == ["LOC", "ORG", "PER"]  # by support, then by name
    assert found["LOC"]["en"] == of(0.9, 10)
    assert found["LOC"]["zero_shot"] == {**of(pytest.approx(0.4), 6), "languages": 2}
    assert found["PER"] == {"en": of(0.5, 3), "zero_shot": None}  # German only predicted it
    assert found["ORG"]["en"] is None
    json.dumps(found, allow_nan=False)


def test_a_tag_that_occurs_nowhere_is_left_out():
    assert summarize({"en": {"LOC": of(0.0, 0)}}) == {}
    assert summarize({}) == {}
