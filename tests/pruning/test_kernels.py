import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alignreg_jax.pruning import kernels as kernels_lib
from alignreg_jax.pruning.kernels import KERNELS


def xlmr_tree(leaf=lambda name: name):
    """A parameter tree with the paths of XLM-R; every leaf is made from its path."""
    names = ("query", "key", "value", "output")
    dense = lambda path: {"kernel": leaf(f"{path}/kernel"), "bias": leaf(f"{path}/bias")}  # noqa: E731
    attention = {name: dense(f"encoder/attention/{name}") for name in names}
    attention["layer_norm"] = {"scale": leaf("encoder/attention/layer_norm/scale")}
    return {
        "embeddings": {"word": {"embedding": leaf("embeddings/word/embedding")}},
        "encoder": {
            "attention": attention,
            "intermediate": dense("encoder/intermediate"),
            "output": dense("encoder/output"),
            "layer_norm": {"scale": leaf("encoder/layer_norm/scale")},
        },
        "head": {"dense": dense("head/dense"), "out": dense("head/out")},
    }


def paths(tree):
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in leaves}


def test_split_takes_the_six_encoder_kernels_and_nothing_else():
    kernels, rest = kernels_lib.split(xlmr_tree())
    assert kernels == {name: f"encoder/{name}/kernel" for name in KERNELS}
    assert list(kernels) == list(KERNELS)
    assert paths(rest) == paths(xlmr_tree()) - {f"encoder/{name}/kernel" for name in KERNELS}


def test_merge_undoes_split_and_neither_changes_its_input():
    params = xlmr_tree()
    kernels, rest = kernels_lib.split(params)
    assert kernels_lib.merge(kernels, rest) == params == xlmr_tree()
    pruned = {name: f"pruned {name}" for name in KERNELS}
    assert kernels_lib.split(kernels_lib.merge(pruned, rest))[0] == pruned
    assert "kernel" not in rest["encoder"]["output"]


def test_split_shares_leaves_that_are_not_pruned():
    params = xlmr_tree(lambda path: np.zeros(3))
    kernels, rest = kernels_lib.split(params)
    merged = kernels_lib.merge({name: kernel + 1 for name, kernel in kernels.items()}, rest)
    assert merged["embeddings"]["word"]["embedding"] is params["embeddings"]["word"]["embedding"]
    assert merged["encoder"]["output"]["bias"] is params["encoder"]["output"]["bias"]
    assert merged["encoder"]["output"]["kernel"][0] == 1


def test_merge_works_on_the_kernels_alone():
    kernels = {name: name for name in KERNELS}
    assert kernels_lib.split(kernels_lib.merge(kernels, {}))[0] == kernels


def test_split_inside_jit_keeps_names_with_their_arrays(shapes):
    params = xlmr_tree(lambda path: jnp.float32(sum(map(ord, path))))
    kernels = jax.jit(lambda tree: kernels_lib.split(tree)[0])(params)
    for name in KERNELS:
        assert kernels[name] == sum(map(ord, f"encoder/{name}/kernel"))


def test_sizes_of_xlmr_base(xlmr_base):
    square, tall, wide = (12, 768, 768), (12, 3072, 768), (12, 768, 3072)
    shapes = dict.fromkeys(KERNELS, square) | {"intermediate": wide, "output": tall}
    tree = {name: jax.ShapeDtypeStruct(shape, jnp.float32) for name, shape in shapes.items()}
    assert kernels_lib.sizes(tree) == xlmr_base
    assert sum(layers for layers, _ in xlmr_base.values()) == 72
    assert sum(layers * weights for layers, weights in xlmr_base.values()) == 84_934_656


def test_a_tree_without_the_kernels_is_a_bug_that_shows():
    with pytest.raises(KeyError, match="encoder"):
        kernels_lib.split({"embeddings": {}})
