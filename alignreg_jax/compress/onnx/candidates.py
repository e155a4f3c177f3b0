"""The smaller files that a model may be served as, and which parts of it stand eight bits least."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from alignreg_jax.compress.agreement import Network
from alignreg_jax.compress.onnx import activations, graph, outlying, sessions
from alignreg_jax.compress.onnx.products import Form
from alignreg_jax.compress.onnx.quantize import STEPS
from alignreg_jax.data.encoding import Encoded
from alignreg_jax.support.progress import progress

Kind = Literal["int8", "int8-fine", "q8", "fp16", "int4"]
"""In "int8-fine" more units are outlying, and what goes beyond the limit is computed apart."""
KINDS: tuple[Kind, ...] = ("int8", "int8-fine", "q8", "fp16")
"""What is tried where no form is asked for: int4 is as fast as int8 and changes more answers."""

PORTABLE = 63
"""Steps with which x86 processors without VNNI compute the same, however a session is set."""


class Candidate(NamedTuple):
    """A form and its name."""

    name: str
    form: Form


def forms(
    kinds: Sequence[Kind],
    network: Network,
    known: Encoded,
    portable: bool = False,
    fused: bool = False,
) -> list[Candidate]:
    """The forms of some kinds; with their word tables in as many bits, but for q8.

    Args:
        kinds: which.
        network: the model.
        known: texts like those that it will meet: activations are measured on them.
        portable: whether int8 weights have so few steps that no session need add exactly.
        fused: whether attention is one operator.
    """
    steps, found = PORTABLE if portable else STEPS, activations.largest(network, known)
    few, many = (outlying.beyond(found, *each) for each in (outlying.FEW, outlying.MANY))
    limits = {name: each.limit for name, each in few.items() if each.far}
    grams = activations.grams(network, known, limits) if "int4" in kinds else {}
    made = {
        "int8": Form("int8", "int8", steps, outlying=few),
        "int8-fine": Form("int8", "int8", steps, outlying=many, apart=True),
        "q8": Form("q8", "int8"),
        "fp16": Form("fp16", "fp16"),
        "int4": Form("int4", "int4", steps, grams, few, wide_as="int8"),
    }
    return [Candidate(kind, replace(made[kind], fused=fused)) for kind in kinds]


def parts(network: Network) -> list[str]:
    """Beginnings of the names of matrices that are kept wide together."""
    layers = range(network.config.num_layers)
    return [f"layer{layer}.{part}" for layer in layers for part in ("attention.", "ffn.")]


def widened(
    candidate: Candidate, network: Network, known: Encoded, scratch: Path
) -> Iterator[Candidate]:
    """The same with 1, 2, 4, ... parts wider, those first that are harmed most.

    Args:
        candidate: a form in eight bits.
        network: the model.
        known: texts like those that it will meet.
        scratch: a folder for files.
    """
    order = _by_harm(candidate.form, network, known, scratch)
    count = 1
    while count < len(order):
        wide = tuple(order[:count])
        yield Candidate(f"{candidate.name}, {count} wide", replace(candidate.form, wide=wide))
        count *= 2


def _by_harm(form: Form, network: Network, known: Encoded, scratch: Path) -> list[str]:
    """Parts by the error of the logits when each is the only one that is not in float32."""
    every, file, errors = parts(network), scratch / "part.onnx", {}

    def logits(of: Form) -> np.ndarray:
        graph.write(file, network, of)
        pad = network.config.pad_token_id
        return sessions.answers(sessions.session(file), known, pad, 32)

    exact = logits(Form())
    with progress(len(every), "which parts stay wide", "parts") as bar:
        for part in every:
            others = tuple(each for each in every if each != part)
            found = logits(replace(form, words="fp32", wide=others, wide_as="fp32"))
            errors[part] = float(np.nansum((found - exact) ** 2))
            bar.update(1)
    for each in graph.files(file):
        each.unlink()
    return sorted(every, key=lambda part: -errors[part])
