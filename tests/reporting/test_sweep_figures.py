import itertools
import json

import numpy as np
import pytest
import sweep_cases
from matplotlib.colors import to_hex
from scipy import stats

from alignreg_jax.pruning.methods import REGULARIZERS
from alignreg_jax.reporting import svg
from alignreg_jax.reporting.sweeps import drawings, lines
from alignreg_jax.reporting.sweeps.cells import ZERO_SHOT, means, read_cells
from alignreg_jax.reporting.sweeps.runs import common_languages, read_sweep
from alignreg_jax.reporting.sweeps.styles import row_styles

WEIGHTS = (0.01, 1.0, 100.0)
FAMILY = tuple(
    f"{method}@regularizer.weight={weight:g}"
    for method, weights in (
        ("cosine-mbp", [100 * weight for weight in WEIGHTS]),
        ("frobenius-mbp", [5e-4 * weight for weight in WEIGHTS]),
    )
    for weight in weights
)
ALL = (
    *("none", "random", "random-global", "l0-mbp", "l2-mbp", "l2-global-mbp", "gradient-mbp"),
    *("lookahead", "lamp", "cosine-mbp", "frobenius-mbp", "l0", "l2sp", "frobenius-finetuned"),
)


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    runs = sweep_cases.write_runs(tmp_path_factory.mktemp("sweep"))
    return read_sweep(sweep_cases.facts(), runs)


@pytest.fixture(scope="module")
def family(tmp_path_factory):
    folder, rows = tmp_path_factory.mktemp("family"), ("l2-mbp", *FAMILY)
    runs = [
        sweep_cases.write_run(
            folder / f"{row}-{seed}", row, "intents", seed, sweep_cases.gold("intents"),
            skill=(0.6, 0.4 + 0.02 * rows.index(row)),
        )
        for row in rows
        for seed in (0, 1, 2)
    ]  # fmt: skip
    return read_sweep(sweep_cases.facts(rows=rows), runs)


def zero_shot_lines(sweep):
    return lines.row_lines(sweep, "intents")[lines.MEAN]


def steps_of(sweep, row):
    """The evaluations in results.json, of each seed of a row."""
    runs = [run for (of, _, _), run in sweep.sources.items() if of == row]
    return [json.loads((run.workdir / "results.json").read_text())["prune_steps"] for run in runs]


def titles(figure):
    return [axes.get_title("left") for axes in figure.axes]


# ---- Lines ------------------------------------------------------------------------------------


def test_a_line_is_the_mean_over_seeds_with_its_interval_at_every_step(sweep):
    found = zero_shot_lines(sweep)
    assert list(found) == list(sweep_cases.SKILL)
    line = found["l2-mbp"].reset_index()
    assert line.remaining.tolist() == pytest.approx(sweep_cases.REMAINING)
    for step in range(5):
        values = [steps[step]["zero_shot_avg"] for steps in steps_of(sweep, "l2-mbp")]
        low, high = stats.t.interval(0.95, 2, np.mean(values), stats.sem(values))
        assert line["mean"][step] == pytest.approx(np.mean(values))
        assert line.low[step] == pytest.approx(max(low, 0.0))
        assert line.high[step] == pytest.approx(min(high, 1.0))


def test_bands_stay_where_scores_are(tmp_path):
    runs = sweep_cases.write_runs(tmp_path, rows=("random",), skill=(0.99, 0.01), spread=0.2)
    (line,) = zero_shot_lines(read_sweep(sweep_cases.facts(), runs)).values()
    assert min(line.low) == 0.0
    assert max(line.high) == 1.0


