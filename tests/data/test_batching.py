import time
from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alignreg_jax.data.batching import (
    PADDING_ROW,
    bucket_edges,
    epoch_plan,
    evaluation_plan,
    split,
)

EDGES = bucket_edges(64)
MANY = settings(deadline=None, max_examples=150)

row_lengths = st.lists(st.integers(1, 64), max_size=200).map(lambda x: np.array(x, np.int32))
sizes = {"batch_size": st.integers(1, 9), "steps_per_dispatch": st.integers(1, 5)}
seeds = st.integers(0, 2**63)
epochs = {"data_seed": seeds, "epoch": st.integers(0, 1000), "seed": seeds}


def plan_epoch(lengths, batch_size=4, steps_per_dispatch=3, data_seed=0, epoch=0, **rest):
    return epoch_plan(
        lengths,
        batch_size=batch_size,
        steps_per_dispatch=steps_per_dispatch,
        edges=EDGES,
        data_seed=data_seed,
        epoch=epoch,
        **rest,
    )


def shapes(plan):
    return [(dispatch.length, *dispatch.rows.shape) for dispatch in plan]


def batches(plan):
    return [(dispatch.length, batch) for dispatch in plan for batch in dispatch.rows]


def edge_of(length):
    return min(edge for edge in EDGES if edge >= length)


def assert_sound(plan, lengths, batch_size, steps_per_dispatch):
    rows = np.concatenate([batch for _, batch in batches(plan)]) if plan else np.empty(0, int)
    assert sorted(rows[rows != PADDING_ROW]) == list(range(len(lengths)))
    for length, batch in batches(plan):
        assert all(lengths[row] <= length for row in batch if row != PADDING_ROW)
    for dispatch in plan:
        assert dispatch.rows.dtype == np.int32
        assert dispatch.length in EDGES
        assert 1 <= dispatch.rows.shape[0] <= steps_per_dispatch
        assert dispatch.rows.shape[1] == batch_size
    missing = -len(lengths) % batch_size
    assert list(np.flatnonzero(rows == PADDING_ROW)) == list(range(len(rows) - missing, len(rows)))


