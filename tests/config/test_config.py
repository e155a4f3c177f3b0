from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ml_collections import ConfigDict

from alignreg_jax import config as configuration
from alignreg_jax.config import default_config, resolve
from alignreg_jax.data.tasks import TASKS
from alignreg_jax.errors import UserError
from alignreg_jax.main import _parse
from alignreg_jax.pruning.methods import PRESETS
from alignreg_jax.run.cache import Cache
from alignreg_jax.run.rows import load_data
from alignreg_jax.support.flags import override

# ml_collections loads a config file in a way that Python will drop
pytestmark = pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")
CONFIGS = Path(__file__).parents[2] / "configs"


def field(config, path):
    for name in path.split("."):
        config = getattr(config, name)
    return config


@pytest.mark.parametrize("method", PRESETS)
def test_presets_fill_placeholders(method):
    config = default_config()
    config.method = method
    resolved = resolve(config)
    for path, value in PRESETS[method].items():
        assert field(resolved, path) == value
    for path in configuration.field_paths():
        if path.split(".")[0] in ("pruning", "regularizer") and path != "pruning.final":
            assert field(resolved, path) is not None, path


def test_what_the_presets_mean(parsed):
    paper = parsed("--config.method=cosine-mbp")
    assert (paper.regularizer.name, paper.regularizer.reference) == ("cosine", "pretrained")
    assert parsed("--config.method=frobenius-mbp").regularizer.weight == 5e-4
    assert parsed("--config.method=l2-global-mbp").pruning.scope == "global"
    assert parsed("--config.method=random").pruning.criterion == "random"


@pytest.mark.parametrize("name", ["l2", "l2sp", "l0", "l0-target"])
def test_a_reference_that_the_penalty_does_not_have_is_refused(name):
    config = default_config()
    config.regularizer.name, config.regularizer.reference = name, "finetuned"
    with pytest.raises(UserError, match=rf"^regularizer\.reference='finetuned': {name} does not"):
        resolve(config)


def test_a_penalty_that_would_never_apply_is_refused():
    config = default_config()
    config.method, config.regularizer.phases = "frobenius-finetuned", "dense"
    with pytest.raises(UserError, match=r"^regularizer\.phases='dense': the fine-tuned"):
        resolve(config)


def test_none_prunes_nothing_whatever_the_config_file_has_for_the_others():
    config = default_config()
    config.method = "none"
    assert resolve(config).pruning.steps == 0
    config.pruning.steps = 2
    config.pruning.schedule = "explicit"
    config.pruning.explicit = (0.5, 0.2)
    resolved = resolve(config)
    assert resolved.pruning.steps == 0
    assert resolved.pruning.explicit == ()


