"""Every field of a run, with its default and what it means: frozen dataclasses."""

import dataclasses
import typing
from dataclasses import dataclass


@dataclass(frozen=True)
class ModelConfig:
    """Which encoder, with which head, computed how."""

    name_or_path: str = "FacebookAI/xlm-roberta-base"  # Hub id, folder, or "demo" (bundled)
    head: str = "dense-tanh-out"  # or "linear", the paper's words, or "label-words", pretrained
    label_words: tuple[str, ...] = ()  # of that: a word a label, in their order or as label=word
    new_head: bool = False  # leave out the head that the encoder's checkpoint has
    dtype: str = "float32"  # of the computation; parameters are always float32
    remat: bool = False  # recompute activations in the backward pass
    unroll: int = 0  # layers per iteration of the loop over them; 0: all on a GPU, elsewhere 1
    # Where attention dropout is off: "einsum", "cudnn", or "auto": cuDNN on one GPU in bfloat16
    attention: str = "auto"
    attention_dropout: float | None = None  # None: the encoder's own
    active_vocabulary: bool = True  # train on the rows of the word embedding that the data use


@dataclass(frozen=True)
class TaskConfig:
    """Which task, and where its data are."""

    name: str = "xnli"
    source: str = "hub"  # hub | folder | demo
    data_dir: str | None = None  # folder of JSONL, XGLUE's folder or .tar.gz, or parquet
    hub_id: str | None = None  # another Hub data set than the task's own, "owner/name"
    languages: tuple[str, ...] = ()  # empty: every language the task has
    max_length: int | None = None  # in pieces; None: the task's own
    # So many rows only, for trying things; 0: all. A fixed draw, in every run and seed the same
    train_examples: int = 0
    # Of token tasks alone:
    drop_blanked: bool = False  # leave out training sentences whose words are all "_"
    strip_space_marker: tuple[str, ...] = ()  # languages whose pieces lose the mark of a space


@dataclass(frozen=True)
class TrainConfig:
    """Optimisation; AdamW without decay on biases and LayerNorm."""

    batch_size: int = 32
    learning_rate: float = 5e-6
    weight_decay: float = 0.01
    warmup_steps: int = 0
    schedule: str = "constant"  # after warm-up: constant | linear (to 0 at the last step)
    bucketing: str = "length"  # or "none": uniform sampling, every batch at max_length
    steps_per_dispatch: int = 16
    accumulation: int = 1  # microbatches per step
    max_grad_norm: float = 0.0  # clip after masking; 0: off
    score_learning_rate: float | None = None  # of gates and other scores that a method learns
    multiplier_learning_rate: float = 0.01  # of multipliers, which climb; CoFi's
    freeze: tuple[str, ...] = ()  # parameter path prefixes that stay as pretrained


@dataclass(frozen=True)
class PruningConfig:
    """When how much is pruned, by which criterion; all placeholders are filled by the method."""

    criterion: str | None = None
    # layer | global; of learned masks also kind: budgets over layers; of units units-even | units |
    # ffn; of sizes also layers
    scope: str | None = None
    schedule: str = "geometric"  # geometric | linear | cubic | explicit
    steps: int | None = None
    fraction: float = 0.1  # geometric: share of the survivors removed by each step
    final: float | None = None  # remaining after the last step; overrides fraction
    explicit: tuple[float, ...] = ()  # remaining after each step, for schedule=explicit
    epochs_per_step: int = 15
    first_epochs: int | None = None  # dense fine-tuning; None: as epochs_per_step
    gradient_batches: int = 32  # for criteria that are gradients: batches before each cut
    # Of which rows: "labels", those with a label; "text", those of distill.text, with the teacher's
    gradients_on: str = "labels"
    keep_zeros: bool = False  # weights that are zero in the encoder, pruned before, stay so
    start: str | None = None  # phase 1 begins with the dense weights, or again with the pretrained
    freeze: tuple[str, ...] | None = None  # as train.freeze, from phase 1 on
    # Of a model that is trained once for every size:
    sizes: tuple[float, ...] | None = None  # it is evaluated at, from 1 down; the last is trained
    sizes_of: str = "rows"  # who has a size of its own while it trains: "rows", or a whole "step"
    depth: bool = False  # small sizes leave out whole layers, too
    # Of learned masks:
    threshold: float = 0.1  # of soft ones: what a sigmoid of a score must exceed in the end
    warmup: float | None = None  # share of learning at the start in which nothing is pruned yet
    cooldown: float = 0.3  # share of learning at the end in which the count stands still
    mask_every: int = 8  # steps from one choice of masks to the next


