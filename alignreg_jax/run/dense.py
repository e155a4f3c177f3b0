"""The dense phase that several runs have in common: trained by the first, taken over by the others.

`dense/<key>-<digest of the inputs>/` holds the events so far, the predictions, the export if there
is one, and the checkpoint at the end of phase 0, as links to the first run's files; beside them a
manifest as a checkpoint's, with every digest. It appears by one rename. What is damaged or
unfinished is as good as not there.
"""

import json
import logging
import secrets
import shutil
from collections import Counter
from collections.abc import Iterable
from hashlib import blake2b
from pathlib import Path
from typing import Any

from alignreg_jax import config as configuration
from alignreg_jax.config import ExperimentConfig
from alignreg_jax.errors import writing
from alignreg_jax.pruning.penalties import GATED
from alignreg_jax.reporting.tracking import METRICS_FILE
from alignreg_jax.run import digests
from alignreg_jax.run.digests import Digests
from alignreg_jax.run.export import STEPS
from alignreg_jax.run.inputs import cuts_vocabulary
from alignreg_jax.run.plan import begins_anew, never_learns
from alignreg_jax.training import manifests
from alignreg_jax.training.checkpointing import Checkpoints, link
from alignreg_jax.training.manifests import Position

log = logging.getLogger(__name__)

_CONTENT = "phase-0"
_CHECKPOINT = "checkpoint"
_FOLDERS = ("predictions/0", "predictions/xglue/0", f"{STEPS}/0")


def dense_fields(config: ExperimentConfig) -> dict[str, Any]:
    """Everything that phase 0 of a run depends on, its evaluation included.

    Not among them: where it runs, what comes after phase 0, and a penalty against the fine-tuned
    weights, which begins with the first cut.
    """
    plain = configuration.to_dict(config)
    fields = {name: plain[name] for name in ("seed", "data_seed", "model", "task", "train", "eval")}
    for rate in ("score_learning_rate", "multiplier_learning_rate"):
        del fields["train"][rate]  # of what stands still until a cut is ahead
    fields["first_epochs"] = config.pruning.first_epochs
    fields["keep_zeros"] = config.pruning.keep_zeros
    if config.export == "steps":
        fields["exported"] = True
    regularizer = config.regularizer
    if regularizer.name in GATED:  # its gates stand still until a cut is ahead
        fields["gates"] = regularizer.name
    elif regularizer.name != "none" and regularizer.reference == "pretrained":
        names = ("name", "weight", "norm", "reduce")
        fields["penalty"] = {name: plain["regularizer"][name] for name in names}
    if config.distill.teacher not in ("none", "dense"):  # it teaches from the start
        fields["distill"] = plain["distill"]
    elif config.distill.text and _reads_text(config):
        names = ("text", "text_languages", "text_examples")
        fields["text"] = {name: plain["distill"][name] for name in names}
    if begins_anew(config) or never_learns(config):  # phase 0 has nothing of the method's own
        fields.pop("gates", None)
        fields.pop("penalty", None)
    # Falls to zero at the last step of the run, or of phase 0 where another start follows
    if config.train.schedule == "linear" and config.pruning.start != "pretrained":
        epochs = (config.pruning.epochs_per_step, config.pruning.steps)
        fields["later_epochs"] = list(epochs)
        if config.distill.text:
            fields["text_share"] = config.distill.text_share  # which those epochs are longer by
    return fields


def _reads_text(config: ExperimentConfig) -> bool:
    """Whether text without labels changes phase 0: the pieces that are trained, or the training."""
    return cuts_vocabulary(config) or config.distill.teacher not in ("none", "dense")


def dense_key(config: ExperimentConfig) -> str:
    """A short digest of `dense_fields`, safe as a folder's name."""
    text = json.dumps(dense_fields(config), sort_keys=True)
    return blake2b(text.encode(), digest_size=8).hexdigest()


