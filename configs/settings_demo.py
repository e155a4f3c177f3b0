r"""One structure for all languages or one for each: where is importance to be measured?

    python -m alignreg_jax.sweep --config configs/settings_demo.py
    python -m alignreg_jax.sweeping.settings --config configs/settings_demo.py \
      --workdir runs/settings_demo

Heads and feed-forward units are cut to 50 and 25 %, every layer alike. What a unit is worth is
measured on 96 texts without labels, by what the dense model says of them: of thirty languages
together, or of one language alone, for each of the nine that are evaluated. `structured-taylor`
measures it on 96 labelled English rows. Training is the same for all: English labels, no teacher.
The second command compares each language's own structure with the shared one in that language, and
draws which units two languages share.

A schedule that two CPU cores can bear: 1280 training rows, 160 dense steps, 40 after each of two
cuts, 200 test rows of each of ten languages. Bundled encoder and intents.

Computes in bfloat16, which is faster on a CPU that has instructions for it (avx512_bf16 in
/proc/cpuinfo; docs/performance.md); on another one --config.base.model.dtype=float32 is.

Hardware: 2 CPU cores; 55 runs of 2 minutes on one of them. docs/results/settings_demo has three
seeds.
"""

from alignreg_jax.config import DEMO_LANGUAGES
from alignreg_jax.errors import UserError
from alignreg_jax.sweeping.starts import default_config, demo_config

SIZES = (0.5, 0.25)
ON_TEXT = (
    "structured-taylor@pruning.gradients_on=text@distill.text=data@distill.text_share=0"
    "@distill.weight=0"
)


def get_config(arg: str = ""):
    if arg:
        raise UserError(f"--config: unknown argument :{arg}; there is none")
    config = default_config(
        demo_config(train_examples=1280, first_epochs=4, epochs_per_step=1, left=SIZES)
    )
    config.base.pruning.gradient_batches = 3
    config.base.model.dtype = "bfloat16"
    config.base.eval.examples = 200
    languages = [language for language in DEMO_LANGUAGES if language != "en"]
    config.methods = (
        "structured-taylor",
        ON_TEXT,
        *(f"{ON_TEXT}@distill.text_languages=({language},)" for language in languages),
    )
    config.baseline = "structured-taylor"
    config.tasks = ("intents",)
    config.seeds = (0, 1, 2, 3, 4)
    config.remaining = SIZES
    return config
