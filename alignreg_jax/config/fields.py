"""Every field of a run, with its default and what it means: frozen dataclasses.

What a field means is a sentence in its metadata: `--help` shows it (help_text.py).
"""

import dataclasses
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
        "FacebookAI/xlm-roberta-base", "the encoder: a Hub id, a folder, or demo, the bundled one"
    )
    head: str = described(
        "dense-tanh-out",
        "what the first piece (of tags: each word) goes through: dense-tanh-out, as in"
        " transformers; linear, as the paper has it; label-words, the pretrained language"
        " model's own head",
    )
    label_words: tuple[str, ...] = described(
        (), "for head=label-words: one word for each label, in the labels' order or as label=word"
    )
    new_head: bool = described(False, "draw a new head even where the encoder's checkpoint has one")
    dtype: str = described(
        "float32", "what is computed in: float32 or bfloat16; parameters are always float32"
    )
    remat: bool = described(
        False, "compute activations again in the backward pass, which takes time and saves memory"
    )
    unroll: int = described(
        0,
        "how many layers an iteration of the loop over them has; 0: all of them on a GPU,"
        " elsewhere 1",
    )
    attention: str = described(
        "auto",
        "how attention is computed: einsum; cudnn, where it has no dropout; fused, our own kernel"
        " with dropout, on one NVIDIA GPU in bfloat16; or auto (cuDNN there, without dropout)",
    )
    norm: str = described(
        "plain",
        "what ends a half of a layer (bias, dropout, residual, LayerNorm): plain; or fused, our own"
        " kernel, on one NVIDIA GPU",
    )
    attention_dropout: float | None = described(
        None, "share of the attention weights that are dropped in training; None: the encoder's own"
    )
    active_vocabulary: bool = described(
        True, "train only those rows of the word embedding that the data use; the export has all"
    )


@dataclass(frozen=True)
class TaskConfig:
    """Which task, and where its data are."""

    name: str = described(
        "xnli", "the task: one of docs/data.md; for rows of yours folder, tokens or pos_tags"
    )
    source: str = described("hub", "where its data are: hub, folder, or demo, which is bundled")
    data_dir: str | None = described(
        None, "the data's folder of JSONL or parquet, or XGLUE's folder or .tar.gz"
    )
    hub_id: str | None = described(None, "a Hub data set, owner/name, in place of the task's own")
    languages: tuple[str, ...] = described(
        (), "languages that are read; empty: every one that the task has"
    )
    max_length: int | None = described(None, "pieces at which a row is cut; None: the task's own")
    train_examples: int = described(
        0,
        "so many training rows are used, to try things out, in a fixed draw that is the same"
        " in every run and seed; 0: all",
    )
    drop_blanked: bool = described(
        False, 'for tags: leave out training sentences whose words are all "_"'
    )
    strip_space_marker: tuple[str, ...] = described(
        (), "for tags: languages whose pieces lose the mark of a space, as in XGLUE's baseline"
    )


@dataclass(frozen=True)
class TrainConfig:
    """Optimisation: AdamW without decay on biases and LayerNorm."""

    batch_size: int = described(32, "rows in a step, over all devices")
    learning_rate: float = described(5e-6, "the rate of the weights after warm-up")
    weight_decay: float = described(0.01, "AdamW's decoupled weight decay")
    warmup_steps: int = described(0, "steps in which the rate grows from 0")
    schedule: str = described(
        "constant",
        "the rate after warm-up: constant, or linear, which ends at 0 with the last step",
    )
    bucketing: str = described(
        "length",
        "how batches are drawn: length, rows of like lengths together, or none, uniformly",
    )
    lengths_per_doubling: int = described(
        2,
        "lengths that rows are padded to, from one to its double, 1 to 4; more are less padding"
        " and more programs to compile",
    )
    steps_per_dispatch: int = described(16, "so many steps are compiled into one call")
    static_loop: bool = described(
        False,
        "compile calls of all these steps apart, so that a GPU need not ask the host after each"
        " step; up to twice as many programs",
    )
    epoch_parts: int = described(
        16,
        "an epoch has at least so many such calls, which are shuffled, if it has so many steps:"
        " rows of one length do not have its end to themselves then",
    )
    accumulation: int = described(
        1, "parts that a batch is divided into and computed one after another, to save memory"
    )
    max_grad_norm: float = described(
        0.0, "largest norm of the gradient after masking, beyond which it is clipped; 0: it is not"
    )
    score_learning_rate: float | None = described(
        None, "the rate of gates and other scores that a method learns; None: the method's own"
    )
    multiplier_learning_rate: float = described(
        0.01, "the rate at which a constraint's multipliers climb, of methods that have one"
    )
    freeze: tuple[str, ...] = described(
        (), "parameters that stay as pretrained, by the beginnings of their names"
    )


