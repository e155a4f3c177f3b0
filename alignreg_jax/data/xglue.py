"""XGLUE's own files: the folder its archive unpacks to, that folder's parent, or the archive.

They are Microsoft's to give: for non-commercial research, after accepting terms. Nothing here
fetches them, and no other data set is ever put in the place of one that is missing.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from alignreg_jax.data import archive, conll, tsv, xglue_sizes
from alignreg_jax.data.catalogue import Catalogue, check_languages
from alignreg_jax.data.labels import renamed
from alignreg_jax.data.lines import Progress
from alignreg_jax.data.schema import Rows
from alignreg_jax.data.tasks import MIRROR, MIRROR_LACKS, TASKS, Task, XglueFiles
from alignreg_jax.errors import UserError

TERMS = "https://microsoft.github.io/XGLUE/"
TOP = "xglue_full_dataset"
KNOWN = archive.Known(
    875_905_871, "e11016c02d8565d00119833a16679bbbe0fec437f5ad53c2d3f9eef6fa03f65b"
)


def ways(task: Task) -> str:
    """How to get a task's data, for errors: from Microsoft, or from the Hub if one chooses to."""
    copy = ", a third party's copy" if task.hub_id == MIRROR else ""
    copy += f" without {MIRROR_LACKS[task.name]}" if task.name in MIRROR_LACKS else ""
    return (
        f"get XGLUE from {TERMS} after accepting its terms and pass its folder or .tar.gz as "
        f"task.data_dir, or choose {task.hub_id} on the Hub{copy}, with task.source=hub"
    )


def find(folder: Path) -> Path | None:
    """Return the folder that holds NER, POS and so on: this one or the one in it; None: neither.

    Names are compared in upper case as they are listed: the mirror's are lower case, and some file
    systems would not tell them apart.
    """
    known = {task.xglue.folder for task in TASKS.values() if task.xglue}
    try:
        for candidate in (folder / TOP, folder):
            if candidate.is_dir() and known & {path.name for path in candidate.iterdir()}:
                return candidate
    except OSError as error:
        raise UserError(f"{folder}: cannot be read ({error.strerror})") from error
    return None


def catalogue(
    task: Task,
    root: Path,
    languages: Sequence[str] | None,
    splits: Sequence[str] = ("dev", "test"),
) -> Catalogue:
    """Return the files of a task under the folder that `find` gave: train, and those of `splits`.

    Raises:
        UserError: names the first file that is missing of the languages that are wanted, and the
            ways to get it.
    """
    layout, known = _layout(task), task.languages or ()
    check_languages(languages, known, f"XGLUE's {layout.folder}")
    if not (root / layout.folder).is_dir():
        raise UserError(
            f"{root}: has no folder {layout.folder}, so {task.name} is missing; {ways(task)}"
        )
    wanted = tuple(dict.fromkeys(["en", *(languages or known)]))
    paths = {key: root / name for key, name in _paths(layout, wanted, splits).items()}
    for (language, split), path in paths.items():
        if not path.is_file():
            raise UserError(
                f"{path}: missing, so {task.name} has no {split} data of {language!r} "
                f"(task.languages can leave out all but English); {ways(task)}"
            )
    return Catalogue(
        where=str(root),
        files={key: (path,) for key, path in paths.items()},
        read=partial(_read, task),
        expected=lambda language, split: str(root / layout.path(language, split)),
        advice=ways(task),
        notes=_others(layout, root, known),
        sizes={key: xglue_sizes.rows(task.name, *key) for key in paths},
    )


def unpack(task: Task, path: Path, cache_dir: Path | None) -> tuple[Path, tuple[str, ...]]:
    """Return the folder with a task's files out of the archive, and notes for the log.

    Raises:
        UserError: not such an archive, or the task is not in it.
    """
    layout = _layout(task)
    names = set(_paths(layout, task.languages or (), ("dev", "test")).values())
    wanted = names | {f"{TOP}/{name}" for name in names}
    folder, notes = archive.extract(path, wanted, layout.folder, cache_dir, KNOWN)
    root = find(folder)
    if root is None:
        raise UserError(f"{path}: has no {TOP}/{layout.folder} for {task.name}; {ways(task)}")
    return root, notes


def _layout(task: Task) -> XglueFiles:
    if task.xglue is None:
        raise UserError(f"task.name={task.name!r}: is not a task of XGLUE")
    return task.xglue


def _paths(
    layout: XglueFiles, languages: Sequence[str], splits: Sequence[str]
) -> dict[tuple[str, str], str]:
    keys = [("en", "train"), *((language, split) for language in languages for split in splits)]
    return {key: layout.path(*key) for key in keys}


def _others(layout: XglueFiles, root: Path, known: Sequence[str]) -> tuple[str, ...]:
    """Notes on files of languages that XGLUE does not have, which are not read."""
    expected = {layout.path(language, split) for language in known for split in ("dev", "test")}
    found = {
        path.relative_to(root).as_posix()
        for split in ("dev", "test")
        for path in root.glob(layout.path("[a-z][a-z]", split))
    }
    return tuple(f"{root / name} is not read" for name in sorted(found - expected))


def _read(task: Task, files: tuple[Path, ...], split: str, progress: Progress) -> Rows:
    layout, unlabelled = _layout(task), split == "test"
    if task.kind == "token":
        return conll.read(files[0], unlabelled=unlabelled, progress=progress)
    columns = tsv.Columns(
        task.columns,
        task.text_a,
        task.text_b,
        header=layout.header if split in layout.headed else (),
    )
    rows = tsv.read(files[0], columns, unlabelled=unlabelled, progress=progress)
    return renamed(rows, task.renamed)
