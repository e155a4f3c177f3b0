"""Which rows of a data set a run uses: for training, and of every split and language evaluated."""

import os
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from alignreg_jax.config import XGLUE_STRIPPED, ExperimentConfig
from alignreg_jax.data import oddities, sources, tasks, unlabelled
from alignreg_jax.data.schema import Dataset, Split
from alignreg_jax.data.subset import draw
from alignreg_jax.errors import Mistakes, UserError
from alignreg_jax.evaluation import scoring
from alignreg_jax.reporting.tables import count
from alignreg_jax.run import digests
from alignreg_jax.run.cache import Cache
from alignreg_jax.run.digests import Digests


@dataclass(frozen=True, eq=False)
class Data:
    """A data set, and what of it a run uses: training rows, and (split, language) to rows.

    `text` has unlabelled rows by language, for a teacher. `digests` are of the rows that are used,
    and of the labels.
    """

    dataset: Dataset
    train: Split
    evaluation: Mapping[tuple[str, str], Split]
    digests: Digests
    text: Mapping[str, Split] = field(default_factory=dict)


def load_data(config: ExperimentConfig, cache: Cache) -> Data:
    """Read the data set and choose the rows that are used.

    Raises:
        UserError: names the field, the language, or the file and line.
    """
    return cache("data", _data_key(config), partial(_read_data, config))


def _data_key(config: ExperimentConfig) -> Hashable:
    chosen = config.eval
    return (
        config.task,
        chosen.languages,
        chosen.every_phase_languages,
        chosen.splits,
        chosen.examples,
        config.distill.text,
        config.distill.text_languages,
        config.distill.text_examples,
    )


def _read_dataset(config: ExperimentConfig) -> Dataset:
    """Rows with labels; if there are mistakes in them, those in the text beside are told, too."""
    task, mistakes = tasks.get_task(config.task.name), Mistakes()
    with mistakes.noted():
        return sources.load(
            task,
            source=config.task.source,
            data_dir=config.task.data_dir,
            languages=config.task.languages or None,
            hub_id=config.task.hub_id,
            drop_blanked=config.task.drop_blanked,
            splits=config.eval.splits,
        )
    beside = os.path.isdir(os.path.expanduser(config.task.data_dir or ""))
    if config.distill.text == unlabelled.BESIDE and beside:
        with mistakes.noted():
            _find_text(config, task, task.pair)
    mistakes.fail()


def _find_text(config: ExperimentConfig, task: tasks.Task, pair: bool | None) -> unlabelled.Text:
    return unlabelled.read(
        task,
        str(config.distill.text),
        pair=pair,
        source=config.task.source,
        data_dir=config.task.data_dir,
        languages=config.distill.text_languages or None,
    )


def _read_data(config: ExperimentConfig) -> Data:
    dataset = _read_dataset(config)
    odd = oddities.notes(dataset.labels, dataset.train, dataset.dev, dataset.test)
    dataset = replace(dataset, notes=(*dataset.notes, *odd))
    _check_stripped(config, dataset)
    evaluation = _evaluated(config, dataset)
    scoring.check(dataset.task, evaluation)
    train = draw(dataset.train, config.task.train_examples)
    used = {"en.train": train}
    used |= {f"{language}.{split}": rows for (split, language), rows in evaluation.items()}
    known = {
        "rows": {name: digests.of_rows(rows, dataset.labels) for name, rows in used.items()},
        "labels": digests.of_json(dataset.labels),
    }
    if config.distill.text is None:
        return Data(dataset, train, evaluation, known)
    text, notes = _read_text(config, dataset)
    dataset = replace(dataset, notes=(*dataset.notes, *notes))
    known["text"] = {language: digests.of_texts(rows) for language, rows in text.items()}
    return Data(dataset, train, evaluation, known, text)


def _read_text(
    config: ExperimentConfig, dataset: Dataset
) -> tuple[Mapping[str, Split], tuple[str, ...]]:
    """Unlabelled rows without those that are evaluated, and what to say of them."""
    distill = config.distill
    found = _find_text(config, dataset.task, dataset.train.text_b is not None)
    blank = [note for rows in found.rows.values() for note in oddities.blank(rows)]
    held_out = {
        (name, language): split
        for name, splits in (("dev", dataset.dev), ("test", dataset.test))
        for language, split in splits.items()
    }
    cleared = unlabelled.without_leaks(found.rows, held_out)
    if not cleared.rows:
        raise UserError(f"distill.text={distill.text}: all of its rows are evaluated, too")
    notes = [*found.notes, *blank]
    for counts, why in ((cleared.leaked, "are evaluated, too"), (cleared.repeated, "are repeated")):
        if counts:
            listed = ", ".join(f"{language} {number:,}" for language, number in counts.items())
            notes.append(
                f"distill.text: {sum(counts.values()):,} rows {why} and left out: {listed}"
            )
    drawn = {name: draw(split, distill.text_examples) for name, split in cleared.rows.items()}
    rows = sum(split.rows for split in drawn.values())
    languages = count(len(drawn), "language")
    notes.append(f"distill.text: {rows:,} unlabelled rows in {languages}")
    return drawn, tuple(notes)


def _check_stripped(config: ExperimentConfig, dataset: Dataset) -> None:
    """Check that the data have the languages whose pieces are to lose the mark of a space.

    XGLUE's own pair may be given to every task.
    """
    known = {"en", *dataset.dev, *dataset.test}
    chosen = config.task.strip_space_marker
    lacking = [language for language in chosen if language not in known]
    if lacking and chosen != XGLUE_STRIPPED:
        raise UserError(
            f"task.strip_space_marker: no data for {', '.join(lacking)}; "
            f"there is {', '.join(sorted(known))}"
        )


def _evaluated(config: ExperimentConfig, dataset: Dataset) -> dict[tuple[str, str], Split]:
    """The splits that any phase evaluates, test first, in the data set's order of languages.

    A split that is asked for and has no labels in any language is an error: the user may have
    XGLUE's first archive, whose test files came without, and would miss the scores at the end.
    """
    known = {*dataset.dev, *dataset.test, *(language for _, language in dataset.unlabelled)}
    for name in ("languages", "every_phase_languages"):
        for language in getattr(config.eval, name):
            if language not in known:
                raise UserError(
                    f"eval.{name}: no data for {language!r}; there is {', '.join(sorted(known))} "
                    f"with eval.splits={','.join(config.eval.splits)}"
                )
    wanted = {*config.eval.languages, *config.eval.every_phase_languages}
    if not config.eval.languages:
        wanted = known
    found = {
        (name, language): draw(split, config.eval.examples, scoring.units(dataset.task, split))
        for name, splits in (("test", dataset.test), ("dev", dataset.dev))
        if name in config.eval.splits
        for language, split in splits.items()
        if language in wanted
    }
    for name in config.eval.splits:
        lacking = [language for split, language in dataset.unlabelled if split == name]
        if lacking and name not in {split for split, _ in found}:
            raise UserError(
                f"eval.splits={config.eval.splits}: the {name} files of {', '.join(lacking)} have "
                "no labels, so there is nothing to evaluate; eval.splits=dev does without"
            )
    if not found:
        raise UserError(f"eval.splits={config.eval.splits}: none of the languages has such data")
    return found
