"""Build two tasks out of GNOME's help, in up to 40 languages: what a text is about, and its tags.

    python tools/build_help_data.py help_data             # apt-get downloads Debian's packages
    python tools/build_help_data.py help_data --debs DIR  # from *.deb files that are there already

help_data/topics: paragraphs of GNOME's user guide, labelled with what their page is about (network,
printing, files and so on). help_data/tags: sentences of eight programs' help whose words are tagged
as parts of a window, keys, programs and code. English alone has training rows; every other language
has rows of the same numbers as test and dev, and text without labels from the pages that English is
trained on. A page is in one split only, and so is a text. What a language leaves in English is out.

The help is CC BY-SA 3.0: measure with it, do not ship it. sources.json says which packages it was.
Mallard's elements are those of its specification (projectmallard.org, 1.0).
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from build_common import bucket, order, sha256, write_jsonl

GUIDE = "gnome-user-docs"
PACKAGES = (
    *(GUIDE, "evolution-common", "seahorse", "gnome-terminal-data", "evince-common"),
    *("gthumb-data", "eog", "gnome-calculator"),
)
TOPICS = {
    **{"a11y": "accessibility", "backup": "backup", "bluetooth": "bluetooth", "color": "color"},
    **{"disk": "disks", "files": "files", "nautilus": "files", "keyboard": "keyboard"},
    **{"mouse": "mouse", "net": "network", "power": "power", "printing": "printing"},
    **{"shell": "desktop", "sound": "sound", "user": "users"},
}
"""What pages of the user guide are about, by the first part of their names."""

NAMES = {"C": "en", "sr@latin": "sr-Latn"}
"""Languages whose folders have other names than we give them."""

KINDS = {
    **dict.fromkeys(("gui", "guiseq"), "GUI"), **dict.fromkeys(("key", "keyseq"), "KEY"),
    **{"app": "APP"},
    **dict.fromkeys(("code", "cmd", "file", "sys", "input", "output", "var"), "CODE"),
}  # fmt: skip
_CJK = "\u3040-\u30ff\u3400-\u9fff"
_WORD = re.compile(rf"[{_CJK}]|[^\W{_CJK}]+(?:['’-][^\W{_CJK}]+)*|[^\w\s]")
SHORTEST, LONGEST = 4, 60  # words of a paragraph
TRAIN, DEV, TEST, TEXT = 3_000, 100, 300, 200  # rows at most
FEWEST = 100  # test rows of a language, or it is left out


class Paragraph(NamedTuple):
    """A paragraph: which, on which page, as text and as tagged words."""

    name: str
    page: str
    text: str
    words: tuple[str, ...]
    tags: tuple[str, ...]


def local(tag: object) -> str:
    """An element's name without its namespace."""
    return str(tag).rpartition("}")[2]


def chunks(element: ET.Element, kind: str = "") -> Iterator[tuple[str, str, bool]]:
    """The text of a paragraph in pieces: text, kind, and whether a span begins with it."""
    outermost = kind or KINDS.get(local(element.tag), "")
    begins = bool(outermost and not kind)
    if element.text:
        yield element.text, outermost, begins
        begins = False
    for child in element:
        for text, inner, first in chunks(child, outermost):
            yield text, inner, first or begins
            begins = False
        if child.tail:
            yield child.tail, outermost, begins
            begins = False


def paragraphs(path: Path, name: str) -> list[Paragraph]:
    """All paragraphs of a page in their order, without those about the page itself."""
    try:
        root = ET.parse(path).getroot()
    except ET.ParseError:  # entities that it takes from elsewhere
        return []
    found: list[Paragraph] = []

    def walk(element: ET.Element) -> None:
        for child in element:
            if local(child.tag) == "p":
                words, tags = [], []
                parts = list(chunks(child))
                for text, kind, begins in parts:
                    for word in _WORD.findall(text):
                        tags.append(f"{'B' if begins else 'I'}-{kind}" if kind else "O")
                        words.append(word)
                        begins = False
                text = " ".join("".join(part for part, _, _ in parts).split())
                number = f"{name}#{len(found)}"
                found.append(Paragraph(number, name, text, tuple(words), tuple(tags)))
            elif local(child.tag) not in ("info", "comment"):
                walk(child)

    walk(root)
    return found


def help_of(root: Path, package: str) -> dict[str, dict[str, Paragraph]]:
    """Paragraphs by language and name; of a page that has as many as in English."""
    found: dict[str, dict[str, Paragraph]] = defaultdict(dict)
    whole = root / "usr/share/help"
    for page in sorted((whole / "C").glob("*/*.page")):
        inside = page.relative_to(whole / "C")
        name = f"{package}:{inside}"
        english = paragraphs(page, name)
        for there in sorted(whole.glob(f"*/{inside}")):
            language = there.relative_to(whole).parts[0]
            other = paragraphs(there, name)
            if len(other) != len(english):
                continue
            for mine, theirs in zip(english, other, strict=True):
                own = language == "C" or mine.text != theirs.text
                if own and SHORTEST <= len(theirs.words) <= LONGEST:
                    found[NAMES.get(language, language)][theirs.name] = theirs
    return found