@dataclass(frozen=True)
class PruningConfig:
    """When how much is pruned, by which criterion; what is None is filled by the method."""

    criterion: str | None = described(
        None, "what says how much a weight or unit is worth; None: the method's own"
    )
    scope: str | None = described(
        None,
        "which weights or units compete: layer (those of a matrix), global, output (those of an"
        " output of a matrix) or n:4 (four neighbours, of which 3, 2 or 1 stay); for learned"
        " masks also kind (matrices of a kind, divided among layers); for units units-even,"
        " units or ffn; for elastic also layers; None: the method's own",
    )
    schedule: str = described(
        "geometric",
        "how the share that is left falls from cut to cut: geometric, linear, cubic or explicit",
    )
    steps: int | None = described(None, "number of cuts")
    fraction: float = described(
        0.1, "for geometric: share of the surviving weights that each cut removes"
    )
    final: float | None = described(
        None, "share of the weights that the last cut leaves; overrides fraction"
    )
    explicit: tuple[float, ...] = described(
        (), "for explicit: the share that is left after each cut"
    )
    epochs_per_step: int = described(15, "epochs of training after each cut")
    first_epochs: int | None = described(
        None, "epochs of dense fine-tuning before the first cut; None: as epochs_per_step"
    )
    gradient_batches: int = described(
        32, "for criteria that ask the data: batches that they are measured on before each cut"
    )
    gradients_on: str = described(
        "labels",
        "what those batches are drawn from: labels, the rows that have one, or text, that of"
        " distill.text",
    )
    keep_zeros: bool = described(
        False, "weights that are zero in the encoder, because they were pruned before, stay zero"
    )
    start: str | None = described(
        None,
        "the weights that phase 1 begins with: dense, the fine-tuned ones, or pretrained;"
        " None: the method's own",
    )
    freeze: tuple[str, ...] | None = described(
        None, "as train.freeze, from phase 1 on; None: the method's own"
    )
    sizes: tuple[float, ...] | None = described(
        None,
        "for elastic: the sizes it is evaluated at, from 1 down; the last is the smallest"
        " that is trained",
    )
    sizes_of: str = described(
        "rows",
        "for elastic: what has a size of its own in training, each of the rows or a whole step",
    )
    depth: bool = described(False, "for elastic: small sizes leave out whole layers, too")
    threshold: float = described(
        0.1, "for soft learned masks: what the sigmoid of a score has to exceed in the end to stay"
    )
    warmup: float | None = described(
        None,
        "for learned masks: share of the learning, at its start, in which nothing is pruned;"
        " None: the method's own",
    )
    cooldown: float = described(
        0.3,
        "for learned masks: share of the learning, at its end, in which the count stands still",
    )
    mask_every: int = described(8, "for learned masks: steps from one choice of masks to the next")


@dataclass(frozen=True)
class RegularizerConfig:
    """The penalty added to the task's loss; what is None is filled by the method."""

    name: str | None = described(
        None,
        "the penalty: none, cosine, frobenius, l2sp and others"
        " (pruning.methods.REGULARIZERS); None: the method's own",
    )
    weight: float | None = described(
        None, "what the penalty is multiplied by, the paper's lambda; None: the penalty's own"
    )
    reference: str | None = described(
        None, "the weights that it pulls to: pretrained or finetuned; None: the method's own"
    )
    norm: str = described(
        "squared", "for frobenius: the squared distance (squared) or the distance (norm)"
    )
    reduce: str = described("sum", "how matrices are put together: sum or mean")
    phases: str | None = described(
        None, "when it acts: all, or dense, until the first cut; None: the method's own"
    )


