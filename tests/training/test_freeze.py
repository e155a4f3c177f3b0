"""`train.freeze` names parameters by whole parts of their paths, or is refused."""

import logging

import pytest
import tiny
from training_cases import params

from alignreg_jax.errors import UserError
from alignreg_jax.main import main
from alignreg_jax.training.state import check_freeze, flatten, frozen_counts

# ml_collections loads a config file in a way that Python will drop
pytestmark = pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")


@pytest.fixture(scope="module")
def paths():
    return flatten(params()).keys()


@pytest.mark.parametrize(
    ("prefix", "meant"),
    [
        ("roberta.embeddings", "embeddings"),
        ("roberta/embeddings", "embeddings"),
        ("embedings", "embeddings"),
        ("embedding", "embeddings"),
        ("embeddings/", "embeddings"),
        ("/embeddings", "embeddings"),
        ("embeddings.word", "embeddings/word"),
        ("embeddings.word_embeddings", "embeddings/word"),
        ("Encoder", "encoder"),
        ("heads", "head"),
        ("classifier.dense", "head/dense"),
    ],
)
def test_another_spelling_is_refused_with_the_one_that_is_meant(paths, prefix, meant):
    with pytest.raises(UserError) as error:
        check_freeze((prefix,), paths)
    line = str(error.value)
    assert line.startswith(f"train.freeze={prefix!r} names no parameters; ")
    assert meant in line
    assert "encoder/attention" in line, "what there is"
    assert "\n" not in line


@pytest.mark.parametrize(
    "prefix", ["encoder.layer.0", "encoder/layer/0", "roberta.encoder.layer.11.output"]
)
def test_single_layers_cannot_be_frozen(paths, prefix):
    with pytest.raises(UserError, match="layers are stacked"):
        check_freeze((prefix,), paths)


@pytest.mark.parametrize(
    "prefix", ["", "embed", "embeddings2", "encoder/out", "encoder/output/ker"]
)
def test_parts_of_names_name_nothing(paths, prefix):
    with pytest.raises(UserError, match=rf"^train\.freeze='{prefix}' names no parameters"):
        check_freeze((prefix,), paths)


def test_something_is_left_to_train(paths):
    check_freeze((), paths)
    check_freeze(("embeddings", "encoder", "head/out/bias"), paths)
    with pytest.raises(UserError, match=r"^train\.freeze=embeddings,encoder,head leaves nothing"):
        check_freeze(("embeddings", "encoder", "head"), paths)


def test_counts():
    flat = flatten(params())
    counts = frozen_counts(params(), ("embeddings", "head/out/bias"))
    assert counts["head/out/bias"] == flat["head/out/bias"].size
    assert counts["embeddings"] == sum(
        leaf.size for path, leaf in flat.items() if path.split("/")[0] == "embeddings"
    )


def test_of_a_run(world, tmp_path, capsys, caplog):
    """Before anything is written; how much is frozen is said once."""
    command = tiny.command(world, tmp_path / "run", "--check")
    assert main([*command, "--config.train.freeze=roberta.embeddings"]) == 2
    assert "did you mean embeddings?" in capsys.readouterr().err
    with caplog.at_level(logging.INFO):
        assert main([*command, "--config.train.freeze=embeddings,encoder/output"]) == 0
    said = [line for line in caplog.messages if line.startswith("train.freeze: ")]
    assert [line.split(" of ")[1] for line in said] == [
        "embeddings stay as they are",
        "encoder/output stay as they are",
    ]
    assert not (tmp_path / "run").exists()
