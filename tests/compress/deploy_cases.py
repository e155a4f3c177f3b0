"""Models to deploy, and helpers to deploy, read and ask what came of it."""

import json
import subprocess
import sys

import empties
import numpy as np
import pytest
import tiny

from alignreg_jax import deploy as program
from alignreg_jax.compress import agreement, folders, served
from alignreg_jax.compress.deployment import comparing
from alignreg_jax.compress.onnx import sessions
from alignreg_jax.models import checkpoints


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Times are measured of one shape, briefly."""
    monkeypatch.setattr(comparing, "SHAPES", ((1, 16),))
    monkeypatch.setattr("alignreg_jax.compress.onnx.sessions._ENOUGH", 0.0)


@pytest.fixture(scope="module")
def model(world, tmp_path_factory):
    """Head -> a folder of a model with it, without empty units."""
    made = tmp_path_factory.mktemp("models")
    for head in ("dense-tanh-out", "token", "linear"):
        params, config = empties.load(world, head)
        leaves = empties.flat(params)  # what a text says decides over its answer
        leaves["embeddings/word/embedding"] *= 6
        params = empties.nested(leaves)
        saved = {"head": head, "labels": tiny.LABELS, "source": world.encoder}
        checkpoints.save(made / head, params, config, **saved)
    return made


@pytest.fixture(scope="module")
def tagged(tmp_path_factory):
    """Sentences whose words have labels."""
    folder = tmp_path_factory.mktemp("tagged")
    for language in tiny.LANGUAGES:
        rows = [
            {"tokens": [f"{language}{(i + j) % 9}" for j in range(1 + i % 4)],
             "tags": [tiny.LABELS[(i + j) % 3] for j in range(1 + i % 4)]}
            for i in range(12)
        ]  # fmt: skip
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"{language}.test.jsonl").write_text(text)
    return folder


def facts(out):
    return json.loads((out / "deploy.json").read_text())


def deployed(folder, out, data, *flags):
    """The exit code; every flip is allowed unless a flag says otherwise."""
    lax = () if "--max-flips" in flags else ("--max-flips", "100")
    return program.main([str(folder), "--out", str(out), "--data", str(data), *flags, *lax])


ALONE = """\
import sys

class Finder:
    def find_spec(self, name, *rest):
        if name.partition(".")[0] in ("alignreg_jax", "jax", "flax", "onnx", "transformers"):
            raise ImportError(name)

sys.meta_path.insert(0, Finder())
import runpy
session = runpy.run_path(sys.argv.pop(1), run_name="__main__")["session"]
assert session.get_session_options().get_session_config_entry(SETTING) == "1"
""".replace("SETTING", repr(sessions.EXACT[0]))


def predicted(out, *texts):
    """What predict.py prints, where nothing but what it names can be imported.

    It has to add sums of eight-bit products as the gate's sessions do.
    """
    done = subprocess.run(
        [sys.executable, "-c", ALONE, str(out / "predict.py"), *texts],
        capture_output=True, text=True, check=True, cwd="/",
    )  # fmt: skip
    return done.stdout.splitlines()


def told(folder, texts):
    """The labels that the JAX model gives to texts, and to pairs of them."""
    network = folders.read(folder).network
    tokenizer = checkpoints.resolve(str(folder)) / "tokenizer.json"
    read = served.encoding.load_tokenizer(folder, network.config.vocab_size)
    assert tokenizer.exists()
    found = []
    for text in texts:
        both = (text,) if isinstance(text, str) else text
        ids = np.array([read.encode(*both).ids], np.int32)
        logits = agreement._ask(network, ids, np.array([ids.shape[1]], np.int32))
        found.append(tiny.LABELS[int(np.asarray(logits)[0].argmax())])
    return found
