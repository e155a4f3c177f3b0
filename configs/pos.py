"""POS, 17 parts of speech, as in the paper: XLM-R base, English only.

    python -m alignreg_jax.main --config configs/pos.py --config.task.data_dir=XGLUE
    python -m alignreg_jax.main --config configs/pos.py:short ...       3 dense epochs, 1 per step

Batch 32, rate 2e-5, 128 pieces, 10 % of the survivors pruned after every 15 epochs of 794 steps, 12
times, after 15 without (paper, section 4); Table 1 is read at prune step 11, 31 % remaining. The
paper's scores there: 80.34 dense, 70.68 l2-mbp, 71.62 cosine-mbp, 71.62 frobenius-mbp. It does not
say whether these are of dev or test sets, or whether the mean over languages includes English;
XGLUE's is over all 18.

XGLUE's score is a precision over runs of equal tags; the accuracy over words stands beside it. A
sixth of the training sentences have "_" for every word: --config.task.drop_blanked leaves them out.
Thai and Chinese pieces lose the mark of a space, as in XGLUE's baseline:
--config.task.strip_space_marker= keeps it.

XGLUE is the folder, its parent or the .tar.gz from https://microsoft.github.io/XGLUE/, where its
terms are; --config.task.source=hub reads a third party's copy on the Hub instead, hgissbkh/xglue.

Hardware: a GPU or TPU. The paper's schedule is 155 thousand steps; `:short` is 12 thousand.
"""

from alignreg_jax.config import paper_config


def get_config(arg: str = ""):
    return paper_config("pos", arg)
