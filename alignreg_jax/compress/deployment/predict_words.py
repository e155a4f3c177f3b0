"""python predict.py SENTENCE ...: the label of every word, cut at spaces.

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
(exact := onnxruntime.SessionOptions()).add_session_config_entry("session.x64quantprecision", "1")
session = onnxruntime.InferenceSession(str(folder / facts["file"]), exact)
for words in map(str.split, given):
    row = tokenizer.encode(words, is_pretokenized=True)
    ids, mask = (np.array([each], np.int64) for each in (row.ids, row.attention_mask))
    logits = np.asarray(session.run(None, {"input_ids": ids, "attention_mask": mask})[0])
    best = [facts["labels"][number] for number in logits[0].argmax(-1)]  # of each piece
    first = {word: piece for piece, word in reversed(list(enumerate(row.word_ids)))}
    labels = [best[first[i]] if i in first else "?" for i in range(len(words))]  # ?: beyond length
    print(*map("/".join, zip(words, labels, strict=True)))