def test_lines_are_over_the_languages_that_every_step_of_every_run_has(tmp_path):
    runs = sweep_cases.write_runs(tmp_path, rows=("none", "l2-mbp"))
    runs += sweep_cases.write_runs(tmp_path, rows=("random",), evaluated={1: ("en", "de", "ru")})
    sweep = read_sweep(sweep_cases.facts(), runs)
    assert common_languages(sweep.evaluations["intents"]) == ("de", "ru")
    (none, *_) = zero_shot_lines(sweep).values()
    dense = [steps[0]["languages"] for steps in steps_of(sweep, "none")]
    expected = [(found["de"] + found["ru"]) / 2 for found in dense]
    assert none["mean"].tolist() == pytest.approx([np.mean(expected)])
    thai = lines.row_lines(sweep, "intents")["th"]
    assert len(thai["random"]) == 4
    assert len(thai["l2-mbp"]) == 5


def test_languages_come_english_first_then_by_the_baselines_loss(sweep):
    found = lines.row_lines(sweep, "intents")
    assert list(found)[:2] == [lines.MEAN, "en"]
    changes = []
    for name in list(found)[2:]:
        line = found[name]["l2-mbp"]["mean"]
        changes.append(line.iloc[-1] - line.iloc[0])
    assert changes == sorted(changes)


def test_a_family_is_one_field_at_several_values():
    found = lines.family(("none", "l2-mbp", *FAMILY))
    assert found.field == "regularizer.weight"
    assert {method: [value for value, _ in values] for method, values in found.methods.items()} == {
        "cosine-mbp": [1.0, 100.0, 10000.0],
        "frobenius-mbp": pytest.approx([5e-6, 5e-4, 5e-2]),
    }
    assert found.default("cosine-mbp") == REGULARIZERS["cosine"]
    assert found.default("frobenius-mbp") == REGULARIZERS["frobenius"]


@pytest.mark.parametrize(
    "rows",
    [
        ("none", "l2-mbp"),
        ("a@x=1", "b@x=2"),
        ("a@x=1", "a@y=2"),
        ("a@x=1", "a@x=high"),
        ("a@x=1@y=2", "a@x=2@y=2"),
        ("a@x=1", "a@x=nan"),
        (),
    ],
)
def test_other_labels_are_no_family(rows):
    assert lines.family(rows) is None


def test_responses_are_in_multiples_of_each_methods_default(family):
    known = means(read_cells(family))
    axes = drawings.figures(family, read_cells(family))[0].figure.axes[1]  # zero-shot, at 10 %
    drawn = [line for line in axes.lines if line.get_linewidth() == 2]
    for turn, (method, line) in enumerate(zip(("cosine-mbp", "frobenius-mbp"), drawn, strict=True)):
        apart = 1.07 ** (turn - 0.5)  # a touch to either side
        assert line.get_xdata() == pytest.approx(apart * np.array(WEIGHTS))
        for weight, score in zip(WEIGHTS, line.get_ydata(), strict=True):
            default = lines.family(family.facts.rows).default(method)
            row = f"{method}@regularizer.weight={weight * default:g}"
            assert score == 100 * known["mean"][row, "intents", 0.1, ZERO_SHOT]


# ---- Styles -----------------------------------------------------------------------------------


def test_every_row_has_its_own_look_and_those_that_matter_are_in_front():
    found = row_styles(ALL, "l2-mbp")
    looks = [(style.colour, str(style.stroke), style.marker) for style in found.values()]
    assert len(set(looks)) == len(ALL)
    assert {row for row, style in found.items() if style.front} == {
        *("l2-mbp", "cosine-mbp", "frobenius-mbp"),
    }
    assert {style.colour for style in found.values()} <= set(svg.VARIABLES)
    behind = [style for style in found.values() if not style.front]
    front = {style.colour for style in found.values() if style.front}
    assert not front & {style.colour for style in behind}
    assert len({(style.colour, str(style.stroke)) for style in behind}) == len(behind)


def test_values_of_one_method_share_its_colour():
    found = row_styles(("l2-mbp", *FAMILY), "l2-mbp")
    assert {found[row].colour for row in FAMILY[:3]} == {svg.BLUE}
    assert {found[row].colour for row in FAMILY[3:]} == {svg.VERMILION}
    assert len({str(found[row].stroke) for row in FAMILY[:3]}) == 3


