"""The task table: what a task's data are called, where they lie, and how it is scored.

A new task is one more row. Everything that differs between tasks and is not a number a user
tunes stands here; how it is read is `sources`' business.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from alignreg_jax.errors import UserError

MIRROR = "hgissbkh/xglue"
"""XGLUE as parquet on the Hub: a third party's copy, one config a task."""

MIRROR_LACKS = {"pos": "pt and the last sentence of every file"}
"""What the mirror has lost of a task."""

NONE: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class XglueFiles:
    """Where XGLUE's archive has a task, and what its files look like.

    Attributes:
        folder: in the archive, under its one top folder.
        train: the English training file in it.
        evaluation: dev and test files: {language} and {split}, which is dev or test.
        header: column names on the first line of files that begin with them.
        headed: the splits whose files do.
    """

    folder: str
    train: str
    evaluation: str
    header: tuple[str, ...] = ()
    headed: tuple[str, ...] = ()

    def path(self, language: str, split: str) -> str:
        """The file of a language and split ("train", "dev" or "test"), under the top folder."""
        name = self.train if split == "train" else self.evaluation
        return f"{self.folder}/{name.format(language=language, split=split)}"


@dataclass(frozen=True)
class Task:
    """One row of the table.

    Attributes:
        name: what `task.name` says.
        kind: "sequence" (one label a row) or "token" (one tag a word).
        sources: where its data can come from, the default first: "hub", "folder", "demo".
        columns: of XGLUE's files, in their order, the label last; on the Hub they go by the same
            names. In token tasks the words and their tags.
        text_a: the columns of the first text, joined by a space; JSONL files always say `text`.
        text_b: of a pair task, those of the second. Without any text_a, JSONL files decide whether
            rows are pairs.
        labels: the label set in the order of the classifier's outputs; None takes `labels.json`
            beside the data, or else those of the training rows.
        renamed: labels that a file or the Hub spells otherwise -> as in `labels`.
        languages: those XGLUE has, English first; None takes what the folder holds.
        metrics: names that `evaluation.metrics.score` knows, that of the task's score first.
        max_length: tokens a row is cut to, special tokens included, unless the config says more.
        hub_id: "owner/name" of the Hub data set.
        hub_config: what the mirror calls the task; another data set has a config per language.
        xglue: the task's files in XGLUE's archive.
        demo_folder: folder under `alignreg_jax/demo/data`.
        parallel: the test sets are translations of one another, row by row, so that their rows are
            not independent examples.
    """

    name: str
    kind: str
    sources: tuple[str, ...]
    columns: tuple[str, ...] = ()
    text_a: tuple[str, ...] = ()
    text_b: tuple[str, ...] = ()
    labels: tuple[str, ...] | None = None
    renamed: Mapping[str, str] = field(default_factory=lambda: NONE)
    languages: tuple[str, ...] | None = None
    metrics: tuple[str, ...] = ("accuracy",)
    max_length: int = 256
    hub_id: str | None = None
    hub_config: str | None = None
    xglue: XglueFiles | None = None
    demo_folder: str | None = None
    parallel: bool = False

    @property
    def metric(self) -> str:
        """The metric that is the task's score."""
        return self.metrics[0]

    @property
    def pair(self) -> bool | None:
        """Whether rows are two texts; None: the data decide."""
        return bool(self.text_b) if self.text_a else None


def _plain(name: str) -> XglueFiles:
    """The layout of the four tasks that XGLUE adds: no header, names with a prefix."""
    prefix = f"xglue.{name}"
    return XglueFiles(name.upper(), f"{prefix}.en.train", prefix + ".{language}.{split}")


_PAWSX_HEADER = ("id", "sentence1", "sentence2", "label")

