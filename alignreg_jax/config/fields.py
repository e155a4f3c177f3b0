"""Every field of a run, with its default and what it means: frozen dataclasses.

What a field means is a sentence in its metadata: `--help` shows it (help_text.py).
"""

import dataclasses
import types
import typing
from dataclasses import dataclass
from typing import Any

MEANING = "meaning"
"""Key of a field's metadata."""


def described(default: Any, meaning: str) -> Any:
    """A field with its default and what it means, in a sentence."""
    return dataclasses.field(default=default, metadata={MEANING: meaning})


@dataclass(frozen=True)
class ModelConfig:
    """Which encoder, with which head, computed how."""

    name_or_path: str = described(
        "FacebookAI/xlm-roberta-base", "Hub id, folder, or demo: the bundled encoder"
    )
    head: str = described(
        "dense-tanh-out", "or linear, the paper's words, or label-words, the pretrained one"
    )
    label_words: tuple[str, ...] = described(
        (), "of head=label-words: a word a label, in their order or as label=word"
    )
    new_head: bool = described(False, "leave out the head that the encoder's checkpoint has")
    dtype: str = described(
        "float32", "of the computation: float32 or bfloat16; parameters are always float32"
    )
    remat: bool = described(False, "recompute activations in the backward pass: less memory")
    unroll: int = described(
        0, "layers per iteration of the loop over them; 0: all on a GPU, elsewhere 1"
    )
    attention: str = described(
        "auto",
        "where attention dropout is off: einsum, cudnn, or auto: cuDNN on one GPU in bfloat16",
    )
    attention_dropout: float | None = described(None, "None: the encoder's own")
    active_vocabulary: bool = described(
        True, "train on those rows of the word embedding that the data use"
    )


@dataclass(frozen=True)
class TaskConfig:
    """Which task, and where its data are."""

    name: str = described("xnli", "a row of the README's table of tasks")
    source: str = described("hub", "hub, folder or demo: the bundled data")
    data_dir: str | None = described(
        None, "folder of JSONL, XGLUE's folder or its .tar.gz, or parquet"
    )
    hub_id: str | None = described(None, "another Hub data set than the task's own, owner/name")
    languages: tuple[str, ...] = described((), "empty: every language the task has")
    max_length: int | None = described(None, "most pieces of a row; None: the task's own")
    train_examples: int = described(
        0,
        "so many training rows only, for trying things; 0: all. A fixed draw, the same in every"
        " run and seed",
    )
    drop_blanked: bool = described(
        False, 'of tags: leave out training sentences whose words are all "_"'
    )
    strip_space_marker: tuple[str, ...] = described(
        (), "of tags: languages whose pieces lose the mark of a space"
    )


@dataclass(frozen=True)
class TrainConfig:
    """Optimisation: AdamW without decay on biases and LayerNorm."""

    batch_size: int = described(32, "rows per step, over all devices")
    learning_rate: float = described(5e-6, "after warm-up")
    weight_decay: float = described(0.01, "decoupled, as AdamW has it")
    warmup_steps: int = described(0, "in which the rate grows from 0 to that")
    schedule: str = described(
        "constant", "of the rate after warm-up: constant, or linear: to 0 at the last step"
    )
    bucketing: str = described(
        "length", "rows of like lengths together; none: uniform draws, all at max_length"
    )
    steps_per_dispatch: int = described(16, "steps that are compiled into one call")
    accumulation: int = described(1, "microbatches per step: less memory")
    max_grad_norm: float = described(0.0, "clip the gradient after masking; 0: off")
    score_learning_rate: float | None = described(
        None, "of gates and other scores that a method learns"
    )
    multiplier_learning_rate: float = described(0.01, "of multipliers, which climb (CoFi)")
    freeze: tuple[str, ...] = described((), "prefixes of parameters that stay as pretrained")


