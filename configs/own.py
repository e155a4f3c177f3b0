"""Your own data: a folder, an encoder, and the rest as what was measured says.

    python -m alignreg_jax.main --config configs/own.py:data --workdir runs/mine
    alignreg own data --workdir runs/mine                                     the same

The folder, here data, holds <lang>.<train|dev|test>.jsonl, en.train and en.dev among them, of rows
with text and label, two texts (text_pair), or tokens and tags; what its first rows are decides over
the task. Beside them may lie <lang>.unlabelled.jsonl or .txt: then the dense model teaches the
smaller ones on those sentences, which kept languages where it was measured
(docs/results/distillation_demo).

`elastic`: one training, and a model of every size between the whole and a quarter, so that
`alignreg deploy runs/mine --out served --languages de,fr --max-mb 60` can choose. English alone is
trained on. The rate is XLM-R's usual one for fine-tuning; a small encoder takes more
(--config.train.learning_rate=1e-4). Another encoder: --config.model.name_or_path=FOLDER-OR-HUB-ID.

Hardware: a GPU for XLM-R base; 2 CPU cores for encoders of multilingual-e5-small's size.
"""

from alignreg_jax.config import own_config as get_config  # noqa: F401
