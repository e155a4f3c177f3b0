"""The task table: what a task's data are called, and how it is scored.

A new task is one more row. Everything that differs between tasks and is not a number a user
tunes stands here; where the rows come from is `sources`' business.
"""

from dataclasses import dataclass

from alignreg_jax.errors import UserError


@dataclass(frozen=True)
class Task:
    """One row of the table.

    Attributes:
        name: what `task.name` says.
        kind: "sequence" (one label a row) or "token" (one tag a word).
        sources: where its data can come from, the default first: "hub", "folder", "demo".
        text_fields: Hub columns of the first text and, in a pair task, of the second. JSONL files
            always say `text` and `text_pair`; an empty tuple lets them decide whether it is a pair.
        label_field: Hub column of the label.
        labels: the label set in the order of the classifier's outputs; None takes `labels.json`
            beside the data, or else the sorted labels of the training rows.
        languages: those the Hub has; None takes what the folder holds.
        metrics: names that `evaluation.metrics.score` knows, the one that is the task's score first.
        max_length: tokens a row is cut to, special tokens included, unless the config says more.
        hub_id: "owner/name" of the Hub data set, one config per language.
        demo_folder: folder under `alignreg_jax/demo/data`.
    """

    name: str
    kind: str
    sources: tuple[str, ...]
    text_fields: tuple[str, ...] = ()
    label_field: str = "label"
    labels: tuple[str, ...] | None = None
    languages: tuple[str, ...] | None = None
    metrics: tuple[str, ...] = ("accuracy",)
    max_length: int = 256
    hub_id: str | None = None
    demo_folder: str | None = None

    @property
    def metric(self) -> str:
        """The metric that is the task's score."""
        return self.metrics[0]


TASKS = {
    task.name: task
    for task in (
        Task(
            name="xnli",
            kind="sequence",
            sources=("hub", "folder"),
            text_fields=("premise", "hypothesis"),
            labels=("entailment", "neutral", "contradiction"),
            languages=tuple("en ar bg de el es fr hi ru sw th tr ur vi zh".split()),
            hub_id="facebook/xnli",
        ),
        Task(
            name="pawsx",
            kind="sequence",
            sources=("hub", "folder"),
            text_fields=("sentence1", "sentence2"),
            labels=("0", "1"),
            # ja, ko and zh are there too; these four are XGLUE's, which Table 1 is about.
            languages=("en", "de", "es", "fr"),
            hub_id="google-research-datasets/paws-x",
        ),
        Task(
            name="intents",
            kind="sequence",
            sources=("demo", "folder"),
            text_fields=("text",),
            max_length=64,
            demo_folder="intents",
        ),
        Task(name="folder", kind="sequence", sources=("folder",)),
    )
}


def get_task(name: str) -> Task:
    """Return the task of that name; UserError lists the names there are."""
    if name not in TASKS:
        raise UserError(f"task.name={name!r}: there is no such task; one of {', '.join(TASKS)}")
    return TASKS[name]