@dataclass(frozen=True)
class PruningConfig:
    """When how much is pruned, by which criterion; what is None is filled by the method."""

    criterion: str | None = described(None, "what says how much a weight or unit is worth")
    scope: str | None = described(
        None,
        "what is ordered together: layer or global; of learned masks also kind: budgets over"
        " layers; of units units-even, units or ffn; of sizes also layers",
    )
    schedule: str = described("geometric", "geometric, linear, cubic or explicit")
    steps: int | None = described(None, "cuts")
    fraction: float = described(0.1, "geometric: share of the survivors removed by each cut")
    final: float | None = described(
        None, "share of the weights that the last cut leaves; overrides fraction"
    )
    explicit: tuple[float, ...] = described((), "share left after each cut, of schedule=explicit")
    epochs_per_step: int = described(15, "epochs after each cut")
    first_epochs: int | None = described(
        None, "of dense fine-tuning before the first cut; None: as epochs_per_step"
    )
    gradient_batches: int = described(
        32, "of criteria that are gradients: batches measured before each cut"
    )
    gradients_on: str = described(
        "labels", "those batches: labels, rows that have one; text, those of distill.text"
    )
    keep_zeros: bool = described(
        False, "weights that are zero in the encoder, pruned before, stay so"
    )
    start: str | None = described(
        None, "phase 1 begins with the dense weights, or again with the pretrained ones"
    )
    freeze: tuple[str, ...] | None = described(None, "as train.freeze, from phase 1 on")
    sizes: tuple[float, ...] | None = described(
        None,
        "of a model that is trained once for every size: those it is evaluated at, from 1 down;"
        " the last is the smallest that is trained",
    )
    sizes_of: str = described(
        "rows", "who has a size of its own while it trains: rows, or a whole step"
    )
    depth: bool = described(False, "small sizes leave out whole layers, too")
    threshold: float = described(
        0.1, "of soft learned masks: what the sigmoid of a score must exceed in the end"
    )
    warmup: float | None = described(
        None, "of learned masks: share of learning at the start in which nothing is pruned"
    )
    cooldown: float = described(
        0.3, "of learned masks: share of learning at the end in which the count stands still"
    )
    mask_every: int = described(8, "of learned masks: steps from one choice of masks to the next")


@dataclass(frozen=True)
class RegularizerConfig:
    """The penalty added to the task's loss; what is None is filled by the method."""

    name: str | None = described(None, "a row of pruning.methods.REGULARIZERS")
    weight: float | None = described(None, "of the penalty in the loss; the paper's lambda")
    reference: str | None = described(None, "weights it pulls to: pretrained or finetuned")
    norm: str = described("squared", "of Frobenius: squared or norm")
    reduce: str = described("sum", "over matrices: sum or mean")
    phases: str | None = described(None, "all, or dense: until the first cut only")


@dataclass(frozen=True)
class DistillConfig:
    """A teacher beside the labels, and text without labels for it to speak about."""

    teacher: str | None = described(
        None,
        "none; dense: the run's own weights after phase 0; or a checkpoint, a folder or Hub id"
        " with the same tokenizer and labels, which teaches from phase 0 on. None: dense if there"
        " is text, else none",
    )
    weight: float = described(0.5, "share of the teacher in the loss; labels have the rest")
    rows: str = described(
        "all", "what it speaks about: all, or text: rows without labels; others have labels alone"
    )
    temperature: float = described(2.0, "of the softmax of both logits")
    hidden: float = described(
        0.0, "weight of the distance to the teacher's hidden states; 0: logits alone"
    )
    layers: tuple[int, ...] = described((), "whose hidden states, from 1; empty: all")
    text: str | None = described(
        None,
        "data: <lang>.unlabelled.jsonl or .txt beside the task's; a folder of them; a Hub data set",
    )
    text_share: float = described(0.5, "share of unlabelled rows in an epoch")
    text_languages: tuple[str, ...] = described((), "empty: all there are")
    text_examples: int = described(
        0, "at most so many rows of each language, in a fixed draw; 0: all"
    )
    text_exponent: float = described(
        1.0, "languages are drawn by rows^exponent: 1 proportional, 0 all alike"
    )


