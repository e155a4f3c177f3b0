"""Which rows are computed together, in which order, at which length: plain host arithmetic.

An epoch is planned before it starts, from the rows' lengths, the seeds and the epoch number alone,
so a resumed run makes the plan again instead of storing it. Two seeds of one data seed see other
rows in the same shapes in the same order, and can be trained side by side.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Int, Int32

PADDING_ROW = -1


@dataclass(frozen=True, eq=False)
class Dispatch:
    """Batches that one call of the compiled step works through.

    Attributes:
        length: tokens that every row is padded to.
        rows: row numbers, [steps, batch]; -1 is a padding row, only in a plan's last batch.
    """

    length: int
    rows: Int32[np.ndarray, "steps batch"]


def bucket_edges(max_length: int, per_doubling: int = 2) -> tuple[int, ...]:
    """Return the lengths rows are padded to: 8, 12, 16, 24, 32, 48, ... up to `max_length`.

    Each edge costs one compilation, and the more there are, the less is padding. `per_doubling` is
    1 to 4; evaluation, whose programs compile in a second, takes 4: 8, 10, 12, 14, 16, 20, ...
    """
    octaves = range(max_length.bit_length())
    ladder = (
        (8 << octave) * (per_doubling + part) // per_doubling
        for octave in octaves
        for part in range(per_doubling)
    )
    return (*(edge for edge in ladder if edge < max_length), max_length)


def epoch_plan(
    lengths: Int[np.ndarray, "rows"],
    *,
    batch_size: int,
    steps_per_dispatch: int,
    edges: Sequence[int],
    data_seed: int,
    epoch: int,
    seed: int = 0,
    bucketing: str = "length",
    parts: int = 1,
) -> list[Dispatch]:
    """Plan one epoch of training; every row is in it exactly once.

    With `bucketing="length"` rows are permuted inside their bucket; what a bucket has left over
    after whole batches goes to the next bucket that holds rows, where it comes first. Batches of
    one bucket form dispatches, which are shuffled. There are `parts` of them or more, as far as
    batches suffice: in a short epoch rows of one length, and so often of one language, would have
    the last word otherwise. The only partial batch, filled up with `PADDING_ROW`, is the epoch's
    last; its dispatch is the last one.

    With `bucketing="none"` batches are drawn uniformly, as in the paper, at the one length that
    holds the longest row.

    The sequence of (length, steps) depends on how many rows each bucket holds, on `data_seed` and
    on `epoch`. Which rows stand together depends on `seed`, too. Seeds are 0 or more.
    """
    # 0 is the stream of the order of dispatches, the others are of rows
    rows = generator(data_seed, epoch, 1 + seed).permutation(len(lengths)).astype(np.int32)
    buckets = _buckets(lengths, edges)
    if bucketing == "none":
        buckets = np.full_like(buckets, buckets.max(initial=0))
    else:
        batches = -(-len(lengths) // batch_size)
        steps_per_dispatch = min(steps_per_dispatch, max(1, batches // parts))
    # A stable sort of permuted rows: each bucket stays a uniform permutation of its rows.
    rows = rows[np.argsort(buckets[rows], kind="stable")]
    plan: list[Dispatch] = []
    carried = rows[:0]
    counts = np.bincount(buckets, minlength=len(edges))
    occupied = np.flatnonzero(counts).tolist()
    for bucket, members in zip(occupied, np.split(rows, np.cumsum(counts[occupied])), strict=False):
        pool = np.concatenate([carried, members])
        whole = len(pool) - len(pool) % batch_size
        carried = pool[whole:]
        if bucket == occupied[-1]:
            whole, carried = len(pool), carried[:0]
        plan += _dispatches(edges[bucket], pool[:whole], batch_size, steps_per_dispatch)
    if bucketing == "none":
        return plan
    partial = len(lengths) % batch_size > 0
    order = generator(data_seed, epoch, 0).permutation(len(plan) - partial)
    return [plan[index] for index in order] + plan[len(plan) - partial :]


def renumbered(plan: Sequence[Dispatch], rows: Int[np.ndarray, " rows"]) -> list[Dispatch]:
    """A plan of some rows, which counts them from 0, with their own numbers."""
    numbers = np.append(rows, PADDING_ROW).astype(np.int32)  # the last is what -1 names
    return [replace(part, rows=numbers[part.rows]) for part in plan]


def split(plan: Sequence[Dispatch], step: int) -> list[Dispatch]:
    """The same batches in the same order, with a dispatch that begins at `step`."""
    parts: list[Dispatch] = []
    for dispatch in plan:
        steps = len(dispatch.rows)
        if 0 < step < steps:
            parts += [replace(dispatch, rows=rows) for rows in np.split(dispatch.rows, [step])]
        else:
            parts.append(dispatch)
        step -= steps
    return parts


def sample(plan: Sequence[Dispatch], batches: int, *, data_seed: int, epoch: int) -> list[Dispatch]:
    """Draw that many whole batches of an epoch, uniformly and without a repeat, or all there are.

    A batch with padding rows is left out unless it is the only one: batches then weigh the same.
    The draw depends on the plan, on `data_seed` and on `epoch` alone.
    """
    places = [(part, step) for part, dispatch in enumerate(plan)
              for step in range(len(dispatch.rows))]  # fmt: skip
    whole = [(part, step) for part, step in places if plan[part].rows[step].min() >= 0]
    places = whole or places
    # Another key than the plan's own
    chosen = generator(data_seed, ~np.uint64(epoch), 0).permutation(len(places))[:batches]
    steps: dict[int, list[int]] = {}
    for part, step in sorted(places[index] for index in chosen):
        steps.setdefault(part, []).append(step)
    return [Dispatch(plan[part].length, plan[part].rows[taken]) for part, taken in steps.items()]


def evaluation_plan(
    lengths: Int[np.ndarray, "rows"],
    *,
    batch_size: int,
    edges: Sequence[int],
    steps_per_dispatch: int,
) -> list[Dispatch]:
    """Plan one pass over all rows from short to long; every row is in it exactly once.

    Each batch is padded to the first edge that holds its longest row, and only the last batch is
    partial: rows of several languages, joined, cost as few batches as they can.
    """
    order = np.argsort(lengths, kind="stable").astype(np.int32)
    starts = np.arange(0, len(order), batch_size)
    longest = order[np.minimum(starts + batch_size, len(order)) - 1]  # the last row of each batch
    buckets = _buckets(lengths[longest], edges)
    plan: list[Dispatch] = []
    for bucket in np.unique(buckets).tolist():
        first, last = np.searchsorted(buckets, [bucket, bucket + 1])
        members = order[first * batch_size : last * batch_size]
        plan += _dispatches(edges[bucket], members, batch_size, steps_per_dispatch)
    return plan


def generator(data_seed: int, epoch: int | np.uint64, stream: int) -> np.random.Generator:
    """Independent numbers for every (data seed, epoch, stream)."""
    key = np.array([data_seed, epoch], np.uint64)
    counter = np.array([0, 0, 0, stream], np.uint64)  # its lowest word is the one that counts up
    return np.random.Generator(np.random.Philox(key=key, counter=counter))


def _buckets(lengths: np.ndarray, edges: Sequence[int]) -> np.ndarray:
    """Return the index of the first edge that holds each row."""
    buckets = np.searchsorted(np.asarray(edges), lengths)
    if buckets.max(initial=0) >= len(edges):
        raise ValueError(f"{lengths.max()} tokens in a row, and the last edge is {edges[-1]}")
    return buckets


def _dispatches(
    length: int, rows: np.ndarray, batch_size: int, steps_per_dispatch: int
) -> Iterator[Dispatch]:
    """Cut rows into batches, the last one filled up, and batches into dispatches."""
    missing = -len(rows) % batch_size
    rows = np.pad(rows, (0, missing), constant_values=PADDING_ROW).reshape(-1, batch_size)
    for start in range(0, len(rows), steps_per_dispatch):
        yield Dispatch(length, rows[start : start + steps_per_dispatch])
