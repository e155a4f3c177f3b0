"""A mask and a head give the full export again, over their own base alone, in few bytes."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from flax import traverse_util
from safetensors.numpy import load_file, save_file

from alignreg_jax import cli
from alignreg_jax.errors import UserError
from alignreg_jax.models import checkpoints, xlmr
from alignreg_jax.pruning import kernels as prunable
from alignreg_jax.pruning.kernels import KERNELS
from alignreg_jax.run import digests, mask_artefact
from alignreg_jax.run.export import write_export

FORMS = ("dense-tanh-out", "linear", "token")


def draw(shapes, share, seed=0):
    random = np.random.default_rng(seed)
    return {name: random.random(shape, np.float32) < share for name, shape in shapes.items()}


def make_export(
    world, folder, head="linear", share=0.4, seed=0, change=None, source=None, words=()
):
    """What a run leaves that trains a mask and a head over the world's encoder."""
    source = source or world.encoder
    loaded = checkpoints.load(source, head=head, labels=tiny.LABELS, seed=seed, words=words)
    kernels, rest = prunable.split(loaded.params)
    kept = draw({name: kernel.shape for name, kernel in kernels.items()}, share, seed)
    masked = {name: np.where(kept[name], kernels[name], np.float32(0)) for name in KERNELS}
    flat = traverse_util.flatten_dict(prunable.merge(masked, rest), sep="/")
    flat = {path: np.array(leaf) for path, leaf in flat.items()}
    if change:
        change(flat)
    params = traverse_util.unflatten_dict(flat, sep="/")
    options = {"config": loaded.config, "labels": tiny.LABELS, "source": source}
    write_export(folder, params=params, head=head, card="# card é\n", **options)
    return kept


@pytest.fixture
def base(world):
    return mask_artefact.Base.load(world.encoder)


def test_logits_and_files_are_those_of_the_full_export(world, base, tmp_path):
    ids, lengths = jnp.array([[0, 5, 9, 30, 2], [0, 7, 2, 1, 1]]), jnp.array([5, 3])
    for head in FORMS:
        export, out = tmp_path / head / "export", tmp_path / head / "mask"
        kept = make_export(world, export, head)
        mask_artefact.write(out, mask_artefact.difference(base, export))
        found = mask_artefact.read(out)
        assert all(np.array_equal(found.masks[name], kept[name]) for name in KERNELS)
        assert found.labels == tiny.LABELS
        stored = checkpoints.load(export, head=head, labels=tiny.LABELS, seed=9).params
        model = xlmr.XlmrModel(base.config, head, len(tiny.LABELS))
        logits = jax.jit(lambda params, model=model: xlmr.logits(model, params, ids, lengths))
        np.testing.assert_array_equal(logits(base.task(out)), logits(stored))
        mask_artefact.write_model(tmp_path / head / "again", base, found)
        for file in export.iterdir():
            assert (tmp_path / head / "again" / file.name).read_bytes() == file.read_bytes()


def test_tasks_share_all_that_is_not_theirs(world, base, tmp_path):
    for seed in (0, 1):
        make_export(world, tmp_path / f"export{seed}", seed=seed)
        found = mask_artefact.difference(base, tmp_path / f"export{seed}")
        mask_artefact.write(tmp_path / f"mask{seed}", found)
    one, two = (
        traverse_util.flatten_dict(base.task(tmp_path / f"mask{seed}"), sep="/") for seed in (0, 1)
    )
    pretrained = traverse_util.flatten_dict(base.params, sep="/")
    own = {prunable.kernel_path(name) for name in KERNELS}
    for path, leaf in pretrained.items():
        assert (one[path] is leaf and two[path] is leaf) == (path not in own), path
    assert not np.array_equal(one["head/out/kernel"], two["head/out/kernel"])
    again = mask_artefact.Base.load(world.encoder)  # masking has not written to the base
    assert again.digest == digests.of_encoder(base.params, base.config)


def test_a_frozen_head_of_label_words_is_the_bases(world, tmp_path):
    """Of which the words' rows are stored; a head that was trained is stored whole."""
    encoder = tiny.with_lm_head(world, tmp_path / "lm")
    base = mask_artefact.Base.load(encoder)
    words, rows = {"words": ("en0", "en1", "en2"), "source": encoder}, tiny.HIDDEN + 1

    def train(flat):
        flat["head/dense/bias"][0] += 1

    for name, change in (("frozen", None), ("trained", train)):
        export = tmp_path / name / "export"
        make_export(world, export, "label-words", change=change, **words)
        mask_artefact.write(tmp_path / name / "mask", mask_artefact.difference(base, export))
        found = mask_artefact.read(tmp_path / name / "mask")
        stored = sum(leaf.size for leaf in jax.tree.leaves(found.head))
        assert (stored == len(tiny.LABELS) * rows) == (change is None)
        mask_artefact.write_model(tmp_path / name / "again", base, found)
        for file in export.iterdir():
            assert (tmp_path / name / "again" / file.name).read_bytes() == file.read_bytes()
    rewritten = load_file(encoder / "model.safetensors")
    rewritten["lm_head.dense.bias"] += 1
    save_file(rewritten, encoder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match="the language model's head with digest"):
        mask_artefact.Base.load(encoder).task(tmp_path / "frozen" / "mask")


