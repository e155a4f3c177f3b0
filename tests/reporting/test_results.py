import csv
import dataclasses
import io

import pytest
from scipy import stats

from alignreg_jax.reporting import page, run_tables, tables
from alignreg_jax.reporting.results import COLUMNS, Facts, csv_text, summary
from alignreg_jax.reporting.series import scores as scores_of

FACTS = Facts("xnli", "l2-mbp", 3, "accuracy", 0.25, ("de", "en", "fr"))


def evaluation(phase, remaining, scores, split="test"):
    return {
        **{"kind": "eval", "step": 10, "phase": phase, "remaining": remaining},
        **{"nonzero": remaining - 0.01, "remaining_total": 0.5 + remaining / 2},
        "scores": {split: {name: {"accuracy": value} for name, value in scores.items()}},
        "examples": {split: dict.fromkeys(scores, 40)},
    }


DENSE = evaluation(0, 1.0, {"fr": 0.5, "en": 0.75, "de": 0.25 + 1 / 3})
PART = evaluation(1, 0.9, {"en": 0.75, "de": 0.5})
PRUNED = evaluation(2, 0.81, {"de": 0.45, "en": 0.7, "fr": 0.35})
OTHER = {"kind": "train", "step": 1, "phase": 0, "remaining": 1.0, "loss": 2.0}


def test_the_csv_is_what_the_design_promises():
    text = csv_text([OTHER, PRUNED, DENSE])
    lines = text.splitlines()
    assert lines[0] == (
        "prune_step,remaining,split,language,metric,value,examples,nonzero,remaining_total"
    )
    assert lines[1] == "0,1.0,test,de,accuracy,0.5833333333333333,40,0.99,1.0"
    assert [line.split(",")[3] for line in lines[1:]] == ["de", "en", "fr"] * 2
    assert text.endswith("\n")
    assert "\r" not in text


def test_csv_values_keep_every_digit_and_keys_are_unique():
    again = evaluation(0, 1.0, {"de": 0.1 + 0.2})
    found = list(csv.DictReader(io.StringIO(csv_text([DENSE, again, PRUNED]))))
    assert tuple(found[0]) == COLUMNS
    keys = [(r["prune_step"], r["split"], r["language"], r["metric"]) for r in found]
    assert len(set(keys)) == len(keys) == 6
    assert float(found[0]["value"]) == 0.1 + 0.2


def test_pruning_steps_sort_as_numbers():
    events = [evaluation(step, 0.9**step, {"en": 0.5}) for step in (10, 2, 0)]
    assert [line.split(",")[0] for line in csv_text(events).splitlines()[1:]] == ["0", "2", "10"]


def test_the_summary_holds_means_retention_and_what_was_evaluated():
    results = summary([DENSE, PART, PRUNED], FACTS, wall_seconds=1.5)
    dense, part, pruned = results["prune_steps"]
    assert (results["task"], results["method"], results["seed"]) == ("xnli", "l2-mbp", 3)
    assert results["wall_seconds"] == 1.5
    assert dense["zero_shot_avg"] == pytest.approx((0.5 + 0.25 + 1 / 3) / 2)
    assert dense["retention"]["zero_shot_avg"] == pytest.approx(1.0)
    assert pruned["en"] == 0.7
    assert pruned["zero_shot_avg"] == pytest.approx(0.4)
    assert pruned["avg"] == pytest.approx(0.5)
    assert pruned["worst"] == {"language": "fr", "value": 0.35}
    assert pruned["retention"]["en"] == pytest.approx(0.7 / 0.75)
    assert pruned["retention_chance_corrected"]["en"] == pytest.approx(0.45 / 0.5)
    assert pruned["languages"] == {"de": 0.45, "en": 0.7, "fr": 0.35}
    assert [step["evaluated"] for step in results["prune_steps"]] == [3, 2, 3]
    assert [step["complete"] for step in results["prune_steps"]] == [True, False, True]
    # Over German alone, and against dense German alone.
    assert part["zero_shot_avg"] == 0.5
    assert part["retention"]["zero_shot_avg"] == pytest.approx(0.5 / (0.25 + 1 / 3))


def test_the_summary_reads_one_split_and_one_metric():
    dev = evaluation(0, 1.0, {"en": 0.1, "de": 0.1, "fr": 0.1}, split="dev")
    assert summary([DENSE, dev], FACTS)["prune_steps"][0]["en"] == 0.75
    on_dev = dataclasses.replace(FACTS, split="dev")
    assert summary([DENSE, dev], on_dev)["prune_steps"][0]["en"] == 0.1
    assert len(csv_text([DENSE, dev]).splitlines()) == 7


