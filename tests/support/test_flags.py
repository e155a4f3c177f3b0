"""Lists on the command line are words between commas, whatever the words."""

import errno
import keyword
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alignreg_jax import config as configuration
from alignreg_jax.config import default_config, resolve
from alignreg_jax.errors import UserError, UserErrors
from alignreg_jax.support.flags import execute, override, parse, words
from alignreg_jax.sweeping import config as sweeps
from alignreg_jax.sweeping.starts import field_paths

# ml_collections loads a config file in a way that Python will drop
pytestmark = pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("en,is", ("en", "is")),
        ("or,no", ("or", "no")),
        ("de, sw", ("de", "sw")),
        (" de ,\tsw ,", ("de", "sw")),
        ("1,2", ("1", "2")),
        ("0,", ("0",)),
        ("'de', \"sw\"", ("de", "sw")),
        ('("de", "sw")', ("de", "sw")),
        ("(de,is)", ("de", "is")),
        ("[de,is]", ("de", "is")),
        ("l2-mbp,frobenius-mbp@regularizer.weight=0.01",
         ("l2-mbp", "frobenius-mbp@regularizer.weight=0.01")),
        ("l2-mbp,lamp@pruning.explicit=(0.5,0.3)", ("l2-mbp", "lamp@pruning.explicit=(0.5,0.3)")),
        ("", ()),
        ("()", ()),
        ('""', ()),
        (" , ", ()),
    ],
)  # fmt: skip
def test_words(text, expected):
    assert words(text) == expected


word = st.one_of(
    st.sampled_from(keyword.kwlist),
    st.from_regex(r"[a-zA-Z0-9@=._/-]{1,8}", fullmatch=True),
)


@settings(deadline=None, max_examples=50)
@given(listed=st.lists(word, max_size=4), gap=st.sampled_from(["", " "]))
def test_any_words_come_through(listed, gap):
    config = default_config()
    override(config, [f"train.freeze={f',{gap}'.join(listed)}"], configuration.field_paths())
    assert resolve(config).train.freeze == tuple(listed)


def sweep(config, *flags):
    sys.modules.pop("config_config", None)
    arguments = ["--config", config, *flags]
    return sweeps.resolve(parse(arguments, program="", example="", fields=field_paths).config)


def test_lists_of_a_sweep():
    found = sweep(
        "configs/table1_demo.py",
        "--config.methods=l2-mbp,frobenius-mbp@regularizer.weight=0.01",
        "--config.methods=l2-mbp@train.learning_rate=1e-5@eval.languages=(en,is)",
        "--config.seeds=3,4",
        "--config.remaining=0.3138",
        "--config.base.eval.languages=en, or",
    )
    assert found.methods[1:] == (
        "frobenius-mbp@regularizer.weight=0.01",
        "l2-mbp@train.learning_rate=1e-5@eval.languages=(en,is)",
    )
    assert (found.seeds, found.remaining) == ((3, 4), (0.3138,))
    run = sweeps.run_config(sweep("configs/table1_demo.py"), found.methods[2], "intents", 0)
    assert run.eval.languages == ("en", "is")


def test_a_list_that_is_no_list_of_numbers():
    with pytest.raises(UserError, match=r"^seeds='one' should be of type int"):
        sweep("configs/table1_demo.py", "--config.seeds=one")


@pytest.mark.parametrize("path", ["pruning.final", "regularizer.weight", "task.data_dir"])
def test_none_can_be_typed(path):
    config = default_config()
    section, name = path.split(".")
    config[section][name] = "folder" if name == "data_dir" else 0.5
    override(config, [f"{path}=None"], configuration.field_paths())
    assert getattr(getattr(resolve(config), section), name) != 0.5
    assert resolve(config).task.data_dir is None


def test_none_where_it_means_nothing():
    for assignment, says in (("seed=None", "seed=None"), ("method=None", "method='None'")):
        config = default_config()
        override(config, [assignment], configuration.field_paths())
        with pytest.raises(UserError, match=says):
            resolve(config)


@pytest.mark.parametrize(
    ("after", "says"), [((), "the same command continues"), (("nothing",), "run it again")]
)
def test_only_what_continues_is_said_to(capsys, after, says):
    def work(arguments):
        raise PermissionError(errno.EACCES, "Permission denied", "out")

    assert execute([], lambda: "", work, *after) == 2
    assert capsys.readouterr().err.endswith(f"allow that, and {says}\n")


def test_several_mistakes_are_a_line_each(capsys):
    def work(arguments):
        raise UserErrors(["a.jsonl:1: no", "b.jsonl:2: no"])

    assert execute([], lambda: "", work) == 2
    assert capsys.readouterr().err == "error: a.jsonl:1: no\nerror: b.jsonl:2: no\n"