def test_another_base_is_refused_by_both_digests(world, base, tmp_path):
    make_export(world, tmp_path / "export")
    mask_artefact.write(tmp_path / "mask", mask_artefact.difference(base, tmp_path / "export"))
    tiny.copy(world.encoder, tmp_path / "other")
    tensors = load_file(tmp_path / "other" / "model.safetensors")
    tensors["embeddings.LayerNorm.bias"][3] += 1
    save_file(tensors, tmp_path / "other" / "model.safetensors", metadata={"format": "pt"})
    other = mask_artefact.Base.load(tmp_path / "other")
    with pytest.raises(UserError, match=f"{base.digest}.*{other.digest}"):
        other.task(tmp_path / "mask")


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("encoder/attention/value/kernel", (0, 1, 1)),
        ("encoder/layer_norm/scale", (1, 2)),
        ("embeddings/word/embedding", (4, 4)),
    ],
)
def test_a_trained_weight_is_named(world, base, tmp_path, path, place):
    def train(flat):
        flat[path][place] = 0.123

    make_export(world, tmp_path / "export", share=1.0, change=train)
    says = rf"export: {path} is not that of .*encoder \(1 of [\d,]+ values differ\).*train\.freeze"
    with pytest.raises(UserError, match=says):
        mask_artefact.difference(base, tmp_path / "export")


def test_what_is_no_export_or_no_mask(world, base, tmp_path):
    with pytest.raises(UserError, match="not an export of this program"):
        mask_artefact.difference(base, world.encoder)
    make_export(world, tmp_path / "export")
    out = tmp_path / "mask"
    mask_artefact.write(out, mask_artefact.difference(base, tmp_path / "export"))
    tensors = load_file(out / "mask.safetensors")
    damaged = tensors["output"].copy()
    damaged[len(damaged) // 2] ^= 1
    save_file(tensors | {"output": damaged}, out / "mask.safetensors")
    with pytest.raises(UserError, match="mask: not a whole folder of a mask and a head"):
        mask_artefact.read(out)
    (out / "base.json").write_text(json.dumps({"format": "another"}))
    with pytest.raises(UserError, match=r"base\.json: format is 'another'"):
        mask_artefact.read(out)


@pytest.mark.parametrize(("share", "most"), [(0.5, 1.001), (0.31, 0.91), (0.1, 0.49)])
def test_a_task_of_xlmr_base_takes_at_most_11_mb(tmp_path, share, most):
    """Of as many random bits; at 10 % near the entropy of 0.47 bit a weight."""
    square, wide, high = (12, 768, 768), (12, 768, 3072), (12, 3072, 768)
    shapes = dict.fromkeys(KERNELS, square) | {"intermediate": wide, "output": high}
    random = np.random.default_rng(0)
    head = {"out": {"kernel": np.ones((768, 3), np.float32), "bias": np.zeros(3, np.float32)}}
    kept = {
        name: random.integers(0, 256, shape, np.uint8) < round(256 * share)
        for name, shape in shapes.items()
    }
    artefact = mask_artefact.Artefact(kept, head, "linear", ("a", "b", "c"), "0", "0", "# card\n")
    sizes = mask_artefact.write(tmp_path / "mask", artefact)
    assert sizes.total == sum(file.stat().st_size for file in (tmp_path / "mask").iterdir())
    assert sizes.total <= 11_000_000
    assert sizes.mask <= most * artefact.prunable / 8


def test_the_command_goes_there_and_back(world, tmp_path, capsys):
    make_export(world, tmp_path / "export")
    base, export, mask, again = map(
        str, (world.encoder, tmp_path / "export", tmp_path / "mask", tmp_path / "again")
    )
    assert cli.execute(["mask", "write", base, export, mask]) == 0
    said = capsys.readouterr().out
    size = (tmp_path / "mask" / "mask.safetensors").stat().st_size
    whole = sum(file.stat().st_size for file in (tmp_path / "export").glob("*.safetensors"))
    assert f"mask {size:,} bytes (4" in said
    assert said.endswith(f"{whole:,}\n")
    assert cli.execute(["mask", "apply", base, mask, again]) == 0
    for name in ("model.safetensors", "head.safetensors", "config.json", "README.md"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "export" / name).read_bytes()
    capsys.readouterr()
    for arguments, says in (
        ([], "should be alignreg mask write BASE EXPORT OUT"),
        (["apply", base, mask], "should be"),
        (["apply", base, mask, again], f"{again}: is there already"),
        (["apply", str(tmp_path / "none"), mask, f"{again}2"], "BASE="),
        (["write", base, str(tmp_path / "none"), f"{mask}2"], "cannot be read"),
    ):
        assert cli.execute(["mask", *arguments]) == 2
        error = capsys.readouterr().err
        assert says in error
        assert error.count("\n") == 1
    assert not (tmp_path / "mask2").exists()
