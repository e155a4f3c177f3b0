"""From a folder of a model to one without its empty attention heads and feed-forward units.

What is written is read again, and asked beside the original, before it takes its place.
"""

import shutil
from pathlib import Path
from typing import Any

import jax
import numpy as np

from alignreg_jax.compress import agreement, budgets, folders
from alignreg_jax.compress.account import Report, Size, card
from alignreg_jax.compress.agreement import Network
from alignreg_jax.compress.budgets import Budget
from alignreg_jax.compress.forms import ALIGN, Form, smaller
from alignreg_jax.errors import UserError
from alignreg_jax.models import checkpoints, saving
from alignreg_jax.models.xlmr import Params
from alignreg_jax.pruning import elastic, masks
from alignreg_jax.pruning import kernels as prunable
from alignreg_jax.pruning.elastic import Tau
from alignreg_jax.run.export import read_card
from alignreg_jax.support.files import atomic_write, whole_folder

TOLERANCE = 1e-4
"""Largest difference of a logit, in float32."""

_CARD = "README.md"
# Of a tokenizer that is not in tokenizer.json, which `saving` copies
_OTHER_TOKENIZER = (
    "sentencepiece.bpe.model",
    "special_tokens_map.json",
    "added_tokens.json",
    checkpoints.TOKENIZER_CONFIG,
)


def shrink(
    folder: Path,
    out: Path,
    form: Form = "stock",
    align: int = ALIGN,
    budget: Budget | None = None,
) -> Report:
    """Write a smaller model that computes the same.

    Args:
        folder: of model_type xlm-roberta, with a head for texts or words, or without one.
        out: the new folder, which must not be there.
        form: "stock" for what unmodified transformers loads, "free" for the smallest.
        align: what the stock form's feed-forward width is a multiple of.
        budget: how large it may be, for a model that serves every size; the new one computes what
            that model computes at its size. None: only what is empty is taken out.

    Raises:
        UserError: the folder cannot be read or serves one size only, has nothing to remove, or not
            in that form; the result differs by more than TOLERANCE; or there is no room for it.
            Nothing is written then.
    """
    if out.exists():
        raise UserError(f"{out}: is there already; give a folder that is not")
    original = folders.read(folder)
    network = original.network
    if not network.config.stacked:
        raise UserError(f"{folder}: its layers are uneven: it has been made smaller before")
    params, layers, size = network.params, None, None
    if budget:
        network, size = _at_budget(folder, network, budget, form, align)
        assert network.at is not None
        tau, at = network.at
        layers = elastic.units_at(tau, at).get("layers")
        params = _at_size(params, tau, at)
    try:
        found = smaller(params, network.config, form, align, layers)
    except UserError as error:
        raise UserError(f"{folder}: {error}") from None
    asked = agreement.questions(folder, network.config)
    with whole_folder(out, _bytes(found.params), new=True) as partial:
        model = {"head": network.head, "labels": original.labels, "source": folder}
        saving.save(partial, found.params, found.config, **model)
        _copy_tokenizer(folder, partial)
        written = folders.read(partial).network
        apart = agreement.largest_difference(network, written, asked.rows)
        if not apart <= TOLERANCE:
            raise UserError(
                f"{folder}: without its empty units logits differ by {apart:.1e}, and no more than"
                f" {TOLERANCE:.0e} is rounding; nothing was written"
            )
        report = Report(
            before=Size.of(folder, network),
            after=Size.of(partial, written),
            found=found,
            stock=found.config.stock,
            apart=apart,
            asked=asked,
            left_out=original.skipped,
            size=size,
        )
        text = read_card(folder, otherwise=f"# {folder.name}\n")
        atomic_write(partial / _CARD, card(text, report))
    return report


def _at_budget(
    folder: Path, network: Network, budget: Budget, form: Form, align: int
) -> tuple[Network, float]:
    """The model at the size that a budget allows, and that size."""
    sizes = folders.sizes(folder, network)
    size = budgets.within(budget, sizes.tau, sizes.smallest, network, form, align)
    if all(present.all() for present in elastic.units_at(sizes.tau, size).values()):
        raise UserError(f"{folder}: {budget.flag} allows the whole model, so nothing is removed")
    return network._replace(at=(sizes.tau, size)), size


def _at_size(params: Params, tau: Tau, size: float) -> dict[str, Any]:
    """A model whose absent units are empty: all their weights are zero."""
    kernels, rest = prunable.split(params)
    kept = elastic.masks_at(tau, size, kernels)
    return prunable.merge(jax.device_get(masks.apply(jax.device_put(kernels), kept)), rest)


def _copy_tokenizer(folder: Path, target: Path) -> None:
    if not (folder / checkpoints.TOKENIZER).exists():
        for name in _OTHER_TOKENIZER:
            if (folder / name).exists():
                shutil.copyfile(folder / name, target / name)


def _bytes(params: object) -> int:
    return sum(np.asarray(leaf).nbytes for leaf in jax.tree.leaves(params))
