"""python predict.py SENTENCE ...: the label of every word, cut at spaces.

Needs onnxruntime, tokenizers and numpy, and nothing else.
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
session = onnxruntime.InferenceSession(str(folder / facts["file"]))
for words in map(str.split, given):
    row = tokenizer.encode(words, is_pretokenized=True)
    ids, mask = (np.array([each], np.int64) for each in (row.ids, row.attention_mask))
    logits = np.asarray(session.run(None, {"input_ids": ids, "attention_mask": mask})[0])
    labels = ["?"] * len(words)  # of words beyond the length
    for piece, word in reversed(list(enumerate(row.word_ids))):  # its first piece counts
        if word is not None:
            labels[word] = facts["labels"][logits[0, piece].argmax()]
    print(*map("/".join, zip(words, labels, strict=True)))
