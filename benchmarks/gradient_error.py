"""Error of bfloat16 gradients against float64, leaf by leaf: ours and PyTorch's under autocast.

    pip install torch                               # not a dependency of the package
    python benchmarks/gradient_error.py             # demo encoder, and 2 layers of base's widths
    python benchmarks/gradient_error.py --small     # does the script work?

The error of a leaf is ‖g - g*‖ / ‖g*‖ with g* from transformers' model in float64, same weights,
no dropout. "drawn" is a batch of different rows; in "alike" all rows are the same one, so that
their gradients add up and a sum in bfloat16 stops growing; "tuned" is a drawn batch after 100 steps
of training, when rows' gradients nearly cancel. The true gradient of the key's bias is zero (it
moves all logits of a query alike): its error is relative to the query's bias.
"""

import argparse
import importlib.util
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import cycle, islice
from typing import Any

import numpy as np
from jobs import BASE, BATCH

HEAD, LABELS = "dense-tanh-out", 23
Gradients = dict[str, np.ndarray]
Batch = tuple[np.ndarray, np.ndarray, np.ndarray]  # ids, lengths, labels


def demo(rows: int) -> tuple[Any, Any, list[np.ndarray], np.ndarray]:
    """The bundled encoder and rows of 16 to 32 pieces of its English training set."""
    from alignreg_jax.data import encoding, sources, tasks
    from alignreg_jax.models import checkpoints

    folder = checkpoints.resolve("demo")
    data = sources.load(tasks.get_task("intents"), source="demo", data_dir=None, languages=None)
    loaded = checkpoints.load(folder, head=HEAD, labels=data.labels, seed=0)
    tokenizer = encoding.load_tokenizer(folder, loaded.config.vocab_size)
    encoded = encoding.encode(data.train, tokenizer, 32)
    longest = np.argsort(-encoded.lengths, kind="stable")[:rows]
    pieces = [encoded.ids[encoded.offsets[row] :][: encoded.lengths[row]] for row in longest]
    return loaded.config, loaded.params, pieces, encoded.labels[longest]


def wide(layers: int, rows: int, length: int) -> tuple[Any, Any, list[np.ndarray], np.ndarray]:
    """Base's widths with random weights, fewer layers and pieces; rows of one length."""
    import jax

    from alignreg_jax.models import xlmr

    config = replace(BASE, vocab_size=1000, num_layers=layers)
    model = xlmr.XlmrModel(config, HEAD, LABELS)
    params = jax.jit(lambda key: xlmr.init_params(model, key))(jax.random.key(0))
    generator = np.random.default_rng(0)
    ids = generator.integers(5, config.vocab_size, (rows, length), np.int32)
    return config, jax.device_get(params), list(ids), generator.integers(0, LABELS, rows)


def pad(pieces: list[np.ndarray], pad_token_id: int) -> tuple[np.ndarray, np.ndarray]:
    """Ids `[rows, longest]` and lengths."""
    lengths = np.array([len(row) for row in pieces], np.int32)
    ids = np.full((len(pieces), lengths.max()), pad_token_id, np.int32)
    for row, own in zip(ids, pieces, strict=True):
        row[: len(own)] = own
    return ids, lengths


def loss(params: Any, config: Any, dtype: Any, ids: Any, lengths: Any, labels: Any) -> Any:
    """The mean loss of our network."""
    import jax.numpy as jnp

    from alignreg_jax.models import xlmr
    from alignreg_jax.training.losses import cross_entropy

    model = xlmr.XlmrModel(config, HEAD, LABELS, dtype=dtype)
    return jnp.mean(cross_entropy(xlmr.logits(model, params, ids, lengths), labels))


def ours(config: Any, params: Any, *batch: Any) -> Gradients:
    """Gradients of the mean loss by our bfloat16 network."""
    import jax

    from alignreg_jax.training.state import flatten

    gradient = jax.jit(jax.grad(loss), static_argnums=(1, 2))
    return flatten(jax.device_get(gradient(params, config, jax.numpy.bfloat16, *batch)))


