import warnings

import numpy as np
import pytest
import references
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from seqeval.metrics import f1_score, precision_score
from seqeval.scheme import IOB2

from alignreg_jax.errors import UserError
from alignreg_jax.evaluation import metrics
from alignreg_jax.evaluation.metrics import score

IOB = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC", "B-a-b", "I-a-b"]
UPOS = ["NOUN", "VERB", "INTJ", "SCONJ", "CCONJ", "SYM", "X"]
queries = st.lists(st.sampled_from(["a", "b", ""]), min_size=1, max_size=12)


@st.composite
def sentences(draw, tags, lost=False):
    """(gold, predicted): a few sentences; words that were lost are O at the end."""
    gold, predicted = [], []
    for length in draw(st.lists(st.integers(1, 7), min_size=1, max_size=5)):
        words = st.lists(st.sampled_from(tags), min_size=length, max_size=length)
        gold.append(draw(words))
        predicted.append(draw(words))
        if lost:
            kept = draw(st.integers(0, length))
            predicted[-1][kept:] = ["O"] * (length - kept)
    return gold, predicted


def only(metric, *arguments):
    return score([metric], *arguments)[metric]


def test_accuracy_is_the_share_of_equal_labels():
    assert only("accuracy", ["a", "b", "c", "c"], ["a", "b", "b", "c"]) == 0.75
    assert only("accuracy", ["a", "b"], ["b", "a"]) == 0.0
    assert only("accuracy", ["a"], ["a"]) == 1.0


def test_scores_need_a_known_metric_and_as_many_predictions_as_labels():
    with pytest.raises(UserError, match="'bleu': not one of accuracy, word_accuracy, f1"):
        score(["accuracy", "bleu"], ["1"], ["1"])
    # NumPy would compare the one with all
    with pytest.raises(ValueError, match="2 labels and 1 predictions"):
        score(["accuracy"], ["1", "1"], ["1"])
    with pytest.raises(ValueError, match="0 labels"):
        score(["accuracy"], [], [])


def test_several_metrics_come_in_their_order():
    gold, predicted = [["NOUN", "NOUN"]], [["NOUN", "VERB"]]
    found = score(["pos_xglue", "word_accuracy"], gold, predicted)
    assert list(found.items()) == [("pos_xglue", 0.0), ("word_accuracy", 0.5)]


# ---- NER --------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=150)
@given(sentences(IOB, lost=True))
def test_f1_is_that_of_spans_in_conllevals_rule(sides):
    assert only("f1", *sides) == pytest.approx(references.entity_f1(*sides), abs=1e-12)


def test_iob1_against_iob2_is_right():
    """XGLUE's English files begin entities with I-, its Spanish and Dutch ones with B-."""
    iob1, iob2 = [["I-PER", "I-PER", "O", "I-LOC"]], [["B-PER", "I-PER", "O", "B-LOC"]]
    assert only("f1", iob2, iob1) == only("f1", iob1, iob2) == 1.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        strict = f1_score(iob2, iob1, mode="strict", scheme=IOB2, zero_division=0)
    assert strict == 0.0  # hence not that mode


def test_neighbours_of_one_type_need_the_b():
    gold, predicted = [["B-PER", "B-PER"]], [["I-PER", "I-PER"]]
    assert only("f1", gold, predicted) == 0.0


def test_an_entity_does_not_run_into_the_next_sentence():
    assert only("f1", [["I-PER"], ["I-PER"]], [["I-PER"], ["O"]]) == pytest.approx(2 / 3)


def test_no_entity_anywhere_is_zero_and_no_warning():
    assert only("f1", [["O", "O"]], [["O", "O"]]) == 0.0
    assert only("f1", [["O"]], [["B-PER"]]) == 0.0
    assert only("f1", [["B-PER"]], [["O"]]) == 0.0


def test_gold_of_one_length_only():
    """An array would be made of it, two-dimensional, where others are ragged."""
    gold = [["B-PER", "O"], ["O", "B-LOC"]]
    assert only("f1", gold, gold) == 1.0
    assert only("word_accuracy", gold, [["O", "O"], ["O", "O"]]) == 0.5


# ---- POS --------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=150)
@given(sentences(UPOS, lost=True))
def test_pos_is_the_precision_of_runs_of_equal_tags(sides):
    assert only("pos_xglue", *sides) == pytest.approx(references.chunk_precision(*sides), abs=1e-12)


def test_runs_merge_but_for_those_with_an_s():
    assert only("pos_xglue", [["NOUN", "NOUN"]], [["NOUN", "VERB"]]) == 0.0
    assert only("pos_xglue", [["SCONJ", "SCONJ"]], [["SCONJ", "VERB"]]) == 0.5
    assert only("pos_xglue", [["SYM", "SYM"]], [["SYM", "VERB"]]) == 0.5


