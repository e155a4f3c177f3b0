r"""A tag for every word, from any folder of token JSONL, with the bundled encoder.

    python -m alignreg_jax.main --config configs/ud_pos.py --config.task.data_dir=ud_pos
    python -m alignreg_jax.main --config configs/ud_pos.py --config.task.data_dir=ner \
      --config.task.name=tokens                                             tags of spans: B-, I-, O

The folder holds <lang>.<train|dev|test>.jsonl, en.train and en.dev among them, of rows
{"tokens": [...], "tags": [...]}, such as Universal Dependencies converted. Scored as accuracy over
words, with XGLUE's chunk precision beside it. The bundled vocabulary is that of the bundled texts:
for figures that mean something start from --config.model.name_or_path=FacebookAI/xlm-roberta-base.

Hardware: 2 CPU cores.
"""

from alignreg_jax.config import default_config
from alignreg_jax.errors import UserError


def get_config(arg: str = ""):
    if arg:
        raise UserError(f"--config: unknown argument :{arg}; there is none")
    config = default_config()
    config.method = "frobenius-mbp"
    config.model.name_or_path = "demo"
    config.model.unroll = 12  # every layer: slower to compile, faster to run
    config.task.name = "pos_tags"
    config.task.source = "folder"
    config.task.strip_space_marker = ("th", "zh")  # as XGLUE's baseline
    config.train.learning_rate = 1e-4
    config.train.warmup_steps = 20
    config.train.freeze = ("embeddings",)
    config.pruning.steps = 4
    config.pruning.final = 0.3138
    config.pruning.first_epochs = 3
    config.pruning.epochs_per_step = 1
    config.eval.splits = ("test",)
    return config
