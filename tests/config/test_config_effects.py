"""A field that another one switches off is refused where somebody asked for it."""

import sys

import pytest

from alignreg_jax.config import (
    default_config,
    demo_config,
    effects,
    field_paths,
    paper_config,
    resolve,
)
from alignreg_jax.errors import UserError
from alignreg_jax.pruning.methods import PRESETS
from alignreg_jax.support.flags import override
from alignreg_jax.sweep import main as sweep

# ml_collections loads a config file in a way that Python will drop
pytestmark = pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")


def check(*assignments, config=None):
    """Fields of the command line, on top of a config file's."""
    config = config or default_config()
    override(config, assignments, field_paths())
    given = {assignment.partition("=")[0] for assignment in assignments}
    effects.check_given(effects.values_at(config, given), resolve(config))


@pytest.mark.parametrize(
    ("assignments", "switched_by"),
    [
        ("train.bucketing=none train.epoch_parts=4", "train.bucketing is none"),
        ("train.bucketing=none train.lengths_per_doubling=4", "train.bucketing is none"),
        ("pruning.explicit=0.9,0.8 pruning.steps=2", "pruning.schedule"),
        ("pruning.schedule=explicit pruning.explicit=0.9,0.8 pruning.steps=2 pruning.fraction=.2",
         "pruning.schedule"),
        ("pruning.schedule=explicit pruning.explicit=0.9 pruning.steps=1 pruning.final=0.5",
         "pruning.schedule"),
        ("pruning.final=0.5 pruning.fraction=0.2", "pruning.final"),
        ("method=none pruning.steps=3", "nothing is pruned"),
        ("method=none pruning.final=0.3", "nothing is pruned"),
        ("method=none pruning.explicit=0.5,0.3", "nothing is pruned"),
        ("method=none pruning.scope=global", "nothing is pruned"),
        ("pruning.steps=0 pruning.first_epochs=2 pruning.epochs_per_step=1", "nothing is pruned"),
        ("pruning.steps=1 eval.every_phase_languages=en", "no phase"),
        ("method=l2-mbp pruning.gradient_batches=8", "pruning.criterion"),
        ("method=l2-mbp regularizer.weight=0.1", "no penalty"),
        ("method=random regularizer.norm=norm", "no penalty"),
        ("method=lamp regularizer.reduce=mean", "no penalty"),
        ("method=none regularizer.phases=dense", "no penalty"),
        ("method=l2-mbp regularizer.reference=finetuned", "no penalty"),
        ("method=cosine-mbp regularizer.norm=norm", "not frobenius"),
        ("method=l2sp regularizer.reduce=mean", "not frobenius"),
        ("method=frobenius-finetuned pruning.steps=0 regularizer.weight=1", "first cut"),
        ("method=l0-mbp pruning.steps=0 regularizer.weight=2", "first cut"),
        ("method=frobenius-mbp train.score_learning_rate=0.1", "nothing but weights"),
        ("method=l2-mbp train.multiplier_learning_rate=0.1", "no multipliers"),
        ("method=l0-mbp regularizer.name=l0 train.multiplier_learning_rate=0.1", "no multipliers"),
        ("pruning.first_epochs=0 pruning.steps=0 train.learning_rate=1e-4", "nothing is trained"),
        ("task.name=slots task.source=demo model.head=linear", "tags words"),
        ("task.name=intents task.source=demo task.strip_space_marker=th", "has no words"),
        ("model.head=linear model.label_words=a,b", "not label-words"),
    ],
)  # fmt: skip
def test_what_would_change_nothing_is_refused(assignments, switched_by):
    with pytest.raises(UserError, match=rf"has no effect: .*{switched_by}") as error:
        check(*assignments.split(" "))
    assert str(error.value).split("=")[0] in assignments


@pytest.mark.parametrize(
    "assignments",
    [
        "pruning.schedule=explicit pruning.explicit=0.9,0.8 pruning.steps=2",
        "pruning.final=0.5 pruning.steps=3",
        "pruning.fraction=0.2",
        "pruning.final=0.3 pruning.schedule=cubic",
        "method=none pruning.first_epochs=2",
        "method=none pruning.steps=0",
        "method=l2-mbp pruning.steps=0",
        "method=none pruning.epochs_per_step=2",  # then also of the dense phase
        "method=gradient-mbp pruning.gradient_batches=8",
        "method=frobenius-mbp regularizer.weight=0.1 regularizer.norm=norm",
        "method=l2-mbp regularizer.name=cosine regularizer.weight=1",
        "method=l0-mbp train.score_learning_rate=0.1 train.multiplier_learning_rate=0.1",
        "method=l2-mbp regularizer.norm=squared",  # what it is anyway
        "task.name=slots task.source=demo model.active_vocabulary=false",
    ],
)
def test_what_changes_something_is_taken(assignments):
    check(*assignments.split(" "))


@pytest.mark.parametrize("method", PRESETS)
@pytest.mark.parametrize(
    "config", [demo_config, lambda: demo_config("slots"), lambda: paper_config("xnli")],
    ids=["demo", "slots", "paper"],
)  # fmt: skip
def test_what_a_config_file_has_for_all_methods_is_no_mistake(config, method):
    config = config()
    check(f"method={method}", config=config)
    assert effects.notes(config, resolve(config)) == []


def test_a_config_files_own_contradiction_is_told():
    config = default_config()
    config.pruning.explicit, config.pruning.final = (0.9, 0.8), 0.5
    config.pruning.fraction = 0.2
    assert effects.notes(config, resolve(config)) == [
        "pruning.explicit=0.9,0.8 has no effect: pruning.schedule is geometric, not explicit",
        "pruning.fraction=0.2 has no effect: pruning.final says what is left at the end",
    ]


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--config.methods=l2-mbp,l2-mbp@regularizer.weight=8"],
         "l2-mbp@regularizer.weight=8 on intents: regularizer.weight=8.0 has no effect"),
        (["--config.methods=l2-mbp,random", "--config.base.pruning.gradient_batches=8"],
         "base.pruning.gradient_batches has no effect"),
        (["--config.methods=l2-mbp,random", "--config.tasks=intents@pruning.gradient_batches=8"],
         "tasks: intents@pruning.gradient_batches=8: pruning.gradient_batches has no effect"),
        (["--config.methods=l2-mbp,random", "--shard=1/7"], "--shard=1/7: the sweep has 6 runs"),
    ],
)  # fmt: skip
def test_of_a_sweep(capsys, monkeypatch, tmp_path, flags, says):
    monkeypatch.delitem(sys.modules, "config_config", raising=False)
    command = ["--config", "configs/table1_demo.py", "--workdir", str(tmp_path), "--list"]
    assert sweep([*command, *flags]) == 2
    assert says in capsys.readouterr().err


def test_a_field_that_one_row_of_a_sweep_uses(capsys, monkeypatch, tmp_path):
    monkeypatch.delitem(sys.modules, "config_config", raising=False)
    flags = ["--config.methods=l2-mbp,gradient-mbp", "--config.base.pruning.gradient_batches=8"]
    command = ["--config", "configs/table1_demo.py", "--workdir", str(tmp_path), "--list"]
    assert sweep([*command, *flags]) == 0
