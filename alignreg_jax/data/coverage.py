"""What tokenising cost each language: pieces that the vocabulary lacks, and rows that were cut.

Scores of a language whose words are mostly `<unk>` say nothing of the encoder, and the table alone
does not show it.
"""

from collections.abc import Mapping

import numpy as np

from alignreg_jax.data.encoding import Encoded

UNKNOWN_SHARE = 0.05  # of a language's pieces
CUT_SHARE = 0.1  # of a language's rows


def notes(
    encoded: Mapping[str, Encoded], unknown: int | None, max_length: int, special: int
) -> list[str]:
    """Lines for the log about the languages that lost much, the hardest hit first.

    Args:
        encoded: tokenised rows by a name for the reader, such as "de.test".
        unknown: the id of `<unk>`; None: the tokenizer has none.
        max_length: most pieces of a row, at which rows were cut.
        special: pieces of a row that are not text.
    """
    lost = {name: _share_unknown(rows, unknown, special) for name, rows in encoded.items()}
    cut = {name: _share_at_limit(rows, max_length) for name, rows in encoded.items()}
    found = []
    if worst := _worst(lost, UNKNOWN_SHARE):
        found.append(
            f"pieces that the tokenizer does not know: {worst}; scores there say little of the"
            " encoder"
        )
    if worst := _worst(cut, CUT_SHARE):
        found.append(f"rows that fill task.max_length={max_length} and may have been cut: {worst}")
    return found


def _share_unknown(rows: Encoded, unknown: int | None, special: int) -> float:
    text = len(rows.ids) - special * rows.rows
    return 0.0 if unknown is None or text <= 0 else int(np.sum(rows.ids == unknown)) / text


def _share_at_limit(rows: Encoded, max_length: int) -> float:
    return float(np.mean(rows.lengths >= max_length)) if rows.rows else 0.0


def _worst(shares: Mapping[str, float], least: float, shown: int = 8) -> str:
    """The names with at least that share, largest first."""
    ranked = sorted(shares.items(), key=lambda item: (-item[1], item[0]))
    chosen = [f"{name} {share:.0%}" for name, share in ranked if share >= least]
    rest = f" and {len(chosen) - shown} more" if len(chosen) > shown else ""
    return ", ".join(chosen[:shown]) + rest
