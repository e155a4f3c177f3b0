"""The model that a budget of megabytes and milliseconds buys: sizes x pieces x eight or four bits.

Of every size and number of pieces the score of the worst language is measured in float32, and of
every smaller form its file and, once a size, its time on this machine. What fits is tried in the
order of that score, and has to pass the gate like any other.
"""

import tempfile
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from alignreg_jax.compress import folders, trim
from alignreg_jax.compress.deployment import comparing, cutting
from alignreg_jax.compress.deployment.comparing import Asked, Line
from alignreg_jax.compress.deployment.cutting import Cuts
from alignreg_jax.compress.deployment.deploy import Deployed, NotPassed, Wanted, deploy
from alignreg_jax.compress.gate import Answers, judge
from alignreg_jax.compress.onnx import candidates, graph
from alignreg_jax.compress.onnx.candidates import Kind
from alignreg_jax.compress.served import Served
from alignreg_jax.errors import UserError
from alignreg_jax.models.architecture import read_config
from alignreg_jax.models.saving import TOKENIZER
from alignreg_jax.pruning import size_files
from alignreg_jax.support.progress import progress

PIECES = 64
"""Length of the text that milliseconds are of, if the model takes as long ones."""

COVERAGES = (0.999, 0.99, 0.97)
"""Shares of each language's running pieces that are kept, where all pieces are too many."""

_SIZES = 6


class Budget(NamedTuple):
    """What a model may weigh and take.

    Attributes:
        megabytes: of the model's file and its tokenizer's.
        milliseconds: for one text of `PIECES`.
    """

    megabytes: float | None = None
    milliseconds: float | None = None

    def excess(self, trial: "Trial") -> float:
        """How many times too much the worse of both is; at most 1 fits."""
        pairs = ((trial.megabytes, self.megabytes), (trial.milliseconds, self.milliseconds))
        return max((value / most for value, most in pairs if most is not None), default=0.0)

    def too_slow(self, times: Collection[float]) -> bool:
        """Whether each of some milliseconds is too many; of none they are not."""
        return self.milliseconds is not None and min(times, default=0.0) > self.milliseconds

    def too_heavy(self, folder: Path, kinds: Sequence[Kind]) -> bool:
        """Whether the word table alone weighs too much: a byte a value, or half of one."""
        config = read_config(folder)
        least = 1 / 2 if "int4" in kinds else 1
        table = least * config.vocab_size * config.hidden_size / 1e6
        return self.megabytes is not None and table > self.megabytes

    def __str__(self) -> str:
        """As on the command line."""
        flags = (("max-mb", self.megabytes), ("max-ms", self.milliseconds))
        return " ".join(f"--{name}={value:g}" for name, value in flags if value is not None)


class Trial(NamedTuple):
    """A form of a model of some size.

    Attributes:
        cuts: the size and the pieces.
        pieces: how many.
        kind: the form.
        megabytes: of it and its tokenizer.
        milliseconds: for one text.
        worst: the score of the worst language in float32; without labels, less the share of answers
            that are others; None: not measured, because nothing of this size and pieces fits.
    """

    cuts: Cuts
    pieces: int
    kind: Kind
    megabytes: float
    milliseconds: float
    worst: float | None = None

    def __str__(self) -> str:
        """In a line."""
        size = 1.0 if self.cuts.size is None else self.cuts.size
        worst = "" if self.worst is None else f", worst language {self.worst:.1f}"
        return (
            f"size {size:.2f}, {self.pieces:,} pieces, {self.kind}: {self.megabytes:.1f} MB,"
            f" {self.milliseconds:.2f} ms{worst}"
        )


@dataclass(frozen=True)
class Found:
    """What came of a search: what was written, and all that was tried."""

    done: Deployed
    trials: Sequence[Trial]


def choices(folder: Path, wanted: Wanted, free: bool) -> dict[float | None, list[Cuts]]:
    """What to try of each size, the most pieces first.

    Args:
        folder: of the model.
        wanted: a size or pieces that it has are the only ones.
        free: whether the number of pieces is left to the search.
    """
    sizes: list[float | None] = [wanted.cuts.size]
    if wanted.cuts.size is None and (folder / size_files.SIZES).exists():
        smallest = size_files.read(folder).smallest
        sizes = [float(size) for size in np.linspace(1, smallest, _SIZES)]
    pieces: list[trim.Wanted | None] = [wanted.cuts.pieces]
    if wanted.cuts.pieces is not None and free:
        pieces = [None, *(replace(wanted.cuts.pieces, coverage=share) for share in COVERAGES)]
    return {size: [Cuts(size, each) for each in pieces] for size in sizes}