# Languages in the order of XGLUE's own script, but English first. Labels in that of the Hub's
# features; the metrics compare names.
_XGLUE = (
    Task(
        name="xnli",
        kind="sequence",
        sources=("hub", "folder"),
        columns=("premise", "hypothesis", "label"),
        text_a=("premise",),
        text_b=("hypothesis",),
        labels=("entailment", "neutral", "contradiction"),
        renamed={"contradictory": "contradiction"},  # in the training file
        languages=tuple("en ar bg de el es fr hi ru sw th tr ur vi zh".split()),
        hub_id="facebook/xnli",
        hub_config="xnli",
        xglue=XglueFiles(
            "XNLI",
            "multinli.train.en.tsv",
            "{language}.{split}",
            header=("premise", "hypo", "label"),
            headed=("train",),
        ),
        parallel=True,
    ),
    Task(
        name="nc",
        kind="sequence",
        sources=("folder", "hub"),
        columns=("news_title", "news_body", "news_category"),
        text_a=("news_title",),
        text_b=("news_body",),
        labels=tuple(
            "foodanddrink sports travel finance lifestyle news entertainment health video "
            "autos".split()
        ),
        languages=("en", "de", "es", "fr", "ru"),
        hub_id=MIRROR,
        hub_config="nc",
        xglue=_plain("nc"),
    ),
    Task(
        name="ner",
        kind="token",
        sources=("folder", "hub"),
        columns=("words", "ner"),
        labels=tuple("O B-PER I-PER B-ORG I-ORG B-LOC I-LOC B-MISC I-MISC".split()),
        languages=("en", "de", "es", "nl"),
        metrics=("f1",),
        hub_id=MIRROR,
        hub_config="ner",
        xglue=XglueFiles("NER", "en.train", "{language}.{split}"),
    ),
    Task(
        name="pawsx",
        kind="sequence",
        sources=("hub", "folder"),
        columns=_PAWSX_HEADER,
        text_a=("sentence1",),
        text_b=("sentence2",),
        labels=("0", "1"),
        renamed={"different": "0", "same": "1"},
        # The Hub has ja, ko and zh too; these four are XGLUE's, which Table 1 is about.
        languages=("en", "de", "es", "fr"),
        hub_id="google-research-datasets/paws-x",
        hub_config="paws-x",
        xglue=XglueFiles(
            "PAWSX",
            "en/train.tsv",
            "{language}/{split}_2k.tsv",
            header=_PAWSX_HEADER,
            headed=("train", "dev", "test"),
        ),
        parallel=True,
    ),
    Task(
        name="pos",
        kind="token",
        sources=("folder", "hub"),
        columns=("words", "pos"),
        labels=tuple(
            "ADJ ADP ADV AUX CCONJ DET INTJ NOUN NUM PART PRON PROPN PUNCT SCONJ SYM VERB X".split()
        ),
        languages=tuple("en pl ar ru bg de el es fr hi it nl pt th tr ur vi zh".split()),
        metrics=("pos_xglue", "word_accuracy"),
        max_length=128,
        hub_id=MIRROR,
        hub_config="pos",
        xglue=XglueFiles("POS", "en.train", "{language}.{split}"),
    ),
    Task(
        name="qam",
        kind="sequence",
        sources=("folder", "hub"),
        columns=("question", "answer", "label"),
        text_a=("question",),
        text_b=("answer",),
        labels=("0", "1"),
        renamed={"False": "0", "True": "1"},
        languages=("en", "de", "fr"),
        hub_id=MIRROR,
        hub_config="qam",
        xglue=_plain("qam"),
    ),
    Task(
        name="qadsm",
        kind="sequence",
        sources=("folder", "hub"),
        columns=("query", "ad_title", "ad_description", "relevance_label"),
        text_a=("query",),
        text_b=("ad_title", "ad_description"),
        labels=("Bad", "Good"),
        languages=("en", "de", "fr"),
        hub_id=MIRROR,
        hub_config="qadsm",
        xglue=_plain("qadsm"),
    ),
    Task(
        name="wpr",
        kind="sequence",
        sources=("folder", "hub"),
        columns=("query", "web_page_title", "web_page_snippet", "relevance_label"),
        text_a=("query",),
        text_b=("web_page_title", "web_page_snippet"),
        labels=("0", "1", "2", "3", "4"),
        renamed={"Bad": "0", "Fair": "1", "Good": "2", "Excellent": "3", "Perfect": "4"},
        languages=("en", "de", "es", "fr", "it", "pt", "zh"),
        metrics=("ndcg", "mcc"),
        hub_id=MIRROR,
        hub_config="wpr",
        xglue=_plain("wpr"),
    ),
)

_OTHERS = (
    Task(
        name="intents",
        kind="sequence",
        sources=("demo", "folder"),
        text_a=("text",),
        max_length=64,
        demo_folder="intents",
    ),
    Task(
        name="slots",
        kind="token",
        sources=("demo", "folder"),
        metrics=("f1",),
        max_length=64,
        demo_folder="slots",
    ),
    Task(name="folder", kind="sequence", sources=("folder",)),
    # Any folder of words and tags: spans (B-, I-, O), or a tag for every word
    Task(name="tokens", kind="token", sources=("folder",), metrics=("f1",)),
    Task(
        name="pos_tags",
        kind="token",
        sources=("folder",),
        metrics=("word_accuracy", "pos_xglue"),
        max_length=128,
    ),
)

TASKS = {task.name: task for task in (*_XGLUE, *_OTHERS)}


def get_task(name: str) -> Task:
    """Return the task of that name; UserError lists the names there are."""
    if name not in TASKS:
        raise UserError(f"task.name={name!r}: there is no such task; one of {', '.join(TASKS)}")
    return TASKS[name]