# ---- Figures ----------------------------------------------------------------------------------


def test_there_is_an_overview_and_a_panel_a_language(sweep):
    found = drawings.figures(sweep, read_cells(sweep))
    assert [drawing.name for drawing in found] == ["overview0", "languages0"]


def test_the_overview_draws_the_means_with_bands_and_a_level_for_what_is_not_pruned(sweep):
    drawing = drawings.figures(sweep, read_cells(sweep))[0]
    zero_shot, english = drawing.figure.axes
    assert titles(drawing.figure)[0].startswith("zero-shot mean: intents, accuracy (%)")
    panels = lines.row_lines(sweep, "intents")
    for axes, found in ((zero_shot, panels[lines.MEAN]), (english, panels["en"])):
        left, right = axes.get_xlim()
        assert left > right
        drawn = {tuple(np.round(line.get_ydata(), 9)) for line in axes.lines if line.get_gid()}
        for row, line in found.items():
            expected = tuple(np.round(100 * line["mean"], 9))
            assert (expected * 2 if row == "none" else expected) in drawn
        assert len(axes.collections) == len(found) - 1  # a band each, none for the level line
        texts = {text.get_text() for text in axes.texts}
        assert {"none (dense)", "random", "l2-mbp", "cosine-mbp", "frobenius-mbp"} < texts
        assert f"{100 * found['frobenius-mbp']['mean'].iloc[-1]:.1f}" in texts
    assert zero_shot.get_ylim() != english.get_ylim()


def test_the_bands_of_a_few_lines_are_shown_whole(tmp_path):
    rows = ("l2-mbp", "frobenius-mbp")
    sweep = read_sweep(sweep_cases.facts(), sweep_cases.write_runs(tmp_path, rows=rows, spread=0.2))
    axes = drawings.figures(sweep, read_cells(sweep))[0].figure.axes[0]
    found = zero_shot_lines(sweep).values()
    bottom, top = axes.get_ylim()
    assert bottom < 100 * min(low for line in found for low in line.low)
    assert top > 100 * max(high for line in found for high in line.high)


def test_labels_of_many_rows_do_not_overlap(tmp_path):
    skill = {row: (0.6, 0.45 + 0.001 * place) for place, row in enumerate(ALL)}
    runs = [
        run
        for row in ALL
        for run in sweep_cases.write_runs(tmp_path, rows=(row,), seeds=(0,), skill=skill[row])
    ]
    sweep = read_sweep(sweep_cases.facts(rows=ALL, seeds=(0,)), runs)
    figure = drawings.figures(sweep, read_cells(sweep))[0].figure
    svg.png(figure)  # lays the text out
    for axes in figure.axes:
        names = [
            text.get_window_extent()
            for text in axes.texts
            if text.get_text().partition(" ")[0] in ALL
        ]
        assert len(names) == len(ALL)
        names.sort(key=lambda box: box.y0)
        assert all(low.y1 <= high.y0 + 1 for low, high in itertools.pairwise(names))
        assert names[0].y0 > 0
        assert names[-1].y1 < figure.bbox.y1
        assert max(box.x1 for box in names) < figure.bbox.x1


def test_a_language_has_a_panel_on_the_same_scale_with_a_line_a_row(sweep):
    figure = drawings.figures(sweep, read_cells(sweep))[1].figure
    shown = [axes for axes in figure.axes if axes.get_visible()]
    found = lines.row_lines(sweep, "intents")
    del found[lines.MEAN]
    assert titles(figure)[: len(shown)] == list(found)
    assert len({axes.get_ylim() for axes in shown}) == 1
    for axes, expected in zip(shown, found.values(), strict=True):
        drawn = [tuple(line.get_ydata()) for line in axes.lines if len(line.get_ydata()) == 5]
        assert drawn == [
            tuple(100 * line["mean"]) for row, line in expected.items() if row != "none"
        ]
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["l2-mbp", "cosine-mbp", "frobenius-mbp", "none (dense)", "random"]