def test_tables_name_the_languages_that_can_be_compared():
    results = summary([DENSE, PART, PRUNED], FACTS)
    table = run_tables.steps_table(results)
    assert "same 1" in table.header
    assert "the mean over de." in table.note
    column = table.header.index("same 1")
    assert [row[column] for row in table.rows] == ["58.3", "50.0", "45.0"]
    complete = run_tables.steps_table(summary([DENSE, PRUNED], FACTS))
    assert not any(name.startswith("same") for name in complete.header)


def test_the_language_table_has_english_first_and_then_the_largest_losses():
    table = run_tables.languages_table(summary([DENSE, PRUNED], FACTS))
    assert [row[0] for row in table.rows] == ["en", "fr", "de"]
    assert table.rows[1] == ["fr", "50.0 ± 14.8", "35.0 ± 14.2", "-15.0", "70.0", "40.0"]


def test_a_language_that_the_last_step_left_out_has_no_final_score():
    table = run_tables.languages_table(summary([DENSE, PART], FACTS))
    (french,) = [row for row in table.rows if row[0] == "fr"]
    assert french == ["fr", "50.0 ± 14.8", "–", "–", "–", "–"]


def test_a_language_that_the_dense_evaluation_left_out_has_no_dense_score():
    """It was first evaluated at a step in between: that score is not the dense one (B3)."""
    events = [evaluation(0, 1.0, {"en": 0.75}), PART, PRUNED]
    results = summary(events, FACTS)
    for row in run_tables.languages_table(results).rows[1:]:
        assert (row[1], row[3], row[4]) == ("–", "–", "–")
    assert "de" not in results["prune_steps"][2]["retention"]["languages"]
    assert [*scores_of(results)] == ["en", "de", "fr"]


def test_the_same_languages_at_every_step_need_no_column_of_their_own():
    events = [evaluation(step, 0.9**step, {"en": 0.5, "de": 0.4}) for step in (0, 1)]
    results = summary(events, FACTS)  # French is never evaluated: no step is complete
    assert not results["prune_steps"][0]["complete"]
    assert not any(name.startswith("same") for name in run_tables.steps_table(results).header)


def test_intervals_come_from_the_event_or_for_accuracies_from_their_rows():
    told = DENSE | {
        "intervals": {"test": {"en": {"accuracy": [0.6, 0.9]}, "de": {"other": [0, 1]}}},
        "mean_intervals": {"test": {"zero_shot_avg": [0.5, 0.6]}},
    }
    first, second = summary([told, PRUNED], FACTS)["prune_steps"]
    assert first["intervals"] == {
        "languages": {"en": [0.6, 0.9]}, "en": [0.6, 0.9], "zero_shot_avg": [0.5, 0.6]
    }  # fmt: skip
    low, high = second["intervals"]["languages"]["fr"]
    known = stats.binomtest(14, 40).proportion_ci(0.95, "wilson")
    assert (low, high) == (pytest.approx(known.low), pytest.approx(known.high))
    shown = run_tables.steps_table(summary([told, PRUNED], FACTS)).rows[0]
    assert shown[3:5] == ["75.0 ± 15.0", "54.2 ± 5.0"]


def test_retention_above_chance_needs_a_dense_score_that_is_clearly_above():
    facts = dataclasses.replace(FACTS, chance=0.0435)
    events = [
        evaluation(0, 1.0, {"en": 0.9, "de": 0.05}),
        evaluation(1, 0.5, {"en": 0.8, "de": 0.3}),
    ]
    above = summary(events, facts)["prune_steps"][1]["retention_chance_corrected"]
    assert above["languages"]["de"] is None  # it was 3946 %
    assert above["zero_shot_avg"] is None
    assert above["languages"]["en"] == pytest.approx((0.8 - 0.0435) / (0.9 - 0.0435))


def test_english_alone_has_no_zero_shot_mean():
    facts = Facts("xnli", "none", 0, "accuracy", 0.25, ("en",))
    results = summary([evaluation(0, 1.0, {"en": 0.5})], facts)
    assert results["prune_steps"][0]["zero_shot_avg"] is None
    assert run_tables.steps_table(results).rows[0][4] == "–"


def test_text_and_markdown_have_a_line_per_row_and_hide_no_cell():
    table = tables.Table(["a", "b"], [["x|y", "1.0"], ["z", "10.0"]])
    assert tables.text_table(table) == "a       b\n---  ----\nx|y   1.0\nz    10.0\n"
    assert tables.markdown_table(table).splitlines() == [
        "| a | b |",
        "| --- | ---: |",
        "| x\\|y | 1.0 |",
        "| z | 10.0 |",
    ]
    assert '<th scope="row" class="name">x|y</th>' in page.page(
        "", "", [page.table(table, "t")], []
    )