class DensePhases:
    """The dense phases of a sweep that more than one of its runs can use."""

    def __init__(self, folder: Path, planned: Iterable[ExperimentConfig]):
        """Keep them in `folder`, for the runs that are planned."""
        self._folder = folder
        counts = Counter(map(dense_key, planned))
        self._shared = {key for key, count in counts.items() if count > 1}

    def available(self, config: ExperimentConfig) -> bool:
        """Whether a run would find its dense phase done; its files may yet turn out damaged."""
        return any(self._folder.glob(f"{dense_key(config)}-*"))

    def _place(self, config: ExperimentConfig, inputs: Digests) -> Path:
        if not _reads_text(config):
            inputs = {name: value for name, value in inputs.items() if name != "text"}
        return self._folder / f"{dense_key(config)}-{digests.of_json(inputs)[:16]}"

    def publish(
        self,
        config: ExperimentConfig,
        inputs: Digests,
        workdir: Path,
        checkpoint: Path,
        position: Position,
    ) -> None:
        """Keep what a run has just done for those that share its dense phase, if there are any.

        Args:
            config: of the run.
            inputs: digests of what the run has read.
            workdir: of the run, with the events, predictions and export of phase 0.
            checkpoint: the newest committed one, of the end of phase 0.
            position: after the evaluation of phase 0.
        """
        target = self._place(config, inputs)
        if dense_key(config) not in self._shared or _problem(target) is None:
            return
        partial = self._folder / f".{target.name}.{secrets.token_hex(4)}"
        content = partial / _CONTENT
        with writing(self._folder):
            _link_tree(checkpoint, content / _CHECKPOINT)
            shutil.copyfile(workdir / METRICS_FILE, content / METRICS_FILE)  # the run writes on
            for folder in _FOLDERS:
                if (workdir / folder).is_dir():
                    _link_tree(workdir / folder, content / folder)
            manifests.commit(content, position)
        if target.exists():
            log.warning("%s is damaged; writing it again", target)
            shutil.rmtree(target)
        try:
            partial.replace(target)
        except OSError:
            if not target.is_dir():
                raise
            shutil.rmtree(partial)  # another process was first

    def adopt(self, config: ExperimentConfig, inputs: Digests, workdir: Path) -> bool:
        """Begin a run where the dense phase it shares ends, unless it has begun by itself.

        Returns:
            Whether the run's folder now holds that phase, with a checkpoint after it.
        """
        checkpoints = Checkpoints(workdir / "checkpoints", keep=config.checkpoint.keep)
        source = self._place(config, inputs)
        if checkpoints.newest() is not None or not source.is_dir():
            return False
        if problem := _problem(source):
            log.warning("%s %s; training the dense phase again", source, problem)
            return False
        try:
            with writing(workdir):
                _take_over(source / _CONTENT, workdir, checkpoints)
        except (FileNotFoundError, shutil.Error):  # deleted by a process that plans fewer runs
            return False
        log.info("the dense phase is shared: continuing after it, from %s", source)
        return True

    def drop(self, key: str) -> None:
        """Delete the dense phases of that key, whose runs are all done, and what a kill left."""
        if key not in self._shared:
            return
        for path in (*self._folder.glob(f"{key}*"), *self._folder.glob(f".{key}*")):
            shutil.rmtree(path, ignore_errors=True)
        if self._folder.is_dir() and not any(self._folder.iterdir()):
            self._folder.rmdir()


def _problem(folder: Path) -> str | None:
    """What is wrong with a published dense phase, or None."""
    return manifests.problem(folder / _CONTENT)


def _take_over(content: Path, workdir: Path, checkpoints: Checkpoints) -> None:
    for folder in _FOLDERS:
        shutil.rmtree(workdir / folder, ignore_errors=True)
        if (content / folder).is_dir():
            _link_tree(content / folder, workdir / folder)
    shutil.copyfile(content / METRICS_FILE, workdir / METRICS_FILE)
    # Last, because the run continues from it
    checkpoints.adopt(content / _CHECKPOINT, manifests.position_of(content))


def _link_tree(source: Path, target: Path) -> None:
    shutil.copytree(source, target, copy_function=link)
