"""What a deployed folder is, in lines for a terminal and in its card."""

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData
from huggingface_hub.repocard import REGEX_YAML_BLOCK
from yaml import YAMLError

from alignreg_jax.compress.deployment import comparing
from alignreg_jax.compress.deployment.comparing import Line
from alignreg_jax.compress.served import Served
from alignreg_jax.reporting.tables import Table, text_table

if TYPE_CHECKING:
    from alignreg_jax.compress.deployment.deploy import Deployed
    from alignreg_jax.compress.deployment.searching import Budget, Trial

_USES = {"token": "token-classification", None: "sentence-similarity"}  # else of texts
_NEAREST = "which of the other texts of its language a text is most like, by their vectors' cosine"
_SCORES = (
    "Beside it the share of right answers of that model, of this one, and the interval of 95 % for"
    " their difference."
)
_KEPT_FIELDS = ("license", "license_name", "license_link", "base_model")  # of the original's card


def lines(done: "Deployed", out: str) -> list[str]:
    """What to show of it."""
    shapes = list(done.lines[0].milliseconds)
    heads = (
        "",
        "MB",
        "gzip",
        *(f"{each} ms" for each in shapes),
        "flips",
        "most",
        "English",
        "zero-shot",
        "worst",
    )
    table = [heads, *(_cells(line, shapes) for line in done.lines)]
    widths = [max(len(row[column]) for row in table) for column in range(len(heads))]
    said = [
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in table
    ]
    said += [
        "",
        "times are for rows x pieces; flips: % of answers that are not the float model's,"
        " over all languages and in the language with most",
    ]
    if done.lines[0].name == comparing.DENSE:
        said.append("dense: before pruning, on all rows that the run evaluates; original: as given")
    if done.network.head is None:
        said.append(f"an answer is {_NEAREST}")
    said += refusals(done)
    if any(name == comparing.FLOAT for name, _ in done.refused):
        said.append("keep more pieces: --tokens, --coverage, or --text of that kind")
    elif done.refused and done.kept is None:
        said.append("so there is the float model alone; more --max-flips allow more changes")
    return [*said, f"{out}: {done.kept or done.floating}"]


def refusals(done: "Deployed") -> list[str]:
    """What did not pass the gate, and in which languages."""
    said = []
    for name, bad in done.refused:
        listed = ", ".join(
            f"{each.language} {each.flips} of {each.answers} ({each.share:.1f} %)" for each in bad
        )
        said.append(f"gate: {name} changes too many answers: {listed}")
    return said


def tried(trials: Sequence["Trial"], budget: "Budget") -> list[str]:
    """What a search has looked at: a line a size and number of pieces, a column a form."""
    kinds = dict.fromkeys(each.kind for each in trials)
    rows: dict[tuple[float, int], dict[str, str]] = {}
    for each in trials:
        size = 1.0 if each.cuts.size is None else each.cuts.size
        row = rows.setdefault(
            (size, each.pieces), {"size": f"{size:.2f}", "pieces": f"{each.pieces:,}"}
        )
        if each.worst is not None:
            row["worst"] = f"{each.worst:.1f}"
        cell = f"{each.megabytes:.1f} {each.milliseconds:.2f}"
        row[each.kind] = cell if budget.excess(each) <= 1 else f"({cell})"
    heads = ("size", "pieces", "worst", *kinds)
    table = Table(heads, [[row.get(head, "") for head in heads] for row in rows.values()])
    said = text_table(table).splitlines()
    return [*said, "MB and ms of every form, in brackets what does not fit; worst: language", ""]


def _noticed(facts: Mapping[str, Any]) -> str:
    """What so few rows can tell; nothing where nothing was compared."""
    if facts["noticed"] is None:
        return ""
    return (
        f" In the language with the fewest rows a true change of {facts['noticed']:.1f} % is"
        " noticed in four of five cases; with more `--rows` a smaller one is."
    )


def _cells(line: Line, shapes: Sequence[str]) -> tuple[str, ...]:
    flips, summary = line.flips, line.summary
    worst = summary["worst"]
    return (
        line.name,
        f"{line.size / 1e6:.1f}",
        "" if line.packed is None else f"{line.packed / 1e6:.1f}",
        *(f"{line.milliseconds[each]:.2f}" if each in line.milliseconds else "" for each in shapes),
        "" if flips is None else f"{flips[0]:.2f} %",
        "" if flips is None else f"{flips[1].language} {flips[1].share:.1f} %",
        *(
            "" if summary[name] is None else f"{summary[name]:.1f}"
            for name in ("en", "zero_shot_avg")
        ),
        "" if worst is None else f"{worst['language']} {worst['value']:.1f}",
    )


