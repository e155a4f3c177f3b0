"""benchmarks/accelerator.py: what it counts, and that a row that fails costs only itself."""

import json
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture(autouse=True)
def _importable(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "benchmarks")


def test_only_tokens_that_are_no_padding_count_as_work(monkeypatch):
    import jobs
    import measures

    bench = measures.Bench(small=True)
    bench.peak = 1e9
    monkeypatch.setattr(bench, "_seconds", lambda sides, *rest: dict.fromkeys(sides, 2.0))
    job = jobs.random_job(bench.base, np.array([8, 8, 8, 16]))
    # Two dispatches of unlike size, both padded to more than the rows hold
    parts = [jobs.Dispatch(12, np.int32([[0, 1, 2]])), jobs.Dispatch(32, np.int32([[3, -1, -1]]))]

    found = bench._rates("lengths", job, parts, torch=True)

    def operations(length):
        per_token = 4 * 96**2 + 2 * 96 * 192 + 2 * length * 96
        return 3 * 2 * 2 * length * per_token  # backward twice the forward pass; 2 layers

    assert found.ours == found.other == 4 / 2.0
    assert found.share == pytest.approx((3 * operations(8) + operations(16)) / 2.0 / 1e9)


def test_ours_trains_the_active_rows_and_torch_all(monkeypatch):
    import jobs
    import measures
    import sides

    bench, seen = measures.Bench(small=True), {}
    monkeypatch.setattr(
        bench,
        "_seconds",
        lambda wanted, job, *rest: seen.update(job=job) or dict.fromkeys(wanted, 1.0),
    )
    bench.train("defaults", bench.base, 4, 8, torch=True, active=50)
    job = seen["job"]
    assert job.rows.ids.max() < 50
    assert job.config.vocab_size == bench.base.vocab_size  # what torch has
    assert sides.Ours(jobs.replace(job, dtype="float32")).job.config.vocab_size == 50


def test_ours_out_of_memory_is_tried_again_with_remat(monkeypatch):
    import measures

    bench = measures.Bench(small=True)

    def seconds(sides, job, parts, what):
        full = "failed: XlaRuntimeError: RESOURCE_EXHAUSTED: Out of memory"
        return {side: 1.0 if job.remat or side is measures.Theirs else full for side in sides}

    monkeypatch.setattr(bench, "_seconds", seconds)
    found = bench.train("large, 256 x 16", bench.large, 256, 16, torch=True)
    assert found.name == "large, 256 x 16, ours with model.remat"
    assert not found.failed
    assert found.ratio == 1.0


def test_rows_that_fail_or_do_not_fit_leave_the_others_alone(tmp_path, capsys):
    import accelerator
    import measures

    asked = []

    def row(name, kind, ours, torch=False):
        def measure(with_torch):
            asked.append((name, with_torch))
            return measures.Figures(name, "ms", ours, 4.0, "torch")

        return accelerator.Row("more", kind, name, measure, torch)

    todo = [
        row("broken", "base", "failed: OOM | here", torch=True),
        row("slow", "lengths", 1.0),
        row("alone", "changes", 2.0, torch="if time"),
        row("good", "prune", 1.0),
    ]
    guess = accelerator.GUESS
    # Time for each row but the slow one, not for "alone" with torch and for what comes after it
    budget = accelerator.Budget(guess["base"][True] + 5)
    budget.took = {("changes", True): 60.0, ("lengths", False): 1000.0}
    bench = measures.Bench(small=True)
    report = accelerator.Report(tmp_path / "new" / "results")
    accelerator.run(bench, todo, budget, report, torch=True)

    assert asked == [("broken", True), ("alone", False), ("good", False)]
    assert ("base", True) not in budget.took  # a failure says nothing of how long a row takes
    text = (tmp_path / "new" / "results.md").read_text()
    assert text == capsys.readouterr().out
    assert "| broken | ms | failed: OOM / here | torch: 4 |" in text
    assert "| good | ms | 1 | torch: 4 | 0.250 |" in text
    assert "lack of time: slow.\nTo run them: --parts more" in text
    lines = (tmp_path / "new" / "results.jsonl").read_text().splitlines()
    lines = [json.loads(line) for line in lines]
    assert [line.get("name") for line in lines] == ["broken", "alone", "good", None]
    assert lines[-1] == {"left_out": ["slow"]}


def test_a_save_is_reckoned_as_if_the_steps_stood_still_for_it():
    import whole_run

    saves = {"saves": 10, "held": 2.0, "beside": 4.0, "evaluated": 5, "size": 1}
    without = whole_run.Run(examples=900, training=30.0, whole=40.0, **saves)
    with_saves = whole_run.Run(examples=900, training=29.0, whole=50.0, **saves)
    found = whole_run.figures(without, with_saves)
    assert found.step == 30
    assert found.whole == 18
    assert found.seconds_per_save == pytest.approx((4 + 2) / 10)  # and no guess from noisy steps
    assert found.share(10) == pytest.approx(600 / 600.6)


def test_a_whole_run_is_measured_by_its_own_files(world, tmp_path):
    import whole_run
    from tiny import configured

    config = configured(world, "--config.method=none", "--config.export=False")
    run = whole_run.measure(config, tmp_path / "run", whole_run.Shared())
    assert run.examples == 2 * 40
    assert 0 < run.held
    assert 0 < run.beside
    assert run.evaluated == 3 * (10 + 18)
    assert 0 < run.training < run.whole
    assert run.saves == 4  # after 4 and 8 of 10 steps, as dispatches of two end, and at both ends
    assert run.size > 10_000
    whole_run.write_rows(tmp_path / "data", 6, 3)
    assert len((tmp_path / "data" / "en.train.jsonl").read_text().splitlines()) == 6
    config = whole_run.configured(tmp_path / "data", True, ["train.batch_size=4"])
    assert config.train.batch_size == 4
    assert config.checkpoint.every_minutes == 0
