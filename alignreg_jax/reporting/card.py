"""The model card (README.md) of an exported model."""

import re
from collections.abc import Sequence

from huggingface_hub import EvalResult, ModelCardData

from alignreg_jax.reporting.metric_names import first_word, hub_metric, metric_name
from alignreg_jax.reporting.rendering import environment
from alignreg_jax.reporting.results import Results
from alignreg_jax.reporting.run_tables import languages_table, other_metrics_table, steps_table
from alignreg_jax.reporting.run_words import said, serves_sizes
from alignreg_jax.reporting.series import ends
from alignreg_jax.reporting.tables import markdown_table, percent


def model_card(
    results: Results,
    *,
    labels: Sequence[str],
    base_model: str | None,
    head: str,
    max_length: int,
    command: str,
    licence: str | None = None,
    pair: bool = False,
    notes: Sequence[str] = (),
    stock: bool = True,
) -> str:
    """The text of README.md, with the metadata that the Hub reads on top.

    `base_model` is a Hub id, or None for a checkpoint that only its owner has; `licence` is the
    base model's, as an SPDX-like id of the Hub; `pair` says that the task reads two texts; `notes`
    are sentences on how it was trained; `stock` says that unmodified transformers loads it.
    """
    left = f"{percent(results['prune_steps'][-1]['remaining'], 0)} % of the weights"
    left = f"any size from {left} on" if serves_sizes(results) else left
    # Before a cut runs of several methods may have this very model in common
    method = results["method"] if len(results["prune_steps"]) > 1 else "dense"
    name = f"{results['task']}, {method}, {left}"
    text = (
        environment()
        .get_template("card.md")
        .render(
            metadata=_metadata(results, base_model, licence, head, name),
            name=name,
            base_model=base_model,
            results=results,
            last=results["prune_steps"][-1],
            percent=percent,
            how="".join(said("how", results)),
            labels=len(labels),
            notes=[note for note in notes if note],
            metric=first_word(metric_name(results["metric"])),
            tables=(steps_table(results), languages_table(results), other_metrics_table(results)),
            markdown=markdown_table,
            any_size=serves_sizes(results),
            head=head,
            pair=pair,
            max_length=max_length,
            command=command,
        )
    )
    return text if stock else trusting(text)


def sizes_section() -> str:
    """What the card of a model that serves every size says of smaller ones."""
    return environment().get_template("sizes.md").render()


def trusting(text: str) -> str:
    """A card whose code lets transformers run that of the folder, which the free form needs."""
    return text.replace("from_pretrained(folder", "from_pretrained(folder, trust_remote_code=True")


def _metadata(
    results: Results, base_model: str | None, licence: str | None, head: str, name: str
) -> str:
    """The YAML block: what the Hub filters by, and the score of every language as its result."""
    last, kind = results["prune_steps"][-1], "token" if head == "token" else "text"
    languages = [str(language) for language in ends(results).index]
    found = [
        EvalResult(
            task_type=f"{kind}-classification",
            dataset_type=results["task"],
            dataset_name=results["task"],
            dataset_config=language,
            dataset_split=results["split"],
            metric_type=hub_metric(results["metric"]),
            metric_name=metric_name(results["metric"]),
            metric_value=round(last["languages"][language], 4),
        )
        for language in languages
        if language in last["languages"]
    ]
    pruned = ["pruning", "sparse", results["method"]] if len(results["prune_steps"]) > 1 else []
    data = ModelCardData(
        license=licence,
        language=sorted({re.split("[-_]", language)[0] for language in languages}),
        base_model=base_model,
        library_name="transformers",
        pipeline_tag=f"{kind}-classification",
        metrics=[hub_metric(results["metric"])],
        tags=["alignreg", "cross-lingual", *pruned],
        model_name=name,
        eval_results=found,
    )
    return f"---\n{data.to_yaml(line_break=chr(10))}\n---\n"
