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

from alignreg_jax.config import demo_config
from alignreg_jax.errors import UserError


def get_config(arg: str = ""):
    if arg:
        raise UserError(f"--config: unknown argument :{arg}; there is none")
    config = demo_config("pos_tags")
    config.task.source = "folder"
    config.task.strip_space_marker = ("th", "zh")  # as XGLUE's baseline
    config.eval.every_phase_languages = ()  # whatever there is
    return config