def test_a_sweep_over_one_number_starts_with_score_against_it(family):
    found = drawings.figures(family, read_cells(family))
    assert [drawing.name for drawing in found] == ["response0", "overview0", "languages0"]
    figure = found[0].figure
    assert titles(figure) == [
        f"{name} at {at} % remaining (%)"
        for name in ("zero-shot mean", "English")
        for at in (31, 10)
    ]
    assert figure.axes[0].get_xscale() == "log"
    assert "100 for cosine-mbp, 0.0005 for frobenius-mbp" in found[0].caption
    for axes in figure.axes:
        thick = [line for line in axes.lines if line.get_linewidth() == 2]
        lines_of = {to_hex(line.get_color()): line for line in thick}
        assert set(lines_of) == {svg.BLUE, svg.VERMILION}
        assert len(axes.containers) == 2  # error bars
        apart = lines_of[svg.BLUE].get_xdata() / lines_of[svg.VERMILION].get_xdata()
        assert np.all(np.abs(np.log(apart)) < 0.1)  # the same multiples, a touch apart
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["l2-mbp", "cosine-mbp", "frobenius-mbp"]


@pytest.mark.parametrize(
    ("field", "values", "baseline"),
    [
        ("train.learning_rate", ("2e-5", "5e-5"), "l2-mbp"),
        ("distill.temperature", ("2", "3", "4"), "lamp@distill.temperature=2"),
        ("train.learning_rate", ("1e-5", "1e-4"), "lamp@train.learning_rate=1e-5"),
    ],
)
def test_values_within_a_decade_are_ticks_themselves(tmp_path, field, values, baseline):
    rows = ("l2-mbp", *(f"lamp@{field}={value}" for value in values))
    runs = [
        sweep_cases.write_run(
            tmp_path / row, row, "intents", 0, sweep_cases.gold("intents"), skill=(0.6, 0.5)
        )
        for row in rows
    ]
    sweep = read_sweep(sweep_cases.facts(rows=rows, seeds=(0,), baseline=baseline), runs)
    found = drawings.figures(sweep, read_cells(sweep))[0]
    svg.png(found.figure)
    labels = [text.get_text() for text in found.figure.axes[-1].get_xticklabels()]
    assert [float(label) for label in labels] == [float(value) for value in values]
    assert ("dashed line" in found.caption) == (baseline == "l2-mbp")


def test_a_weight_of_zero_has_a_place_on_the_log_axis(tmp_path):
    rows = ("l2-mbp", *(f"frobenius-mbp@regularizer.weight={w}" for w in ("0", "5e-4", "5e-2")))
    runs = [
        sweep_cases.write_run(
            tmp_path / row, row, "intents", 0, sweep_cases.gold("intents"), skill=(0.6, 0.5)
        )
        for row in rows
    ]
    sweep = read_sweep(sweep_cases.facts(rows=rows, seeds=(0,)), runs)
    figure = drawings.figures(sweep, read_cells(sweep))[0].figure
    svg.png(figure)
    (where,) = [line.get_xdata() for line in figure.axes[0].lines if len(line.get_xdata()) == 3]
    assert np.all(where > 0)
    assert where == pytest.approx([0.1, 1, 100])
    labels = [text.get_text() for text in figure.axes[2].get_xticklabels()]
    assert labels == ["0", "1×", "10×", "100×"]


def test_runs_without_pruning_or_with_one_step_are_drawn(tmp_path):
    runs = sweep_cases.write_runs(tmp_path, rows=("none",))
    runs += sweep_cases.write_runs(tmp_path, rows=("l2-mbp",), remaining=(1.0,))
    sweep = read_sweep(sweep_cases.facts(), runs)
    for drawing in drawings.figures(sweep, read_cells(sweep)):
        assert svg.png(drawing.figure)[:4] == b"\x89PNG"
