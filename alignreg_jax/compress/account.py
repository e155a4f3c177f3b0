"""What became of a model that was made smaller: its sizes, in lines for a terminal and a card."""

from dataclasses import dataclass
from pathlib import Path

from alignreg_jax.compress.agreement import Network, Questions
from alignreg_jax.compress.forms import Smaller, encoder_weights
from alignreg_jax.models.saving import CODE
from alignreg_jax.models.slicing import parameters

_WORDS = {"heads": "attention heads", "ffn": "feed-forward units"}


@dataclass(frozen=True)
class Size:
    """How large a model is; `size` in bytes of its weights' files."""

    heads: int
    ffn: int
    weights: int
    parameters: int
    size: int

    @classmethod
    def of(cls, folder: Path, network: Network) -> "Size":
        """Of a model in memory, and its folder."""
        layers = network.config.layers
        return cls(
            sum(layer.heads for layer in layers),
            sum(layer.ffn for layer in layers),
            encoder_weights(network.config),
            parameters(network.params),
            sum(file.stat().st_size for file in folder.glob("*.safetensors")),
        )


@dataclass(frozen=True)
class Report:
    """What was done.

    `stock` says whether unmodified transformers loads the new model; `apart` is the largest
    difference of a logit, over what was `asked`; `left_out` are tensors of the original that have
    no place in a classifier; `size` is the one at which the original, which serves all, was asked.
    """

    before: Size
    after: Size
    found: Smaller
    stock: bool
    apart: float
    asked: Questions
    left_out: tuple[str, ...] = ()
    size: float | None = None


def lines(report: Report) -> list[str]:
    """What to show of it."""
    before, after, found = report.before, report.after, report.found
    units = {"heads": (before.heads, after.heads), "ffn": (before.ffn, after.ffn)}
    rows = [
        (_WORDS[kind], *counts, f"{found.empty[kind]:,} empty, {_folded(found.folded[kind])}")
        for kind, counts in units.items()
    ]
    rows += [
        ("encoder weights", before.weights, after.weights, _share(before.weights, after.weights)),
        ("parameters", before.parameters, after.parameters,
         _share(before.parameters, after.parameters)),
        ("bytes", before.size, after.size, f"{_share(before.size, after.size)}, in float32"),
    ]  # fmt: skip
    said = [f"{name:<19}{old:>15,} -> {new:>15,}  {rest}" for name, old, new, rest in rows]
    if found.padding:
        said.append(
            f"padding: {4 * found.padding:,} bytes of these are units of zeros, which give all"
            " layers one feed-forward width; --form free does without"
        )
    if report.left_out:
        said.append(f"left out of the original: {', '.join(report.left_out)}")
    asked = report.asked
    texts = f"{asked.texts} texts in {asked.languages} languages and " if asked.texts else ""
    said.append(
        f"logits differ by at most {report.apart:.1e} over {texts}"
        f"{len(asked.rows) - asked.texts} rows of random pieces"
    )
    how = "unmodified transformers" if report.stock else "transformers with trust_remote_code=True"
    if report.size is not None:
        said.insert(0, f"size {report.size:g} of a model that serves every size")
    return [*said, f"{how} loads it"]


def card(before: str, report: Report) -> str:
    """The text of README.md: the original's, and what was done.

    Args:
        before: text of the original's README.md.
        report: what was done.
    """
    from alignreg_jax.reporting.card import sizes_section, trusting  # takes half a second

    load = "Unmodified transformers loads it."
    if not report.stock:
        load = (
            "Its layers have sizes that stock transformers does not know: load it with"
            f" `trust_remote_code=True`, which runs `{CODE.name}` of this folder, or with"
            " alignreg_jax."
        )
        before = trusting(before)
    old, new = report.before, report.after
    rows = [
        ("attention heads", old.heads, new.heads),
        ("feed-forward units", old.ffn, new.ffn),
        ("encoder weights", old.weights, new.weights),
        ("parameters", old.parameters, new.parameters),
    ]
    table = "\n".join(f"| {name} | {was:,} | {now:,} |" for name, was, now in rows)
    which = "that were empty"
    if report.size is not None:
        which = f"that are not there at size {report.size:g}"
        before = before.replace(sizes_section(), "")  # this one has one size
    return (
        f"{before.rstrip()}\n\n## Made smaller\n\n"
        f"`alignreg shrink` has taken out attention heads and feed-forward units {which}."
        f" Logits differ from the original's by at most {report.apart:.1e}. {load}\n\n"
        f"| | before | after |\n|---|---|---|\n{table}\n"
    )


def _folded(count: int) -> str:
    if not count:
        return "none of them with a constant"
    return f"{count:,} of them with a constant that a bias took over"


def _share(before: int, after: int) -> str:
    return f"{after / before:.1%}"
