"""The order of runs, what they share, their folders, and how they are dealt out to shards."""

import importlib
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alignreg_jax.config import DEMO_LANGUAGES, ExperimentConfig, differences, to_dict
from alignreg_jax.data.tasks import get_task
from alignreg_jax.errors import UserError
from alignreg_jax.pruning.methods import PRESETS, REGULARIZERS
from alignreg_jax.reporting.sweeps import paper
from alignreg_jax.reporting.sweeps.settings import rows_of
from alignreg_jax.run.plan import Phases
from alignreg_jax.support.flags import parse
from alignreg_jax.sweeping import config as sweeps
from alignreg_jax.sweeping.plan import (
    Run,
    folder_name,
    groups,
    parse_shard,
    plan,
    shard,
    side_by_side,
)
from alignreg_jax.sweeping.starts import field_paths

CONFIGS = Path(__file__).parent.parent.parent / "configs"


def test_tasks_then_seeds_then_groups(planned):
    tasks = ("intents", "intents@train.batch_size=16")
    methods = ("l2-mbp", "cosine-mbp", "random", "frobenius-finetuned")
    runs = planned(tasks=tasks, methods=methods, seeds=(5, 2))
    order = ["l2-mbp", "random", "frobenius-finetuned", "cosine-mbp"]
    assert [(run.task, run.seed, run.row) for run in runs] == [
        (task, seed, row) for task in tasks for seed in (5, 2) for row in order
    ]
    assert [len(group) for group in groups(runs)] == [3, 1] * 4
    assert len({run.name for run in runs}) == len(runs)
    assert runs[1].name == "intents/random/s5"
    assert runs[1].words == "intents random s5"


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("l2-mbp", "l2-mbp"),
        ("frobenius-mbp@regularizer.weight=1e-05", "frobenius-mbp@regularizer.weight=1e-05"),
        ("lamp@task.data_dir=/a/b", "lamp@task.data_dir=-a-b-"),
        ("lamp@task.data_dir=../b", "lamp@task.data_dir=..-b-"),
        ("x" * 300, "x" * 100 + "-"),
    ],
)
def test_folder_names_are_safe(label, name):
    found = folder_name(label)
    assert found.startswith(name)
    assert "/" not in found
    assert len(found) < 120
    assert (found == label) == (name == label)


def test_folder_names_are_different():
    labels = ["a/b", "a-b", "a//b", "a?b", "é", "è", "x" * 101, "x" * 102]
    assert len(set(map(folder_name, labels))) == len(labels)


def stubs(sizes):
    return [
        Run("row", "task", seed, ExperimentConfig(), f"{group}/{seed}", str(group))
        for group, size in enumerate(sizes)
        for seed in range(size)
    ]


@given(st.lists(st.integers(1, 5), min_size=1, max_size=8), st.integers(1, 12))
def test_shards_are_equal_and_split_few_groups(sizes, count):
    runs = stubs(sizes)
    shards = [shard(runs, index, count) for index in range(1, count + 1)]
    assert Counter(run.name for part in shards for run in part) == Counter(r.name for r in runs)
    assert max(map(len, shards)) - min(map(len, shards)) <= 1
    # Each border between two shards splits one group at most
    assert sum(len(groups(part)) for part in shards) <= len(sizes) + count - 1


@given(st.lists(st.tuples(*3 * [st.integers(0, 2)])), st.integers(1, 4))
def test_side_by_side_are_seeds_of_one_row_equally_far(drawn, most):
    config = ExperimentConfig()
    runs = [
        Run(f"row{row}", "task", seed, config, f"{position}-{stage}", "")
        for position, (row, seed, stage) in enumerate(drawn)
    ]
    found = side_by_side(runs, most, lambda run: run.name[-1])
    assert sorted(run.name for together in found for run in together) == sorted(
        run.name for run in runs
    )
    for together in found:
        assert 1 <= len(together) <= most
        assert len({(run.row, run.name[-1]) for run in together}) == 1
        assert [runs.index(run) for run in together] == sorted(map(runs.index, together))
    firsts = [runs.index(together[0]) for together in found]
    assert firsts == sorted(firsts)
    assert most > 1 or [together[0] for together in found] == runs


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "a/b", "-1/2", "1/0", "", "1/2/3"])
def test_shards_that_do_not_exist(text):
    with pytest.raises(UserError, match="--shard="):
        parse_shard(text)