@dataclass(frozen=True)
class DistillConfig:
    """A teacher beside the labels, and text without labels for it to speak about."""

    teacher: str | None = described(
        None,
        "who teaches: none; dense, the run's own weights after phase 0; or a checkpoint, a"
        " folder or Hub id with the same tokenizer and labels, from phase 0 on. None: dense"
        " if there is text, else none",
    )
    weight: float = described(0.5, "share of the teacher in the loss; labels have the rest")
    rows: str = described(
        "all",
        "what the teacher speaks about: all rows, or text, those without labels; the others"
        " then have labels alone",
    )
    temperature: float = described(2.0, "what both logits are divided by before the softmax")
    hidden: float = described(
        0.0, "weight of the distance to the teacher's hidden states; 0: logits alone"
    )
    layers: tuple[int, ...] = described(
        (), "the layers whose hidden states are compared, counted from 1; empty: all"
    )
    text: str | None = described(
        None,
        "text without labels: data, <lang>.unlabelled.jsonl or .txt beside the task's files;"
        " a folder of them; or a Hub data set",
    )
    text_share: float = described(0.5, "share of rows without labels in an epoch")
    text_languages: tuple[str, ...] = described((), "languages of that text; empty: all there are")
    text_examples: int = described(
        0, "at most so many rows of it in each language, in a fixed draw; 0: all"
    )
    text_exponent: float = described(
        1.0, "languages are drawn by their rows to this power: 1 proportional, 0 all alike"
    )


@dataclass(frozen=True)
class EvalConfig:
    """What is evaluated after every cut."""

    languages: tuple[str, ...] = described(
        (), "languages evaluated before the first cut and at the end; empty: all"
    )
    every_phase_languages: tuple[str, ...] = described(
        (), "languages evaluated in between; empty: the same"
    )
    splits: tuple[str, ...] = described(
        ("dev", "test"), "the files that are evaluated: dev, test or both"
    )
    # Files of equally many rows, as of parallel test sets, give rows of the same numbers
    examples: int = described(
        0,
        "so many rows of each file are evaluated, to try things out, in a fixed draw that is"
        " the same in every run and seed; 0: all",
    )
    save_predictions: bool | str = described(
        False, "write them: True, or xglue, also in the form of XGLUE's own evaluation"
    )
    batch_size: int = described(64, "rows evaluated at once")


@dataclass(frozen=True)
class CheckpointConfig:
    """When to save; the end of a phase is always saved."""

    every_minutes: float = described(
        10.0,
        "minutes of training from one save to the next, beside the one at the end of every"
        " phase; 0: not by time",
    )
    every_steps: int = described(0, "steps from one save to the next; 0: not by steps")
    keep: int = described(2, "how many saves are kept")
    keep_finished: bool = described(
        True, "keep those of a run that is complete, which are most of its size"
    )


@dataclass(frozen=True)
class MeshConfig:
    """Devices along each axis; one of them may be -1: all that are left."""

    data: int = described(
        -1, "devices that the rows of a batch are divided among; -1: all that are left"
    )
    fsdp: int = described(
        1, "devices that rows, parameters and the optimiser's state are divided among"
    )
    tensor: int = described(1, "devices that heads and feed-forward units are divided among")


@dataclass(frozen=True)
class TrackingConfig:
    """Where events go beside metrics.jsonl."""

    tensorboard: bool = described(False, "write event files for TensorBoard, too, by tensorboardX")
    hook: str | None = described(
        None,
        "module:function that is called with the numbers of every event and step=, such as"
        " mlflow:log_metrics or, after wandb.init, wandb:log",
    )


@dataclass(frozen=True)
class ExperimentConfig:
    """A run, resolved: nothing in it is a placeholder that a method should have filled."""

    method: str = described(
        "frobenius-mbp", "what is pruned and how, a row of the tables of docs/methods.md"
    )
    seed: int = described(
        0, "seed of the head, of dropout, of draws and of which rows stand together in a batch"
    )
    seeds: int = described(
        1, "so many seeds, from seed on, are trained side by side in one program"
    )
    data_seed: int = described(
        0, "seed of the order in which batches of each length come, the same for all seeds"
    )
    export: bool | str = described(
        True,
        "write the pruned model as a folder that transformers loads, export; steps: those before"
        " it, too, as steps/0 (dense), steps/1 and so on",
    )
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
