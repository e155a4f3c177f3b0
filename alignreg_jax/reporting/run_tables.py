"""The tables of a run: its steps, languages, other metrics and tags, and the seeds of several."""

from collections.abc import Sequence

from alignreg_jax.reporting.metric_names import metric_name
from alignreg_jax.reporting.results import Results
from alignreg_jax.reporting.series import curves, everywhere, mean_curve
from alignreg_jax.reporting.tables import Table, percent, with_interval

_INTERVAL = (
    "±: half of the 95 % interval over test examples (accuracy of one language: Wilson; others:"
    " bootstrap); another training would differ by more."
)
# Where chance is not that of a guess among the labels
_ORIGIN = {"ndcg": ", what equal grades for all rows score"}


def seeds_table(found: Sequence[Results]) -> Table:
    """One line per seed: what English and the zero-shot mean were, dense and at the end."""
    rows = []
    for results in found:
        first, last = results["prune_steps"][0], results["prune_steps"][-1]
        scores = [step[name] for name in ("en", "zero_shot_avg") for step in (first, last)]
        rows.append([str(results["seed"]), percent(last["remaining"]), *map(percent, scores)])
    header = ["seed", "remaining", "en dense", "en", "zero-shot dense", "zero-shot"]
    return Table(header, rows)


def steps_table(results: Results) -> Table:
    """One line per pruning step: what remains, the means, the worst language, the retention."""
    steps = results["prune_steps"]
    common = everywhere(results)
    comparable = mean_curve(results, common)
    partial = len({frozenset(step["languages"]) for step in steps}) > 1
    rows = []
    for position, step in enumerate(steps):
        worst, ends = step["worst"], step.get("intervals", {})
        row = [
            str(step["prune_step"]),
            percent(step["remaining"]),
            str(step["evaluated"]),
            *(with_interval(step[name], ends.get(name)) for name in ("en", "zero_shot_avg", "avg")),
            f"{worst['language']} {percent(worst['value'])}" if worst else "–",
            percent(step["retention"]["en"]),
            percent(step["retention"]["zero_shot_avg"]),
        ]
        if results["chance"]:
            row.append(percent(step["retention_chance_corrected"]["zero_shot_avg"]))
        if partial:
            same = comparable.values[position] if comparable else None
            row.insert(5, percent(same))
        rows.append(row)
    header = ["step", "remaining", "languages", "en", "zero-shot", "avg", "worst"]
    header += ["en kept", "zero-shot kept"]
    note = (
        "All in percent. Zero-shot: mean over the languages other than English; kept (retention):"
        " score divided by the dense score over the same languages"
    )
    if results["chance"]:
        header.append("above chance")
        note += "; above chance: the same after subtracting chance"
        note += f" ({percent(results['chance'])}{_ORIGIN.get(results['metric'], '')}) from both"
    note += ". " + _INTERVAL
    if partial:
        header.insert(5, f"same {len(common)}")
        note += (
            " Where fewer languages were evaluated, means and worst are over those; to compare"
            f" steps, read “same {len(common)}”, the mean over"
            f" {', '.join(common) or 'no language'}."
        )
    return Table(header, rows, 1, note)


def languages_table(results: Results) -> Table:
    """One line per language: dense, after the last step, and what is kept; worst losses first."""
    last = results["prune_steps"][-1]
    kept, above_chance = last["retention"], last["retention_chance_corrected"]
    before, after = (
        step.get("intervals", {}).get("languages", {}) for step in (results["prune_steps"][0], last)
    )
    rows = []
    for curve in curves(results):
        name, change = curve.language, curve.change
        rows.append(
            [
                name,
                with_interval(curve.dense, before.get(name)),
                with_interval(curve.final, after.get(name)),
                "–" if change is None else f"{100 * change:+.1f}",
                percent(kept["languages"].get(curve.language)),
            ]
        )
        if results["chance"]:
            rows[-1].append(percent(above_chance["languages"].get(curve.language)))
    header = ["language", "dense", f"at {percent(last['remaining'], 0)} %", "change", "retention"]
    return Table([*header, "above chance"] if results["chance"] else header, rows, 1, "")


def other_metrics_table(results: Results) -> Table | None:
    """One line per pruning step: the means of the metrics that are not the task's score, if any."""
    steps = results["prune_steps"]
    names = list(steps[0].get("other_metrics", {}))
    if not names:
        return None
    means = {"en": "en", "zero_shot_avg": "zero-shot", "avg": "avg"}
    header = ["step", "remaining"]
    header += [f"{metric_name(name)}: {mean}" for name in names for mean in means.values()]
    rows = [
        [str(step["prune_step"]), percent(step["remaining"])]
        + [percent(step["other_metrics"][name][mean]) for name in names for mean in means]
        for step in steps
    ]
    return Table(header, rows)


def tags_table(results: Results, where: str) -> Table | None:
    """One line per tag of a token task, dense and after the last step; frequent tags first.

    `where` is "en" or "zero_shot", the mean over the other languages; None if there are no tags.
    """
    first, last = results["prune_steps"][0], results["prune_steps"][-1]
    ends = [first] if first is last else [first, last]
    tags = {tag: found[where] for tag, found in last.get("tags", {}).items() if found[where]}
    if not tags:
        return None
    names = {"f1": "F1", "precision": "precision", "recall": "recall"}
    at = [f"at {percent(last['remaining'], 0)} %" if step is last else "dense" for step in ends]
    header = ["tag", *(f"{name} {when}" for name in names.values() for when in at), "count"]
    rows = []
    for tag, found in tags.items():
        scores = [step["tags"].get(tag, {}).get(where) for step in ends]
        rows.append([tag, *(percent(s and s[name]) for name in names for s in scores)])
        rows[-1].append(f"{found['support']:,}")
    what = "entities of the type" if results["metric"] == "f1" else "words with the tag"
    note = f"In percent. Count: {what} in the {results['split']} set."
    if where == "zero_shot":
        header.append("languages")
        for row, found in zip(rows, tags.values(), strict=True):
            row.append(str(found["languages"]))
        note = f"In percent. Means over the languages in which the tag occurs; count: {what} in all"
        note += f" of their {results['split']} sets."
    return Table(header, rows, 1, note)