def test_bucket_edges_rise_to_the_longest_row_allowed():
    assert bucket_edges(512) == (8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
    assert bucket_edges(100) == (8, 12, 16, 24, 32, 48, 64, 96, 100)
    assert bucket_edges(8) == (8,)
    assert bucket_edges(5) == (5,)
    assert bucket_edges(40, per_doubling=4) == (8, 10, 12, 14, 16, 20, 24, 28, 32, 40)
    assert bucket_edges(100, per_doubling=1) == (8, 16, 32, 64, 100)


@MANY
@given(row_lengths, st.sampled_from(["length", "none"]), st.fixed_dictionaries(sizes | epochs))
def test_every_row_exactly_once_and_only_the_last_batch_is_partial(lengths, bucketing, options):
    plan = plan_epoch(lengths, bucketing=bucketing, **options)
    assert_sound(plan, lengths, options["batch_size"], options["steps_per_dispatch"])


@MANY
@given(row_lengths, st.integers(1, 9), st.integers(0, 50))
def test_what_a_bucket_has_left_over_moves_up_to_the_next(lengths, batch_size, data_seed):
    plan = plan_epoch(lengths, batch_size=batch_size, data_seed=data_seed)
    own = Counter(edge_of(length) for length in lengths)
    carried, expected, moved = 0, Counter(), Counter()
    for edge in sorted(own):
        pool = carried + own[edge]
        last = edge == max(own)
        expected[edge] = -(-pool // batch_size) if last else pool // batch_size
        if expected[edge]:  # carried rows come first, so a bucket with a batch uses them up
            moved[edge] = carried
        carried = pool - expected[edge] * batch_size
    assert Counter(length for length, _ in batches(plan)) == +expected
    from_below = Counter()
    for length, batch in batches(plan):
        rows = batch[batch != PADDING_ROW]
        from_below[length] += sum(edge_of(lengths[row]) < length for row in rows)
    assert +from_below == +moved


@MANY
@given(row_lengths, st.integers(1, 40), st.fixed_dictionaries(sizes | epochs))
def test_an_epoch_is_shuffled_in_parts_as_far_as_its_batches_suffice(lengths, parts, options):
    plan = plan_epoch(lengths, parts=parts, **options)
    assert_sound(plan, lengths, options["batch_size"], options["steps_per_dispatch"])
    steps = sum(len(dispatch.rows) for dispatch in plan)
    assert len(plan) >= min(parts, steps)
    longest = max((len(dispatch.rows) for dispatch in plan), default=0)
    assert longest <= max(1, steps // parts)
    # The same batches, whatever the parts are
    others = plan_epoch(lengths, **options)
    assert sorted(map(str, batches(plan))) == sorted(map(str, batches(others)))


def test_rows_of_one_length_do_not_have_the_end_of_a_short_epoch_to_themselves():
    """As of two languages, one of short words: 32 steps each, in dispatches of 16."""
    lengths = np.repeat([5, 10], 32 * 4).astype(np.int32)
    ends = {1: 0, 32: 0}
    for epoch in range(20):
        for parts in ends:
            plan = plan_epoch(lengths, steps_per_dispatch=16, epoch=epoch, parts=parts)
            last = [length for length, _ in batches(plan)][-16:]
            ends[parts] += len(set(last)) == 1
    assert ends[1] == 20
    assert ends[32] == 0


@MANY
@given(row_lengths, st.fixed_dictionaries(sizes | epochs), st.randoms())
def test_shapes_do_not_depend_on_the_order_of_the_rows(lengths, options, random):
    order = list(range(len(lengths)))
    random.shuffle(order)
    others = np.array([edge_of(length) for length in lengths[order]], np.int32)  # same buckets
    assert shapes(plan_epoch(lengths, **options)) == shapes(plan_epoch(others, **options))


@MANY
@given(row_lengths, st.fixed_dictionaries(sizes | epochs), seeds)
def test_seeds_see_the_same_shapes(lengths, options, seed):
    other = plan_epoch(lengths, **{**options, "seed": seed})
    assert shapes(plan_epoch(lengths, **options)) == shapes(other)


@MANY
@given(row_lengths, st.fixed_dictionaries(sizes | epochs), st.integers(-9, 60))
def test_a_split_begins_a_dispatch_and_changes_nothing_else(lengths, options, step):
    plan = plan_epoch(lengths, **options)
    found = split(plan, step)
    assert [length for length, _ in batches(found)] == [length for length, _ in batches(plan)]
    for (_, ours), (_, before) in zip(batches(found), batches(plan), strict=True):
        np.testing.assert_array_equal(ours, before)
    starts = np.cumsum([0, *(len(dispatch.rows) for dispatch in found)])
    assert step in starts or not 0 <= step <= starts[-1]
    assert len(plan) <= len(found) <= len(plan) + 1
    assert all(len(dispatch.rows) for dispatch in found)


def test_seeds_see_other_batches():
    lengths = np.random.default_rng(0).integers(1, 65, 1000)
    together = [
        {frozenset(batch.tolist()) for _, batch in batches(plan_epoch(lengths, seed=seed))}
        for seed in range(3)
    ]
    for one, other in combinations(together, 2):
        assert len(one & other) < 5  # of 250


def test_the_plan_is_a_function_of_data_seed_and_epoch():
    lengths = np.random.default_rng(0).integers(1, 65, 1000)
    first = plan_epoch(lengths, data_seed=7, epoch=3)
    again = plan_epoch(lengths, data_seed=7, epoch=3)
    assert shapes(first) == shapes(again)
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.rows, other.rows)
    for options in ({"data_seed": 8, "epoch": 3}, {"data_seed": 7, "epoch": 4}):
        assert shapes(plan_epoch(lengths, **options)) != shapes(first)
    swapped = plan_epoch(lengths, data_seed=3, epoch=7)
    assert shapes(swapped) != shapes(first)


def test_dispatches_are_shuffled_and_as_full_as_they_can_be():
    lengths = np.random.default_rng(0).integers(1, 65, 1003)
    plan = plan_epoch(lengths, batch_size=4, steps_per_dispatch=3)
    order = [dispatch.length for dispatch in plan[:-1]]
    assert order != sorted(order)
    short = Counter(dispatch.length for dispatch in plan if len(dispatch.rows) < 3)
    assert max(short.values()) == 1
    assert plan[-1].length == 64
    assert (plan[-1].rows[-1] == PADDING_ROW).sum() == 1


def test_rows_are_permuted_uniformly_inside_their_bucket():
    lengths = np.full(40, 5)
    together = sum(
        any({0, 1} <= set(batch) for _, batch in batches(plan_epoch(lengths, epoch=epoch)))
        for epoch in range(2000)
    )
    assert together / 2000 == pytest.approx(3 / 39, abs=0.02)  # 3 neighbours among 39 rows


def test_without_buckets_batches_are_uniform_at_one_length():
    lengths = np.repeat([5, 30], 400)
    plan = plan_epoch(lengths, batch_size=8, bucketing="none")
    assert {dispatch.length for dispatch in plan} == {32}
    long_rows = [(lengths[batch] == 30).sum() for _, batch in batches(plan)]
    assert np.mean(long_rows) == 4
    assert np.var(long_rows) == pytest.approx(8 / 4, rel=0.5)  # hypergeometric, nearly binomial


@MANY
@given(row_lengths, st.fixed_dictionaries(sizes))
def test_evaluation_takes_every_row_once_in_as_few_short_batches_as_possible(lengths, options):
    plan = evaluation_plan(lengths, edges=EDGES, **options)
    assert_sound(plan, lengths, **options)
    found = batches(plan)
    assert len(found) == -(-len(lengths) // options["batch_size"])
    for length, batch in found:
        assert length == edge_of(max(lengths[row] for row in batch if row != PADDING_ROW))
    assert [length for length, _ in found] == sorted(length for length, _ in found)


def test_a_row_longer_than_the_last_edge_is_refused():
    with pytest.raises(ValueError, match="65 tokens"):
        plan_epoch(np.array([3, 65]))


def test_four_hundred_thousand_rows_are_planned_in_a_moment():
    lengths = np.random.default_rng(0).integers(3, 257, 400_000).astype(np.int32)
    edges = bucket_edges(256)
    start = time.process_time()
    options = {"batch_size": 32, "steps_per_dispatch": 8, "edges": edges}
    epoch_plan(lengths, data_seed=0, epoch=0, **options)
    evaluation_plan(lengths, **options)
    assert time.process_time() - start < 1.0