def theirs(
    config: Any, params: Any, ids: Any, lengths: Any, labels: Any, *, double: bool
) -> Gradients:
    """The same by transformers' model: in float64, or in bfloat16 under autocast."""
    import torch
    import transformers

    from alignreg_jax.models import checkpoints
    from alignreg_jax.training.state import flatten

    leaves, table = flatten(params), checkpoints.name_table(config, HEAD)
    shape = transformers.XLMRobertaConfig(
        vocab_size=config.vocab_size,
        hidden_size=config.hidden_size,
        num_hidden_layers=config.num_layers,
        num_attention_heads=config.num_heads,
        intermediate_size=config.intermediate_size,
        max_position_embeddings=config.max_positions,
        type_vocab_size=config.type_vocab_size,
        layer_norm_eps=config.layer_norm_eps,
        pad_token_id=config.pad_token_id,
        num_labels=LABELS,
    )
    model = transformers.XLMRobertaForSequenceClassification(shape).eval()
    state = {}
    for name, slot in table.items():
        leaf = leaves[slot.path] if slot.layer is None else leaves[slot.path][slot.layer]
        state[name] = torch.from_numpy(np.array(leaf.T if slot.transpose else leaf))
    model.load_state_dict(state, strict=True)
    model = model.double() if double else model
    mask = torch.from_numpy(np.arange(ids.shape[1]) < lengths[:, None]).long()
    ids, labels = (torch.from_numpy(each).long() for each in (ids, labels))
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=not double):
        logits = model(input_ids=ids, attention_mask=mask).logits
    logits = logits if double else logits.float()
    torch.nn.functional.cross_entropy(logits, labels).backward()
    weights = dict(model.named_parameters())
    found = {path: np.zeros(leaf.shape) for path, leaf in leaves.items()}
    for name, slot in table.items():
        gradient = weights[name].grad.double().numpy()
        found[slot.path][... if slot.layer is None else slot.layer] = (
            gradient.T if slot.transpose else gradient
        )
    return found


def errors(found: Gradients, exact: Gradients) -> dict[str, float]:
    """Relative error of every leaf."""
    sizes = {path: float(np.linalg.norm(leaf)) for path, leaf in exact.items()}
    sizes["encoder/attention/key/bias"] = sizes["encoder/attention/query/bias"]
    return {
        path: float(np.linalg.norm(np.asarray(found[path], np.float64) - leaf)) / sizes[path]
        for path, leaf in exact.items()
    }


def tune(config: Any, params: Any, batches: Iterator[Batch], steps: int) -> Any:
    """Parameters after some steps of Adam in float32."""
    import jax
    import optax

    optimizer = optax.adam(1e-4)

    @jax.jit
    def step(params: Any, state: Any, batch: Batch) -> Any:
        gradients = jax.grad(loss)(params, config, jax.numpy.float32, *batch)
        updates, state = optimizer.update(gradients, state, params)
        return optax.apply_updates(params, updates), state

    state = optimizer.init(params)
    for batch in islice(batches, steps):
        params, state = step(params, state, batch)
    return jax.device_get(params)


def measure(part: str, rows: int, length: int, layers: int, steps: int, torch_too: bool) -> None:
    """Print one table."""
    config, params, pieces, labels = (
        demo(12 * rows) if part == "demo" else wide(layers, rows, length)
    )
    config = replace(config, hidden_dropout=0.0, attention_dropout=0.0)

    def batch(chosen: np.ndarray) -> Batch:
        ids, lengths = pad([pieces[row] for row in chosen], config.pad_token_id)
        return ids, lengths, np.asarray(labels)[chosen].astype(np.int32)

    drawn = np.arange(rows)
    cases = {"drawn": (params, batch(drawn)), "alike": (params, batch(np.zeros(rows, int)))}
    if part == "demo":
        others = np.arange(rows, len(pieces)).reshape(-1, rows)
        tuned = tune(config, params, (batch(each) for each in cycle(others)), steps)
        cases["tuned"] = tuned, batch(drawn)
    columns: dict[str, dict[str, float]] = {}
    for case, (weights, chosen) in cases.items():
        exact = theirs(config, weights, *chosen, double=True)
        columns[f"{case}: ours"] = errors(ours(config, weights, *chosen), exact)
        if torch_too:
            columns[f"{case}: PyTorch"] = errors(
                theirs(config, weights, *chosen, double=False), exact
            )
    print(f"\n{part}: {config.num_layers} layers of {config.hidden_size}, {chosen[0].shape}\n")
    print("| leaf | " + " | ".join(columns) + " |\n" + "| --- " * (len(columns) + 1) + "|")
    summary = {"median": np.median, "worst": np.max}
    for path in exact:
        print(f"| {path} | " + " | ".join(f"{each[path]:.4f}" for each in columns.values()) + " |")
    for name, function in summary.items():
        cells = (f"{function(list(each.values())):.4f}" for each in columns.values())
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="check the script, not the error")
    parser.add_argument("--layers", type=int, default=2, help="of base's widths (default 2)")
    parser.add_argument("--parts", nargs="+", choices=("demo", "base"), default=("demo", "base"))
    parser.add_argument(
        "--ours",
        action="store_true",
        help="leave PyTorch's bfloat16 out: on old CPUs it takes minutes",
    )
    options = parser.parse_args()
    if importlib.util.find_spec("torch") is None:
        sys.exit("benchmarks/gradient_error.py needs PyTorch for float64: pip install torch")
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    rows, length, layers, steps = (
        (4, 16, 1, 2) if options.small else (BATCH, 128, options.layers, 100)
    )
    for part in options.parts:
        measure(part, rows, length, layers, steps, not options.ours)


if __name__ == "__main__":
    main()
