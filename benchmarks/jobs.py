"""What the benchmarks train: an encoder's shape, rows of ids, and batches of them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from alignreg_jax.data.batching import Dispatch, bucket_edges, epoch_plan
from alignreg_jax.data.encoding import Encoded
from alignreg_jax.models.xlmr import XlmrConfig

BASE = XlmrConfig(250002, 768, 12, 12, 3072, 514)
LARGE = replace(BASE, hidden_size=1024, num_layers=24, num_heads=16, intermediate_size=4096)
BATCH, STEPS = 32, 16
EDGES = bucket_edges(256)


@dataclass(frozen=True)
class Job:
    """What both sides train: an encoder from a folder, or a random one of the given shape."""

    config: XlmrConfig
    folder: Path | None
    labels: int
    freeze: tuple[str, ...]
    rows: Encoded
    regularizer: str = "none"
    criterion: str = "magnitude"
    scope: str = "layer"
    mask_every: int = 1  # steps from one choice of learned masks to the next
    unroll: bool = False  # all layers out of the loop; False: as model.unroll=0 has it
    remat: bool = False
    seeds: int = 1
    batch: int = BATCH
    dtype: str = "float32"
    attention_dropout: float = 0.1
    active: int = 0  # rows of the word embedding that ours trains, as in a run; 0: all
    attention: str = "auto"  # cuDNN on a GPU that has it and in bfloat16, as in a run
    norm: str = "plain"
    static_loop: bool = False

    def batches(self, dispatch: Dispatch) -> list[tuple[np.ndarray, ...]]:
        """Each batch as PyTorch gets it: ids padded to its longest row, labels."""
        found = []
        for rows in dispatch.rows:
            rows = rows[rows >= 0]
            lengths = self.rows.lengths[rows]
            columns = np.arange(lengths.max())
            inside = columns < lengths[:, None]
            at = np.where(inside, self.rows.offsets[rows][:, None] + columns, 0)
            ids = np.where(inside, self.rows.ids[at], self.config.pad_token_id)
            found.append((ids.astype(np.int64), inside.astype(np.int64), self.rows.labels[rows]))
        return found


def random_job(config: XlmrConfig, lengths: np.ndarray, active: int = 0) -> Job:
    """Random ids and weights: speed depends on neither. With `active` ids are below that."""
    generator = np.random.default_rng(0)
    total = int(lengths.sum())
    rows = Encoded(
        generator.integers(5, active or config.vocab_size, total).astype(np.int32),
        (np.cumsum(lengths) - lengths).astype(np.int32),
        lengths.astype(np.int32),
        generator.integers(0, 3, len(lengths)).astype(np.int32),
    )
    return Job(config, None, 3, (), rows, active=active)


def pair_lengths(rows: int) -> np.ndarray:
    """Lengths like XNLI's English pairs in XLM-R's pieces: mean near 40, a long tail."""
    drawn = np.random.default_rng(1).gamma(4.0, 10.0, rows)
    return np.clip(drawn, 8, 256).astype(np.int32)


def plan(
    job: Job, dispatches: int, steps: int, bucketed: bool = True, edges: Sequence[int] = EDGES
) -> list[Dispatch]:
    """A sample of an epoch, in its shuffled order; or batches of rows drawn uniformly."""
    whole = epoch_plan(
        job.rows.lengths,
        batch_size=BATCH,
        steps_per_dispatch=STEPS,
        edges=edges,
        data_seed=0,
        epoch=0,
        bucketing="length" if bucketed else "none",
    )
    whole = whole[:-1] or whole  # the last one has padding rows
    return [Dispatch(part.length, part.rows[:steps]) for part in whole[:dispatches]]


def count(plan: Sequence[Dispatch]) -> int:
    """Rows in a plan."""
    return sum(int(np.sum(dispatch.rows >= 0)) for dispatch in plan)
