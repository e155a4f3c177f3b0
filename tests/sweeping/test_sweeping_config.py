"""Rows, tasks and seeds to configurations; every mistake is named before anything starts."""

import pytest

from alignreg_jax.config import default_config, resolve
from alignreg_jax.errors import UserError
from alignreg_jax.sweeping import config as sweeps
from alignreg_jax.sweeping.starts import field_paths


def only(runs, **wanted):
    found = [run for run in runs if all(getattr(run, k) == v for k, v in wanted.items())]
    assert len(found) == 1
    return found[0].config


def test_a_row_alone_is_its_preset(planned):
    """What main would resolve from the same fields, to the last of them."""
    runs = planned({"train.batch_size": 16}, methods=("l2-mbp", "lamp", "none"), seeds=(0, 3))
    for run in runs:
        config = default_config()
        config.task.name, config.task.source = "intents", "demo"
        config.train.batch_size = 16
        config.eval.save_predictions = True
        config.checkpoint.keep_finished = False
        config.method, config.seed = run.row, run.seed
        assert run.config == resolve(config)


@pytest.mark.parametrize(
    ("label", "section", "field", "value"),
    [
        ("frobenius-mbp@regularizer.weight=0.01", "regularizer", "weight", 0.01),
        ("frobenius-mbp@regularizer.weight=1", "regularizer", "weight", 1.0),
        ("l2-mbp@pruning.scope=global", "pruning", "scope", "global"),
        ("l2-mbp@train.batch_size=8", "train", "batch_size", 8),
        ("l2-mbp@model.remat=true", "model", "remat", True),
        ("l2-mbp@eval.languages=(sw,de)", "eval", "languages", ("sw", "de")),
        ('l2-mbp@eval.languages=("sw","de")', "eval", "languages", ("sw", "de")),
        ("l2-mbp@train.freeze=embeddings", "train", "freeze", ("embeddings",)),
        ("l2-mbp@pruning.final=0.729@pruning.steps=3", "pruning", "steps", 3),
    ],
)
def test_overrides_are_of_the_fields_type(planned, label, section, field, value):
    config = only(planned(methods=("l2-mbp", label), remaining=(0.9**3,), seeds=(0,)), row=label)
    assert getattr(getattr(config, section), field) == value
    assert type(getattr(getattr(config, section), field)) is type(value)


def test_task_overrides_come_before_the_rows(planned):
    task = "intents@train.batch_size=8@train.warmup_steps=5"
    runs = planned(methods=("l2-mbp", "l2-mbp@train.batch_size=4"), tasks=(task,), seeds=(0,))
    found = {run.row: run.config.train for run in runs}
    assert found["l2-mbp"].batch_size == 8
    assert found["l2-mbp@train.batch_size=4"].batch_size == 4
    assert {train.warmup_steps for train in found.values()} == {5}


def test_labels_typed_as_one_text(configured):
    config = configured(methods=("l2-mbp,random, lamp@pruning.explicit=(0.5,0.3)",))
    assert sweeps.resolve(config).methods == ("l2-mbp", "random", "lamp@pruning.explicit=(0.5,0.3)")


