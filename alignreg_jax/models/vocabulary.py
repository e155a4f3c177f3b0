"""Train on the rows of the word embedding that the data use; put the others back for the export.

XLM-R's table has 250,002 rows and a fine-tuning set uses a fraction of them. No gradient ever
reaches the others, yet they are most of what the optimizer would read and write. All that training
would do to them is weight decay, which is computed at the end: exactly, while float32 training
would round it in every step (optimizers.shrinkage).
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from flax import traverse_util
from jaxtyping import Float, Int

from alignreg_jax.data.encoding import Encoded
from alignreg_jax.models.xlmr import Params, XlmrConfig
from alignreg_jax.support import processes

PATH = "embeddings/word/embedding"


@dataclass(frozen=True, eq=False)
class ActiveVocabulary:
    """The rows in use: row i of the cut table is row `rows[i]` of the whole one.

    `rows` rises and begins with 0, 1, ... up to the padding's, which therefore keeps its number:
    positions are counted from it.
    """

    rows: Int[np.ndarray, " active"]

    @classmethod
    def of(cls, data: Iterable[Encoded], pad_token_id: int) -> "ActiveVocabulary":
        """The rows that some data sets use."""
        used = [np.arange(pad_token_id + 1), *(np.unique(encoded.ids) for encoded in data)]
        return cls(np.unique(np.concatenate(used)))

    def encode(self, encoded: Encoded) -> Encoded:
        """The same rows of data in numbers of the cut table; all their pieces are in it."""
        return replace(encoded, ids=np.searchsorted(self.rows, encoded.ids).astype(np.int32))

    def config(self, whole: XlmrConfig) -> XlmrConfig:
        """The architecture with the cut table."""
        return replace(whole, vocab_size=len(self.rows))

    def cut(self, params: Params) -> Params:
        """Parameters with the rows in use alone; all other arrays are shared."""
        return _with_table(params, _table(params)[self.rows])

    def restore(self, params: Params, pretrained: Params, shrinkage: float) -> dict[str, Any]:
        """Host parameters with the whole table.

        Args:
            params: trained, with the cut table.
            pretrained: what `cut` was given.
            shrinkage: what weight decay leaves of a row that no gradient reaches.
        """
        table = np.multiply(_table(pretrained), np.float32(shrinkage), dtype=np.float32)
        params = processes.fetch(params)
        table[self.rows] = _table(params)
        return _with_table(params, table)


def _table(params: Params) -> Float[np.ndarray, "rows hidden"]:
    leaves: Any = traverse_util.flatten_dict(dict(params), sep="/")
    return leaves[PATH]


def _with_table(params: Params, table: np.ndarray) -> dict[str, Any]:
    leaves: Any = traverse_util.flatten_dict(dict(params), keep_empty_nodes=True, sep="/")
    return traverse_util.unflatten_dict({**leaves, PATH: table}, sep="/")
