"""A world small enough to run whole: an encoder, a tokenizer, three languages, a config file."""

import json
import logging
import os
import random
import re
import shutil
import subprocess
import sys
import warnings
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np
from safetensors.numpy import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from xla_flags import QUICKLY, UNOPTIMIZED

from alignreg_jax.config import resolve
from alignreg_jax.main import _parse
from alignreg_jax.training import programs

LANGUAGES = ("en", "de", "sw")
LABELS = ("off", "on", "open")
ROWS = {"train": 40, "dev": 10, "test": 18}
HIDDEN, LAYERS, HEADS, INNER, POSITIONS = 32, 2, 4, 64, 40
FAST_COMPILE = f"{UNOPTIMIZED} {QUICKLY}"  # a third of the time, other bits
MIXED, SHORT = (2, 5, 13, 14), (2, 5)  # words in a row; padded to two lengths, and to one
ROOT = Path(__file__).parent.parent

CONFIG = """\
from alignreg_jax.config import default_config


def get_config(arg=""):
    config = default_config()
    config.model.name_or_path = {encoder!r}
    config.task.name = "folder"
    config.task.source = "folder"
    config.task.data_dir = {data!r}
    config.train.batch_size = 8
    config.train.learning_rate = 1e-3
    config.train.warmup_steps = 2
    config.train.steps_per_dispatch = 2
    config.train.epoch_parts = 1
    config.pruning.steps = 2
    config.pruning.final = 0.5
    config.pruning.first_epochs = 2
    config.pruning.epochs_per_step = 1
    config.eval.batch_size = 8
    config.checkpoint.every_steps = 3
    if arg == "variant":
        config.regularizer.reference = "finetuned"
        config.train.accumulation = 2
        config.train.max_grad_norm = 1.0
        config.train.schedule = "linear"
        config.eval.every_phase_languages = ("en", "sw")
        config.eval.save_predictions = True
        config.pruning.steps = 3
    return config
"""


@dataclass(frozen=True)
class World:
    """Where everything lies; `config` is what --config takes."""

    folder: Path

    @property
    def encoder(self) -> Path:
        return self.folder / "encoder"

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def config(self) -> Path:
        return self.folder / "tiny.py"


def configured(world, *flags):
    """The values of a config file of `world` with `flags` of the command line."""
    with warnings.catch_warnings():  # ml_collections loads it in a way that Python will drop
        warnings.filterwarnings("ignore", "the load_module")
        return resolve(_parse(["--config", str(world.config), *flags])[0])


def build(folder: Path, lengths: tuple[int, ...] = SHORT) -> World:
    """Write the same world every time: weights and texts come from fixed seeds.

    With rows of one padded length a run compiles half as many programs, most of its time.
    """
    world = World(folder)
    words = {language: [f"{language}{index}" for index in range(20)] for language in LANGUAGES}
    write_encoder(world.encoder, [word for listed in words.values() for word in listed])
    world.data.mkdir(parents=True)
    for language, known in words.items():
        for split, rows in ROWS.items():
            if split != "train" or language == "en":
                path = world.data / f"{language}.{split}.jsonl"
                path.write_text("".join(_rows(f"{language}.{split}", known, rows, lengths)))
    world.config.write_text(CONFIG.format(encoder=str(world.encoder), data=str(world.data)))
    return world


def command(world: World, workdir: Path, *flags: str, arg: str = "") -> list[str]:
    """The arguments of the program."""
    config = f"{world.config}:{arg}" if arg else str(world.config)
    return ["--config", config, "--workdir", str(workdir), *flags]


def environment(**changes: str) -> dict[str, str]:
    """A user's environment: one device, and the compiled programs of earlier tests."""
    return {**os.environ, "XLA_FLAGS": FAST_COMPILE, **changes}


def start(arguments: list[str], cwd: Path | None = None, **changes: str) -> subprocess.Popen:
    """The real program, as a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "alignreg_jax.main", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd or ROOT,
        env=environment(**changes),
    )


def run(arguments: list[str], cwd: Path | None = None, **changes: str):
    """Run the real program to its end: (exit code, standard output, standard error)."""
    process = start(arguments, cwd, **changes)
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err


def outcome(workdir: Path) -> dict[str, object]:
    """What has to be equal between two runs of one configuration, bit by bit."""
    results = json.loads((workdir / "results.json").read_text())
    del results["wall_seconds"], results["examples_per_second"]
    names = ("results.csv", "masks.npz", "export/model.safetensors")
    files = {name: (workdir / name).read_bytes() for name in names}
    predictions = {
        path.relative_to(workdir).as_posix(): path.read_bytes()
        for path in sorted(workdir.glob("predictions/*/*"))
    }
    return {**files, **predictions, "results.json": results}


def events(workdir: Path) -> list[dict]:
    """The complete lines of metrics.jsonl, also while it is being written."""
    path = workdir / "metrics.jsonl"
    text = path.read_text() if path.exists() else ""
    return [json.loads(line) for line in text.split("\n")[:-1]]


def copy(workdir: Path, target: Path) -> Path:
    """A run's folder to damage."""
    return Path(shutil.copytree(workdir, target))


