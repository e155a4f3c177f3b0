"""The paper's names for criteria and regularizers together, and ours, as the fields they fill."""

_PRETRAINED = {"regularizer.reference": "pretrained"}
_PLAIN = {"regularizer.name": "none"}
_COSINE = {"regularizer.name": "cosine", **_PRETRAINED}
_FROBENIUS = {"regularizer.name": "frobenius", **_PRETRAINED}
_LAYER = {"pruning.scope": "layer"}
_GLOBAL = {"pruning.scope": "global"}
_EVEN = {"pruning.scope": "units-even"}
_MAGNITUDE = {"pruning.criterion": "magnitude"}
_RANDOM = {"pruning.criterion": "random"}
# Both L0 rows have a Lagrangian, as a fixed weight has to be tuned to the length of a run. The rate
# is that of Movement pruning's L0 baseline.
_GATE_RATE = {"train.score_learning_rate": 0.1}

_MOVEMENT = {
    "pruning.criterion": "movement", "pruning.start": "pretrained",
    "pruning.freeze": ("embeddings",), "train.score_learning_rate": 0.01,
    "pruning.warmup": 0.1,
}  # fmt: skip
_SCORES = {"regularizer.name": "scores"}
# The encoder stays as pretrained: its masks and the head are all that is learned
_SMP = {
    "pruning.criterion": "movement", "pruning.start": "pretrained",
    "pruning.freeze": ("embeddings", "encoder"), "train.score_learning_rate": 0.02, **_SCORES,
}  # fmt: skip

Rows = dict[str, dict[str, str | int | float | tuple[str, ...] | tuple[float, ...]]]

_OF_THE_PAPER: Rows = {
    "none": {**_MAGNITUDE, **_LAYER, **_PLAIN, "pruning.steps": 0},
    "random": {**_RANDOM, **_LAYER, **_PLAIN},
    "random-global": {**_RANDOM, **_GLOBAL, **_PLAIN},
    "l0-mbp": {**_MAGNITUDE, **_LAYER, "regularizer.name": "l0-target", **_GATE_RATE},
    "l2-mbp": {**_MAGNITUDE, **_LAYER, **_PLAIN},
    "l2-global-mbp": {**_MAGNITUDE, **_GLOBAL, **_PLAIN},
    "gradient-mbp": {"pruning.criterion": "gradient", **_LAYER, **_PLAIN},
    "lookahead": {"pruning.criterion": "lookahead", **_LAYER, **_PLAIN},
    "lamp": {"pruning.criterion": "lamp", **_GLOBAL, **_PLAIN},
    "cosine-mbp": {**_MAGNITUDE, **_LAYER, **_COSINE},
    "frobenius-mbp": {**_MAGNITUDE, **_LAYER, **_FROBENIUS},
}
# What large language models are pruned by: Sun et al. 2024, Frantar and Alistarh 2023
_ONE_SHOT: Rows = {
    "wanda": {"pruning.criterion": "wanda", "pruning.scope": "output", **_PLAIN},
    "sparsegpt": {"pruning.criterion": "sparsegpt", **_LAYER, **_PLAIN},
}
# Sanh et al. 2020, Jiang et al. 2023; the second is the first with the penalty of the latter, which
# short runs need (benchmarks/movement_scores.py)
_LEARNED: Rows = {
    "movement": {**_MOVEMENT, **_LAYER, **_PLAIN},
    "movement-penalty": {**_MOVEMENT, **_LAYER, **_SCORES, "pruning.warmup": 0.0},
    "movement-global": {**_MOVEMENT, **_GLOBAL, **_PLAIN},
    "soft-movement": {**_MOVEMENT, **_LAYER, **_SCORES, "pruning.criterion": "soft-movement"},
    "smp-l": {**_SMP, **_LAYER},
    "smp-s": {**_SMP, "pruning.scope": "kind"},
}
# Whole heads and feed-forward units: cut, with two controls, and one training for all sizes
_UNITS: Rows = {
    "structured-taylor": {"pruning.criterion": "taylor-units", **_EVEN, **_PLAIN},
    "structured-fisher": {
        "pruning.criterion": "fisher-units", "pruning.scope": "units", **_PLAIN,
    },
    "structured-magnitude": {"pruning.criterion": "magnitude-units", **_EVEN, **_PLAIN},
    "structured-random": {"pruning.criterion": "random-units", **_EVEN, **_PLAIN},
    "elastic": {
        "pruning.criterion": "fisher-units", "pruning.scope": "units", **_PLAIN,
        "pruning.sizes": (1.0, 0.75, 0.5, 0.35, 0.25),
    },
}  # fmt: skip
# They show what each part adds
_CONTROLS: Rows = {
    "l0": {"pruning.criterion": "gate", **_GLOBAL, "regularizer.name": "l0-target", **_GATE_RATE},
    "l2sp": {**_MAGNITUDE, **_LAYER, "regularizer.name": "l2sp", **_PRETRAINED},
    "frobenius-dense-only": {
        **_MAGNITUDE, **_LAYER, **_FROBENIUS, "regularizer.phases": "dense",
    },
    "frobenius-finetuned": {
        **_MAGNITUDE, **_LAYER, "regularizer.name": "frobenius",
        "regularizer.reference": "finetuned",
    },
}  # fmt: skip

TABLE_1 = (*_OF_THE_PAPER, *_LEARNED, *_CONTROLS)
"""What configs/table1.py compares: the paper's rows, learned masks, controls."""

PRESETS: Rows = _OF_THE_PAPER | _ONE_SHOT | _LEARNED | _UNITS | _CONTROLS
"""Names as the config fields they fill: the paper's Table 1 in its order, then others. The L2 in
the names is AdamW's decay."""
