"""python predict.py TEXT ...: the label of each text, or of each pair, with a tab in it.

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
pairs = facts["pairs"]  # else a tab is white space in a text, as it was in training
texts = [tuple(text.split("\t")[:2]) if pairs and "\t" in text else text for text in given]
rows = tokenizer.encode_batch(texts)
ids, mask = np.array([(row.ids, row.attention_mask) for row in rows], np.int64).swapaxes(0, 1)
logits = np.asarray(session.run(None, {"input_ids": ids, "attention_mask": mask})[0])
for text, row in zip(given, logits, strict=True):
    print(facts["labels"][row.argmax()], text, sep="\t")