def test_shard_is_read():
    assert parse_shard("2/8") == (2, 8)


# ---- The configurations that come with the library ---------------------------------------------


@pytest.fixture
def shipped(monkeypatch):
    """The sweep of a config file."""
    import sys

    def load(name):
        monkeypatch.delitem(sys.modules, "config_config", raising=False)
        values = parse(
            ["--config", str(CONFIGS / name)], program="", example="", fields=field_paths
        )
        return sweeps.resolve(values.config)

    return load


pytestmark = pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")


def test_table1_is_the_papers(shipped):
    sweep = shipped("table1.py")
    assert sweep.methods[: len(paper.ROWS)] == tuple(paper.ROWS)
    assert [task.partition("@")[0] for task in sweep.tasks] == list(paper.TASKS)
    assert sweep.remaining == (paper.REMAINING,)
    runs = plan(sweep)
    assert len(runs) == 21 * 8 * 5
    for run in runs:
        config, task = run.config, get_task(run.config.task.name)
        assert config.model.name_or_path == "FacebookAI/xlm-roberta-base"
        assert config.train.batch_size == 32
        assert config.train.learning_rate == (2e-5 if task.name == "pos" else 5e-6)
        assert config.task.max_length is None
        assert task.max_length == (128 if task.name == "pos" else 256)
        assert config.task.source == "folder"  # never a third party's copy unless asked for
        assert config.task.strip_space_marker == ("th", "zh")
        assert config.pruning.steps == (0 if run.row == "none" else 12)
        assert config.pruning.epochs_per_step == 15
        assert config.eval.save_predictions


def test_table1_demo_has_the_same_rows(shipped):
    sweep = shipped("table1_demo.py")
    assert sweep.methods == shipped("table1.py").methods
    assert len(sweep.seeds) >= 3
    runs = plan(sweep)
    assert {run.config.pruning.explicit[-1] for run in runs if run.row != "none"} == {0.1}
    assert not any(run.config.export for run in runs)
    base = {run.row: to_dict(run.config) for run in runs if run.seed == sweep.seeds[0]}
    for row, config in base.items():  # nothing differs but what a row is named after
        differing = {line.split(" ")[0] for line in differences(base[sweep.baseline], config)}
        own = set(PRESETS[row]) | set(PRESETS[sweep.baseline]) | {"method", "regularizer.weight"}
        assert differing <= own | ({"pruning.explicit"} if row == "none" else set()), row
    sizes = sorted(len(group) for group in groups(runs))
    assert sizes == sorted([15, 1, 2, 1, 2] * len(sweep.seeds))


def test_lambda_demo_searches_both_penalties_alike(shipped):
    sweep = shipped("lambda_demo.py")
    weights = {"cosine": [], "frobenius": []}
    for run in plan(sweep):
        if run.row != "l2-mbp" and run.seed == sweep.seeds[0]:
            name, weight = run.config.regularizer.name, run.config.regularizer.weight
            weights[name].append(weight / REGULARIZERS[name])
    assert weights["cosine"] == pytest.approx(weights["frobenius"])
    assert max(weights["cosine"]) / min(weights["cosine"]) >= 1e5
    assert 1 in map(round, weights["cosine"])