@pytest.mark.parametrize(
    ("flags", "path", "value"),
    [
        (("--config.method=frobenius-mbp", "--config.regularizer.weight=0.1"),
         "regularizer.weight", 0.1),
        (("--config.regularizer.weight=0", "--config.method=frobenius-mbp"),
         "regularizer.weight", 0.0),
        (("--config.method=l2-mbp", "--config.pruning.scope=global"), "pruning.scope", "global"),
        (("--config.method=l2-mbp", "--config.regularizer.name=cosine"),
         "regularizer.name", "cosine"),
        (("--config.eval.languages=sw,de",), "eval.languages", ("sw", "de")),
        (('--config.eval.languages=("sw","de")',), "eval.languages", ("sw", "de")),
        (("--config.eval.languages=zh-CN",), "eval.languages", ("zh-CN",)),
        (("--config.eval.languages=",), "eval.languages", ()),
        (("--config.pruning.explicit=0.5,0.25",), "pruning.explicit", (0.5, 0.25)),
        (("--config.pruning.explicit=(1, 0.25)",), "pruning.explicit", (1.0, 0.25)),
        (("--config.train.learning_rate=1",), "train.learning_rate", 1.0),
        (("--config.train.learning_rate", "2e-5"), "train.learning_rate", 2e-5),
        (("--config.pruning.final=1",), "pruning.final", 1.0),
        (("--config.eval.save_predictions",), "eval.save_predictions", True),
        (("--config.eval.save_predictions=false",), "eval.save_predictions", False),
        (("--config.eval.save_predictions=True",), "eval.save_predictions", True),
        (("--noconfig.eval.save_predictions",), "eval.save_predictions", False),
        (("--config.eval.save_predictions=xglue", "--config.task.name=pawsx"),
         "eval.save_predictions", "xglue"),
        (("--noconfig.model.remat",), "model.remat", False),
        (("--config.seed=7",), "seed", 7),
        (("--config.task.max_length=16",), "task.max_length", 16),
        (("--config.task.hub_id=a/b-c.d", "--config.task.source=hub"), "task.hub_id", "a/b-c.d"),
        (("--config.task.strip_space_marker=th,zh-CN",), "task.strip_space_marker",
         ("th", "zh-CN")),
        (("--config.task.strip_space_marker=",), "task.strip_space_marker", ()),
        (("--config.task.drop_blanked",), "task.drop_blanked", True),
        (("--config.mesh.data=-1",), "mesh.data", -1),
    ],
)  # fmt: skip
def test_command_line(parsed, flags, path, value):
    found = field(parsed(*flags), path)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("flag", "says"),
    [
        ("seed=-1", "seed=-1"),
        ("method=l3", "l3.*frobenius-mbp"),
        ("model.head=tanh", "model.head='tanh'.*dense-tanh-out"),
        ("model.dtype=float16", "model.dtype.*bfloat16"),
        ("task.source=ftp", "task.source.*hub"),
        ("task.max_length=7", "task.max_length=7"),
        ("task.hub_id=xglue", "task.hub_id='xglue' should be like owner/name"),
        ("task.hub_id=hgissbkh/xglue", "task.hub_id='hgissbkh/xglue': needs task.source=hub"),
        (
            "task.strip_space_marker=thai",
            r"task.strip_space_marker=\('thai',\) should be languages",
        ),
        ("task.drop_blanked=maybe", "task.drop_blanked"),
        ("train.batch_size=0", "train.batch_size=0"),
        ("train.learning_rate=nan", "train.learning_rate=nan"),
        ("train.learning_rate=inf", "train.learning_rate=inf"),
        ("model.name_or_path=", "model.name_or_path is empty"),
        ("train.learning_rate=-1e-5", "train.learning_rate=-1e-05"),
        ("train.weight_decay=nan", "train.weight_decay=nan"),
        ("train.accumulation=3", "train.accumulation=3.*train.batch_size=8"),
        ("train.schedule=cosine", "train.schedule.*linear"),
        ("train.steps_per_dispatch=0", "train.steps_per_dispatch=0"),
        ("pruning.criterion=fisher", "pruning.criterion='fisher'.*magnitude"),
        ("pruning.gradient_batches=0", "pruning.gradient_batches=0 should be at least 1"),
        ("pruning.criterion=gate", "pruning.criterion=gate needs gates"),
        ("regularizer.phases=late", "regularizer.phases='late'.*all, dense"),
        ("pruning.scope=row", "pruning.scope='row'.*layer, global"),
        ("pruning.schedule=sudden", "pruning.schedule='sudden'"),
        ("pruning.steps=-1", "pruning.steps=-1"),
        ("pruning.explicit=0.5,x", "pruning.explicit"),
        ("pruning.final=nan", "pruning.final=nan"),
        ("pruning.fraction=nan", "pruning.fraction=nan"),
        ("regularizer.name=l1", "regularizer.name='l1'.*cosine-layer"),
        ("regularizer.weight=-1", "regularizer.weight=-1"),
        ("regularizer.reference=dense", "regularizer.reference='dense'"),
        ("eval.save_predictions=maybe", "eval.save_predictions='maybe'.*False, True, xglue"),
        ("eval.save_predictions=2", "eval.save_predictions=2 should be of type bool"),
        ("eval.save_predictions=xglue", "eval.save_predictions='xglue': task.name='folder'.*wpr"),
        ("eval.splits=train", "eval.splits"),
        ("eval.splits=", "eval.splits"),
        ("checkpoint.keep=1", "checkpoint.keep=1.*at least 2"),
        ("mesh.tensor=0", "mesh.tensor=0"),
        ("distill.rows=labels", "distill.rows='labels'.*all, text"),
    ],
)
def test_wrong_values_name_the_field(parsed, flag, says):
    with pytest.raises(UserError, match=says) as error:
        parsed(f"--config.{flag}")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("flag", "says"),
    [
        ("regularizer.phases=dense", "regularizer.phases='dense': gates are learned for cuts"),
        ("train.score_learning_rate=0", "train.score_learning_rate=0: the gates would never be"),
    ],
)
def test_gates_that_could_not_be_learned(parsed, flag, says):
    parsed(f"--config.{flag}", "--config.method=frobenius-mbp")
    with pytest.raises(UserError, match=f"^{says}"):
        parsed(f"--config.{flag}", "--config.method=l0-mbp")


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("sparsegpt",), "pruning.criterion=sparsegpt"),
        (("wanda",), "pruning.scope=output"),
        (("structured-taylor",), "pruning.scope=units-even"),
        (("l2-mbp", "--config.pruning.scope=n:4"), "pruning.scope=n:4"),
    ],
)
def test_zeros_that_came_are_not_counted_by_parts_of_a_matrix(parsed, flags, says):
    method, *others = flags
    flags = (f"--config.method={method}", *others)
    parsed(*flags)
    with pytest.raises(UserError, match=f"^pruning.keep_zeros: {says} counts by units, groups"):
        parsed(*flags, "--config.pruning.keep_zeros=True")


