"""WPR, how well a web page answers a query, as in the paper: XLM-R base, English only.

    python -m alignreg_jax.main --config configs/wpr.py --config.task.data_dir=XGLUE
    python -m alignreg_jax.main --config configs/wpr.py:short ...       3 dense epochs, 1 per step

Batch 32, rate 5e-6, 256 pieces, 10 % of the survivors pruned after every 15 epochs of 3,125 steps,
12 times, after 15 without (paper, section 4); Table 1 is read at prune step 11, 31 % remaining. The
paper's nDCG there: 73.32 dense, 71.52 l2-mbp, 72.51 cosine-mbp, 71.48 frobenius-mbp. It does not
say whether these are of dev or test sets, or whether the mean over languages includes English;
XGLUE's is over all 7.

Five grades are five classes, and the one predicted is the gain; MCC, which the caption of the
paper's Figure 5 names, stands beside nDCG.

XGLUE is the folder, its parent or the .tar.gz from https://microsoft.github.io/XGLUE/, where its
terms are; --config.task.source=hub reads a third party's copy on the Hub instead, hgissbkh/xglue.

Hardware: a GPU or TPU. The paper's schedule is 609 thousand steps; `:short` is 47 thousand.
"""

from alignreg_jax.config import paper_config


def get_config(arg: str = ""):
    return paper_config("wpr", arg)
