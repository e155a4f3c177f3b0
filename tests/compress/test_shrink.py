"""From folder to folder: what is written, loaded and said, and what is refused without a trace."""

import errno
import json

import empties
import jax
import numpy as np
import pytest
import tiny
from safetensors.numpy import load_file, save_file

from alignreg_jax import cli
from alignreg_jax import shrink as program
from alignreg_jax.compress import agreement, forms
from alignreg_jax.compress.shrink import shrink
from alignreg_jax.errors import UserError
from alignreg_jax.models import checkpoints, quantized, saving, xlmr
from alignreg_jax.run.mask_artefact import Base

HEADS = ("dense-tanh-out", "linear", "token", "label-words")
IDS = np.array([[0, 5, 9, 30, 2], [0, 7, 2, 1, 1]], np.int32)
LENGTHS = np.array([5, 3], np.int32)


few_texts = empties.few_texts  # in every test here


@pytest.fixture
def export(world, tmp_path):
    """Makes an export with empty units."""
    return lambda **options: empties.write(world, tmp_path / "export", **options)


def load(folder, head):
    return checkpoints.load(folder, head=head, labels=tiny.LABELS, seed=0)


def logits(folder, head):
    """By an ordinary load; a token head's at its pieces."""
    loaded = load(folder, head)
    assert not loaded.initialised
    assert not loaded.notes
    model = xlmr.XlmrModel(loaded.config, head, len(tiny.LABELS))
    found = jax.jit(xlmr.logits, static_argnums=0)(model, loaded.params, IDS, LENGTHS)
    return found if found.ndim == 2 else found[np.arange(5) < LENGTHS[:, None]]


def options(world, tmp_path, head):
    if head != "label-words":
        return {"head": head}
    encoder = tiny.with_lm_head(world, tmp_path / "lm")
    return {"head": head, "words": ("en0", "en1", "en2"), "source": encoder}


@pytest.mark.parametrize("head", HEADS)
def test_the_free_form_loads_computes_the_same_and_is_exported_again(world, tmp_path, export, head):
    source, out = export(**options(world, tmp_path, head)), tmp_path / "out"
    report = shrink(source, out, "free")
    assert not report.stock
    assert report.apart <= 1e-5
    found = load(out, head)
    assert found.config.ffn == tuple(empties.LEFT["ffn"])
    np.testing.assert_allclose(logits(out, head), logits(source, head), atol=1e-5, rtol=0)
    said = json.loads((out / "config.json").read_text())
    assert said["model_type"] == "xlm-roberta-sliced"
    assert said["num_attention_heads"] == empties.LEFT["heads"]
    assert said["intermediate_size"] == empties.LEFT["ffn"]
    assert said["attention_head_size"] == empties.SIZE
    assert (out / saving.CODE.name).read_bytes() == saving.CODE.read_bytes()
    assert (out / "tokenizer.json").read_bytes() == (source / "tokenizer.json").read_bytes()
    checkpoints.save(
        tmp_path / "again", found.params, found.config, head=head, labels=tiny.LABELS, source=out
    )
    for file in (tmp_path / "again").iterdir():
        assert file.read_bytes() == (out / file.name).read_bytes(), file.name


@pytest.mark.parametrize("head", ["dense-tanh-out", "token"])
def test_the_stock_form_is_an_ordinary_checkpoint(tmp_path, export, head):
    source, out = export(head=head, heads=False), tmp_path / "out"
    report = shrink(source, out)
    assert report.stock
    said = json.loads((out / "config.json").read_text())
    assert said == json.loads((source / "config.json").read_text()) | {"intermediate_size": 56}
    assert not (out / saving.CODE.name).exists()
    np.testing.assert_allclose(logits(out, head), logits(source, head), atol=1e-5, rtol=0)
    assert report.after.size == (out / "model.safetensors").stat().st_size < report.before.size


def test_an_encoder_alone_stays_one(world, tmp_path):
    """As of the Hub, with a language model's head, which has no place in a classifier."""
    source = tiny.with_lm_head(world, tmp_path / "lm")
    tensors = load_file(source / "model.safetensors")
    tensors["encoder.layer.0.output.dense.weight"][:, :30] = 0
    save_file(tensors, source / "model.safetensors", metadata={"format": "pt"})
    report = shrink(source, tmp_path / "out", "free")
    assert set(report.left_out) == {name for name in tensors if name.startswith("lm_head.")}
    assert not (tmp_path / "out" / "head.safetensors").exists()
    names = set(load_file(tmp_path / "out" / "model.safetensors"))
    assert names == {name for name in tensors if not name.startswith("lm_head.")}
    loaded = load(tmp_path / "out", "linear")
    assert loaded.initialised == ["classifier.bias", "classifier.weight"]
    assert loaded.config.ffn == (tiny.INNER - 30, tiny.INNER)