def topic(paragraph: Paragraph) -> str | None:
    """What the page of a paragraph is about; None if the guide has few pages of it."""
    package, _, page = paragraph.page.partition(":")
    if package != GUIDE or not page.startswith("gnome-help/"):
        return None
    return TOPICS.get(re.split(r"[-.]", Path(page).name)[0])


def write_task(
    folder: Path, texts: dict[str, dict[str, Paragraph]], rows: dict[str, dict[str, object]]
) -> Counter[str]:
    """Write a task's files; returns the number of test rows of each language.

    Args:
        folder: where to.
        texts: paragraphs by language and name.
        rows: by language and name what a row of the task says beside its number.
    """
    english, split = texts["en"], {}
    seen: set[tuple[str, ...]] = set()
    for name in sorted(rows["en"], key=lambda name: order(name, "help")):
        words = tuple(word.lower() for word in english[name].words)
        if words in seen:  # one of several pages that say the same
            continue
        seen.add(words)
        place = bucket(english[name].page, "split")
        split[name] = "train" if place < 70 else "dev" if place < 78 else "test"
    counts: Counter[str] = Counter()
    for language, own in sorted(rows.items()):
        chosen = {
            kind: [name for name, where in split.items() if where == kind and name in own]
            for kind in ("train", "dev", "test")
        }
        if len(chosen["test"]) < FEWEST:
            continue
        limits = {"train": TRAIN, "dev": DEV, "test": TEST}
        for kind, most in limits.items():
            if kind != "train" or language == "en":
                lines = ({"id": name, **own[name]} for name in chosen[kind][:most])
                write_jsonl(folder / f"{language}.{kind}.jsonl", lines)
        if language != "en":
            lines = [without_label(own[name]) for name in chosen["train"][:TEXT]]
            write_jsonl(folder / f"{language}.unlabelled.jsonl", lines)
        counts[language] = min(len(chosen["test"]), TEST)
    return counts


def without_label(row: dict[str, object]) -> dict[str, object]:
    """A row as text for a teacher to speak about."""
    return {name: value for name, value in row.items() if name in ("text", "tokens")}


def build(out: Path, debs: Sequence[Path]) -> None:
    """Read the packages and write both tasks."""
    texts: dict[str, dict[str, Paragraph]] = defaultdict(dict)
    sources = {}
    for deb in debs:
        package, version, _ = deb.name.split("_", 2)
        sources[package] = {"version": version.replace("%3a", ":"), "sha256": sha256(deb)}
        with tempfile.TemporaryDirectory() as root:
            subprocess.run(["dpkg-deb", "-x", str(deb), root], check=True)
            for language, found in help_of(Path(root), package).items():
                texts[language] |= found
    topics = {
        language: {
            name: {"text": each.text, "label": label}
            for name, each in own.items()
            if (label := topic(each))
        }
        for language, own in texts.items()
    }
    tags = {
        language: {
            name: {"tokens": list(each.words), "tags": list(each.tags)}
            for name, each in own.items()
            if len(set(each.tags)) > 1 and name in texts["en"]
        }
        for language, own in texts.items()
    }
    for task, rows in (("topics", topics), ("tags", tags)):
        counts = write_task(out / task, texts, rows)
        labels = len({each["label"] for each in rows["en"].values()}) if task == "topics" else ""
        print(f"{task} {labels}: {len(counts)} languages, test rows {dict(counts)}")
    (out / "sources.json").write_text(json.dumps(sources, indent=1) + "\n")


def download(folder: Path) -> None:
    """Fetch the packages by apt-get, which nothing installs."""
    try:
        subprocess.run(["apt-get", "-qq", "download", *PACKAGES], cwd=folder, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        sys.exit(f"apt-get cannot fetch {', '.join(PACKAGES)} ({error}); give --debs with them")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out", type=Path, help="folder to write topics/ and tags/ in")
    parser.add_argument("--debs", type=Path, help="folder of the packages' *.deb files")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        debs = options.debs or Path(folder)
        if options.debs is None:
            download(debs)
        found = {path.name.partition("_")[0]: path for path in sorted(debs.glob("*.deb"))}
        if lacking := [package for package in PACKAGES if package not in found]:
            sys.exit(f"{debs}: lacks the packages {', '.join(lacking)}")
        build(options.out, [found[package] for package in PACKAGES])


if __name__ == "__main__":
    main()
