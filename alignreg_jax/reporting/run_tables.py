"""The tables of a run: its steps, languages, other metrics and tags, and the seeds of several."""

from collections.abc import Sequence

from alignreg_jax.reporting.metric_names import metric_name
from alignreg_jax.reporting.results import Results
from alignreg_jax.reporting.run_words import kept, said, serves_sizes
from alignreg_jax.reporting.series import common_languages, ends, mean_over, scores
from alignreg_jax.reporting.tables import Entry, Table, percent, with_interval

_MEANS = {"en": "en", "zero-shot": "zero_shot_avg", "avg": "avg"}
Line = dict[str, str | Entry]


def seeds_table(found: Sequence[Results]) -> Table:
    """One line per seed: what English and the zero-shot mean were, dense and at the end."""
    lines: list[Line] = []
    for results in found:
        first, last = results["prune_steps"][0], results["prune_steps"][-1]
        line: Line = {"seed": str(results["seed"]), "remaining": percent(last["remaining"])}
        for name in ("en", "zero-shot"):
            line[f"{name} dense"] = percent(first[_MEANS[name]])
            line[name] = percent(last[_MEANS[name]])
        lines.append(line)
    return Table.of(lines)


def steps_table(results: Results) -> Table:
    """One line per pruning step: what remains, the means, the worst language, the retention."""
    steps, evaluations = results["prune_steps"], scores(results)
    common = common_languages(evaluations)
    comparable = [*mean_over(evaluations, common)] if common else [None] * len(steps)
    partial, sized = evaluations.isna().any(axis=None), serves_sizes(results)
    lines: list[Line] = []
    for step, same in zip(steps, comparable, strict=True):
        intervals, left = step.get("intervals", {}), kept(results, step)
        shown = {name: with_interval(step[of], intervals.get(of)) for name, of in _MEANS.items()}
        above = step["retention_chance_corrected"]["zero_shot_avg"]
        lines.append(
            {
                "step": str(step["prune_step"]),
                **({"size": f"{step['size']:g}" if "size" in step else "dense"} if sized else {}),
                "remaining": percent(step["remaining"]),
                "languages": str(step["evaluated"]),
                "en": shown["en"],
                "zero-shot": shown["zero-shot"],
                **({f"same {len(common)}": percent(same)} if partial else {}),
                "avg": shown["avg"],
                "worst": worst(step),
                "en kept": percent(left["en"]),
                "zero-shot kept": percent(left["zero_shot_avg"]),
                **({"above chance": percent(above)} if results["chance"] else {}),
            }
        )
    (note,) = said("steps_note", results, partial=partial, common=common)
    return Table.of(lines, note)


def worst(step: Results) -> str:
    """The language with the lowest score, and that."""
    found = step["worst"]
    return f"{found['language']} {percent(found['value'])}" if found else "–"


def languages_table(results: Results) -> Table:
    """One line per language: dense, after the last step, and what is kept; worst losses first."""
    first, last = results["prune_steps"][0], results["prune_steps"][-1]
    left, above = kept(results, last), last["retention_chance_corrected"]["languages"]
    before, after = (step.get("intervals", {}).get("languages", {}) for step in (first, last))
    lines: list[Line] = []
    for name, dense, final, change in ends(results).itertuples():
        line: Line = {
            "language": name,
            "dense": with_interval(dense, before.get(name)),
            f"at {percent(last['remaining'], 0)} %": with_interval(final, after.get(name)),
            "change": f"{100 * change:+.1f}" if change == change else "–",
            "retention": percent(left.get(name)),
        }
        if results["chance"]:
            line["above chance"] = percent(above.get(name))
        lines.append(line)
    return Table.of(lines)


def other_metrics_table(results: Results) -> Table | None:
    """One line per pruning step: the means of the metrics that are not the task's score, if any."""
    names = list(results["prune_steps"][0].get("other_metrics", {}))
    lines: list[Line] = []
    for step in results["prune_steps"]:
        line: Line = {"step": str(step["prune_step"]), "remaining": percent(step["remaining"])}
        for name in names:
            for mean, of in _MEANS.items():
                found = step["other_metrics"][name][of]
                line[f"{metric_name(name)}: {mean}"] = percent(found)
        lines.append(line)
    return Table.of(lines) if names else None


def tags_table(results: Results, where: str) -> Table | None:
    """One line per tag of a token task, dense and after the last step; frequent tags first.

    `where` is "en" or "zero_shot", the mean over the other languages; None if there are no tags.
    """
    first, last = results["prune_steps"][0], results["prune_steps"][-1]
    steps = {f"at {percent(last['remaining'], 0)} %": last}
    steps = steps if first is last else {"dense": first, **steps}
    lines: list[Line] = []
    for tag, found in last.get("tags", {}).items():
        if not found[where]:
            continue
        line: Line = {"tag": tag}
        for name in ("f1", "precision", "recall"):
            for when, step in steps.items():
                score = step["tags"].get(tag, {}).get(where)
                line[f"{metric_name(name)} {when}"] = percent(score and score[name])
        line["count"] = f"{found[where]['support']:,}"
        if where == "zero_shot":
            line["languages"] = str(found[where]["languages"])
        lines.append(line)
    if not lines:
        return None
    return Table.of(lines, *said("tags_note", results, where=where))
