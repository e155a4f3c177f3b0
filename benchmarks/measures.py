"""What accelerator.py measures: each method makes one row of its table."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jobs import BASE, BATCH, LARGE, STEPS, Job, count, pair_lengths, plan, random_job
from sides import Ours, Theirs
from timed import Timed
from workers import Failed, Worker

from alignreg_jax.data.batching import Dispatch, bucket_edges
from alignreg_jax.models.xlmr import XlmrConfig

Side = type[Ours] | type[Theirs]
Figure = float | str  # a str says why there is none


@dataclass(frozen=True)
class Figures:
    """A row of the table.

    Attributes:
        name: what was measured.
        unit: of both figures.
        ours: our figure.
        other: what ours is compared with; "": nothing.
        against: whose the other is.
        share: our part of the peak.
        work: floating-point operations of the mean example.
    """

    name: str
    unit: str
    ours: Figure
    other: Figure = ""
    against: str = ""
    share: float | None = None
    work: float | None = None

    @property
    def failed(self) -> bool:
        """Whether one of the figures is missing for a reason."""
        return any(isinstance(each, str) and each for each in (self.ours, self.other))

    @property
    def ratio(self) -> float | None:
        """Ours by the other."""
        if isinstance(self.ours, str) or isinstance(self.other, str):
            return None
        return self.ours / self.other


class Bench:
    """The two sides, each in a process of its own, and what the rows have in common.

    Attributes:
        until: when the row that is being measured is stopped, by time.monotonic().
        peak: operations per second that count as the whole; None: not known.
    """

    def __init__(self, small: bool):
        self.base, self.large = BASE, LARGE
        if small:
            thin = {"vocab_size": 1000, "hidden_size": 96, "intermediate_size": 192}
            self.base = replace(BASE, **thin, num_layers=2)
            self.large = replace(LARGE, **thin, num_layers=3, num_heads=12)
        self.small, self.steps = small, 2 if small else STEPS
        self.until, self.peak = 0.0, None
        self._workers: dict[Side, Worker] = {}
        self._known: dict[Any, Figure] = {}

    def ask(self, side: Side, what: str, *arguments: Any) -> None:
        """Give a side something to do."""
        if side not in self._workers:
            self._workers[side] = Worker(Timed, side)
        self._workers[side].ask(what, *arguments)

    def answer(self, side: Side) -> Any:
        """What came of it, or "failed: ..." with the reason.

        A side that failed starts afresh: an error can leave a GPU's context of no use.
        """
        try:
            return self._workers[side].answer(max(0.0, self.until - time.monotonic()))[1]
        except Failed as failure:
            self.stop(side)
            return f"failed: {failure}"

    def call(self, side: Side, what: str, *arguments: Any) -> Any:
        """Ask and wait."""
        self.ask(side, what, *arguments)
        return self.answer(side)

    def stop(self, *sides: Side) -> None:
        """End their processes, which gives all their memory back."""
        for side in sides:
            if worker := self._workers.pop(side, None):
                worker.kill()

    def train(
        self, name: str, config: XlmrConfig, batch: int, length: int, torch: bool, active: int = 0
    ) -> Figures:
        """Throughput of training at one batch and length; `active` as a job has it."""
        job = self._job(length, batch, config=config, active=active)
        # Ours and torch's do not fit on a card of 80 GB together
        apart = config == self.large and batch >= 256
        found = self._rates(name, job, [self._dispatch(job, length)], torch, apart=apart)
        if (
            config == self.base
            and not active
            and found.name == name
            and not isinstance(found.ours, str)
        ):
            self._known[batch, length, ()] = 1000 * batch / found.ours
        return found

    def evaluate(self, name: str, batch: int, length: int, torch: bool, **changes: Any) -> Figures:
        """Throughput of predictions."""
        job = self._job(length, batch, **changes)
        return self._rates(name, job, [self._dispatch(job, length)], torch, "evaluate")

    def lengths(self, name: str, torch: bool, active: int = 0, per_doubling: int = 2) -> Figures:
        """Throughput at lengths like XNLI's: our batches in buckets, torch's to their longest."""
        # Of that many rows a bucket has enough to fill its batches, as in XNLI itself
        lengths = pair_lengths(BATCH * (2 if self.small else 1024))
        job = replace(random_job(self.base, lengths, active), dtype="bfloat16")
        edges = bucket_edges(256, per_doubling)
        parts = plan(job, 2 if self.small else 8, self.steps, edges=edges)
        tokens = sum(int(lengths[part.rows[part.rows >= 0]].sum()) for part in parts)
        padding = 1 - tokens / sum(part.rows.size * part.length for part in parts)
        return self._rates(f"{name}, {padding:.0%} of ours is padding", job, parts, torch)

    def change(
        self, name: str, batch: int, length: int, new: dict[str, Any], old: dict[str, Any]
    ) -> Figures:
        """A step with the changes `new` of the job against one with `old`."""
        ours, other = self._step(batch, length, new), self._step(batch, length, old)
        against = "without" if old else "plain step"
        share = None
        if self.peak is not None and not isinstance(ours, str):
            rows = batch * new.get("seeds", 1)
            work = 3 * rows * flops(new.get("config", self.base), np.array([length]))
            share = work / (ours / 1000) / self.peak
        return Figures(name, "ms a step", ours, other, against, share)

    def penalty(self, name: str, regularizer: str, batch: int, length: int) -> Figures:
        """What a penalty adds to a step, timed alone, against the step."""
        step = self._step(batch, length, {})
        found = self._seconds([Ours], self._job(length, batch), [(regularizer,)], "regularize_all")
        ours = found[Ours]
        if not isinstance(ours, str):
            ours *= 1000 / STEPS
        return Figures(name, "ms", ours, step, "plain step")

    def prune(self, name: str, scope: str) -> Figures:
        """prune_step.py's figures, for weights of base's size."""
        found = self.call(Ours, "prune", scope, 192 if self.small else 768)
        if isinstance(found, str):
            return Figures(name, "ms", found)
        name = f"{name}, {found['prunable'] / 1e6:.1f} M weights"
        return Figures(name, "ms", 1000 * found["ours"], 1000 * found["sort"], "full sort")

    def _job(self, length: int, batch: int, **changes: Any) -> Job:
        """Rows of one length, for the base model unless `config` is another."""
        config, active = changes.get("config", self.base), changes.get("active", 0)
        rows = random_job(config, np.full(batch * 4, length), active)
        return replace(rows, **{"batch": batch, "dtype": "bfloat16", **changes})

    def _dispatch(self, job: Job, length: int) -> Dispatch:
        """As many steps as go into one dispatch."""
        rows = np.arange(job.batch * self.steps, dtype=np.int32) % job.rows.rows
        return Dispatch(length, rows.reshape(self.steps, job.batch))

    def _step(self, batch: int, length: int, changes: dict[str, Any]) -> Figure:
        """Our milliseconds a step of the base model; a figure is measured once."""
        key = (batch, length, tuple(changes.items()))
        if isinstance(self._known.get(key, ""), str):
            job = self._job(length, batch, **changes)
            found = self._seconds([Ours], job, [self._dispatch(job, length)], "train")[Ours]
            self._known[key] = found if isinstance(found, str) else 1000 * found / self.steps
        return self._known[key]

    def _rates(
        self, name: str, job: Job, parts: Sequence[Dispatch], torch: bool, what: str = "train",
        apart: bool = False,
    ) -> Figures:  # fmt: skip
        """Examples per second; with `apart` only one side is on the device at a time."""
        found: dict[Side, Figure] = {}
        sides: list[Side] = [Ours, Theirs] if torch else [Ours]
        for group in [[side] for side in sides] if apart else [sides]:
            if apart:
                self.stop(Ours, Theirs)
            found |= self._seconds(group, job, parts, what)
            if group[0] is Ours and what == "train" and _out_of_memory(found[Ours]):
                name += ", ours with model.remat"
                found |= self._seconds([Ours], replace(job, remat=True), parts, what)
        rates = {side: time if isinstance(time, str) else count(parts) / time
                 for side, time in found.items()}  # fmt: skip
        rows = np.concatenate([part.rows.ravel() for part in parts])
        work = flops(job.config, job.rows.lengths[rows[rows >= 0]]) * (3 if what == "train" else 1)
        ours = rates[Ours]
        share = None if self.peak is None or isinstance(ours, str) else ours * work / self.peak
        against = "torch" if torch else ""
        return Figures(name, "examples/s", ours, rates.get(Theirs, ""), against, share, work)

    def _seconds(
        self, sides: Sequence[Side], job: Job, parts: Sequence[Any], what: str
    ) -> dict[Side, Figure]:
        """Time that each side needs for all dispatches, or whatever `what` takes.

        They compile at the same time and are timed one after the other.
        """
        dynamic = len({getattr(part, "length", None) for part in parts}) > 1
        options = {Ours: {}, Theirs: {"compiled": not self.small, "dynamic": dynamic}}
        for side in sides:
            self.ask(side, "prepare", job, parts, what, options[side])
        found = {side: self.answer(side) for side in sides}
        for side in sides:
            found[side] = found[side] or self.call(side, "time")
        for side in sides:
            if not isinstance(found[side], str):
                self.call(side, "release")
        return found


def flops(config: XlmrConfig, lengths: np.ndarray) -> float:
    """Floating-point operations of a forward pass in matrix products, for the mean row."""
    lengths = lengths.astype(np.float64)  # the products below are beyond 32 bits
    kernels = 4 * config.hidden_size**2 + 2 * config.hidden_size * config.intermediate_size
    attention = 2 * lengths * config.hidden_size  # logits, and their product with the values
    return float(np.mean(2 * config.num_layers * lengths * (kernels + attention)))


def _out_of_memory(found: Figure) -> bool:
    words = ("resource_exhausted", "out of memory", "outofmemory")
    return isinstance(found, str) and any(word in found.lower() for word in words)
