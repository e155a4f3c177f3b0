"""QAM, does a passage answer a question, as in the paper: XLM-R base, English only.

    python -m alignreg_jax.main --config configs/qam.py --config.task.data_dir=XGLUE
    python -m alignreg_jax.main --config configs/qam.py:short ...       3 dense epochs, 1 per step

Batch 32, rate 5e-6, 256 pieces, 10 % of the survivors pruned after every 15 epochs of 3,125 steps,
12 times, after 15 without (paper, section 4); Table 1 is read at prune step 11, 31 % remaining. The
paper's accuracies there: 68.56 dense, 59.24 l2-mbp, 57.56 cosine-mbp, 61.62 frobenius-mbp. It does
not say whether these are of dev or test sets, or whether the mean over languages includes English;
XGLUE's is over all 3.

XGLUE is the folder, its parent or the .tar.gz from https://microsoft.github.io/XGLUE/, where its
terms are; --config.task.source=hub reads a third party's copy on the Hub instead, hgissbkh/xglue.

Hardware: a GPU or TPU. The paper's schedule is 609 thousand steps; `:short` is 47 thousand.
"""

from alignreg_jax.config import paper_config


def get_config(arg: str = ""):
    return paper_config("qam", arg)
