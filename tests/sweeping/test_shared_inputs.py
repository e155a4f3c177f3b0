"""What runs share is read once, and is what each would have read alone."""

from collections import Counter
from dataclasses import replace

import jax
import numpy as np
import pytest
import tiny

from alignreg_jax.config import (
    EvalConfig,
    ExperimentConfig,
    ModelConfig,
    PruningConfig,
    TaskConfig,
    TrainConfig,
)
from alignreg_jax.models import checkpoints
from alignreg_jax.run import inputs as reading
from alignreg_jax.run import rows
from alignreg_jax.run.cache import Cache
from alignreg_jax.run.inputs import check_inputs, load_inputs


@pytest.fixture(scope="module")
def world(mixed_world):
    return mixed_world


@pytest.fixture
def config(world):
    return ExperimentConfig(
        model=ModelConfig(name_or_path=str(world.encoder)),
        task=TaskConfig(name="folder", source="folder", data_dir=str(world.data)),
        train=TrainConfig(batch_size=8),
        pruning=PruningConfig(steps=2, first_epochs=15, scope="layer"),
        eval=EvalConfig(batch_size=8),
    )


@pytest.fixture
def counted(monkeypatch):
    """How often each thing was read."""
    found = Counter()
    for module, name in (
        (rows.sources, "load"),
        (reading.checkpoints, "load"),
        (reading.places, "encoder"),
        (reading.encoding, "load_tokenizer"),
        (reading, "_encode"),
    ):
        real = getattr(module, name)

        label = f"{module.__name__.rpartition('.')[2]}.{name}"

        def count(*arguments, real=real, label=label, **named):
            found[label] += 1
            return real(*arguments, **named)

        monkeypatch.setattr(module, name, count)
    return found


def assert_equal(ours, alone):
    for mine, theirs in zip(jax.tree.leaves(ours), jax.tree.leaves(alone), strict=True):
        assert mine.dtype == theirs.dtype
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("head", ["dense-tanh-out", "linear"])
def test_another_seed_is_bit_for_bit_what_it_is_alone(world, head):
    def load(seed):
        return checkpoints.load(world.encoder, head=head, labels=tiny.LABELS, seed=seed)

    first = load(0)
    for seed in (1, 7, 0):
        ours, alone = checkpoints.with_seed(first, head=head, seed=seed), load(seed)
        assert jax.tree.structure(ours.params) == jax.tree.structure(alone.params)
        assert_equal(ours.params, alone.params)
        assert (ours.skipped, ours.initialised) == (alone.skipped, alone.initialised)
    kernel = first.params["head"]["out"]["kernel"]
    assert not np.array_equal(kernel, load(1).params["head"]["out"]["kernel"])


def test_read_once_for_all_seeds_and_methods(config, counted, caplog, capsys):
    caplog.set_level("INFO")
    cache = Cache()
    assert check_inputs(config, cache).steps_per_epoch == tiny.ROWS["train"] // 8
    assert "checkpoints.load" not in counted
    found = [
        load_inputs(replace(config, seed=seed, method=method), cache)
        for seed in (0, 1)
        for method in ("l2-mbp", "lamp")
    ]
    assert set(counted.values()) == {1}
    assert len(counted) == 5
    assert capsys.readouterr().err.count("tokenising") == 2  # one bar's first and last line
    assert caplog.text.count("not in the checkpoint, so drawn from the seed") == 1
    first, other = found[0], found[-1]
    assert first.train is other.train
    assert embedding(first) is embedding(other)
    alone = load_inputs(replace(config, seed=1))
    assert_equal(other.encoder.params, alone.encoder.params)
    assert_equal([e.ids for e in other.evaluation.values()],
                 [e.ids for e in alone.evaluation.values()])  # fmt: skip


def embedding(inputs):
    return jax.tree.leaves(inputs.encoder.params["embeddings"])[0]


def test_what_differs_is_read_again(config, counted, world, tmp_path):
    cache = Cache()
    load_inputs(config, cache)
    shorter = load_inputs(replace(config, task=replace(config.task, max_length=8)), cache)
    assert shorter.train.lengths.max() == 8
    fewer = load_inputs(replace(config, task=replace(config.task, train_examples=11)), cache)
    assert fewer.train.rows == 11
    some = load_inputs(replace(config, eval=replace(config.eval, languages=("de",))), cache)
    assert {language for _, language in some.evaluation} == {"de"}
    assert counted["checkpoints.load"] == 1
    linear = load_inputs(replace(config, model=replace(config.model, head="linear")), cache)
    assert "dense" not in linear.encoder.params["head"]
    assert counted["checkpoints.load"] == 2


def test_pieces_are_of_the_rows_they_stand_beside(config, world, tmp_path):
    """A file changes while a sweep runs, and has been read again for some reason."""
    data = tiny.copy(world.data, tmp_path / "data")
    config = replace(config, task=replace(config.task, data_dir=str(data)))
    cache = Cache()
    before = load_inputs(config, cache)
    path = data / "de.test.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[::-1]))
    check_inputs(replace(config, eval=replace(config.eval, languages=("sw",))), cache)
    after, alone = load_inputs(config, cache), load_inputs(config)
    key = "test", "de"
    assert after.gold[key].text_a == before.gold[key].text_a[::-1]
    assert_equal(after.evaluation[key].ids, alone.evaluation[key].ids)
    assert after.digests == alone.digests != before.digests


def test_only_the_latest_is_kept():
    cache = Cache()
    reads = []

    def read(value):
        return lambda: reads.append(value) or value

    assert [cache("kind", key, read(key)) for key in (1, 1, 2, 1)] == [1, 1, 2, 1]
    assert reads == [1, 2, 1]
    assert cache("other", 2, read(5)) == 5
    assert cache("kind", 1, read(6)) == 1