def test_both_conjunctions_are_types_of_their_own():
    gold, predicted = [["CCONJ", "NOUN"]], [["SCONJ", "NOUN"]]
    assert only("pos_xglue", gold, predicted) == 0.5
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert precision_score(gold, predicted) == 1.0  # bare tags in seqeval 1.2.2


def test_a_lost_word_is_wrong_in_accuracy_and_nothing_in_precision():
    gold, predicted = [["NOUN", "VERB", "X"]], [["NOUN", "VERB", "O"]]
    assert only("word_accuracy", gold, predicted) == pytest.approx(2 / 3)
    assert only("pos_xglue", gold, predicted) == 1.0
    assert only("pos_xglue", gold, [["O", "O", "O"]]) == 0.0


@settings(deadline=None, max_examples=50)
@given(sentences(UPOS))
def test_accuracy_of_words_is_over_all_words(sides):
    gold, predicted = ([tag for tags in side for tag in tags] for side in sides)
    right = sum(one == other for one, other in zip(gold, predicted, strict=True))
    assert only("word_accuracy", *sides) == pytest.approx(right / len(gold))


# ---- WPR --------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=150)
@given(data=st.data(), asked=queries)
def test_ndcg_averages_ties_and_groups_neighbours(data, asked):
    grades = st.lists(st.sampled_from("01234"), min_size=len(asked), max_size=len(asked))
    gold, predicted = data.draw(grades), data.draw(grades)
    try:
        found = only("ndcg", gold, predicted, asked)
    except UserError:
        assume(False)
    assert found == pytest.approx(references.ndcg(gold, predicted, asked), abs=1e-12)


def test_ndcg_by_hand():
    # Gains 3 and 1, predicted the wrong way round: (1 + 3 / log2(3)) / (3 + 1 / log2(3))
    wrong = (1 + 3 / np.log2(3)) / (3 + 1 / np.log2(3))
    assert only("ndcg", ["3", "1"], ["0", "4"], ["q", "q"]) == pytest.approx(wrong)
    tied = (2 + 2 / np.log2(3)) / (3 + 1 / np.log2(3))
    assert only("ndcg", ["3", "1"], ["2", "2"], ["q", "q"]) == pytest.approx(tied)


def test_a_query_of_one_row_is_skipped_and_one_of_zeros_counts():
    alone = only("ndcg", ["3", "1", "2"], ["3", "1", "0"], ["q", "q", "alone"])
    assert alone == 1.0
    zeros = only("ndcg", ["3", "1", "0", "0"], ["3", "1", "2", "1"], ["q", "q", "z", "z"])
    assert zeros == 0.5


def test_a_query_that_comes_again_later_is_another():
    gold, predicted, asked = ["1", "0", "4", "0", "1"], ["1", "0", "4", "0", "4"], list("aabaa")
    assert only("ndcg", gold, predicted, asked) == pytest.approx(
        (1 + references.ndcg_of_one([0, 1], [0, 4])) / 2
    )


def test_an_empty_query_takes_the_next_one_in_as_in_the_script():
    gold, predicted = ["4", "0"], ["0", "4"]
    with pytest.raises(UserError, match="no query has two rows"):
        score(["ndcg"], gold, predicted, ["a", ""])
    assert only("ndcg", gold, predicted, ["", "b"]) == pytest.approx(1 / np.log2(3))


def test_nothing_to_rank_is_told():
    with pytest.raises(UserError, match="metric ndcg: no query has two rows or more, in 3 rows"):
        score(["ndcg"], ["1", "2", "0"], ["1", "2", "0"], ["a", "b", "a"])


@settings(deadline=None, max_examples=100)
@given(st.lists(st.tuples(st.sampled_from("01234"), st.sampled_from("01234")), min_size=1))
def test_mcc_is_the_correlation_of_indicators(pairs):
    gold, predicted = (list(side) for side in zip(*pairs, strict=True))
    assert only("mcc", gold, predicted) == pytest.approx(
        references.matthews(gold, predicted), abs=1e-9
    )


def test_mcc_of_a_single_label_is_zero_and_no_warning():
    assert only("mcc", ["1", "1"], ["1", "1"]) == 0.0
    assert only("mcc", ["1", "0"], ["1", "1"]) == 0.0


def test_every_metric_of_a_task_is_in_the_table():
    from alignreg_jax.data.tasks import TASKS

    assert {metric for task in TASKS.values() for metric in task.metrics} <= set(metrics.METRICS)