@dataclass(frozen=True)
class EvalConfig:
    """What is evaluated after every cut."""

    languages: tuple[str, ...] = described((), "dense and at the end; empty: all")
    every_phase_languages: tuple[str, ...] = described((), "in between; empty: as languages")
    splits: tuple[str, ...] = described(("dev", "test"), "files that are evaluated")
    # Files of equally many rows, as of parallel test sets, give rows of the same numbers
    examples: int = described(
        0,
        "so many rows of each file only, for trying things; 0: all. A fixed draw, the same in"
        " every run and seed",
    )
    save_predictions: bool | str = described(
        False, "True; xglue: also in the form of XGLUE's own evaluation"
    )
    batch_size: int = described(64, "rows at once")


@dataclass(frozen=True)
class CheckpointConfig:
    """When to save; the end of a phase is always saved."""

    every_minutes: float = described(10.0, "0: not by time")
    every_steps: int = described(0, "0: not by steps")
    keep: int = described(2, "how many")
    keep_finished: bool = described(
        True, "those of a run that is complete, which are most of its size"
    )


@dataclass(frozen=True)
class MeshConfig:
    """Devices along each axis; one of them may be -1: all that are left."""

    data: int = described(-1, "rows of a batch are divided")
    fsdp: int = described(1, "rows, parameters and what the optimiser keeps are divided")
    tensor: int = described(1, "heads and feed-forward units are divided")


@dataclass(frozen=True)
class TrackingConfig:
    """Where events go beside metrics.jsonl."""

    tensorboard: bool = described(False, "event files beside it, by tensorboardX")
    hook: str | None = described(
        None,
        "module:function that is called with the numbers of every event and step=, such as"
        " mlflow:log_metrics or, after wandb.init, wandb:log",
    )


@dataclass(frozen=True)
class ExperimentConfig:
    """A run, resolved: nothing in it is a placeholder that a method should have filled."""

    method: str = described("frobenius-mbp", "a row of the README's tables of methods")
    seed: int = described(
        0, "of the head, dropout, draws, and which rows stand together in a batch"
    )
    seeds: int = described(1, "so many, from seed on, trained side by side in one program")
    data_seed: int = described(
        0, "order in which batches of each length come, the same for all seeds"
    )
    export: bool = described(True, "write the pruned model as a folder that transformers loads")
    model: ModelConfig = ModelConfig()
    task: TaskConfig = TaskConfig()
    train: TrainConfig = TrainConfig()
    pruning: PruningConfig = PruningConfig()
    regularizer: RegularizerConfig = RegularizerConfig()
    distill: DistillConfig = DistillConfig()
    eval: EvalConfig = EvalConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()
    mesh: MeshConfig = MeshConfig()
    tracking: TrackingConfig = TrackingConfig()


def field_paths(section: type = ExperimentConfig, prefix: str = "") -> list[str]:
    """Every field by its path, such as "train.batch_size"."""
    return list(meanings(section, prefix))


def meanings(section: type = ExperimentConfig, prefix: str = "") -> dict[str, str]:
    """Path -> what the field means, as `field_paths` orders them."""
    found: dict[str, str] = {}
    for field in dataclasses.fields(section):
        if dataclasses.is_dataclass(field.type):
            found |= meanings(typing.cast(type, field.type), f"{prefix}{field.name}.")
        else:
            found[prefix + field.name] = field.metadata[MEANING]
    return found


def plain_type(annotation: Any) -> type:
    """The type of a field without its None and its items: `tuple[int, ...] | None` is a tuple.

    `object` if it may be of several.
    """
    if isinstance(annotation, types.UnionType):
        kinds = [arg for arg in typing.get_args(annotation) if arg is not type(None)]
        annotation = kinds[0] if len(kinds) == 1 else object
    return typing.get_origin(annotation) or annotation
