"""What a model costs that is served, in every form of it, beside what one would do with PyTorch.

    python benchmarks/deploy.py runs/demo    # of a finished run: its weights, rows, and flips
    python benchmarks/deploy.py --base       # XLM-R base with random weights, 24,000 pieces: times
    python benchmarks/deploy.py runs/demo --only quarter    # float32 and forms of such names alone
    python benchmarks/deploy.py --bytes      # what files of known models weigh: sizes alone
    python benchmarks/deploy.py --small      # does the script work? figures mean little

Times are the least of several turns, in which all forms of one shape follow one another on rows of
random pieces without padding. Shapes that were cut here (half of the units, fewer layers) were not
trained, so nothing is said of their answers. "today" is torch.onnx.export, ONNX Runtime's optimizer
for transformers and its quantize_dynamic, if PyTorch is installed. Flips are answers that are
others than those of the float model, over all rows and in the language that has most.
"""

import argparse
import gzip
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import jax
import numpy as np
from jobs import BASE, random_job

from alignreg_jax.compress import folders, gate, served
from alignreg_jax.compress.agreement import Network
from alignreg_jax.compress.deployment import comparing
from alignreg_jax.compress.deployment.comparing import Asked
from alignreg_jax.compress.deployment.folder_files import machine
from alignreg_jax.compress.onnx import candidates, graph, sessions
from alignreg_jax.compress.onnx.products import Form
from alignreg_jax.data.encoding import Encoded
from alignreg_jax.models import checkpoints, xlmr
from alignreg_jax.models.slicing import sliced
from alignreg_jax.models.xlmr import XlmrConfig
from alignreg_jax.run import workdir

SHAPES = [(batch, length) for batch in (1, 32) for length in (16, 64, 128)]
HEAD = "dense-tanh-out"


def cut(network: Network, heads: float = 1, ffn: float = 1, layers: int = 0) -> Network:
    """The first so many units of every layer, and so many layers, evenly spread."""
    config = network.config
    size = config.layers[0]
    kept = np.zeros(config.num_layers, bool)
    kept[np.linspace(0, config.num_layers - 1, layers or config.num_layers).round().astype(int)] = 1
    units = {
        "heads": np.arange(size.heads) < round(heads * size.heads),
        "ffn": np.arange(size.ffn) < round(ffn * size.ffn),
    }
    every = {name: np.tile(row, (config.num_layers, 1)) for name, row in units.items()}
    params, small = sliced(network.params, config, {**every, "layers": kept})
    return network._replace(params=params, config=small)


def fewer_pieces(network: Network, pieces: int) -> Network:
    """The first rows of the word table."""
    tables = network.params["embeddings"]
    word = np.asarray(tables["word"]["embedding"])[:pieces]
    params = {**network.params, "embeddings": {**tables, "word": {"embedding": word}}}
    return network._replace(params=params, config=replace(network.config, vocab_size=pieces))


