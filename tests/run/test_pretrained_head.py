"""Runs whose head is the language model's: frozen from the start, exported, read again."""

import io
import json
import re
import time
from contextlib import redirect_stdout

import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from safetensors.numpy import load_file
from tiny import configured

from alignreg_jax.errors import UserError
from alignreg_jax.models import checkpoints, xlmr
from alignreg_jax.reporting import report
from alignreg_jax.run import launch
from alignreg_jax.run.cache import Cache
from alignreg_jax.run.inputs import check_inputs, load_inputs
from alignreg_jax.support import runtime

HEAD = "--config.model.head=label-words"
WORDS = "--config.model.label_words=on=en1,off=en0,open=en2"


@pytest.fixture(scope="module")
def encoder(world, tmp_path_factory):
    return tiny.with_lm_head(world, tmp_path_factory.mktemp("lm") / "encoder")


@pytest.fixture(scope="module")
def start(world, encoder):
    """Run the world's config, with this encoder unless told otherwise."""
    runtime.prepare()

    def run(folder, *flags, model=encoder):
        config = configured(
            world, "--config.eval.splits=test", f"--config.model.name_or_path={model}", HEAD, *flags
        )
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(report, "write_report", lambda workdir: workdir / "report.html")
            (results,) = launch.run(config, {0: folder}, "the command", time.monotonic())
        return results

    return run


@pytest.fixture(scope="module")
def done(start, tmp_path_factory):
    """A run that trains all but the head."""
    folder = tmp_path_factory.mktemp("done") / "run"
    flags = ("--config.method=l2-mbp", "--config.pruning.steps=1")
    return folder, start(folder, WORDS, "--config.train.freeze=head", *flags)


def test_a_frozen_head_is_that_of_the_checkpoint_to_the_end(done, encoder):
    stored = load_file(done[0] / "export" / "head.safetensors")
    tensors = load_file(encoder / "model.safetensors")
    tokenizer = json.loads((encoder / "tokenizer.json").read_text())
    pieces = [piece for piece, _ in tokenizer["model"]["vocab"]]
    rows = [pieces.index(f"▁en{number}") for number in range(3)]  # off, on, open
    table = tensors["embeddings.word_embeddings.weight"]
    np.testing.assert_array_equal(stored["label_words.weight"], table[rows])
    np.testing.assert_array_equal(stored["label_words.bias"], tensors["lm_head.bias"][rows])
    for part in ("dense.weight", "layer_norm.bias"):
        np.testing.assert_array_equal(stored[f"lm_head.{part}"], tensors[f"lm_head.{part}"])


def test_the_export_scores_alike_and_needs_no_words(done, start, tmp_path):
    folder, results = done
    flags = ("--config.method=none", "--config.pruning.first_epochs=0")
    again = start(tmp_path / "run", *flags, model=folder / "export")
    scores = [each["prune_steps"][-1]["languages"] for each in (results, again)]
    assert scores[0] == scores[1]


def test_what_a_run_refuses_before_it_starts(world, encoder):
    model = f"--config.model.name_or_path={encoder}"
    for flags, says in (
        ((HEAD, model), "model.label_words has 0 words, and there are 3 labels"),
        ((HEAD, WORDS), "reads the language model's head"),  # the world's own has none
        (
            (HEAD, WORDS, model, "--config.task.name=slots", "--config.task.source=demo"),
            "model.head=label-words",
        ),
    ):
        with pytest.raises(UserError, match=re.escape(says)):
            check_inputs(configured(world, *flags), Cache())


def test_a_mask_may_be_all_that_is_learned(world, encoder):
    """Static Model Pruning in its authors' form."""
    flags = ("--config.method=smp-l", "--config.train.freeze=head", HEAD, WORDS)
    config = configured(world, f"--config.model.name_or_path={encoder}", *flags)
    check_inputs(config, Cache())  # says nothing
    others = ("--config.method=l2-mbp", "--config.train.freeze=head,encoder,embeddings")
    with pytest.raises(UserError, match="leaves nothing to train"):
        check_inputs(configured(world, *others), Cache())


@pytest.mark.torch
def test_the_code_on_the_card_computes_the_same(done, world, monkeypatch):
    export = done[0] / "export"
    (code,) = re.findall(r"```python\n(.*?)```", (export / "README.md").read_text(), re.DOTALL)
    monkeypatch.chdir(export)
    found = {}
    with redirect_stdout(io.StringIO()) as said:
        exec(code.replace("a text in any of the languages", "en3 de4 sw5"), found)
    loaded = checkpoints.load(export, head="label-words", labels=tiny.LABELS, seed=0)
    model = xlmr.XlmrModel(loaded.config, "label-words", len(tiny.LABELS))
    ids = jnp.asarray(found["inputs"]["input_ids"].numpy(), jnp.int32)
    ours = xlmr.logits(model, loaded.params, ids, jnp.array([ids.shape[1]]))
    np.testing.assert_allclose(ours, found["logits"].numpy(), rtol=0, atol=1e-5)
    assert said.getvalue().strip() == tiny.LABELS[int(ours.argmax())]


def test_words_are_part_of_what_is_read(world, encoder):
    """Runs of one process share encoders, but not those with other words."""
    cache = Cache()
    flags = (HEAD, f"--config.model.name_or_path={encoder}")
    one = load_inputs(configured(world, *flags, WORDS), cache)
    two = load_inputs(configured(world, *flags, "--config.model.label_words=en5,en6,en7"), cache)
    assert one.digests["head"] != two.digests["head"]
    assert one.digests["encoder"] == two.digests["encoder"]
