import itertools
import json
import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alignreg_jax.reporting import charts, figures, series, svg
from alignreg_jax.reporting.tracking import METRICS_FILE, read_events


@pytest.fixture
def results(make_run):
    return json.loads((make_run() / "results.json").read_text())


def row_of(artist):
    """The row that something drawn is tagged with."""
    return json.loads((artist.get_gid() or 'tag:[""]').removeprefix("tag:"))[0]


def overview(results):
    scores, ends, full = series.scores(results), series.ends(results), series.full_means(results)
    return figures.accuracy(scores, ends, full, chance=results["chance"], title="accuracy (%)")


def languages(results, chance):
    return figures.languages(series.scores(results), series.ends(results), chance=chance)


def mean_of(results):
    scores = series.scores(results)
    return series.mean_over(scores, series.common_languages(scores))


def test_the_mean_is_over_the_languages_of_every_step_only(results):
    common = series.common_languages(series.scores(results))
    assert common == ("de", "el", "es", "fi", "fr", "hu", "ja", "ru", "tr")
    mean = mean_of(results)
    for value, step in zip(mean, results["prune_steps"], strict=True):
        assert value == pytest.approx(np.mean([step["languages"][name] for name in common]))
    # The mean over whatever a step evaluated would jump where the set of languages changes.
    assert mean.iloc[0] != pytest.approx(results["prune_steps"][0]["zero_shot_avg"])
    full = series.full_means(results)
    assert full.index.tolist() == [1.0, pytest.approx(0.3138)]
    assert full.iloc[0] == results["prune_steps"][0]["zero_shot_avg"]


def test_steps_at_one_size_keep_all_their_points():
    """A model of every size is evaluated twice with all of its weights."""
    steps = [{"remaining": 1.0, "evaluated": 2, "zero_shot_avg": mean} for mean in (0.5, 0.4)]
    assert series.full_means({"prune_steps": steps}).tolist() == [0.5, 0.4]


def test_curves_have_only_measured_points_english_first_then_by_loss(results):
    scores, ends = series.scores(results), series.ends(results)
    assert [*scores] == [*ends.index]
    assert len(scores.columns) == 31
    assert scores.columns[0] == "en"
    changes = ends.change.tolist()[1:]
    assert changes == sorted(changes)
    assert {*scores.notna().sum()} == {7, 2}
    assert {*scores[["en", *series.common_languages(scores)]].notna().sum()} == {7}


def test_remaining_weights_decrease_to_the_right_with_english_and_mean_in_front(results):
    axes = overview(results).axes[0]
    left, right = axes.get_xlim()
    assert left > right
    bold = [line for line in axes.lines if line.get_linewidth() > 2 and len(line.get_xdata())]
    assert {line.get_color() for line in bold} == {svg.BLUE, svg.VERMILION}
    mean = next(line for line in bold if line.get_color() == svg.VERMILION)
    np.testing.assert_allclose(mean.get_ydata(), 100 * mean_of(results))
    texts = {text.get_text() for text in axes.texts}
    assert set(results["prune_steps"][0]["languages"]) < texts
    assert {"mean", "chance 4.3"} < texts


def test_every_language_has_a_panel_on_the_same_scale(results):
    figure = languages(results, 0.04)
    shown = [axes for axes in figure.axes if axes.get_visible()]
    assert [axes.get_title("left") for axes in shown] == [*series.scores(results)]
    assert len({axes.get_ylim() for axes in shown}) == 1


def test_a_metric_without_chance_has_no_line_for_it(results):
    axes = overview(results | {"chance": 0.0}).axes[0]
    assert not any(text.get_text().startswith("chance") for text in axes.texts)
    lowest = series.scores(results).min(axis=None)
    panel = languages(results, 0.0).axes[0]
    for scale in (axes, panel):
        assert 100 * lowest - 5 < scale.get_ylim()[0] < 100 * lowest


def test_weight_norms_and_heat_map_show_the_numbers_of_the_events(make_run):
    events = read_events(make_run() / METRICS_FILE)
    norms = series.per_layer(events, "weight_norms")
    figure = figures.weight_norms(norms[0][1], norms[-1][1])
    lines = {row_of(line): line.get_ydata() for line in figure.axes[1].lines}
    np.testing.assert_array_equal(lines["feed-forward in"], norms[-1][1]["intermediate"])
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend[:3] == ["query", "key", "value"]
    kept = series.per_layer(events, "remaining_by_layer")[-1][1]
    cells = figures.remaining_by_layer(kept).axes[0]
    assert len(cells.texts) == 72
    assert cells.texts[0].get_text() == f"{100 * kept['attention/query'][0]:.0f}"
    assert cells.get_yticklabels()[0].get_text() == "query"


def test_modules_keep_the_order_of_the_network_whatever_the_file_says():
    table = {"output": 1, "attention/value": 1, "new/kernel": 1, "attention/query": 1}
    order = ["attention/query", "attention/value", "output", "new/kernel"]
    assert list(figures._modules(table)) == order


