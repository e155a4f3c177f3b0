"""python predict.py TEXT TEXT ...: how alike the first text and every other one are, -1 to 1.

Needs onnxruntime, tokenizers and numpy. Processors without VNNI need `exact`, or sums overflow.
"""

import json
from pathlib import Path
from sys import argv, exit

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

given = (({"-h", "--help"}.isdisjoint(argv) or exit(print(__doc__))) and argv[1:]) or exit(__doc__)
folder = Path(__file__).parent
facts = json.loads((folder / "deploy.json").read_text("utf-8"))
tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
tokenizer.enable_truncation(facts["max_length"])
tokenizer.enable_padding(pad_id=facts["pad"], pad_token="<pad>")
(exact := onnxruntime.SessionOptions()).add_session_config_entry("session.x64quantprecision", "1")
session = onnxruntime.InferenceSession(str(folder / facts["file"]), exact)
rows = tokenizer.encode_batch(given)
ids, mask = np.array([(row.ids, row.attention_mask) for row in rows], np.int64).swapaxes(0, 1)
hidden = np.asarray(session.run(None, {"input_ids": ids, "attention_mask": mask})[0])
summed = (hidden * mask[:, :, None]).sum(axis=1)  # of length 1 it is as good as their mean
vectors = summed if facts["pooling"] == "mean" else hidden[:, 0]
vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
for text, vector in zip(given[1:], vectors[1:], strict=True):
    print(f"{vector @ vectors[0]:.3f}", text, sep="\t")