@pytest.mark.parametrize(
    "arg", ["", ":slots", ":tags", ":topics", ":amounts", ":others", ":labels"]
)
def test_distillation_demo_gives_all_rows_the_same_steps(shipped, arg):
    runs = plan(shipped(f"distillation_demo.py{arg}"))
    settings = {run.config.distill for run in runs}
    amounts = {0, 3, 10, 30, 60} if arg == ":amounts" else {0}
    assert {distill.text_examples for distill in settings} == amounts
    labelled = {run.config.task.train_examples for run in runs}
    assert len(labelled) == (4 if arg == ":labels" else 1)
    methods = {run.config.method for run in runs}
    assert len(runs) == len(methods) * len(settings) * len(labelled) * 5
    found = {(run.config.distill.teacher, run.config.distill.text) for run in runs}
    on_english = set() if arg in (":others", ":labels") else {("dense", None)}
    assert found == {("none", None), ("dense", "data")} | on_english
    assert len({run.config.distill.weight for run in runs}) == 1
    steps = set()
    for run in runs:
        config = run.config
        rows = config.task.train_examples
        phases = Phases.from_config(config, rows, rows if config.distill.text else 0)
        own = phases.total_steps - (phases.steps(0) if phases.restarts else 0)
        steps.add((own, phases.steps(2), phases.steps(3)))
    of_help = arg in (":tags", ":topics")  # fewer and longer rows, fewer of them in a step
    assert steps == {(2240, 320, 320) if of_help else (640, 160, 160)}


def test_peers_are_cut_alone_or_trained_as_other_rows_are(shipped):
    runs = plan(shipped("distillation_demo.py:peers"))
    found = set()
    for run in runs:
        pruning, text = run.config.pruning, run.config.distill.text
        phases = Phases.from_config(run.config, 1280, 1280 if text else 0)
        assert (pruning.explicit, phases.steps(0)) == ((0.5, 0.25), 160)
        found.add((run.config.method, pruning.scope == "n:4", text, phases.steps(1)))
        assert (pruning.gradients_on == "text") == (text is not None and not phases.steps(1))
    trained = {(method, False, "data", 160) for method in ("l2-mbp", "wanda", "sparsegpt")}
    cut = {(method, False, text, 0) for method in ("wanda", "sparsegpt") for text in (None, "data")}
    every = trained | cut | {("l2-mbp", False, None, 0)}
    blocks = {(method, True, *rest) for method, _, *rest in every if method != "sparsegpt"}
    assert found == every | blocks
    assert len(runs) == 5 * len(found)


def test_what_others_text_does_is_asked_of_every_language(shipped):
    """Each is in one of the two halves that have text."""
    runs = plan(shipped("distillation_demo.py:others"))
    halves = {run.config.distill.text_languages for run in runs} - {()}
    assert sorted(language for half in halves for language in half) == sorted(DEMO_LANGUAGES[1:])


def test_the_study_gives_all_rows_the_same_steps(shipped):
    runs = plan(shipped("study.py"))
    assert len(runs) == 33 * 4 * 5
    assert len({run.config.distill.weight for run in runs}) == 1
    for run in runs:
        config = run.config
        rows = config.task.train_examples
        phases = Phases.from_config(config, rows, rows if config.distill.text else 0)
        own = phases.total_steps - (phases.steps(0) if phases.restarts else 0)
        assert own == (640 if config.task.source == "demo" else 2240), run.name


def test_a_task_of_the_study_has_the_rows_of_its_hypotheses(shipped, monkeypatch):
    monkeypatch.syspath_prepend(CONFIGS.parent / "tools")
    hypotheses = importlib.import_module("hypotheses").HYPOTHESES
    compared = {row for _, pairs in hypotheses.values() for pair in pairs for row in pair}
    whole, tasks = shipped("study.py"), []
    for task in ("intents", "slots", "topics", "tags"):
        sweep = shipped(f"study.py:{task}")
        tasks += sweep.tasks
        rows = [(name.split("@")[0], "@distill.text=data" in name) for name in sweep.methods]
        assert sorted(rows) == sorted(compared)
        assert {*sweep.methods} < {*whole.methods}, "they are rows of the whole study"
        assert sweep.base["export"] == "steps"
    assert tuple(tasks) == whole.tasks
    with pytest.raises(UserError, match=r"unknown argument :topic; there are :intents, .*:xglue"):
        shipped("study.py:topic")


