"""Sentences about how a model was trained that a reader of its scores has to know."""

from collections.abc import Mapping, Sequence
from typing import Any

from alignreg_jax.reporting.tables import percent


def notes(events: Sequence[Mapping[str, Any]]) -> list[str]:
    """What there is to say of a run, by its events."""
    return [note for note in (taught(events), emergent(events)) if note]


def taught(events: Sequence[Mapping[str, Any]]) -> str:
    """By whom a model was taught, and about which text; empty without a teacher."""
    event = next((event for event in events if event.get("kind") == "teach"), None)
    if event is None:
        return ""
    teacher, text = event["teacher"], event["text"]
    said = "The dense model taught it while it was pruned"
    if teacher != "dense":
        name = teacher.rstrip("/").rpartition("/")[2]  # a path of this machine means nothing later
        said = f"Another model, {name}, taught it"
    said += f" ({percent(event['weight'], 0)} % of the loss, temperature {event['temperature']:g}"
    said += ", and its hidden states)" if event["hidden"] else ")"
    if not text:
        return f"{said}, on the English training rows."
    rows = ", ".join(f"{language} {count:,}" for language, count in text.items())
    return (
        f"{said}, on the English training rows and {sum(text.values()):,} texts without labels in"
        f" {len(text)} languages ({rows}). No label of these languages was used, but text of them"
        " was: that is another setting than English alone. Texts that are evaluated were left out."
    )


def emergent(events: Sequence[Mapping[str, Any]]) -> str:
    """What learned masks had left before the last cut, if that is not what the cut left."""
    cuts = [event for event in events if event.get("kind") == "prune"]
    if not cuts or "kept_before_cut" not in cuts[-1]:
        return ""
    cut = cuts[-1]
    before, after = cut["kept_before_cut"] / cut["prunable"], cut["kept"] / cut["prunable"]
    if abs(before - after) < 0.005:
        return ""
    return (
        f"Training itself had left {percent(before)} % of the encoder’s weights, which nothing but"
        f" its penalty decides; the last cut, by score, left {percent(after)} %, to compare with"
        " other methods."
    )
