"""A matplotlib figure as a small piece of HTML: inline SVG whose text and colours are the page's.

Figures are drawn with the stand-in colours below; in the page each becomes a CSS variable, so that
one picture serves a light and a dark page. Text stays text: sharp, searchable, in the page's font.
The same figure gives the same bytes.
"""

import io
import json
import re
from collections.abc import Sequence
from typing import Any
from xml.etree import ElementTree

import matplotlib
from matplotlib.figure import Figure

INK = "#101112"  # text, axes, the series in front
MUTED = "#707172"  # labels of the axes
FAINT = "#a0a1a2"  # the many lines behind
RULE = "#d8d9da"  # grid
PAPER = "#fdfdfc"  # the page itself
# Okabe and Ito's palette, told apart under every common colour blindness, and two more.
BLUE, VERMILION, GREEN = "#0072b2", "#d55e00", "#009e73"
PURPLE, ORANGE, SKY = "#cc79a7", "#e69f00", "#56b4e9"
BROWN, OLIVE = "#8c564b", "#7f7f22"
VARIABLES = {
    **{INK: "ink", MUTED: "muted", FAINT: "faint", RULE: "rule", PAPER: "paper"},
    **{BLUE: "blue", VERMILION: "vermilion", GREEN: "green", BROWN: "brown"},
    **{PURPLE: "purple", ORANGE: "orange", SKY: "sky", OLIVE: "olive"},
}
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # a $ in a name is a $
    "svg.hashsalt": "alignreg",
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same layout on every machine
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": FAINT,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "xtick.major.size": 3,
    "ytick.major.size": 0,
    "lines.solid_capstyle": "round",
    "legend.frameon": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
}
_SVG, _LINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
_TAG = "tag:"


def tagged(name: str, points: Sequence[str] = (), *, faint: bool = False) -> str:
    """The gid of what is drawn of a row: the row's name, and the text of each of its points."""
    return _TAG + json.dumps([name, list(points), faint], ensure_ascii=False)


def inline_svg(figure: Figure, name: str, description: str) -> str:
    """Render a figure as an `<svg>` element; `name` is unique in the page, the text is its alt.

    What has a `tagged` gid gets its row as data-row, and each of its points a title, which browsers
    show on hover and the page's script shows at once.
    """
    buffer = io.StringIO()
    with matplotlib.rc_context(STYLE):
        metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(buffer, format="svg", metadata=metadata)
    ElementTree.register_namespace("", _SVG)
    ElementTree.register_namespace("xlink", _LINK)
    drawn = buffer.getvalue()
    root = ElementTree.fromstring(drawn)
    for child in root.findall(f"{{{_SVG}}}metadata"):
        root.remove(child)
    used = {*re.findall(r'(?:href="|url\()#([^")]+)', drawn)}
    for node in root.iter():
        node.text, node.tail = (node.text or "").strip() or None, None
        node.attrib = {key: _tidy(value, name) for key, value in node.attrib.items()}
        if target := node.get(f"{{{_LINK}}}href"):
            node.set(f"{{{_LINK}}}href", f"#{name}-{target[1:]}")
        gid = node.attrib.pop("id", "")
        if gid and gid in used:
            node.set("id", f"{name}-{gid}")
        elif gid.startswith(_TAG):
            _tag(node, *json.loads(gid.removeprefix(_TAG)))
    view = root.attrib["viewBox"]
    root.attrib = {"viewBox": view, "role": "img", "aria-label": description}
    title = ElementTree.Element(f"{{{_SVG}}}title")
    title.text = description
    root.insert(0, title)
    return ElementTree.tostring(root, encoding="unicode").replace("<g", "\n<g")


def png(figure: Figure) -> bytes:
    """Render a figure as a picture on white, for pages that cannot take the drawing."""
    buffer = io.BytesIO()
    with matplotlib.rc_context(STYLE):
        figure.savefig(buffer, format="png", dpi=144, facecolor="white", metadata={"Software": ""})
    return buffer.getvalue()


def _tag(node: ElementTree.Element, row: str, points: list[str], faint: bool) -> None:
    node.set("data-row", row)
    if faint:
        node.set("class", "faint")
        for path in node.iter():
            if style := path.get("style"):
                path.set("style", re.sub(r"(fill-)?opacity: 0\b;?", "", style))
    uses = list(node.iter(f"{{{_SVG}}}use"))
    for use, text in zip(uses, points, strict=False):
        ElementTree.SubElement(use, f"{{{_SVG}}}title").text = text


def _tidy(value: str, name: str) -> str:
    """Shorten numbers, turn colours into variables, make references the figure's own."""
    if value.startswith(_TAG):
        return value
    value = re.sub(r"(\d+\.\d{2})\d+", r"\1", value)
    value = value.replace("url(#", f"url(#{name}-")
    value = re.sub(r"font-family: [^;]*", "font-family: inherit", value)
    value = re.sub(r"(font: [^;]*?[\d.]+px)[^;]*", r"\1 var(--sans)", value)
    for colour, variable in VARIABLES.items():
        value = value.replace(colour, f"var(--{variable})")
    return value
