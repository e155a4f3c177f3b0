"""Intervals of a run's scores, against scipy's and in simulations of test sets."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import matthews_corrcoef

from alignreg_jax.evaluation import intervals, metrics
from alignreg_jax.evaluation.intervals import Scored, score_intervals, wilson


@pytest.mark.parametrize(("hits", "rows"), [(0, 5), (5, 5), (37, 100), (1, 2000)])
def test_accuracies_have_wilsons_interval(hits, rows):
    known = stats.binomtest(hits, rows).proportion_ci(0.95, "wilson")
    assert wilson(hits / rows, rows) == [pytest.approx(known.low), pytest.approx(known.high)]
    answers = Scored(["a"] * rows, ["a"] * hits + ["b"] * (rows - hits))
    (languages, means) = score_intervals(["accuracy"], {"en": answers})
    assert languages == {"en": {"accuracy": wilson(hits / rows, rows)}}
    assert means == {"avg": wilson(hits / rows, rows)}


def sentences(random, count, skill):
    """Tags of sentences, and guesses of them that are right with probability `skill`."""
    gold = [list(random.choice(["O", "B-A", "B-B"], size)) for size in random.integers(2, 7, count)]
    said = [[tag if random.random() < skill else "O" for tag in map(str, tags)] for tags in gold]
    return [[str(tag) for tag in tags] for tags in gold], said


def bootstrapped(metric, gold, said, queries=()):
    """The plain bootstrap: whole examples drawn and scored by the metric itself."""
    random = np.random.default_rng(1)
    scores = []
    for _ in range(600):
        rows = random.integers(0, len(gold), len(gold))
        chosen = [gold[row] for row in rows], [said[row] for row in rows]
        scores.append(metrics.score([metric], *chosen, queries)[metric])
    return np.quantile(scores, (0.025, 0.975))


@pytest.mark.parametrize("metric", ["f1", "pos_xglue", "word_accuracy", "mcc"])
def test_other_scores_have_the_bootstraps_interval(metric):
    random = np.random.default_rng(3)
    if metric == "mcc":
        gold = [str(label) for label in random.integers(0, 3, 120)]
        said = [label if random.random() < 0.6 else "0" for label in gold]
    else:
        gold, said = sentences(random, 120, 0.7)
        if metric == "pos_xglue":
            gold, said = ([[tag[-1] for tag in tags] for tags in side] for side in (gold, said))
    found, _ = score_intervals([metric], {"en": Scored(gold, said)})
    low, high = found["en"][metric]
    known = bootstrapped(metric, gold, said)
    assert (low, high) == (pytest.approx(known[0], abs=0.012), pytest.approx(known[1], abs=0.012))
    assert low < metrics.score([metric], gold, said)[metric] < high


def test_matthews_correlations_are_scikit_learns(monkeypatch):
    """A draw that takes every row once scores what scikit-learn says."""
    random = np.random.default_rng(4)
    gold = [str(label) for label in random.integers(0, 4, 50)]
    said = [label if random.random() < 0.5 else "1" for label in gold]
    monkeypatch.setattr(
        intervals, "_multinomial", lambda counts, stream: np.tile(counts, (1000, 1)).astype(float)
    )
    assert intervals._correlations(gold, said)[0] == pytest.approx(matthews_corrcoef(gold, said))


def test_queries_are_drawn_whole():
    random = np.random.default_rng(6)
    gold = [str(grade) for grade in random.integers(0, 5, 90)]
    said = [str(grade) for grade in random.integers(0, 5, 90)]
    queries = [f"q{row // 3}" for row in range(90)]
    found, _ = score_intervals(["ndcg"], {"en": Scored(gold, said, queries)})
    scores = metrics.query_scores(gold, said, queries)
    low, high = found["en"]["ndcg"]
    assert (low + high) / 2 == pytest.approx(np.mean(scores), abs=0.02)
    assert (high - low) / 2 == pytest.approx(1.96 * np.std(scores) / 30**0.5, rel=0.15)


def languages(random, same, rows=150, count=6):
    """Answers in languages whose rows are hard together (`same`) or each for itself."""
    found = {}
    gold = [str(label) for label in random.integers(0, 2, rows)]
    hard = random.normal(0, 0.9, rows)
    for place in range(count):
        if not same:
            gold = [str(label) for label in random.integers(0, 2, rows)]
            hard = random.normal(0, 0.9, rows)
        right = hard + random.normal(0, 0.44, rows) > -0.3
        said = [g if hit else str(1 - int(g)) for g, hit in zip(gold, right, strict=True)]
        found[("en", "de", "fr", "sw", "th", "zh")[place]] = Scored(gold, said)
    return found


@pytest.mark.parametrize("same", [True, False])
def test_the_interval_of_a_mean_covers_the_truth_in_95_of_100_test_sets(same):
    random = np.random.default_rng(8)
    truth = float(stats.norm.cdf(0.3 / np.hypot(0.9, 0.44)))
    trials, covered, widths = 250, 0, []
    for _ in range(trials):
        low, high = score_intervals(["accuracy"], languages(random, same))[1]["zero_shot_avg"]
        covered += low <= truth <= high
        widths.append(high - low)
    assert 0.95 - 4 * (0.05 * 0.95 / trials) ** 0.5 < covered / trials
    # Were translated rows taken as independent, their interval would be as narrow as this
    apart = 2 * 1.96 * (truth * (1 - truth) / (150 * 5)) ** 0.5
    assert (np.mean(widths) > 1.6 * apart) == same


def test_scores_that_never_change_have_no_interval():
    perfect = Scored([["B-A"], ["O", "B-B"]], [["B-A"], ["O", "B-B"]])
    assert score_intervals(["f1"], {"en": perfect, "de": perfect}) == ({"en": {}, "de": {}}, {})


def test_the_same_predictions_give_the_same_intervals():
    found = [score_intervals(["accuracy"], languages(np.random.default_rng(2), True)) for _ in "ab"]
    assert found[0] == found[1]
    assert set(found[0][1]) == {"zero_shot_avg", "avg"}
