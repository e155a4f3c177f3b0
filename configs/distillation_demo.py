"""What keeps the languages: methods without a teacher, with one on English, and on all text.

    python -m alignreg_jax.sweep --config configs/distillation_demo.py
    python -m alignreg_jax.sweep --config configs/distillation_demo.py:slots
    python -m alignreg_jax.sweep --config configs/distillation_demo.py:amounts

The teacher is each run's own dense model; `text` rows also have it speak about sentences without
labels in thirty other languages, bundled, disjoint from what is evaluated (no labels of them are
used, but text: another setting than the paper's). Bundled encoder and intents, read at 31 % and
10 %. An epoch of a `text` row is half text and so twice as long: it has half the epochs. All rows
have the same number of training steps, the same rate, batch, teacher's weight and temperature.

A schedule that two CPU cores can bear: 1280 training rows, 160 dense steps, three cuts with 160
steps each. 200 test rows of each of ten languages. The teacher has half of the loss: at .9 English
came back from no cut to 10 % in so few steps (docs/results/distillation_demo).

`:weights` is one seed of one method with the teacher's share at .9 and .5, of all rows or of text
alone (with --config.tasks=slots on the other task). `:slots` is two methods on tags of words.
`:amounts` is one method with 3, 10, 30, 60 and all sentences of each language; `:others` with text
of every second language alone, and of the others alone: what a language gains of which there is
none (`tools/paired_rows.py FOLDER --languages de,fr,fi,ar,zh-CN`). `:labels` is one method with 128
to 2560 English rows, each seen as much more often as there are fewer.

`:peers` is magnitude beside Wanda and SparseGPT at half and a quarter of the weights, the first two
also as 2:4 and 1:4: without any training after a cut, measured on English rows or on the text, and
trained with text.

`:tags` and `:topics` are two methods on longer rows of another kind, 640 of them in steps of 8:
what words of GNOME's help are, and what its paragraphs are about, in all languages there are. They
are built by

    python tools/build_help_data.py help_data
    python tools/build_demo_encoder.py help_data help_encoder --limit 0

Computes in bfloat16, which is faster on a CPU that has instructions for it (avx512_bf16 in
/proc/cpuinfo; docs/performance.md); on another one --config.base.model.dtype=float32 is.

Hardware: 2 CPU cores; 75 runs, which go on where they stopped. docs/results/distillation_demo has
five seeds of three methods on intents, three seeds of two methods on slots and :tags and of one on
:topics, two of :amounts and :labels, one of :others, five of :peers. movement-penalty and smp-s
fail in so few steps (five seeds, two); with eight times as many, @pruning.epochs_per_step=32,
movement-penalty is where magnitude is, and smp-s holds until 56 % (one seed each).
"""

from alignreg_jax.config import DEMO_LANGUAGES
from alignreg_jax.errors import UserError
from alignreg_jax.sweeping.starts import DEMO_LEFT, default_config, demo_config

ARGUMENTS = ("slots", "tags", "topics", "amounts", "others", "weights", "labels", "peers")
OF_HELP = {"tags": "tokens", "topics": "folder"}
LEFT = (DEMO_LEFT[0], DEMO_LEFT[1], DEMO_LEFT[3])
METHODS = ("l2-mbp", "frobenius-mbp", "gradient-mbp", "movement-penalty", "smp-s")
TEACHER = "@distill.teacher=dense"
TEXT = f"{TEACHER}@distill.text=data@pruning.epochs_per_step=2"
SETTINGS = ("", TEACHER, TEXT)
WEIGHTS = (
    f"{TEXT}@distill.rows=text@distill.weight=0.5",
    f"{TEXT}@distill.weight=0.9",
    f"{TEXT}@distill.weight=0.5",
)
AMOUNTS = tuple(f"{TEXT}@distill.text_examples={rows}" for rows in (3, 10, 30, 60))
HALVES = (DEMO_LANGUAGES[1::2], DEMO_LANGUAGES[2::2])
LABELLED = (128, 320, 1280, 2560)  # of 2843
PEERS = ("l2-mbp", "wanda", "sparsegpt")
CUT_ONLY = "@pruning.epochs_per_step=0"
ON_TEXT = f"{TEACHER}@distill.text=data{CUT_ONLY}@pruning.gradients_on=text"
OTHERS = tuple(f"{TEXT}@distill.text_languages=({','.join(half)})" for half in HALVES)


def labelled(rows: int, setting: str) -> str:
    """Magnitude with so many rows that have a label, in as many steps as with 1280 of them."""
    if rows == 1280:
        return METHODS[0] + setting
    epochs, text = 4 * 1280 // rows, setting == TEXT
    return (
        f"{METHODS[0]}@task.train_examples={rows}@pruning.first_epochs={epochs}"
        f"{TEACHER + '@distill.text=data' if text else setting}"
        f"@pruning.epochs_per_step={epochs // 2 if text else epochs}"
    )


def get_config(arg: str = ""):
    if arg not in ("", *ARGUMENTS):
        listed = ", ".join(f":{name}" for name in ARGUMENTS)
        raise UserError(f"--config: unknown argument :{arg}; there are {listed}")
    config = default_config(
        demo_config(train_examples=1280, first_epochs=4, epochs_per_step=4, left=LEFT)
    )
    config.base.model.dtype = "bfloat16"
    config.base.eval.examples = 200
    # Rows with text share the dense phase of those without; the embeddings are frozen, so that it
    # is the same training. What was published of the others was not run so
    config.base.model.active_vocabulary = arg not in ("peers", "labels")
    methods, settings = METHODS if not arg else METHODS[:2], SETTINGS
    if arg == "amounts":
        methods, settings = METHODS[:1], (*SETTINGS, *AMOUNTS)
    elif arg == "others":
        methods, settings = METHODS[:1], ("", TEXT, *OTHERS)
    elif arg == "weights":
        methods, settings = METHODS[:1], ("", *WEIGHTS)
    config.methods = tuple(method + setting for method in methods for setting in settings)
    if arg == "labels":
        config.methods = tuple(labelled(rows, text) for rows in LABELLED for text in ("", TEXT))
    if arg == "peers":
        config.base.pruning.steps, config.base.pruning.explicit = 2, (0.5, 0.25)
        config.baseline = PEERS[0] + CUT_ONLY
        config.methods = tuple(
            f"{method}{scope}{setting}"
            for scope, of_scope in (("", PEERS), ("@pruning.scope=n:4", PEERS[:2]))
            for method in of_scope
            for setting in (CUT_ONLY, ON_TEXT, TEXT)
            if method != PEERS[0] or setting != ON_TEXT  # magnitude measures nothing
        )
    config.tasks = ({"slots": "slots", **OF_HELP}.get(arg, "intents"),)
    config.seeds = (5,) if arg == "weights" else (0, 1, 2, 3, 4)
    config.remaining = config.base.pruning.explicit if arg == "peers" else LEFT[1:]
    if arg in OF_HELP:
        config.base.task.source, config.base.task.data_dir = "folder", f"help_data/{arg}"
        config.base.model.name_or_path = "help_encoder"
        config.base.task.train_examples = 640
        config.base.train.batch_size = 8
        config.base.pruning.first_epochs = 16  # or the teacher is not yet trained
        config.base.eval.languages = ()  # all there are
        config.base.eval.examples = 100
    return config
