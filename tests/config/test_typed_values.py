"""What is typed for a field: None, nothing, commas; and what would silently be nothing."""

import pytest
from ml_collections import ConfigDict

from alignreg_jax.config import default_config, resolve
from alignreg_jax.errors import UserError

# ml_collections loads a config file in a way that Python will drop
pytestmark = pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")


@pytest.mark.parametrize(
    ("method", "flags", "says"),
    [
        ("frobenius-dense-only", "pruning.freeze=embeddings", "pruning.freeze=embeddings"),
        ("frobenius-dense-only", "pruning.start=pretrained", "pruning.start=pretrained"),
        ("elastic", "regularizer.name=frobenius", "pruning.sizes"),
        ("movement", "regularizer.name=frobenius", "pruning.criterion=movement"),
    ],
)
def test_a_penalty_of_a_dense_phase_that_has_none(parsed, method, flags, says):
    given = [f"--config.{each}" for each in (*flags.split(), "regularizer.phases=dense")]
    with pytest.raises(UserError, match=rf"^regularizer\.phases='dense': with {says} the dense"):
        parsed(*given, f"--config.method={method}")
    assert parsed(*given, "--config.method=frobenius-dense-only", "--config.pruning.steps=0")


@pytest.mark.parametrize("value", ["None", ""])
def test_what_is_typed_as_none_is_left_to_the_method(parsed, value):
    """As --help says; and nothing is no text, not the folder where one is."""
    text = "--config.distill.text=data"
    assert parsed(f"--config.distill.teacher={value}", text).distill.teacher == "dense"
    assert parsed(f"--config.distill.teacher={value}").distill.teacher == "none"
    assert parsed(f"--config.distill.text={value}").distill.text is None
    assert parsed("--config.pruning.freeze=None", "--config.method=smp-s").pruning.freeze == (
        parsed("--config.method=smp-s").pruning.freeze
    )
    sizes = parsed("--config.method=elastic").pruning.sizes
    assert parsed("--config.method=elastic", "--config.pruning.sizes=None").pruning.sizes == sizes
    assert parsed(f"--config.pruning.criterion={value}").pruning.criterion == "magnitude"


def test_a_training_for_sizes_has_some(parsed):
    with pytest.raises(UserError, match=r"^pruning\.sizes: is empty, and method=elastic"):
        parsed("--config.method=elastic", "--config.pruning.sizes=")


def test_a_label_may_have_a_comma_in_parentheses(parsed):
    found = parsed(
        "--config.model.head=label-words", "--config.model.label_words=food (hot, cold)=Food,b=Bad"
    )
    assert found.model.label_words == ("food (hot, cold)=Food", "b=Bad")
    config = default_config()
    config.model.head, config.model.label_words = "label-words", ("(hot, cold)=(Food)", "b=[B]")
    assert resolve(config).model.label_words == ("(hot, cold)=(Food)", "b=[B]")


def test_a_section_that_there_is_not_is_told():
    config = default_config().unlock()
    config.foo = ConfigDict({"bar": 1})
    with pytest.raises(UserError, match=r"^foo is not a field"):
        resolve(config)
