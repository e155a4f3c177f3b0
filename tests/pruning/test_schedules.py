import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alignreg_jax.errors import UserError
from alignreg_jax.pruning import masks
from alignreg_jax.pruning.schedules import SCHEDULES, remaining


def curve(schedule, steps, **fields):
    fields = {"fraction": 0.1, **fields}
    return [remaining(schedule, step, steps=steps, **fields) for step in range(steps + 1)]


def test_geometric_removes_a_tenth_of_the_survivors():
    values = curve("geometric", 13)
    known = {1: 0.9, 5: 0.59049, 10: 0.34868, 11: 0.31381, 12: 0.28243, 13: 0.25419}
    assert {step: round(values[step], 5) for step in known} == known


def test_geometric_counts_on_xlmr_base(xlmr_base):
    at_11 = remaining("geometric", 11, steps=12, fraction=0.1)
    by_layer = masks.keep_counts(xlmr_base, at_11, "layer")
    assert by_layer["attention/query"].tolist() == [185_093] * 12
    assert by_layer["output"].tolist() == [740_372] * 12
    assert sum(int(counts.sum()) for counts in by_layer.values()) == 26_653_392
    assert masks.keep_counts(xlmr_base, at_11, "global") == 26_653_395


def test_geometric_to_a_final_fraction():
    values = curve("geometric", 4, final=0.3138)
    assert values[4] == 0.3138
    ratios = [after / before for before, after in itertools.pairwise(values)]
    assert ratios == pytest.approx([0.3138**0.25] * 4)


def test_linear_removes_the_same_number_every_time():
    assert curve("linear", 4, final=0.2) == pytest.approx([1, 0.8, 0.6, 0.4, 0.2])


def test_cubic_is_automated_gradual_pruning():
    # v(t) = v_f + (v_0 - v_f) (1 - t/T)^3
    assert curve("cubic", 4, final=0.2) == pytest.approx([1, 0.5375, 0.3, 0.2125, 0.2])


def test_explicit_follows_the_list():
    assert curve("explicit", 3, explicit=(0.9, 0.9, 0.3)) == [1.0, 0.9, 0.9, 0.3]


@pytest.mark.parametrize("schedule", ["geometric", "linear", "cubic"])
def test_schedules_end_where_the_papers_does(schedule):
    assert curve(schedule, 11)[11] == pytest.approx(0.9**11, abs=1e-15)


@settings(deadline=None, max_examples=100)
@given(
    schedule=st.sampled_from(["geometric", "linear", "cubic"]),
    steps=st.integers(0, 30),
    fraction=st.floats(0, 0.9),
    final=st.none() | st.floats(1e-3, 1),
)
def test_remaining_starts_at_one_and_never_increases(schedule, steps, fraction, final):
    values = curve(schedule, steps, fraction=fraction, final=final)
    assert values[0] == 1.0
    assert all(0 < after <= before for before, after in itertools.pairwise(values))


@pytest.mark.parametrize(
    ("schedule", "fields", "message"),
    [
        ("uniform", {}, "pruning.schedule=uniform: choose one of geometric"),
        ("geometric", {"steps": -1}, "pruning.steps=-1"),
        ("geometric", {"fraction": 1.0}, "pruning.fraction=1.0"),
        ("geometric", {"fraction": -0.1}, "pruning.fraction=-0.1"),
        ("geometric", {"fraction": float("nan")}, "pruning.fraction=nan"),
        ("cubic", {"final": 0.0}, "pruning.final=0.0"),
        ("linear", {"final": 1.5}, "pruning.final=1.5"),
        ("explicit", {"explicit": (0.9,)}, "pruning.explicit has 1 values and pruning.steps=2"),
        ("explicit", {"explicit": (0.5, 0.6)}, "pruning.explicit: 0.6 after 0.5"),
        ("explicit", {"explicit": (1.1, 0.6)}, "pruning.explicit: 1.1 after 1.0"),
        ("explicit", {"explicit": (0.5, 0.0)}, "pruning.explicit: 0.0 after 0.5"),
    ],
)
def test_a_bad_field_is_named_in_one_line(schedule, fields, message):
    fields = {"steps": 2, "fraction": 0.1, **fields}
    with pytest.raises(UserError) as error:
        remaining(schedule, 0, **fields)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("step", [-1, 3])
def test_a_step_outside_the_schedule_is_a_bug(step):
    with pytest.raises(ValueError, match="not between 0 and 2"):
        remaining("geometric", step, steps=2, fraction=0.1)


def test_every_schedule_is_known():
    assert SCHEDULES == ("geometric", "linear", "cubic", "explicit")