def _rows(seed: str, words: list[str], rows: int, lengths: tuple[int, ...]) -> list[str]:
    """Lines whose label is told by the words; two special pieces make them 4, 7, 15 and 16 long."""
    draw = random.Random(seed)
    lines = []
    for index in range(rows):
        label = index % len(LABELS)
        length = draw.choice(lengths)
        text = " ".join(words[label + 3 * draw.randrange(6)] for _ in range(length))
        lines.append(json.dumps({"text": text, "label": LABELS[label]}) + "\n")
    return lines


def write_encoder(folder: Path, words: list[str], positions: int = POSITIONS) -> None:
    """A folder as of the Hub, whose pieces are words."""
    folder.mkdir(parents=True)
    pieces = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    pieces += [(f"▁{word}", -1.0 - index / 100) for index, word in enumerate(words)]
    pieces += [("▁", -9.0)]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=3))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.add_special_tokens(["<s>", "<pad>", "</s>", "<unk>"])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[("<s>", 0), ("</s>", 2)],
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    shape = {
        "vocab_size": len(pieces),
        "hidden_size": HIDDEN,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "intermediate_size": INNER,
        "max_position_embeddings": positions,
        "type_vocab_size": 1,
        "layer_norm_eps": 1e-5,
        "hidden_dropout_prob": 0.1,
        "attention_probs_dropout_prob": 0.1,
    }
    fixed = {"model_type": "xlm-roberta", "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2}
    (folder / "config.json").write_text(json.dumps({**fixed, "hidden_act": "gelu", **shape}))
    save_file(
        _tensors(len(pieces), positions), folder / "model.safetensors", metadata={"format": "pt"}
    )


def with_lm_head(world: World, folder: Path) -> Path:
    """The encoder with the head that a language model is pretrained under."""
    copy(world.encoder, folder)
    tensors, random_state = load_file(folder / "model.safetensors"), np.random.RandomState(1)
    rows = len(tensors["embeddings.word_embeddings.weight"])
    shapes = {"dense.weight": (HIDDEN, HIDDEN), "dense.bias": (HIDDEN,)}
    shapes |= dict.fromkeys(("layer_norm.weight", "layer_norm.bias"), (HIDDEN,))
    for name, shape in (shapes | {"bias": (rows,)}).items():
        tensors[f"lm_head.{name}"] = 0.3 * random_state.randn(*shape).astype(np.float32)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def _tensors(vocabulary: int, positions: int) -> dict[str, np.ndarray]:
    """Random weights under transformers' names, without a head."""
    random_state = np.random.RandomState(0)
    tensors: dict[str, np.ndarray] = {}

    def normal(name: str, *shape: int, mean: float = 0.0, deviation: float = 0.1) -> None:
        tensors[name] = (mean + deviation * random_state.randn(*shape)).astype(np.float32)

    def linear(name: str, columns: int, rows: int) -> None:
        normal(f"{name}.weight", rows, columns, deviation=columns**-0.5)
        normal(f"{name}.bias", rows)

    def layer_norm(name: str) -> None:
        normal(f"{name}.weight", HIDDEN, mean=1.0)
        normal(f"{name}.bias", HIDDEN)

    for kind, rows in (("word", vocabulary), ("position", positions), ("token_type", 1)):
        normal(f"embeddings.{kind}_embeddings.weight", rows, HIDDEN, deviation=0.5)
    layer_norm("embeddings.LayerNorm")
    for index in range(LAYERS):
        layer = f"encoder.layer.{index}"
        for name in ("self.query", "self.key", "self.value", "output.dense"):
            linear(f"{layer}.attention.{name}", HIDDEN, HIDDEN)
        layer_norm(f"{layer}.attention.output.LayerNorm")
        linear(f"{layer}.intermediate.dense", HIDDEN, INNER)
        linear(f"{layer}.output.dense", INNER, HIDDEN)
        layer_norm(f"{layer}.output.LayerNorm")
    return tensors


@contextmanager
def compiled():
    """Count compilations by the name of the function; none is left from other tests."""
    programs.forget()
    found = Counter()

    class Handler(logging.Handler):
        def emit(self, record):
            match = re.match(r"Compiling jit\((\w+)\)", record.getMessage())
            if match:
                found[match[1]] += 1

    logger, handler = logging.getLogger("jax._src.interpreters.pxla"), Handler()
    logger.addHandler(handler)
    level = logger.level
    logger.setLevel(logging.WARNING)  # the program quietens jax's loggers, if it ran here before
    with jax.log_compiles():
        yield found
    logger.setLevel(level)
    logger.removeHandler(handler)
