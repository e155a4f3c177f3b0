"""A matplotlib figure as a small piece of HTML: inline SVG whose text and colours are the page's.

Figures are drawn with the stand-in colours below; in the page each becomes a CSS variable, so that
one picture serves a light and a dark page. Text stays text: sharp, searchable, in the page's font.
The same figure gives the same bytes.
"""

import html
import io
import re
from typing import Any

import matplotlib
from matplotlib.figure import Figure

INK = "#101112"  # text, axes, the series in front
MUTED = "#707172"  # labels of the axes
FAINT = "#a0a1a2"  # the many lines behind
RULE = "#d8d9da"  # grid
PAPER = "#fdfdfc"  # the page itself
# Okabe and Ito's palette, told apart under every common colour blindness.
BLUE, VERMILION, GREEN = "#0072b2", "#d55e00", "#009e73"
PURPLE, ORANGE, SKY = "#cc79a7", "#e69f00", "#56b4e9"
VARIABLES = {
    **{INK: "ink", MUTED: "muted", FAINT: "faint", RULE: "rule", PAPER: "paper"},
    **{BLUE: "blue", VERMILION: "vermilion", GREEN: "green"},
    **{PURPLE: "purple", ORANGE: "orange", SKY: "sky"},
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


def inline_svg(figure: Figure, name: str, description: str) -> str:
    """Render a figure as an `<svg>` element; `name` is unique in the page, the text is its alt."""
    buffer = io.StringIO()
    with matplotlib.rc_context(STYLE):
        metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(buffer, format="svg", metadata=metadata)
    drawing = buffer.getvalue()
    drawing = drawing[drawing.index("<svg") :].strip()
    drawing = re.sub(r"<(metadata|!--).*?(/metadata|--)>\s*", "", drawing, flags=re.DOTALL)
    drawing = re.sub(r"<[^>]+>", lambda tag: _tidy_tag(tag[0], name), drawing)
    drawing = _drop_unused_ids(drawing)
    drawing = re.sub(r">\s*\n\s*<", ">\n<", drawing)
    root = re.match(r"<svg[^>]*>", drawing)
    view_box = re.search(r'viewBox="[^"]*"', drawing)
    if root is None or view_box is None:
        raise RuntimeError("matplotlib wrote an SVG without a viewBox")
    label = html.escape(description, quote=True)
    start = (
        f'<svg {view_box[0]} role="img" aria-label="{label}" xmlns="http://www.w3.org/2000/svg"'
        f' xmlns:xlink="http://www.w3.org/1999/xlink">\n<title>{label}</title>'
    )
    return start + drawing[root.end() :]


def png(figure: Figure) -> bytes:
    """Render a figure as a picture on white, for pages that cannot take the drawing."""
    buffer = io.BytesIO()
    with matplotlib.rc_context(STYLE):
        figure.savefig(buffer, format="png", dpi=144, facecolor="white", metadata={"Software": ""})
    return buffer.getvalue()


def _tidy_tag(tag: str, name: str) -> str:
    """Shorten a tag's numbers, turn colours into variables, make its ids the figure's own."""
    tag = re.sub(r"(\d+\.\d{2})\d+", r"\1", tag)
    tag = re.sub(r'(\bid=")|(\bhref="#)|(url\(#)', lambda found: f"{found[0]}{name}-", tag)
    tag = re.sub(r"font-family: [^;\"]*", "font-family: inherit", tag)
    tag = re.sub(r"(font: [^;\"]*?[\d.]+px)[^;\"]*", r"\1 var(--sans)", tag)
    for colour, variable in VARIABLES.items():
        tag = tag.replace(colour, f"var(--{variable})")
    return tag


def _drop_unused_ids(drawing: str) -> str:
    used = set(re.findall(r"(?:href=\"|url\()#([^\")]+)", drawing))
    return re.sub(r' id="([^"]*)"', lambda found: found[0] if found[1] in used else "", drawing)