def test_xglues_script_scores_whole_files(parsed):
    flags = ("--config.task.name=wpr", "--config.eval.save_predictions=xglue")
    assert parsed(*flags).eval.save_predictions == "xglue"
    with pytest.raises(UserError, match=r"^eval\.save_predictions='xglue': .* eval\.examples=5"):
        parsed(*flags, "--config.eval.examples=5")


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ("task.languages=ru,de", "task.languages leaves out es, fr$"),
        ("eval.languages=de,es,fr,ru", "eval.languages leaves out en$"),
        ("eval.every_phase_languages=en", "eval.every_phase_languages leaves out de, es, fr, ru$"),
        ("task.name=pos task.source=hub", "task.source=hub lacks pt and the last sentence .* pos;"),
        ("task.languages=ru,fr,es,de eval.languages=ru,fr,es,de,en", ""),
        ("task.name=pos task.source=hub task.data_dir=xglue", ""),
        ("task.name=pos task.source=hub task.hub_id=another/one", ""),
        ("task.source=hub", ""),
    ],
)
def test_xglues_script_scores_every_language(flags, says):
    config = default_config()
    config.task.name, config.task.source = "nc", "folder"
    config.eval.save_predictions = "xglue"
    override(config, flags.split(), configuration.field_paths())
    if says:
        with pytest.raises(UserError, match=rf"^eval\.save_predictions='xglue': .*{says}"):
            resolve(config)
    else:
        resolve(config)


def test_a_sweep_takes_both_kinds_of_predictions():
    config = default_config()
    config.eval.save_predictions = True
    assert resolve(config).eval.save_predictions is True
    override(config, ["eval.save_predictions=xglue"], configuration.field_paths())
    assert resolve(config).eval.save_predictions == "xglue"
    override(config, ["eval.save_predictions=false"], configuration.field_paths())
    assert resolve(config).eval.save_predictions is False


@pytest.mark.parametrize("value", [1, 0, "yes", None, 1.0])
def test_a_bool_is_a_bool(value):
    values = default_config().to_dict()
    values["model"]["remat"] = value
    with pytest.raises(UserError, match=r"model\.remat=.*bool"):
        resolve(ConfigDict(values))


