"""The files a run leaves behind: results, masks, export, report. Each appears by atomic rename."""

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from alignreg_jax.config import ExperimentConfig
from alignreg_jax.errors import UserError
from alignreg_jax.evaluation import xglue_predictions
from alignreg_jax.evaluation.scoring import chance, names
from alignreg_jax.models.checkpoints import TOKENIZER
from alignreg_jax.models.xlmr import Params
from alignreg_jax.pruning import masks
from alignreg_jax.pruning.elastic import Tau
from alignreg_jax.reporting import results as reporting
from alignreg_jax.reporting import run_words
from alignreg_jax.reporting.tracking import METRICS_FILE, read_events
from alignreg_jax.run import sizes
from alignreg_jax.run.digests import of_tokenizer
from alignreg_jax.run.export import FINAL, check_stock_tokenizer, write_export
from alignreg_jax.run.inputs import Inputs
from alignreg_jax.support.files import atomic_write

# Texts of each language on which the export's tokenizer is compared with stock transformers
_COMPARED_TEXTS = 8
_AGAIN = "bring it back, and the same command writes the export"
# What the card calls the bundled encoder: the Hub id and licence of what it was made from
_DEMO_BASE = ("intfloat/multilingual-e5-small", "mit")


class Artifacts:
    """Writes a run's files into its workdir; what they say comes from metrics.jsonl."""

    def __init__(self, workdir: Path, config: ExperimentConfig, inputs: Inputs, command: str):
        """`command` is the line that makes the run again; nothing is written yet."""
        self.workdir, self._command = workdir, command
        self._config, self._inputs = config, inputs
        self._split = "test" if "test" in config.eval.splits else "dev"
        rows = {name: gold for (split, name), gold in inputs.gold.items() if split == self._split}
        self._chance = chance(inputs.dataset.task, inputs.dataset.labels, rows)

    def results(self, *, finished: bool, **extra: Any) -> dict[str, Any]:
        """Write results.csv and results.json from the events so far; returns the latter."""
        events = read_events(self.workdir / METRICS_FILE)
        dataset = self._inputs.dataset
        facts = reporting.Facts(
            task=dataset.task.name,
            method=self._config.method,
            seed=self._config.seed,
            metric=dataset.task.metric,
            chance=self._chance,
            languages=dataset.languages,
            split=self._split,
        )
        results = reporting.summary(events, facts, finished=finished, **extra)
        atomic_write(self.workdir / "results.csv", reporting.csv_text(events))
        text = json.dumps(results, indent=1, ensure_ascii=False)
        atomic_write(self.workdir / "results.json", text + "\n")
        return results

    def predictions(self, phase: int, predictions: Mapping[tuple[str, str], np.ndarray]) -> None:
        """Write predictions/<phase>/<language>.<split>.txt, one label or tag a line, in file order.

        With eval.save_predictions=xglue also predictions/xglue/<phase>/<split>/, a folder that
        XGLUE's evaluation script scores.
        """
        dataset, folder = self._inputs.dataset, self.workdir / "predictions"
        for (split, language), numbers in predictions.items():
            gold = self._inputs.gold[split, language]
            text = xglue_predictions.text(names(gold, numbers, dataset.labels))
            atomic_write(folder / str(phase) / f"{language}.{split}.txt", text)
            if self._config.eval.save_predictions == "xglue" and dataset.task.xglue:
                path = xglue_predictions.path(dataset.task.xglue, split, language)
                atomic_write(folder / "xglue" / str(phase) / path, text)

    def masks(self, kept: Mapping[str, np.ndarray]) -> None:
        """Write masks.npz: per kernel the packed bits, and its shape; `kept` is on the host."""
        buffer = io.BytesIO()
        np.savez(buffer, **masks.pack(kept))  # pyright: ignore[reportArgumentType]
        atomic_write(self.workdir / "masks.npz", buffer.getvalue())

    def export(
        self,
        params: Params,
        results: dict[str, Any],
        tau: Tau | None = None,
        name: str = FINAL,
    ) -> None:
        """Write a folder `name` of the run: the model in Hugging Face form, with its card.

        With thresholds `tau`, of a model that serves every size, also what says so.

        Raises:
            UserError: the encoder's tokenizer, which is copied, is not the one that was used.
        """
        from alignreg_jax.reporting.card import model_card  # its tables take half a second

        inputs, model = self._inputs, self._config.model
        _check_tokenizer(inputs)
        folder = self.workdir / name
        base, licence = model.name_or_path, None
        if base == "demo":
            base, licence = _DEMO_BASE
        elif Path(base).exists():
            base = None  # a path of this machine would mean nothing to the reader of a card
        config = inputs.encoder.config
        write_export(
            folder,
            beside={} if tau is None else sizes.files(tau, params, config, results),
            params=params,
            config=inputs.encoder.config,
            head=inputs.head,
            labels=inputs.dataset.labels,
            source=inputs.encoder_folder,
            card=model_card(
                results,
                labels=inputs.dataset.labels,
                base_model=base,
                licence=licence,
                head=inputs.head,
                max_length=inputs.max_length,
                command=self._command,
                pair=inputs.dataset.train.text_b is not None,
                stock=inputs.encoder.config.stock,
                notes=run_words.notes(read_events(self.workdir / METRICS_FILE)),
            ),
        )
        splits = (inputs.dataset.train, *inputs.dataset.test.values())
        check_stock_tokenizer(
            folder, [_plain(text) for split in splits for text in split.text_a[:_COMPARED_TEXTS]]
        )

    def report(self) -> Path:
        """Write report.html."""
        from alignreg_jax.reporting.report import write_report  # its drawings take a second

        return write_report(self.workdir)


def _check_tokenizer(inputs: Inputs) -> None:
    path = inputs.encoder_folder / TOKENIZER
    try:
        same = of_tokenizer(path) == inputs.digests["tokenizer"]
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read for the export ({error}); {_AGAIN}") from None
    if not same:
        raise UserError(f"{path}: has changed since the run has read it; {_AGAIN}")


def _plain(text: str | list[str]) -> str:
    """A text, or the words of a sentence as one."""
    return text if isinstance(text, str) else " ".join(text)
