"""What keeps the languages: every way of pruning, without a teacher, with one on English, on text.

    python tools/build_help_data.py help_data
    python tools/build_demo_encoder.py help_data help_encoder --limit 0
    python -m alignreg_jax.sweep --config configs/study.py --shard 1/4

Eleven ways of pruning at 31 and 10 % of the encoder's weights, on four tasks: voice commands
(intents, slots: ten languages) and GNOME's help (topics, tags: all languages that have 100 rows).
Settings as in configs/distillation_demo.py: 640 steps of 32 rows, on help 2240 of 8, 1280 of them
dense. What is asked of it, and how it is tested, was written down before the first run:
docs/results/study/README.md.

`:intents`, `:slots`, `:topics` and `:tags` are one of the tasks and the nine rows that the
hypotheses compare, with five seeds, on help three; every step's model is kept, for
tools/equal_time.py.

Computes in bfloat16, which is faster on a CPU that has instructions for it (avx512_bf16 in
/proc/cpuinfo; docs/performance.md); on another one --config.base.model.dtype=float32 is.

Hardware: 2 CPU cores; 660 runs of 5 minutes on one of them, 28 hours on both. They go on where they
stopped, and --shard divides them. docs/results/study says what is done.

`:xglue` is the same on XLM-R base and four of XGLUE's tasks, for who has them and GPUs or TPUs:

    python -m alignreg_jax.sweep --config configs/study.py:xglue --list

to see what there is to do, and with --config.base.task.data_dir=XGLUE instead of --list to do it:
four epochs before the first of the three cuts, two after each. Text is yours to collect:
XGLUE/XNLI/<lang>.unlabelled.jsonl with text and text_pair, XGLUE/PAWSX likewise, and XGLUE/NER and
POS with a tokenised sentence a line of <lang>.unlabelled.txt. `benchmarks/sweep_hours.py` says what
it takes. Not run, here or elsewhere.
"""

from alignreg_jax.config import paper_config
from alignreg_jax.errors import UserError
from alignreg_jax.sweeping.starts import DEMO_LEFT, default_config, demo_config

CUT = (
    *("l2-mbp", "frobenius-mbp", "cosine-mbp", "gradient-mbp", "wanda", "sparsegpt"),
    *("movement-penalty", "smp-s", "structured-taylor", "structured-fisher"),
)
LEFT = (DEMO_LEFT[0], DEMO_LEFT[1], DEMO_LEFT[3])
TEACHER, TEXT = "@distill.teacher=dense", "@distill.text=data"
ANCHORS, UNITS = CUT[:3], CUT[-2:]  # what the hypotheses compare, and elastic
XGLUE = ("xnli", "pawsx", "ner", "pos@train.learning_rate=2e-5")


def cut(method: str, setting: str, epochs: int) -> str:
    """An epoch with text is half text, and twice as long."""
    if TEXT not in setting:
        return method + setting
    return f"{method}{setting}@pruning.epochs_per_step={epochs // 2}"


def elastic(setting: str, epochs: int) -> str:
    """One training for both sizes, as long as the three phases of the others."""
    epochs = len(LEFT) * epochs // (2 if TEXT in setting else 1)
    sizes = ",".join(f"{size:.4g}" for size in (1, *LEFT[1:]))
    return f"elastic@pruning.sizes=({sizes}){setting}@pruning.epochs_per_step={epochs}"


def of_help(task: str, kind: str) -> str:
    """A task on help_data, with the encoder that has its pieces; fewer and longer rows a step."""
    return (
        f"{kind}@task.source=folder@task.data_dir=help_data/{task}"
        "@model.name_or_path=help_encoder@task.train_examples=640@train.batch_size=8"
        "@pruning.first_epochs=16"
        "@eval.examples=100@eval.languages=()"
    )


TASKS = {
    **{"intents": "intents", "slots": "slots"},
    **{"topics": of_help("topics", "folder"), "tags": of_help("tags", "tokens")},
}


def get_config(arg: str = ""):
    if arg not in ("", "xglue", *TASKS):
        known = ", ".join(f":{name}" for name in (*TASKS, "xglue"))
        raise UserError(f"--config: unknown argument :{arg}; there are {known}")
    if arg == "xglue":
        config = default_config(paper_config("xnli"))
        config.base.task.source, config.tasks = "folder", XGLUE
        config.base.pruning.schedule, config.base.pruning.steps = "explicit", len(LEFT)
        config.base.pruning.explicit = LEFT
        config.base.pruning.first_epochs, config.base.pruning.epochs_per_step = 4, 2
    else:
        config = default_config(
            demo_config(train_examples=1280, first_epochs=4, epochs_per_step=4, left=LEFT)
        )
        config.base.eval.examples = 200
        # The embeddings are frozen, so that it is the same training, and rows with text share the
        # dense phase of those without
        config.base.model.active_vocabulary = False
        config.tasks = (TASKS[arg],) if arg else tuple(TASKS.values())
    config.base.model.dtype = "bfloat16"
    epochs, settings = config.base.pruning.epochs_per_step, ("", TEACHER, TEACHER + TEXT)
    config.methods = (
        *(cut(method, setting, epochs) for method in CUT for setting in settings),
        *(elastic(setting, epochs) for setting in settings),
    )
    if arg in TASKS:
        text = TEACHER + TEXT
        config.methods = (
            *(cut(method, setting, epochs) for method in ANCHORS for setting in ("", text)),
            *(cut(method, text, epochs) for method in UNITS),
            elastic(text, epochs),
        )
        config.base.export = "steps"
    config.seeds = (0, 1, 2) if arg in ("topics", "tags") else (0, 1, 2, 3, 4)
    config.remaining = LEFT[1:]
    return config