@pytest.mark.parametrize(("path", "value"), [("seed", True), ("train.weight_decay", False)])
def test_a_bool_is_not_a_number(path, value):
    values = default_config().to_dict()
    *sections, name = path.split(".")
    (values[sections[0]] if sections else values)[name] = value
    with pytest.raises(UserError, match=f"{path}={value}"):
        resolve(ConfigDict(values))


def test_what_a_config_file_adds_or_forgets():
    config = default_config()
    with config.unlocked():
        config.train.momentum = 0.9
    with pytest.raises(UserError, match=r"train\.momentum is not a field"):
        resolve(config)
    for broken in (ConfigDict({"method": "none"}), default_config().train, {}, None):
        with pytest.raises(UserError, match="default_config"):
            resolve(broken)


def test_defaults_stay_defaults():
    config = default_config()
    config.method = "none"
    resolve(config)
    assert config.pruning.steps is None, "resolve must not change what it is given"


# tests/sweeping resolves these
SWEEPS = (
    "table1", "table1_demo", "lambda_demo", "tags_demo", "distillation_demo", "continuum_demo",
    "structured_demo", "study", "settings_demo",
)  # fmt: skip
OF_RUNS = sorted(path for path in CONFIGS.glob("*.py") if path.stem not in SWEEPS)


@pytest.mark.parametrize("path", OF_RUNS, ids=lambda path: path.stem)
def test_every_config_file_resolves(parsed, path):
    resolved = parsed(config=path)
    assert resolved.method in PRESETS
    assert resolve(_parse(["--config", str(path), "--config.method=none"])[0]).pruning.steps >= 0


@pytest.mark.parametrize("task", [name for name, task in TASKS.items() if task.xglue])
def test_the_eight_tasks_have_the_papers_settings(parsed, task):
    config, short = (parsed(config=f"{CONFIGS}/{task}.py{arg}") for arg in ("", ":short"))
    assert config.task.name == task
    assert config.task.source == ("hub" if task in ("xnli", "pawsx") else "folder")
    assert config.task.strip_space_marker == ("th", "zh")
    assert config.train.learning_rate == (2e-5 if task == "pos" else 5e-6)
    assert (config.train.batch_size, config.pruning.fraction) == (32, 0.1)
    assert (config.pruning.steps, config.pruning.epochs_per_step) == (12, 15)
    assert (short.pruning.first_epochs, short.pruning.epochs_per_step) == (3, 1)


def test_other_tasks_keep_the_mark_of_a_space(parsed):
    assert default_config().task.strip_space_marker == ()
    assert parsed(config=CONFIGS / "demo_slots.py").task.strip_space_marker == ()


def test_ud_pos_says_that_it_needs_a_folder(parsed):
    config = parsed(config=CONFIGS / "ud_pos.py")
    with pytest.raises(UserError, match=r"^task\.data_dir: needed with task\.source=folder"):
        load_data(config, Cache())


@pytest.mark.parametrize("name", ["demo", "demo_slots"])
def test_the_demos_have_a_small_sibling(parsed, name):
    whole, smoke = (
        parsed(config=CONFIGS / f"{name}.py"),
        parsed(config=f"{CONFIGS}/{name}.py:smoke"),
    )
    changed = configuration.differences(configuration.to_dict(whole), configuration.to_dict(smoke))
    assert changed
    assert not any(name.startswith(("method", "regularizer", "model")) for name in changed)


def test_field_paths_are_those_of_the_default():
    def leaves(config, prefix=""):
        for name, value in config.items():
            if isinstance(value, ConfigDict):
                yield from leaves(value, f"{prefix}{name}.")
            else:
                yield prefix + name

    assert sorted(configuration.field_paths()) == sorted(leaves(default_config()))


@settings(deadline=None, max_examples=50)
@given(languages=st.lists(st.from_regex(r"[a-z]{2}(-[A-Z]{2})?", fullmatch=True), max_size=4))
def test_both_spellings_of_a_tuple(languages):
    config = default_config()
    config.eval.languages = tuple(languages)
    listed = resolve(config).eval.languages
    config.eval.languages = (",".join(languages),)
    assert resolve(config).eval.languages == listed == tuple(languages)
