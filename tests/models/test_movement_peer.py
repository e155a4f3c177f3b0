"""Movement and Static Model Pruning beside PyTorch, which does the published update."""

from dataclasses import replace

import jax
import numpy as np
import pytest
from parity_cases import CASES, NAMES, batch, write_folder

from alignreg_jax.data.batching import Dispatch
from alignreg_jax.data.encoding import Encoded
from alignreg_jax.models import checkpoints, xlmr
from alignreg_jax.pruning import kernels as prunable
from alignreg_jax.pruning import masks, methods
from alignreg_jax.pruning.method import Hyper, Marks
from alignreg_jax.training import sharding
from alignreg_jax.training.steps import StepSettings
from alignreg_jax.training.trainer import Trainer

pytestmark = pytest.mark.torch
CASE, STEPS = CASES["base"], 20
SCORES, RATE, LAMBDA = 1e-2, 1e-3, 400.0
METHODS = {
    "movement": ("layer", "none", ("embeddings",)),
    "smp-l": ("layer", "scores", ("embeddings", "encoder")),
}


def left(step):
    return 0.1 + 0.9 * (1 - (step + 1) / STEPS) ** 3


def progress(step):
    return (step + 1) / STEPS


def ours(folder, name):
    """Scores by tensor name after the steps, the losses, and the masks of every step."""
    scope, regularizer, freeze = METHODS[name]
    loaded = checkpoints.load(folder, head=CASE.head, labels=NAMES, seed=0)
    config = replace(
        loaded.config, hidden_dropout=0.0, attention_dropout=0.0, classifier_dropout=0.0
    )
    ids, lengths, labels = batch(CASE)
    whole = Encoded(
        np.concatenate([row[:size] for row, size in zip(ids, lengths, strict=True)]),
        (np.cumsum(lengths) - lengths).astype(np.int32), lengths, labels,
    )  # fmt: skip
    trainer = Trainer(
        xlmr.XlmrModel(config, CASE.head, len(NAMES)),
        methods.build(criterion="movement", scope=scope, regularizer=regularizer),
        StepSettings(freeze=freeze),
        sharding.make_mesh(1, 1, 1, devices=jax.devices()[:1]),
        params=loaded.params, train=whole, seeds=(0,), total_steps=STEPS, batch_size=len(labels),
        steps_per_dispatch=STEPS,
        hyper=Hyper(
            learning_rate=RATE, score_learning_rate=SCORES, regularizer_weight=LAMBDA,
            train_examples=len(labels),
        ),
    )  # fmt: skip
    trainer.set_clock(0.1, learn=True)
    sizes = prunable.sizes(trainer.reference)
    marks = [
        Marks(
            masks.keep_counts(sizes, left(step), "layer"), np.int32(step),
            np.float32(progress(step)), np.float32(0),
        )
        for step in range(STEPS)
    ]  # fmt: skip
    rows = np.arange(len(labels), dtype=np.int32)[None]
    losses, kept = [], []
    for mark in marks:
        trainer.dispatch(Dispatch(ids.shape[1], rows), marks=[mark])
        losses.append(float(trainer.drain().metrics["task_loss"][0]))
        kept.append(by_tensor(config, trainer.state.masks))
    return by_tensor(config, trainer.state.method["scores"]), losses, kept


def by_tensor(config, kernels):
    """Kernels under the names of a checkpoint's tensors, `[out, in]`."""
    kernels, named = jax.device_get(kernels), {}
    for tensor, slot in checkpoints.name_table(config, CASE.head).items():
        kernel = slot.path.removeprefix("encoder/").removesuffix("/kernel")
        if slot.path.startswith("encoder/") and kernel in kernels:
            named[f"roberta.{tensor.removeprefix('roberta.')}"] = kernels[kernel][slot.layer].T
    return named


def theirs(folder, name, kept):
    """The same by PyTorch's autograd: a mask whose gradient is handed to the scores.

    Also which scores had gradients above float32's rounding in every step: Adam divides a gradient
    by its own size, and makes of rounding a whole step.

    The masks are given. Adam's first step is its rate times a sign, so that scores are apart by
    rounding alone, and two libraries would choose differently.
    """
    import torch
    from torch.func import functional_call
    from transformers import XLMRobertaForSequenceClassification

    class Binarise(torch.autograd.Function):
        @staticmethod
        def forward(ctx, scores, mask):
            return mask

        @staticmethod
        def backward(ctx, pull):
            return pull, None

    frozen = METHODS[name][2]
    model = XLMRobertaForSequenceClassification.from_pretrained(
        folder, attn_implementation="eager", hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0, classifier_dropout=0.0,
    )  # fmt: skip
    parameters = dict(model.named_parameters())
    for tensor, value in parameters.items():
        value.requires_grad_(not any(f".{part}." in tensor for part in frozen))
    masked = [
        tensor for tensor in parameters
        if ".encoder." in tensor and tensor.endswith("weight") and "LayerNorm" not in tensor
    ]  # fmt: skip
    scores = {tensor: torch.zeros_like(parameters[tensor], requires_grad=True) for tensor in masked}
    trained = [value for value in parameters.values() if value.requires_grad]
    adam = torch.optim.Adam(
        [{"params": trained, "lr": RATE}, {"params": list(scores.values()), "lr": SCORES}], eps=1e-8
    )
    ids, lengths, labels = (torch.tensor(part).long() for part in batch(CASE))
    valid = (torch.arange(ids.shape[1])[None] < lengths[:, None]).long()
    losses, clear = [], {tensor: np.ones(value.shape, bool) for tensor, value in scores.items()}
    for step in range(STEPS):
        used = {
            tensor: parameters[tensor]
            * Binarise.apply(value, torch.tensor(kept[step][tensor].astype(np.float32)))
            for tensor, value in scores.items()
        }
        output = functional_call(
            model, used, kwargs={"input_ids": ids, "attention_mask": valid, "labels": labels}
        )
        loss = output.loss
        if METHODS[name][1] == "scores":
            openness = torch.stack([torch.sigmoid(value).mean() for value in scores.values()])
            loss = loss + LAMBDA * (1 - (1 - progress(step)) ** 3) * openness.mean()
        losses.append(float(output.loss.detach()))
        adam.zero_grad()
        loss.backward()
        adam.step()
        for tensor, value in scores.items():
            size = value.grad.abs().numpy()
            clear[tensor] &= size > 1e-6 * size.max()
    return {tensor: value.detach().numpy() for tensor, value in scores.items()}, losses, clear


@pytest.mark.parametrize("name", METHODS)
def test_scores_and_losses_are_those_of_pytorch(name, tmp_path):
    folder = write_folder(CASE, tmp_path)
    found, losses, kept = ours(folder, name)
    expected, other, clear = theirs(folder, name, kept)
    np.testing.assert_allclose(losses, other, rtol=1e-4)
    assert set(found) == set(expected)
    for step, masks_ in enumerate(kept):
        for tensor, mask in masks_.items():
            assert mask.sum() == round(left(step) * mask.size), tensor
    for tensor, value in found.items():
        off = np.abs(value - expected[tensor]) > 1e-5
        assert not (off & clear[tensor]).any(), tensor
        assert off.mean() < 0.005, tensor
        assert np.abs(value).max() > SCORES  # they have moved
