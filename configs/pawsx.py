"""PAWS-X as in the paper: XLM-R base, English only, 10 % of the survivors pruned every 15 epochs.

    python -m alignreg_jax.main --config configs/pawsx.py --config.method=l2-mbp
    python -m alignreg_jax.main --config configs/pawsx.py:short          3 dense epochs, 1 per step

Batch 32, rate 5e-6, 256 pieces, 13 x 15 epochs of 1,544 steps (paper, section 4); Table 1 is read
at prune step 11, 31 % remaining. The paper's accuracies there: 89.24 dense, 77.99 l2-mbp, 78.45
cosine-mbp, 78.78 frobenius-mbp. It does not say whether these are of dev or test sets, or whether
the mean over languages includes English; XGLUE's is over all 4.

Read from google-research-datasets/paws-x on the Hub; --config.task.data_dir=XGLUE reads XGLUE's
folder or .tar.gz.

Hardware: a GPU or TPU. The paper's schedule is 301 thousand steps; `:short` is 23 thousand.
"""

from alignreg_jax.config import paper_config


def get_config(arg: str = ""):
    return paper_config("pawsx", arg)