def test_a_schedule_of_all_rows_is_none_for_the_row_that_never_prunes(planned):
    base = {"pruning.schedule": "explicit", "pruning.steps": 2, "pruning.explicit": (0.5, 0.3)}
    runs = planned(base, methods=("none", "l2-mbp"), remaining=(0.3,), seeds=(0,))
    assert only(runs, row="none").pruning.steps == 0
    assert only(runs, row="l2-mbp").pruning.explicit == (0.5, 0.3)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"methods": ("l2-mbp", "mbp")}, ["methods", "'mbp'", "frobenius-mbp"]),
        ({"methods": ()}, ["methods is empty"]),
        ({"methods": (3,)}, ["methods", "3"]),
        ({"methods": ("l2-mbp", "random", "random")}, ["methods", "'random'", "twice"]),
        ({"methods": ("l2-mbp", "l2-mbp@regularizer.wieght=1")},
         ["l2-mbp@regularizer.wieght=1: regularizer.wieght", "regularizer.weight"]),
        ({"methods": ("l2-mbp", "l2-mbp@train.batch_size=many")},
         ["l2-mbp@train.batch_size=many: train.batch_size=many", "many"]),
        ({"methods": ("l2-mbp", "l2-mbp@train.batch_size")}, ["FIELD=VALUE"]),
        ({"methods": ("l2-mbp", "l2-mbp@train.batch_size=0")},
         ["train.batch_size=0", "on intents"]),
        ({"methods": ("l2-mbp", "l2-mbp@seed=1")}, ["seed", "seeds"]),
        ({"methods": ("l2-mbp", "l2-mbp@method=lamp")}, ["method", "methods"]),
        ({"methods": ("l2-mbp", "l2-mbp@pruning.final=2")}, ["l2-mbp@pruning.final=2 on intents"]),
        ({"methods": ("l2-mbp", "frobenius-mbp", "frobenius-mbp@regularizer.weight=0.0005")},
         ["methods", "'frobenius-mbp' and 'frobenius-mbp@regularizer.weight=0.0005'", "same"]),
        ({"methods": ("l2-mbp@pruning.scop=global",)}, ["pruning.scop: there is no such field"]),
        ({"methods": ("l2-mbp", "elastic@pruning.sizes=(1,0.5")},
         ["methods: elastic@pruning.sizes=(1: a bracket is opened and not closed"]),
        ({"methods": ("random",)}, ["baseline='l2-mbp'", "random"]),
        ({"methods": ("none", "l2-mbp"), "baseline": "none"}, ["baseline: 'none' is not pruned"]),
        (
            {"methods": ("l2-mbp", "none@eval.examples=9"), 
             "comparisons": ("none@eval.examples=9",)},
            ["comparisons: 'none@eval.examples=9' is not pruned"],
        ),
        ({"tasks": ("xquad",)}, ["tasks", "xquad", "xnli"]),
        ({"tasks": ("intents@task.name=xnli",)}, ["task.name", "tasks"]),
        ({"tasks": ("intents@task.sauce=hub",)}, ["task.sauce", "task.source"]),
        ({"tasks": ("intents", "intents@train.batch_size=32")}, ["tasks", "same"]),
        ({"seeds": ()}, ["seeds is empty"]),
        ({"seeds": (0, 1, 0)}, ["seeds: 0", "twice"]),
        ({"seeds": (0, -1)}, ["seeds=-1"]),
        ({"seeds": (0.5,)}, ["seeds=0.5"]),
        ({"remaining": (0.0,)}, ["remaining=0.0"]),
        ({"remaining": (0.42,)}, ["remaining=0.42", "l2-mbp on intents", "0.4305, 0.3874"]),
        # Half of the layers and of their units is a quarter of the weights
        ({"remaining": (0.5,), "baseline": "elastic@pruning.depth=True",
          "methods": ("elastic@pruning.depth=True@pruning.sizes=(1,0.75,0.5)",
                      "elastic@pruning.depth=True")},
         ["remaining=0.5", "but 1, 0.5625, 0.25"]),
    ],
)  # fmt: skip
def test_mistakes(planned, fields, words):
    with pytest.raises(UserError) as caught:
        planned(**fields)
    for word in words:
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_base_that_turns_one_row_into_another(planned):
    with pytest.raises(UserError, match=r"base\.pruning\.scope='global': l2-mbp stands for"):
        planned({"pruning.scope": "global"}, methods=("l2-mbp",))
    planned({"pruning.scope": "global"}, methods=("l2-global-mbp",), baseline="l2-global-mbp")


def test_a_config_of_something_else():
    for wrong in (default_config(), None, {"methods": ()}):
        with pytest.raises(UserError, match=r"sweeping\.starts\.default_config"):
            sweeps.resolve(wrong)


def test_what_the_sweep_sets_is_no_field_of_the_command_line():
    paths = field_paths()
    assert {"base.train.batch_size", "base.data_seed", "methods", "seeds"} <= set(paths)
    assert not {"base.seed", "base.method", "base.task.name"} & set(paths)


def test_sweep_json_holds_plain_values(configured):
    found = sweeps.to_dict(sweeps.resolve(configured(seeds=(4,))))
    assert found["seeds"] == [4]
    assert found["base"]["eval"]["splits"] == ["dev", "test"]
    assert "seed" not in found["base"]
    assert "name" not in found["base"]["task"]