def test_the_study_on_xglue_is_the_same_study(shipped):
    here, there = shipped("study.py"), shipped("study.py:xglue")
    assert [name.split("@")[0] for name in here.methods] == [
        name.split("@")[0] for name in there.methods
    ]
    assert (here.remaining, here.seeds) == (there.remaining, there.seeds)
    rows = 49_401
    for run in plan(there):
        text = rows if run.config.distill.text else 0
        phases = Phases.from_config(run.config, rows, text)
        own = phases.total_steps - (phases.steps(0) if phases.restarts else 0)
        assert own == pytest.approx(10 * -(-rows // 32), abs=10), run.name
        assert run.config.train.learning_rate == (2e-5 if "pos" in run.task else 5e-6)


def test_continuum_demo_goes_from_no_penalty_to_weights_that_stay(shipped):
    runs = {run.row: run.config for run in plan(shipped("continuum_demo.py"))}
    weights = [c.regularizer.weight for c in runs.values() if c.regularizer.name == "frobenius"]
    assert weights == sorted(weights)
    assert max(weights) / min(weights) > 9e4
    frozen = [config for config in runs.values() if config.pruning.freeze]
    assert {config.pruning.criterion for config in frozen} == {"magnitude", "movement"}
    assert {config.pruning.freeze for config in frozen} == {("embeddings", "encoder")}


def test_structured_demo_trains_cuts_alike_and_elastic_as_long_or_a_quarter(shipped):
    def later_steps(config):
        rows = config.task.train_examples
        phases = Phases.from_config(config, rows, rows if config.distill.text else 0)
        assert phases.steps(0) == 160
        return phases.total_steps - 160

    for arg, task in (("", "intents"), (":slots", "slots")):
        sweep, steps = shipped(f"structured_demo.py{arg}"), {}
        assert sweep.tasks == (task,)
        for run in plan(sweep):
            steps.setdefault(run.config.method, set()).add(later_steps(run.config))
        assert steps.pop("elastic") == {80, 320}
        assert set(steps) == {"l2-mbp", "structured-taylor", "structured-fisher"}
        assert all(found == {320} for found in steps.values())
    for arg, expected in (
        ("layers", [160, 320, 320]), ("tries", [320, 320, 320, 1280]), ("depth", [320, 320])
    ):  # fmt: skip
        runs = [run.config for run in plan(shipped(f"structured_demo.py:{arg}"))]
        assert [later_steps(config) for config in runs if config.seed == 0] == expected
    assert [config.pruning.depth for config in runs if config.seed == 0] == [False, True]


def test_settings_demo_differs_in_whose_text_importance_is_measured_on(shipped):
    sweep = shipped("settings_demo.py")
    shared, own = rows_of(sweep.methods)
    runs = {run.row: run.config for run in plan(sweep)}
    assert set(own) == {name for name in runs[shared].eval.languages if name != "en"}
    for language, row in own.items():
        assert runs[row].distill.text_languages == (language,)
        differing = differences(to_dict(runs[shared]), to_dict(runs[row]))
        assert [line.split(" ")[0] for line in differing] == ["distill.text_languages"]
        phases = Phases.from_config(runs[row], 1280, 0)
        assert phases.total_steps == 160 + 2 * 40


def test_tags_demo_compares_two_methods_on_two_tasks(shipped):
    slots, parts_of_speech = shipped("tags_demo.py"), shipped("tags_demo.py:ud_pos")
    assert slots.tasks == ("slots",)
    assert parts_of_speech.tasks == ("pos_tags",)
    for sweep in (slots, parts_of_speech):
        assert sweep.methods == ("l2-mbp", "frobenius-mbp")
        assert len(plan(sweep)) == 2 * 3
        assert {run.config.pruning.explicit for run in plan(sweep)} == {(0.56, 0.3138)}
        assert get_task(plan(sweep)[0].config.task.name).kind == "token"