@dataclass(frozen=True)
class RegularizerConfig:
    """The penalty added to the task loss."""

    name: str | None = None  # a row of pruning.methods.REGULARIZERS
    weight: float | None = None
    reference: str | None = None  # pretrained | finetuned
    norm: str = "squared"  # Frobenius: squared | norm
    reduce: str = "sum"  # over matrices: sum | mean
    phases: str | None = None  # all | dense: until the first cut only


@dataclass(frozen=True)
class DistillConfig:
    """A teacher beside the labels, and text without labels for it to speak about."""

    # "none"; "dense": the run's own weights after phase 0; or a checkpoint, which teaches from
    # phase 0 on: a folder or Hub id with the same tokenizer and labels, of any size
    teacher: str | None = None  # None: "dense" if there is text, else "none"
    weight: float = 0.5  # share of the teacher in the loss; labels have the rest
    # What it speaks about: "all", or "text": rows without labels; the others have labels alone
    rows: str = "all"
    temperature: float = 2.0
    hidden: float = 0.0  # weight of the distance to its hidden states; 0: logits alone
    layers: tuple[int, ...] = ()  # whose hidden states, from 1; empty: all
    # "data": <lang>.unlabelled.jsonl or .txt beside the task's; a folder of them; a Hub data set
    text: str | None = None
    text_share: float = 0.5  # share of unlabelled rows in an epoch
    text_languages: tuple[str, ...] = ()  # empty: all there are
    text_examples: int = 0  # at most so many rows of each language, in a fixed draw; 0: all
    text_exponent: float = 1.0  # languages by rows^exponent: 1 proportional, 0 all alike


@dataclass(frozen=True)
class EvalConfig:
    """What is evaluated after every pruning step."""

    languages: tuple[str, ...] = ()  # dense and at the end; empty: all
    every_phase_languages: tuple[str, ...] = ()  # in between; empty: as languages
    splits: tuple[str, ...] = ("dev", "test")
    # So many rows of each file only, for trying things; 0: all. A fixed draw, in every run and seed
    # the same; files of equally many rows, as of parallel test sets, give rows of the same numbers
    examples: int = 0
    save_predictions: bool | str = False  # or "xglue": also in the form of XGLUE's own evaluation
    batch_size: int = 64


@dataclass(frozen=True)
class CheckpointConfig:
    """When to save; a phase's end is always saved."""

    every_minutes: float = 10.0  # 0: not by time
    every_steps: int = 0  # 0: not by steps
    keep: int = 2
    keep_finished: bool = True  # of a run that is complete; they are most of its size


@dataclass(frozen=True)
class MeshConfig:
    """Devices along each axis; one of them may be -1, all that are left."""

    data: int = -1
    fsdp: int = 1
    tensor: int = 1


@dataclass(frozen=True)
class TrackingConfig:
    """Where events go beside metrics.jsonl."""

    tensorboard: bool = False


@dataclass(frozen=True)
class ExperimentConfig:
    """A run, resolved: nothing in it is a placeholder that a method should have filled."""

    method: str = "frobenius-mbp"
    seed: int = 0  # of the head, dropout, draws, and which rows stand together in a batch
    seeds: int = 1  # so many, from `seed` on, trained side by side in one program
    data_seed: int = 0  # the order in which batches of each length come, the same for all seeds
    export: bool = True  # write the pruned model as a folder that transformers loads
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
    paths = []
    for field in dataclasses.fields(section):
        if dataclasses.is_dataclass(field.type):
            paths += field_paths(typing.cast(type, field.type), f"{prefix}{field.name}.")
        else:
            paths.append(prefix + field.name)
    return paths