def forms(network: Network, known: Encoded, folder: Path) -> dict[str, Path]:
    """Files of every form of a model, ours."""
    paths: dict[str, Path] = {}

    def add(name: str, of: Network, kinds: Any = ()) -> None:
        smaller = candidates.forms(kinds, of, known) if kinds else []
        every = [candidates.Candidate("fp32", Form()), *smaller]
        for each in every:
            own = f"{name}, {each.name}".removeprefix(", ")
            paths[own] = folder / f"{len(paths)}.onnx"
            graph.write(paths[own], of, each.form)

    add("", network, (*candidates.KINDS, "int4"))
    fused = candidates.forms(("int8",), network, known)[0]
    for name, form in (("fp32", Form()), ("int8", fused.form)):
        paths[f"{name}, opset 23"] = folder / f"{len(paths)}.onnx"
        graph.write(paths[f"{name}, opset 23"], network, replace(form, fused=True))
    layers = network.config.num_layers
    add("half of heads and units", cut(network, 0.5, 0.5), ("int8", "int4"))
    add("a quarter", cut(network, 0.25, 0.25), ("int8", "int4"))
    add(f"{layers // 2} layers", cut(network, layers=layers // 2), ("int8", "int4"))
    both = cut(network, 0.5, 0.5, layers // 2)
    add(f"a quarter, {layers // 2} layers with half of heads and units", both, ("int8", "int4"))
    add(f"{layers // 3} layers", cut(network, layers=layers // 3))
    few = int(known.ids.max()) + 1
    if few <= network.config.vocab_size // 2:  # else its texts need what there is
        small = fewer_pieces(network, max(few, network.config.vocab_size // 4))
        add("a quarter of the pieces", small)
        add("a quarter of the pieces, half of heads and units", cut(small, 0.5, 0.5), ("int8",))
    return paths


def today(folder: Path, export: Path, config: Any) -> dict[str, Path]:
    """What a user of PyTorch would serve."""
    try:
        import torch
        from onnxruntime.quantization import QuantType, quantize_dynamic
        from onnxruntime.transformers.optimizer import optimize_model
        from transformers import AutoModelForSequenceClassification
    except ImportError as error:
        print(f"today: left out, {error.name} is not installed")
        return {}
    options: Any = {"dtype": torch.float32, "attn_implementation": "eager"}
    stock = AutoModelForSequenceClassification.from_pretrained(export, **options).eval()

    class Logits(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.stock = stock

        def forward(self, input_ids, attention_mask):
            return self.stock(input_ids=input_ids, attention_mask=attention_mask).logits

    ids = torch.tensor([[0, 5, 9, 2], [0, 7, 2, 1]])
    axes = {name: {0: "batch", 1: "length"} for name in ("input_ids", "attention_mask")}
    paths = {name: folder / f"today-{name}.onnx" for name in ("fp32", "optimizer", "int8")}
    torch.onnx.export(
        Logits(), (ids, (ids != 1).long()), str(paths["fp32"]), opset_version=18, dynamo=False,
        input_names=list(axes), output_names=["logits"],
        dynamic_axes={**axes, "logits": {0: "batch"}},
    )  # fmt: skip
    optimized = optimize_model(str(paths["fp32"]), "bert", config.num_heads, config.hidden_size)
    optimized.save_model_to_file(str(paths["optimizer"]))
    quantize_dynamic(str(paths["fp32"]), str(paths["int8"]), weight_type=QuantType.QInt8)
    return {f"today, {name}": path for name, path in paths.items()}


def flips(paths: dict[str, Path], asked: Asked) -> dict[str, str]:
    """Of each form with the answers of the whole model's pieces and units."""
    before = asked.answers(paths["fp32"], 32, "fp32")
    gold = {language: np.full(len(each), -1) for language, each in before.items()}
    said = {}
    for name, path in paths.items():
        if "half" in name or "quarter" in name or "layers" in name:
            continue
        after = {batch: asked.answers(path, batch, name) for batch in comparing.BATCHES}
        judged = gate.judge(before, after, gold)
        whole = sum(each.flips for each in judged) / sum(each.answers for each in judged)
        worst = max(judged, key=lambda each: each.share)
        said[name] = f"{100 * whole:.2f} %, {worst.language} {worst.share:.1f} %"
    return said


def table(paths: dict[str, Path], pieces: int, said: dict[str, str], threads: int, shapes) -> None:
    """Print a row for every form: what it weighs, and its times."""
    models = [sessions.session(path, threads) for path in paths.values()]
    times = [sessions.milliseconds(models, *shape, pieces) for shape in shapes]
    heads = [
        "form",
        "MB",
        "gzip",
        *(f"{batch} x {length}" for batch, length in shapes),
        "x",
        "flips",
    ]
    print(f"\n{threads} thread{'s' if threads > 1 else ''}, ms for rows x pieces\n")
    print("| " + " | ".join(heads) + " |")
    print("|" + "---|" * len(heads))
    for place, (name, path) in enumerate(paths.items()):
        own = [each[place] for each in times]
        gain = np.exp(np.mean([np.log(each[0] / each[place]) for each in times]))
        packed = len(gzip.compress(path.read_bytes(), 6))
        cells = [name, f"{path.stat().st_size / 1e6:.1f}", f"{packed / 1e6:.1f}"]
        cells += [f"{value:.2f}" for value in own] + [f"{gain:.2f}", said.get(name, "")]
        print("| " + " | ".join(cells) + " |", flush=True)


def loading(path: Path) -> float:
    """Megabytes that a process of its own has at most while it loads a model."""
    code = (
        "import sys, onnxruntime; onnxruntime.InferenceSession(sys.argv[1]);"
        " print(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])"
    )
    asked = [sys.executable, "-c", code, str(path)]
    return 1024 * int(subprocess.run(asked, capture_output=True, check=True).stdout) / 1e6


def weights() -> None:
    """Print what files of known sizes weigh, and in brackets take to load, in MB.

    A third of the encoder's weights: half of the heads, a quarter of the feed-forward units.
    """
    e5 = replace(BASE, hidden_size=384, intermediate_size=1536)
    heads = ("model", "pieces", *("int8", "int4", "a third, int8", "a third, int4"))
    print(f"| {' | '.join(heads)} |\n" + "|---" * len(heads) + "|")
    with TemporaryDirectory() as name:
        path = Path(name) / "model.onnx"
        for title, sizes in (("multilingual-e5-small", e5), ("XLM-R base", BASE)):
            for pieces in (24_000, 87_000):
                network = random_network(replace(sizes, vocab_size=pieces))
                cells = []
                for of in (network, cut(network, 0.5, 0.25)):
                    for bits in (8, 4):
                        graph.write(path, of, Form(f"int{bits}", f"int{bits}"))
                        cells.append(f"{path.stat().st_size / 1e6:.1f} ({loading(path):.0f})")
                print(f"| {title} | {pieces:,} | " + " | ".join(cells) + " |", flush=True)


TINY = replace(
    BASE, vocab_size=300, hidden_size=48, num_heads=4, num_layers=3, intermediate_size=96
)


def random_network(config: XlmrConfig) -> Network:
    """A model of some sizes with random weights."""
    model = xlmr.XlmrModel(config, HEAD, 20)
    params = jax.device_get(jax.jit(xlmr.init_params, static_argnums=0)(model, jax.random.key(0)))
    return Network(params, config, HEAD)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("run", nargs="?", type=Path, help="workdir of a finished run")
    parser.add_argument("--base", action="store_true", help="XLM-R base, random weights")
    parser.add_argument("--bytes", action="store_true", help="sizes of files alone")
    parser.add_argument("--small", action="store_true", help="check the script, not the speed")
    parser.add_argument("--only", default="", help="forms whose names have this, beside fp32")
    parser.add_argument("--rows", type=int, default=60, help="of a language, for flips (60)")
    options = parser.parse_args()
    if options.bytes:
        return weights()
    if not (options.run or options.base or options.small):
        parser.error("give a run's workdir, --base, --bytes or --small")
    print(f"{machine()}; load, 1 minute: {os.getloadavg()[0]:.1f}; {os.cpu_count()} cores")
    with TemporaryDirectory() as name:
        folder = Path(name)
        if options.run:
            config = workdir.config_of(options.run)
            assert config is not None, f"{options.run}: no run"
            export = options.run / "export"
            rows = served.of_run(options.run, config, [], options.rows)
            network = folders.read(export).network
            asked = Asked(rows, export, network.config)
            known = rows.known_encoded(asked.tokenizer, asked.longest)
        else:
            sizes = TINY if options.small else replace(BASE, vocab_size=24_000)
            network, asked, export = random_network(sizes), None, folder / "stock"
            job = random_job(network.config, np.full(64, 32))
            known = job.rows
            demo = checkpoints.resolve("demo")
            labels = tuple(str(row) for row in range(20))
            checkpoints.save(
                export, network.params, network.config, head=HEAD, labels=labels, source=demo
            )
        paths = forms(network, known, folder)
        paths |= today(folder, export, network.config) if not options.only else {}
        paths = {
            name: path for name, path in paths.items() if name == "fp32" or options.only in name
        }
        said = flips(paths, asked) if asked else {}
        shapes = SHAPES[:1] if options.small else SHAPES
        few = max(network.config.vocab_size // 4, 16)  # pieces that all forms have
        for threads in (1, 2):
            table(paths, few, said, threads, shapes)


if __name__ == "__main__":
    main()
