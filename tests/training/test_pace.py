from alignreg_jax.training.pace import Pace, Stopwatch


def test_stopwatch_adds_up_what_is_inside():
    times = iter([0.0, 1.5, 10.0, 12.0])
    watch = Stopwatch(clock=lambda: next(times))
    for _ in range(2):
        with watch:
            pass
    assert watch.seconds == 3.5


def test_pace_counts_what_killed_runs_spent_and_has_no_rate_without_examples():
    pace = Pace(started=0.0)
    before = pace.seconds
    pace.earlier = 1000.0
    assert 1000.0 <= pace.seconds - before < 1060.0
    assert pace.facts()["examples_per_second"] is None
    pace.examples, pace.training.seconds = 30.0, 2.0
    assert pace.facts()["examples_per_second"] == 15.0
