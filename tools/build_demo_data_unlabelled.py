"""Choose the demo's unlabelled text: up to 90 sentences a language, the same for both tasks.

There are more utterances than dev and test take, and these are some of the rest:

- no template of a row of the language's test files, and no wording (`alike.wording`) of a row of
  dev or test in any language; templates of dev are used with other words filled in;
- as many templates as there are before a second row of one, and no intent more than a seventh,
  while there are others;
- no word that the language's labelled files lack, because the demo encoder's vocabulary holds only
  pieces of those; where words are not set apart by spaces, no letter.

Intents and tags are then left out. English has none: it has its training rows.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from build_common import order, write_jsonl

from alignreg_jax.data.alike import wording

ROWS = 90  # per language
LEAST = 60


class Candidate(NamedTuple):
    """An utterance, as running text and as words."""

    intent: str
    template: str
    text: str
    tokens: list[str]

    @property
    def forms(self) -> tuple[str, str]:
        """Its text in either task."""
        return self.text, " ".join(self.tokens)


def write_unlabelled(
    out: Path, candidates: Mapping[str, Sequence[Candidate]], without_spaces: Collection[str]
) -> None:
    """Write <task>/<lang>.unlabelled.jsonl beside the labelled files, which are there already."""
    held_out: set[str] = set()
    tested: defaultdict[str, set[str]] = defaultdict(set)
    known: defaultdict[str, set[str]] = defaultdict(set)
    for language, split, text, words in _labelled(out):
        known[language].update(words)
        if split != "train":
            held_out.add(wording(text))
        if split == "test":
            tested[language].add(text)
    for language, rows in candidates.items():
        templates = {row.template for row in rows if not tested[language].isdisjoint(row.forms)}
        fit = [
            row
            for row in rows
            if row.template not in templates
            and held_out.isdisjoint(map(wording, row.forms))
            and known[language].issuperset(row.tokens)
            and (language in without_spaces or known[language].issuperset(row.text.split()))
        ]
        chosen = _chosen(fit)
        for task in ("intents", "slots"):
            if not (out / task / f"{language}.test.jsonl").exists():
                continue
            if len(chosen) < LEAST:
                print(f"{task}: {language} has no unlabelled text, too few rows")
                continue
            made = [
                {"text": row.text} if task == "intents" else {"tokens": row.tokens}
                for row in chosen
            ]
            write_jsonl(out / task / f"{language}.unlabelled.jsonl", made)


def _labelled(out: Path) -> Iterator[tuple[str, str, str, list[str]]]:
    """Language, split, text and words of every labelled row."""
    for path in sorted(out.glob("*/*.jsonl")):
        language, split, _ = path.name.split(".")
        if split == "unlabelled":
            continue
        for line in path.read_text("utf-8").split("\n")[:-1]:
            row = json.loads(line)
            words = row["tokens"] if "tokens" in row else row["text"].split()
            yield language, split, " ".join(row.get("tokens", [row.get("text")])), words


def _chosen(rows: Sequence[Candidate]) -> list[Candidate]:
    """So many rows, in an order that has nothing to do with what they say."""
    of_template, of_intent, wordings = Counter(), Counter(), set()
    ranked = []
    for row in sorted(rows, key=lambda row: order(row.text, "ha-unlabelled")):
        if wording(row.text) not in wordings:
            wordings.add(wording(row.text))
            ranked.append((of_template[row.template], row))
            of_template[row.template] += 1
    first, rest = [], []
    for _, row in sorted(ranked, key=lambda item: item[0]):  # stable
        (first if of_intent[row.intent] < ROWS // 7 else rest).append(row)
        of_intent[row.intent] += 1
    return sorted((first + rest)[:ROWS], key=lambda row: order(row.text, "ha-unlabelled-2"))