def test_a_folder_of_transformers_without_label_names_or_a_tokenizer(tmp_path, export):
    source = export()
    raw = json.loads((source / "config.json").read_text())
    del raw["id2label"], raw["label2id"]
    (source / "config.json").write_text(json.dumps(raw))
    (source / "tokenizer.json").unlink()
    (source / "sentencepiece.bpe.model").write_bytes(b"pieces")
    report = shrink(source, tmp_path / "out", "free")
    assert report.asked.texts == 0
    assert len(report.asked.rows) == 16
    said = json.loads((tmp_path / "out" / "config.json").read_text())
    assert said["id2label"] == {"0": "LABEL_0", "1": "LABEL_1", "2": "LABEL_2"}
    assert (tmp_path / "out" / "sentencepiece.bpe.model").read_bytes() == b"pieces"


def test_rounded_weights_can_be_read(tmp_path, export):
    """Of 4-bit blocks, which give the float32 weights that are compared and written."""
    source = export()
    tensors = load_file(source / "model.safetensors")
    blocks = {
        name: quantized.quantize(value) if ".layer." in name and value.ndim == 2 else value
        for name, value in tensors.items()
    }
    quantized.save(source / quantized.FILE_NAME, blocks)
    (source / "model.safetensors").unlink()
    report = shrink(source, tmp_path / "out", "free")
    assert report.found.empty == {"heads": 2, "ffn": 32}
    head = "dense-tanh-out"
    np.testing.assert_allclose(
        logits(tmp_path / "out", head), logits(source, head), atol=1e-5, rtol=0
    )


def test_even_layers_with_fewer_heads_are_stacked_and_shrink_again(world, tmp_path):
    """Nothing is uneven there: it can be pruned and made smaller once more."""
    params, config = empties.load(world)
    none = {"heads": {0: [], 1: []}, "ffn": {0: [], 1: []}}
    first = empties.empty(params, {**none, "heads": {0: [1], 1: [3]}}, none)
    model = {"config": config, "head": "dense-tanh-out", "labels": tiny.LABELS}
    source = tmp_path / "export"
    checkpoints.save(source, first, source=world.encoder, **model)
    shrink(source, tmp_path / "one", "free")
    found = load(tmp_path / "one", "dense-tanh-out")
    assert found.config.stacked
    assert (found.config.num_heads, found.config.head_size) == (3, empties.SIZE)
    second = empties.empty(found.params, {**none, "ffn": {0: [2], 1: [7, 8]}}, none)
    model["config"] = found.config
    checkpoints.save(tmp_path / "two", second, source=tmp_path / "one", **model)
    report = shrink(tmp_path / "two", tmp_path / "three", "free")
    assert (report.before.heads, report.after.heads) == (6, 6)
    assert load(tmp_path / "three", "dense-tanh-out").config.ffn == (63, 62)


def test_what_is_refused_leaves_nothing(world, tmp_path, export, monkeypatch):
    source, out = export(), tmp_path / "out"

    def refused(says, *arguments, folder=source):
        with pytest.raises(UserError, match=says):
            shrink(folder, out, *arguments)
        assert not [path for path in tmp_path.iterdir() if "out" in path.name]

    refused("2 attention heads are empty", "stock")
    refused("nothing to remove", "free", folder=world.encoder)
    other = tiny.copy(source, tmp_path / "other")
    (other / "config.json").write_text(json.dumps({"model_type": "t5"}))
    refused("model_type is 't5'", folder=other)
    refused("cannot be read", folder=tmp_path / "absent")
    with monkeypatch.context() as patch:
        real = forms.sliced

        def wrong(params, config, kept):
            params, config = real(params, config, kept)
            leaves = dict(empties.flat(params))
            leaves["head/out/bias"] = leaves["head/out/bias"] + np.float32(2e-4)
            return empties.nested(leaves), config

        patch.setattr(forms, "sliced", wrong)
        refused(r"logits differ by 2\.0e-04, and no more than 1e-04 is rounding", "free")
    with monkeypatch.context() as patch:

        def full(*arguments, **options):
            raise OSError(errno.ENOSPC, "No space left on device")

        patch.setattr(saving, "save_file", full)
        refused("No space left on device to write this, which needs .* MB", "free")
    shrink(source, out, "free")
    with pytest.raises(UserError, match="is there already"):
        shrink(source, out, "free")
    with pytest.raises(UserError, match="its layers are uneven: it has been made smaller before"):
        shrink(out, tmp_path / "again", "free")
    with pytest.raises(UserError, match="of uneven sizes, which no mask is over"):
        Base.load(out)


def test_a_kill_leaves_no_folder_and_the_next_try_cleans_up(tmp_path, export, monkeypatch):
    source, out = export(), tmp_path / "out"
    with monkeypatch.context() as patch:

        def killed(*arguments):
            raise KeyboardInterrupt

        patch.setattr(agreement, "largest_difference", killed)
        with pytest.raises(KeyboardInterrupt):
            shrink(source, out, "free")
    assert not out.exists()
    shrink(source, out, "free")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["export", "out"]


