import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alignreg_jax.evaluation.summary import summarize

fractions = st.floats(0, 1)
by_language = st.dictionaries(st.sampled_from(["en", "de", "fr", "sw", "zh"]), fractions)


def test_summary_by_hand():
    dense = {"en": 0.9, "de": 0.8, "sw": 0.4}
    found = summarize({"en": 0.72, "de": 0.6, "sw": 0.3}, dense, 0.1)
    assert found["en"] == 0.72
    assert found["zero_shot_avg"] == pytest.approx(0.45)
    assert found["avg"] == pytest.approx(1.62 / 3)
    assert found["worst"] == {"language": "sw", "value": 0.3}
    assert found["retention"]["en"] == pytest.approx(0.8)
    assert found["retention"]["zero_shot_avg"] == pytest.approx(0.9 / 1.2)
    assert found["retention"]["avg"] == pytest.approx(1.62 / 2.1)
    assert found["retention"]["languages"]["sw"] == pytest.approx(0.75)
    corrected = found["retention_chance_corrected"]
    assert corrected["en"] == pytest.approx(0.62 / 0.8)
    assert corrected["zero_shot_avg"] == pytest.approx(0.35 / 0.5)
    assert corrected["languages"]["sw"] == pytest.approx(0.2 / 0.3)
    assert (found["evaluated"], found["complete"]) == (3, True)


def test_a_subset_is_measured_against_the_dense_model_on_that_subset():
    dense = {"en": 0.9, "de": 0.8, "sw": 0.4}
    found = summarize({"en": 0.9, "sw": 0.4}, dense, 0.1)
    assert found["retention"]["zero_shot_avg"] == 1.0
    assert (found["evaluated"], found["complete"]) == (2, False)
    alone = summarize({"en": 0.9, "sw": 0.4}, None, 0.1, languages=["en", "sw", "de"])
    assert (alone["evaluated"], alone["complete"]) == (2, False)
    assert summarize({"en": 0.9}, None, 0.1)["complete"] is True


def test_a_language_without_a_dense_score_has_no_retention_and_does_not_change_the_others():
    found = summarize({"en": 0.5, "de": 0.5, "fr": 0.1}, {"en": 1.0, "de": 1.0}, 0.1)
    assert found["retention"]["zero_shot_avg"] == 0.5
    assert "fr" not in found["retention"]["languages"]
    assert found["zero_shot_avg"] == pytest.approx(0.3)


def test_what_is_not_defined_is_none():
    only_english = summarize({"en": 0.5}, {"en": 0.05}, 0.1)
    assert only_english["zero_shot_avg"] is None
    assert only_english["retention"]["zero_shot_avg"] is None
    assert only_english["retention"]["en"] == pytest.approx(10.0)
    assert only_english["retention_chance_corrected"]["en"] is None  # dense is below chance
    nothing = summarize({}, None, 0.1)
    assert nothing["avg"] is None
    assert nothing["worst"] is None
    assert nothing["complete"] is False
    assert summarize({"en": 0.5}, {"en": 0.0}, 0.1)["retention"]["en"] is None
    rounded = summarize({"en": 0.5}, {"en": 0.1 * 3}, 0.3)  # a last bit above chance
    assert rounded["retention_chance_corrected"]["en"] is None
    assert summarize({"en": 0.5}, None, 0.1)["retention"]["en"] is None


def test_ties_for_the_worst_go_to_the_first_name():
    assert summarize({"sw": 0.1, "de": 0.1}, None, 0.0)["worst"]["language"] == "de"


@settings(deadline=None, max_examples=100)
@given(by_language, by_language, fractions)
def test_summaries_are_plain_json_and_the_dense_model_retains_itself(values, dense, guess):
    json.dumps(summarize(values, dense, guess), allow_nan=False)
    own = summarize(dense, dense, 0.0)
    for value in (*own["retention"]["languages"].values(), own["retention"]["avg"]):
        assert value is None or value == 1.0
