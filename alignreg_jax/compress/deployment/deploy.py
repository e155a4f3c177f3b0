"""From a folder of a model to one that is served: pieces and units cut, ONNX, eight bits, a gate.

The gate compares answers with those of the float model at the same size with all its pieces. What
the size itself has cost stands in the table, where the whole model has a line.
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from alignreg_jax.compress import folders, gate
from alignreg_jax.compress.agreement import Network
from alignreg_jax.compress.coverage import Loss
from alignreg_jax.compress.deployment import comparing, cutting, folder_files
from alignreg_jax.compress.deployment.comparing import Asked, Line
from alignreg_jax.compress.deployment.cutting import Cuts
from alignreg_jax.compress.folders import Original
from alignreg_jax.compress.gate import Answers, Judged
from alignreg_jax.compress.onnx import candidates, graph
from alignreg_jax.compress.onnx.candidates import KINDS, Candidate, Kind
from alignreg_jax.compress.onnx.products import Form
from alignreg_jax.compress.served import Served
from alignreg_jax.errors import UserError
from alignreg_jax.support.files import whole_folder

_WORK = ".work"  # in the new folder, until it is done


@dataclass(frozen=True)
class Wanted:
    """How a model is to be served.

    Attributes:
        cuts: which size, and which pieces.
        kinds: smaller forms to try.
        max_flips: per cent of a language's answers that may be others.
        portable: whether int8 is to give the same on processors without VNNI in programs that
            do not ask ONNX Runtime to add exactly (`sessions.EXACT`).
        fused: whether attention is one operator, of opset 23 instead of 20.
        mixed: whether parts stay in float32, or of int4 in eight bits, until the form passes.
        threads: of measured times.
        strict: whether a model of which no smaller form passes the gate is not written.
    """

    cuts: Cuts = field(default_factory=Cuts)
    kinds: tuple[Kind, ...] = KINDS
    max_flips: float = gate.MAX_FLIPS
    portable: bool = False
    fused: bool = False
    mixed: bool = False
    threads: int = 1
    strict: bool = False


@dataclass(frozen=True)
class Deployed:
    """What was done.

    Attributes:
        lines: of the table: the run's dense model if it is known, the original, at its size, with
            its pieces, and candidates in the order in which they were tried.
        kept: name of the candidate in model_quantized.onnx; None: there is none.
        refused: (name, languages) of models that did not pass the gate.
        losses: what each language lost with pieces.
        folder: of the model that is served, with its tokenizer.
        network: the model.
        labels: of its head; none without one.
        max_length: most pieces of a row.
    """

    lines: Sequence[Line]
    kept: str | None
    refused: Sequence[tuple[str, Sequence[Judged]]]
    losses: Sequence[Loss]
    folder: Path
    network: Network
    labels: Sequence[str]
    max_length: int

    @property
    def floating(self) -> str:
        """Name of the line of model.onnx."""
        names = [line.name for line in self.lines]
        return comparing.ALL_PIECES if comparing.ALL_PIECES in names else comparing.FLOAT

    @property
    def passed(self) -> bool:
        """Whether nothing was refused that was asked for."""
        return not self.refused or self.kept is not None


def deploy(folder: Path, out: Path, served: Served, wanted: Wanted) -> Deployed:
    """Write the folder of a model that is served.

    Where no candidate passes the gate, the folder has the float model alone; where fewer pieces do
    not, it has all pieces.

    Args:
        folder: of the model.
        out: the new folder, which must not be there.
        served: rows to compare on.
        wanted: how.

    Raises:
        UserError: the folder cannot be read, or cut as wanted; no room. Nothing is written then.
    """
    if out.exists():
        raise UserError(f"{out}: is there already; give a folder that is not")
    original = folders.read(folder)
    if (original.network.head is None) != (served.pooling is not None):
        raise ValueError("rows that are labelled for a model without a head, or the reverse")
    if served.pooling is None and len(original.labels) < 2:
        raise UserError(
            f"{folder}: its head has one label, so that every answer is the same; models whose"
            " answer is a number are not supported"
        )
    weights = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    with whole_folder(out, 2 * weights, new=True) as partial:
        scratch = partial / _WORK
        scratch.mkdir()
        done = _Maker(folder, served, wanted, scratch).make()
        folder_files.write(partial, folder, done, served, wanted)
        shutil.rmtree(scratch)
    from alignreg_jax.reporting.report import refresh  # its drawings take a second

    refresh(folder.parent, out)
    return done


class NotPassed(UserError):
    """No smaller form passes the gate; names who lost."""


class _Maker:
    """Makes the files of one model in a scratch folder."""

    def __init__(self, folder: Path, served: Served, wanted: Wanted, scratch: Path):
        self._folder, self._served, self._wanted = folder, served, wanted
        self._scratch, self._refused = scratch, []
        self._lines: list[Line] = []

    def make(self) -> Deployed:
        wanted = self._wanted
        cut = cutting.cut(self._folder, wanted.cuts, self._scratch)
        whole, before = self._reference(comparing.ORIGINAL, self._folder)
        if cut.sized != self._folder:
            _, before = self._reference(comparing.SIZED, cut.sized)
        folder, kept = cut.folder, None
        small, asked = self._write_float(comparing.FLOAT, folder, before)
        fewest = asked.pieces
        if self._refused:  # with fewer pieces; the smaller forms of it are no better
            folder = cut.sized
            small, asked = self._write_float(comparing.ALL_PIECES, folder, before)
        elif wanted.kinds:
            kept = self._first_that_passes(small.network, asked, before)
        if wanted.strict and kept is None:
            raise NotPassed(
                "; ".join(
                    f"{name} changes too many answers in {', '.join(each.language for each in bad)}"
                    for name, bad in self._refused
                )
            )
        comparing.time(self._lines, fewest, asked.longest, wanted.threads)
        if self._served.dense:  # as large and as fast as the original
            dense = replace(whole, name=comparing.DENSE, scores=self._served.dense)
            self._lines.insert(0, dense)
        losses = cut.losses if folder == cut.folder else ()
        return Deployed(
            self._lines, kept, self._refused, losses, folder, small.network, small.labels,
            asked.longest,
        )  # fmt: skip

    def _write_float(
        self, name: str, folder: Path, before: Mapping[str, Answers]
    ) -> tuple[Original, Asked]:
        model, path = folders.read(folder), self._scratch / f"{name}.onnx"
        asked = Asked(self._served, folder, model.network.config)
        graph.write(path, model.network, Form(fused=self._wanted.fused))
        self._lines.append(self._judged(name, path, asked, before))
        return model, asked

    def _reference(self, name: str, folder: Path) -> tuple[Line, Mapping[str, Answers]]:
        network, path = folders.read(folder).network, self._scratch / f"{name}.onnx"
        graph.write(path, network, Form(whole=True))
        asked = Asked(self._served, folder, network.config)
        line, answers = comparing.reference(name, path, asked, self._served)
        self._lines.append(line)
        return line, answers

    def _judged(self, name: str, path: Path, asked: Asked, before: Mapping[str, Answers]) -> Line:
        line = comparing.line(name, path, asked, self._served, before)
        if bad := gate.failed(list(line.judged), self._wanted.max_flips):
            self._refused.append((name, bad))
        return line

    def _first_that_passes(
        self, network: Network, asked: Asked, before: Mapping[str, Answers]
    ) -> str | None:
        """Try the fastest first; its name."""
        wanted = self._wanted
        known = self._served.known_encoded(asked.tokenizer, asked.longest)
        tried = candidates.forms(wanted.kinds, network, known, wanted.portable, wanted.fused)
        paths = {candidate.name: self._written(network, candidate) for candidate in tried}
        for candidate in _fastest_first(tried, paths, asked, wanted.threads):
            if self._passes(candidate, paths[candidate.name], asked, before):
                return candidate.name
            if not wanted.mixed or candidate.form.weights == "fp16":
                continue
            for mixed in candidates.widened(candidate, network, known, self._scratch):
                if self._passes(mixed, self._written(network, mixed), asked, before):
                    return mixed.name
        return None

    def _written(self, network: Network, candidate: Candidate) -> Path:
        path = self._scratch / f"{candidate.name}.onnx"
        graph.write(path, network, candidate.form)
        return path

    def _passes(
        self, candidate: Candidate, path: Path, asked: Asked, before: Mapping[str, Answers]
    ) -> bool:
        self._lines.append(self._judged(candidate.name, path, asked, before))
        return all(name != candidate.name for name, _ in self._refused)


def _fastest_first(
    tried: list[Candidate], paths: Mapping[str, Path], asked: Asked, threads: int
) -> list[Candidate]:
    lines = [Line(each.name, paths[each.name], 0, {}) for each in tried]
    comparing.time(lines, asked.pieces, asked.longest, threads)
    spent = {line.name: sum(line.milliseconds.values()) for line in lines}
    return sorted(tried, key=lambda each: spent[each.name])
