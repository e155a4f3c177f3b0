import numpy as np
import pytest
import references
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from test_metrics import IOB, UPOS, only, sentences

from alignreg_jax.errors import UserError
from alignreg_jax.evaluation.examples import PARTS, ratio
from alignreg_jax.evaluation.metrics import METRICS

rows = st.lists(st.tuples(st.sampled_from("012"), st.sampled_from("012")), min_size=1, max_size=12)


def score(metric, *arguments):
    return float(ratio(PARTS[metric](*arguments).sum(axis=0)))


@settings(deadline=None, max_examples=60)
@given(rows=rows, iob=sentences(IOB, lost=True), upos=sentences(UPOS, lost=True), data=st.data())
def test_sums_of_parts_give_the_score(rows, iob, upos, data):
    gold, predicted = (list(side) for side in zip(*rows, strict=True))
    queries = data.draw(st.lists(st.sampled_from("ab"), min_size=len(gold), max_size=len(gold)))
    assert score("accuracy", gold, predicted, ()) == pytest.approx(
        only("accuracy", gold, predicted)
    )
    for metric, sides in {"word_accuracy": upos, "pos_xglue": upos, "f1": iob}.items():
        assert score(metric, *sides, ()) == pytest.approx(only(metric, *sides), abs=1e-12)
    try:
        found = only("ndcg", gold, predicted, queries)
    except UserError:
        assume(False)
    assert score("ndcg", gold, predicted, queries) == pytest.approx(found)


def test_an_example_is_a_sentence_or_a_query():
    gold = [["B-PER", "O"], ["O"]]
    assert PARTS["f1"](gold, [["B-PER", "B-LOC"], ["O"]], ()).tolist() == [[2, 3], [0, 0]]
    tags = [["NOUN", "NOUN", "X"], ["X"]]
    said = [["NOUN", "VERB", "O"], ["X"]]
    assert PARTS["word_accuracy"](tags, said, ()).tolist() == [[1, 3], [1, 1]]
    assert PARTS["pos_xglue"](tags, said, ()).tolist() == [[0, 2], [1, 1]]
    found = PARTS["ndcg"](["3", "1", "4"], ["2", "2", "0"], ["q", "q", "alone"])
    assert found.tolist() == [[references.ndcg_of_one([3, 1], [2, 2]), 1]]
    assert PARTS["accuracy"](["a", "b"], ["a", "a"], ()).tolist() == [[1, 1], [0, 1]]


def test_nothing_of_nothing_is_zero():
    sums = np.array([[[1.0, 2.0], [0.0, 0.0]]])
    assert ratio(sums).tolist() == [[0.5, 0.0]]


def test_the_correlation_is_no_such_ratio():
    assert set(METRICS) - set(PARTS) == {"mcc"}