def test_complete_means_every_language_of_the_task_not_every_dense_one():
    facts = dataclasses.replace(FACTS, languages=("de", "en", "fr", "sw"))
    assert not summary([DENSE, PRUNED], facts)["prune_steps"][1]["complete"]


# ---- More than one metric, and tags -----------------------------------------------------------

POS = Facts("pos", "l2-mbp", 3, "pos_xglue", 0.0, ("de", "en", "fr"))


def scores(value):
    return {"precision": value, "recall": value, "f1": value, "support": 10}


def tagged(phase, remaining, values):
    event = evaluation(phase, remaining, values)
    for found in event["scores"]["test"].values():
        value = found.pop("accuracy")
        found |= {"pos_xglue": value, "word_accuracy": value + 0.1}
    event["tags"] = {"test": {name: {"NOUN": scores(value)} for name, value in values.items()}}
    return event


TAGGED = [
    tagged(0, 1.0, {"en": 0.8, "de": 0.6, "fr": 0.4}),
    tagged(1, 0.5, {"en": 0.7, "de": 0.5, "fr": 0.2}),
]


def test_every_metric_has_rows_and_the_headline_is_the_tasks_first():
    found = list(csv.DictReader(io.StringIO(csv_text(TAGGED))))
    assert [row["metric"] for row in found[:2]] == ["pos_xglue", "word_accuracy"]
    assert len(found) == 2 * 3 * 2
    results = summary(TAGGED, POS)
    last = results["prune_steps"][1]
    assert results["metric"] == "pos_xglue"
    assert last["languages"] == {"de": 0.5, "en": 0.7, "fr": 0.2}
    assert last["other_metrics"] == {
        "word_accuracy": {
            "en": pytest.approx(0.8),
            "zero_shot_avg": pytest.approx(0.45),
            "avg": pytest.approx(1.7 / 3),
        }
    }


def test_tags_are_those_of_english_and_the_mean_of_the_others():
    results = summary(TAGGED, POS)
    found = results["prune_steps"][1]["tags"]["NOUN"]
    assert found["en"] == scores(0.7)
    assert found["zero_shot"]["f1"] == pytest.approx(0.35)
    assert (found["zero_shot"]["support"], found["zero_shot"]["languages"]) == (20, 2)
    on_dev = dataclasses.replace(POS, split="dev")
    assert summary(TAGGED, on_dev)["prune_steps"] == []


def test_without_other_metrics_or_tags_there_are_no_tables_of_them():
    results = summary([DENSE, PRUNED], FACTS)
    assert results["prune_steps"][0]["other_metrics"] == {}
    assert "tags" not in results["prune_steps"][0]
    assert run_tables.other_metrics_table(results) is None
    assert run_tables.tags_table(results, "en") is None
    old = [
        {k: v for k, v in step.items() if k != "other_metrics"} for step in results["prune_steps"]
    ]
    assert (
        run_tables.other_metrics_table(results | {"prune_steps": old}) is None
    )  # of an older version


def test_tables_of_other_metrics_and_tags():
    results = summary(TAGGED, POS)
    others = run_tables.other_metrics_table(results)
    assert others.header[2:] == [f"accuracy of words: {n}" for n in ("en", "zero-shot", "avg")]
    assert others.rows[1] == ["1", "50.0", "80.0", "45.0", "56.7"]
    english = run_tables.tags_table(results, "en")
    assert english.header == [
        *("tag", "F1 dense", "F1 at 50 %", "precision dense", "precision at 50 %"),
        *("recall dense", "recall at 50 %", "count"),
    ]
    assert english.rows == [["NOUN", "80.0", "70.0", "80.0", "70.0", "80.0", "70.0", "10"]]
    zero_shot = run_tables.tags_table(results, "zero_shot")
    assert zero_shot.rows == [["NOUN", "50.0", "35.0", "50.0", "35.0", "50.0", "35.0", "20", "2"]]
    assert "words with the tag" in zero_shot.note
    alone = summary(TAGGED[:1], POS)
    assert run_tables.tags_table(alone, "en").header == [
        *("tag", "F1 at 100 %", "precision at 100 %", "recall at 100 %", "count")
    ]


def test_where_chance_is_nothing_nothing_is_above_it():
    results = summary(TAGGED, POS)
    for table in (run_tables.steps_table(results), run_tables.languages_table(results)):
        assert "above chance" not in table.header
        assert "chance" not in table.note
        assert all(len(row) == len(table.header) for row in table.rows)
    ranked = summary([DENSE], FACTS) | {"metric": "ndcg", "chance": 0.7}
    assert "(70.0, what equal grades for all rows score)" in run_tables.steps_table(ranked).note