def test_training_marks_every_pruning(make_run):
    events = read_events(make_run() / METRICS_FILE)
    loss, penalty = series.trace(events, "task_loss"), series.trace(events, "penalty")
    figure = figures.training(loss, penalty, [(240, 0.82), (320, 0.68)])
    assert len(figure.axes) == 2
    assert [text.get_text() for text in figure.axes[0].texts] == ["82 %", "68 %"]
    assert len(figure.axes[1].lines) == 3


def test_a_long_trace_is_thinned_by_means_and_shows_what_is_not_a_number():
    events = [{"kind": "train", "step": step, "loss": float(step)} for step in range(10_000)]
    events[-1]["loss"] = "NaN"
    trace = series.trace(events, "loss", points=100)
    assert len(trace) == 100
    assert trace.iloc[0] == trace.index[0] == 49.5
    assert np.isnan(trace.iloc[-1])
    assert series.trace(events, "absent").empty


@settings(deadline=None, max_examples=50)
@given(places=st.lists(st.floats(0, 100), min_size=1, max_size=30))
def test_labels_move_apart_and_stay_inside(places):
    wanted = np.sort(places)
    moved = charts.spread(wanted, 3.0, 0.0, 100.0)
    assert np.all(np.diff(moved) >= 3.0 - 1e-9)
    assert moved[0] >= -1e-9
    assert moved[-1] <= 100 + 1e-9
    if np.all(np.diff(wanted) >= 3.0):
        np.testing.assert_allclose(moved, wanted, atol=1e-9)


def test_the_drawing_is_xml_with_the_colours_of_the_page_and_a_description(results):
    drawing = svg.inline_svg(overview(results), "one", 'A "chart" of <accuracy>')
    root = ElementTree.fromstring(drawing)
    assert root.get("role") == "img"
    assert root.get("aria-label") == 'A "chart" of <accuracy>'
    assert root[0].text == 'A "chart" of <accuracy>'
    titles = [node.text for node in root.iter(f"{{{root.tag[1:].partition('}')[0]}}}title")]
    assert len(titles) == 1 + series.scores(results).notna().sum(axis=None) + 7 + 2
    step = results["prune_steps"][3]
    assert (
        f"fr: {100 * step['languages']['fr']:.2f} at {100 * step['remaining']:.1f} % remaining"
        in titles
    )
    rows = {node.get("data-row") for node in root.iter()} - {None}
    assert rows == {*results["prune_steps"][0]["languages"], "zero-shot mean"}
    assert "width" not in root.attrib
    assert not re.search("|".join(svg.VARIABLES), drawing)
    assert "var(--blue)" in drawing
    ids = re.findall(r' id="([^"]*)"', drawing)
    assert len(set(ids)) == len(ids)
    assert all(name.startswith("one-") for name in ids)
    used = set(re.findall(r'(?:href="|url\()#([^")]+)', drawing))
    assert used == set(ids)


def test_the_same_figure_gives_the_same_bytes(results):
    assert svg.inline_svg(overview(results), "a", "") == svg.inline_svg(overview(results), "a", "")


@pytest.mark.parametrize("many", [1, 4, 31, 60])
def test_labels_of_any_number_of_languages_do_not_overlap_or_leave_the_figure(many):
    names = ["en", "zh-Hans-CN", *(f"x{n}" for n in range(58))][:many]
    steps = [
        {"prune_step": n, "remaining": at, "evaluated": many,
         "zero_shot_avg": 0.5 if many > 1 else None,
         "languages": {name: 0.5 + 0.001 * place for place, name in enumerate(names)}}
        for n, at in enumerate((1.0, 0.5))
    ]  # fmt: skip
    figure = overview({"prune_steps": steps, "chance": 0.04})
    panels = languages({"prune_steps": steps}, 0.04)
    svg.png(figure)  # lays the text out
    svg.png(panels)
    axes = figure.axes[0]
    labels = [text.get_window_extent() for text in axes.texts if text.get_text() in names]
    labels.sort(key=lambda box: box.y0)
    assert len(labels) == many
    assert all(one.y1 <= other.y0 + 1 for one, other in itertools.pairwise(labels))
    assert max(box.x1 for box in labels) < figure.bbox.x1
    for drawing in (figure, panels):
        label = drawing.texts[0]
        assert label.get_text() == "encoder weights remaining (%)"
        assert label.get_window_extent().y0 >= 0
        assert label.get_window_extent().y1 < drawing.axes[-1].get_window_extent().y0


def test_a_flip_is_no_fall_beside_costs():
    """Scores that differ by a twentieth of a point do not fill the scale."""
    points = pd.DataFrame({"MB": [26.4, 102.1], "score": [50.30, 50.35]}, index=["int8", "fp32"])
    (axes,) = figures.costs(points, "MB", ["score"]).axes
    low, high = axes.get_ylim()
    assert high - low >= 10
    assert low < 50.3 < 50.35 < high