def search(
    folder: Path, out: Path, served: Served, wanted: Wanted, budget: Budget, free: bool,
    spare: tuple[Kind, ...] = (),
) -> Found:  # fmt: skip
    """Write the best model inside a budget.

    Args:
        folder: of the model.
        out: the new folder, which must not be there.
        served: rows to compare on.
        wanted: how, and what is not left to the search.
        budget: what it may weigh and take.
        free: whether the number of pieces is left to the search.
        spare: forms that are tried of a size of which none of `wanted.kinds` fits.

    Raises:
        UserError: nothing fits, or nothing that fits passes the gate; it says what is nearest.
            Nothing is written then.
    """
    sizes, tried = choices(folder, wanted, free), []
    labelled = any(split.labels.max(initial=-1) >= 0 for split in served.rows.values())
    whole = None if labelled else _whole(folder, served)
    left = {size: iter(every) for size, every in sizes.items()}
    times: dict[float | None, dict[str, float]] = {size: {} for size in sizes}

    def next_fitting(
        size: float | None, every: Iterator[Cuts], kinds: tuple[Kind, ...]
    ) -> list[Trial]:
        """The forms of a size that fit with the most pieces that were not tried; maybe none."""
        with tempfile.TemporaryDirectory() as name:
            sized = cutting.cut(folder, Cuts(size), Path(name)).folder
            for cuts in every:  # fewer pieces only save bytes
                if cuts.pieces is None and free and budget.too_heavy(sized, kinds):
                    continue
                forms = replace(wanted, kinds=kinds)
                found = _measured(sized, served, forms, cuts, budget, whole, times[size])
                tried.append(found)
                if (fits := _fitting(found, budget)) or budget.too_slow(times[size].values()):
                    return fits
        return []

    fitting = []
    with progress(len(sizes), "sizes", "models") as bar:
        for size in sizes:
            found = next_fitting(size, left[size], wanted.kinds)
            if not found and spare and not budget.too_slow(times[size].values()):
                found = next_fitting(size, iter(sizes[size]), spare)
            fitting += [found] if found else []
            bar.update(1)
    if not fitting:
        nearest = min((trial for forms in tried for trial in forms), key=budget.excess)
        heavy = budget.megabytes is not None and wanted.cuts.pieces is None
        hint = "; with --languages de,fr no others' pieces stay" if heavy else ""
        raise UserError(f"{budget}: nothing fits; the nearest is {nearest}{hint}")
    reasons = []
    while fitting:
        fitting.sort(key=_rank)
        forms = fitting.pop(0)
        cuts, kinds = forms[0].cuts, tuple(form.kind for form in forms)
        try:
            chosen = replace(wanted, cuts=cuts, kinds=kinds, strict=True)
            done = deploy(folder, out, served, chosen)
            return Found(done, [trial for forms in tried for trial in forms])
        except NotPassed as error:
            size = 1.0 if cuts.size is None else cuts.size
            reasons.append(f"size {size:.2f}, {forms[0].pieces:,} pieces: {error}")
            if len(kinds) < len(wanted.kinds):
                # With fewer pieces more forms may fit
                found = next_fitting(cuts.size, left[cuts.size], wanted.kinds)
                fitting += [found] if found else []
    raise UserError(
        f"{budget}: nothing that fits passes the gate: {'; '.join(reasons)}; allow more, or more"
        " --max-flips"
    )


def _fitting(forms: Sequence[Trial], budget: Budget) -> list[Trial]:
    """Those forms that are inside a budget."""
    return [form for form in forms if budget.excess(form) <= 1]


def _rank(forms: Sequence[Trial]) -> tuple[float, float]:
    """The best worst language comes first; of equals the smaller."""
    return -(forms[0].worst or 0.0), min(form.megabytes for form in forms)


def _measured(
    sized: Path, served: Served, wanted: Wanted, cuts: Cuts, budget: Budget,
    whole: dict[str, Answers] | None, times: dict[str, float],
) -> list[Trial]:  # fmt: skip
    """The forms of a model that has its size already, with the pieces of `cuts`.

    Milliseconds are measured once for a size and kept in `times`: they do not depend on how many
    rows there are in a table of which a text reads its own.
    """
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        cut = cutting.cut(sized, Cuts(None, cuts.pieces), scratch)
        network = folders.read(cut.folder).network
        asked = Asked(served, cut.folder, network.config)
        known = served.known_encoded(asked.tokenizer, asked.longest)
        lines = []
        forms = candidates.forms(wanted.kinds, network, known, wanted.portable, wanted.fused)
        for candidate in forms:
            path = scratch / f"{candidate.name}.onnx"
            graph.write(path, network, candidate.form)
            lines.append(Line(candidate.name, path, graph.size(path), {}))
        shape = (1, min(PIECES, network.config.max_length))
        if not times.keys() >= {line.name for line in lines}:
            comparing.time(lines, asked.pieces, shape[1], wanted.threads, (shape,))
            times |= {line.name: line.milliseconds[f"{shape[0]} x {shape[1]}"] for line in lines}
        beside = (cut.folder / TOKENIZER).stat().st_size
        trials = [
            Trial(
                cuts,
                network.config.vocab_size,
                kind,
                (line.size + beside) / 1e6,
                times[line.name],
            )
            for kind, line in zip(wanted.kinds, lines, strict=True)
        ]
        if not _fitting(trials, budget):
            return trials
        graph.write(scratch / "fp32.onnx", network)
        line, answers = comparing.reference("fp32", scratch / "fp32.onnx", asked, served)
        if whole is None:
            worst = line.summary["worst"]["value"]
        else:
            gold = {language: split.labels for language, split in served.rows.items()}
            worst = -max(each.share for each in judge(whole, {32: answers}, gold))
        return [trial._replace(worst=worst) for trial in trials]


def _whole(folder: Path, served: Served) -> dict[str, Answers]:
    """The answers of the whole model."""
    network = folders.read(folder).network
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "whole.onnx"
        graph.write(path, network)
        return comparing.reference("whole", path, Asked(served, folder, network.config), served)[1]