def test_the_command_says_what_became_of_it(tmp_path, export, capsys):
    card = "---\ntags:\n---\n# card\n\nModel.from_pretrained(folder, dtype=float)\n"
    source, out = str(export(card=card)), tmp_path / "out"
    assert cli.execute(["shrink", source, str(out), "--form", "free"]) == 0
    said = capsys.readouterr().out
    lines = {line[:19].strip(): line for line in said.splitlines()}
    assert "8 ->" in lines["attention heads"]
    assert "6  2 empty, 1 of them with a constant" in lines["attention heads"]
    assert "32 empty, 11 of them with a constant" in lines["feed-forward units"]
    weights = tiny.LAYERS * (4 * tiny.HIDDEN**2 + 2 * tiny.HIDDEN * tiny.INNER)
    left = weights - 2 * 4 * tiny.HIDDEN * empties.SIZE - 32 * 2 * tiny.HIDDEN
    assert f"{weights:,} -> " in lines["encoder weights"]
    assert f"{left:,}  {left / weights:.1%}" in lines["encoder weights"]
    size = (out / "model.safetensors").stat().st_size
    assert f"{size:,}  " in lines["bytes"]
    assert "over 31 texts in 31 languages and 16 rows of random pieces" in said
    assert "trust_remote_code=True loads it" in said
    text = (out / "README.md").read_text()
    assert text.startswith("---\ntags:\n---\n# card")
    assert "from_pretrained(folder, trust_remote_code=True, dtype=float)" in text
    assert "| attention heads | 8 | 6 |" in text


def test_a_card_in_another_encoding_is_kept_as_far_as_it_can_be_read(tmp_path, export):
    folder = export(heads=False)
    (folder / "README.md").write_bytes(b"# Mod\xe8le\n")
    shrink(folder, tmp_path / "out")
    assert "# Mod\ufffdle\n" in (tmp_path / "out" / "README.md").read_text(encoding="utf-8")


def test_the_stock_command_says_what_padding_costs(tmp_path, export, capsys):
    source = str(export(heads=False))
    assert program.main([source, str(tmp_path / "out"), "--align", "20"]) == 0
    said = capsys.readouterr().out
    padding = 4 * (18 + 6) * (2 * tiny.HIDDEN + 1)  # 42 and 54 of 60 units
    assert f"padding: {padding:,} bytes of these are units of zeros" in said
    assert "unmodified transformers loads it" in said


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "the following arguments are required: EXPORT, OUT"),
        (["EXPORT", "OUT", "--form", "onnx"], "invalid choice: 'onnx'"),
        (["EXPORT", "OUT", "--align", "0"], "--align=0: should be at least 1"),
        (["EXPORT", "OUT", "--align", "8", "--form", "free"], "--align is for --form stock"),
        (["EXPORT", "OUT", "--bogus"], "unrecognized arguments: --bogus"),
        (["NONE", "OUT"], "EXPORT="),
        (["EXPORT", "EXPORT"], "is there already"),
    ],
)
def test_a_mistake_is_one_line(tmp_path, export, capsys, arguments, says):
    places = {"EXPORT": str(export()), "OUT": str(tmp_path / "out"), "NONE": str(tmp_path / "none")}
    assert cli.execute(["shrink", *(places.get(word, word) for word in arguments)]) == 2
    output = capsys.readouterr()
    assert says in output.err
    assert output.err.count("\n") == 1
    assert output.out == ""
    assert not (tmp_path / "out").exists()


def test_a_difference_is_found(world):
    """Padding is not compared; what is not a number is infinitely far."""
    params, config = empties.load(world, "token")
    rows = [[0, 5, 9, 2], [0, 7, 2]]
    one = agreement.Network(params, config, "token")
    assert agreement.largest_difference(one, one, rows) == 0
    leaves = {path: np.array(leaf) for path, leaf in empties.flat(params).items()}
    leaves["head/out/bias"][1] += 0.5
    other = one._replace(params=empties.nested(leaves))
    assert agreement.largest_difference(one, other, rows) == pytest.approx(0.5, abs=1e-6)
    leaves["head/out/bias"][1] = np.nan
    broken = one._replace(params=empties.nested(leaves))
    assert agreement.largest_difference(one, broken, rows) == float("inf")
    leaves = {path: np.array(leaf) for path, leaf in empties.flat(params).items()}
    leaves["embeddings/word/embedding"][config.pad_token_id] += 1
    padded = one._replace(params=empties.nested(leaves))
    assert agreement.largest_difference(one, padded, rows) == 0


def test_rows_fit_the_model_and_cover_every_language(world):
    config = checkpoints.read_config(world.encoder)
    asked = agreement.questions(world.encoder, config)
    assert (asked.texts, asked.languages) == (31, 31)
    assert max(map(len, asked.rows)) <= config.max_length
    assert max(map(max, asked.rows)) < config.vocab_size
