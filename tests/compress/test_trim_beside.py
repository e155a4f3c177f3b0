"""What stands beside an encoder when pieces go: its pooler, a language model's head, pooling."""

import json
import shutil

import numpy as np
from safetensors.numpy import load_file, save_file

from alignreg_jax.compress import pooling
from alignreg_jax.compress.trim import MAP, Wanted, trim

GERMAN = [f"de{number} de{number + 1}" for number in range(6)]


def test_what_stands_beside_an_encoder_stays(world, tmp_path, caplog):
    """Training may begin from a pooler or a language model's head; its rows go with the pieces."""
    folder, generator = tmp_path / "encoder", np.random.default_rng(0)
    shutil.copytree(world.encoder, folder)
    tensors = load_file(folder / "model.safetensors")
    prefix = "roberta." if any(name.startswith("roberta.") for name in tensors) else ""
    hidden, pieces = tensors[f"{prefix}embeddings.word_embeddings.weight"].shape[::-1]
    shapes = {
        "lm_head.bias": (pieces,), "lm_head.decoder.weight": (pieces, hidden),
        "lm_head.dense.weight": (hidden, hidden), "lm_head.layer_norm.weight": (hidden,),
        f"{prefix}pooler.dense.weight": (hidden, hidden), "cls.seq_relationship.bias": (2,),
    }  # fmt: skip
    more = {name: generator.normal(size=shape).astype("f4") for name, shape in shapes.items()}
    save_file({**tensors, **more}, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode": "cls"}')
    (folder / "modules.json").write_text("[]")
    with caplog.at_level("INFO"):
        done = trim(folder, tmp_path / "out", Wanted({"de": GERMAN}, {}))
    ids = np.array(json.loads((tmp_path / "out" / MAP).read_text())["ids"])
    found = load_file(tmp_path / "out" / "model.safetensors")
    for name, value in more.items():
        if name.startswith("cls."):
            assert name not in found
            assert f"left out: {name}" in caplog.text
        else:
            wanted = value[ids] if len(value) == pieces else value
            np.testing.assert_array_equal(found[name.removeprefix(prefix)], wanted)
    assert pooling.read(tmp_path / "out") == "first"
    assert (tmp_path / "out" / "modules.json").exists()
    assert done.size[1] == sum(value.nbytes for value in found.values())
    for most in (done.size[1], done.size[1] - 4 * hidden):
        out = tmp_path / str(most)
        words = {"de": {f"de{number}": 1.0 for number in range(20)}}
        trim(folder, out, Wanted({}, words, max_mb=most / 1e6))
        written = load_file(out / "model.safetensors").values()
        assert most - 2 * 4 * (hidden + 1 + hidden) < sum(each.nbytes for each in written) <= most
