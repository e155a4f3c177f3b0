"""XNLI as in the paper: XLM-R base, English only, 10 % of the survivors pruned every 15 epochs.

    python -m alignreg_jax.main --config configs/xnli.py --config.method=l2-mbp
    python -m alignreg_jax.main --config configs/xnli.py:short          3 dense epochs, 1 per step

Batch 32, rate 5e-6, 256 pieces, 13 x 15 epochs of 12,272 steps (paper, section 4); Table 1 is read
at prune step 11, 31 % remaining. The paper's accuracies there: 73.48 dense, 64.30 l2-mbp, 66.20
cosine-mbp, 65.71 frobenius-mbp. It does not say whether these are of dev or test sets, or whether
the mean over languages includes English; XGLUE's is over all 15.

Read from the Hub, facebook/xnli; --config.task.data_dir=XGLUE reads XGLUE's folder or .tar.gz.

Hardware: a GPU or TPU. The paper's schedule is 2.4 million steps; `:short` is 184 thousand.
"""

from alignreg_jax.config import paper_config


def get_config(arg: str = ""):
    return paper_config("xnli", arg)