def card(before: str, done: "Deployed", served: Served, facts: Mapping[str, Any], code: str) -> str:
    """The text of README.md.

    Args:
        before: the original's, of which licence and origin are kept.
        done: what was made.
        served: rows that were compared.
        facts: of deploy.json.
        code: of predict.py.
    """
    by_name = {line.name: line for line in done.lines}
    chosen = by_name[done.kept or done.floating]
    origin, text = _origin(before)
    name = _title(text) or ("A classifier" if done.labels else "An encoder")
    head = done.network.head
    shapes = facts["shapes"]
    cost = 3 + len(shapes)  # cells of a line: its name, bytes, and times
    models = [f"| {' | '.join(_cells(line, shapes)[:cost])} |" for line in done.lines]
    parts = [
        _metadata(origin, name, served, chosen, _USES.get(head, "text-classification")),
        f"# {name}, to serve\n",
        f"An ONNX model, {facts['kept']}: {chosen.size / 1e6:.1f} MB, {facts['pieces']:,} pieces."
        + (
            f" `{facts['file']}` is the one to take; `onnx/model.onnx` is the same in float32.\n"
            if done.kept
            else " No smaller form of it passed.\n"
            if done.refused
            else "\n"
        ),
        *(f"{line}\n" for line in refusals(done)),
        "```python\n" + code.rstrip() + "\n```\n",
        "## What each language lost\n",
        f"changed %: share of {'words' if head == 'token' else 'rows'} whose answer is not that of"
        " the float model of this size with all its pieces, for one row at a time or for"
        f" {facts['batches_compared'][-1]}, whichever changes more of them. A form is refused where"
        f" more than {facts['max_flips']:g} % of a language's answers change, beyond chance."
        f"{_noticed(facts)} {_SCORES if head else f'An answer is {_NEAREST}.'}\n",
        _languages(chosen, by_name),
        "## Size and time\n",
        f"| | MB | gzip | {' | '.join(f'{shape} ms' for shape in shapes)} |",
        "|---|---|---|" + "---|" * len(shapes),
        *models,
        "",
        f"On {facts['machine']}, {facts['threads']} thread; rows x pieces. Set"
        " `intra_op_num_threads` to the cores that are really free: with more, threads wait for one"
        " another.\n",
        _overflow(facts),
        _stripped(facts),
        *_vocabulary(done),
        "Made with `alignreg deploy`; `deploy.json` has all of this for programs.\n",
    ]
    return "\n".join(part for part in parts if part is not None)


def _languages(chosen: Line, by_name: Mapping[str, Line]) -> str:
    """A row for every language; with columns for the model before it was cut, where it was."""
    before = {"dense": by_name.get(comparing.DENSE)}
    if comparing.SIZED in by_name:
        before["whole model"] = by_name[comparing.ORIGINAL]
    known = {name: line.scores for name, line in before.items() if line is not None}
    table = [["language", "answers", "changed %", *known, "float", "served", "difference"]]
    for each in chosen.judged:
        scores, gap = each.scores, each.difference
        cells = [each.language, f"{each.answers}", f"{each.share:.1f}"]
        for found in known.values():
            cells.append(f"{found[each.language]:.1f}" if each.language in found else "")
        cells += ["", ""] if scores is None else [f"{score:.1f}" for score in scores]
        cells.append("" if gap is None else f"{gap[0]:+.1f} to {gap[1]:+.1f}")
        table.append(cells)
    table.insert(1, ["---"] * len(table[0]))
    return "\n".join(f"| {' | '.join(cells)} |" for cells in table) + "\n"


def _overflow(facts: Mapping[str, Any]) -> str | None:
    if not facts["kept"].startswith(("int8", "int4")):
        return None
    if facts["portable"]:
        return "Its weights have seven bits, so that processors without VNNI compute the same.\n"
    return (
        "On an x86 processor without VNNI sums of products of eight bits can overflow. `predict.py`"
        ' prevents that by `options.add_session_config_entry("session.x64quantprecision", "1")`,'
        " and so must a program of yours; for one that cannot, make it with `--portable`.\n"
    )


def _stripped(facts: Mapping[str, Any]) -> str | None:
    if not facts["strip_space_marker"]:
        return None
    return (
        f"Words of {', '.join(facts['strip_space_marker'])} were read without the mark of a space,"
        " as in training, when languages were compared; `predict.py` does not do that.\n"
    )


def _vocabulary(done: "Deployed") -> list[str]:
    if not done.losses:
        return []
    rows = [
        f"| {loss.name} | x{loss.pieces:.3f} | {loss.unknown[1]:.2%} | {loss.unchanged:.1%} |"
        for loss in done.losses
    ]
    return [
        "## Pieces\n",
        "| of | pieces after / before | <unk> | texts unchanged |",
        "|---|---|---|---|",
        *rows,
        "",
    ]


def _origin(card: str) -> tuple[dict[str, Any], str]:
    """The metadata of a card, none if they cannot be read, and the text below them."""
    found = REGEX_YAML_BLOCK.search(card)
    if found is None:
        return {}, card
    try:
        return ModelCard(card, ignore_metadata_errors=True).data.to_dict(), card[found.end() :]
    except (TypeError, ValueError, YAMLError):
        return {}, card[found.end() :]


def _title(text: str) -> str | None:
    """The heading of a card, which is none of its code's comments."""
    found = re.search(r"^# (.+)$", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S), re.M)
    return found[1] if found else None


def _metadata(known: Mapping[str, Any], name: str, served: Served, chosen: Line, use: str) -> str:
    """The YAML block: whose model it was, its languages, and the score of each as its result."""
    data = served.task or "own-rows"
    results = [
        EvalResult(
            task_type=use,
            dataset_type=data,
            dataset_name=data,
            dataset_config=each.language,
            metric_type="accuracy",
            metric_name="Share of right answers",
            metric_value=round(each.scores[1] / 100, 4),
        )
        for each in chosen.judged
        if each.scores is not None
    ]
    found = ModelCardData(
        **{field: known[field] for field in _KEPT_FIELDS if field in known},
        language=sorted({re.split("[-_]", language)[0] for language in served.rows}),
        library_name="onnx",
        pipeline_tag=use,
        **({"model_name": name, "eval_results": results} if results else {}),
    )
    return f"---\n{found.to_yaml(line_break=chr(10))}\n---\n"
