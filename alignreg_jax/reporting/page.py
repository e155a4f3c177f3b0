"""A page as one HTML file that needs no network, from jinja2's templates beside this file."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from alignreg_jax.reporting.rendering import environment
from alignreg_jax.reporting.svg import inline_svg
from alignreg_jax.reporting.tables import Table


class Part(NamedTuple):
    """A piece of a page.

    Its kind is "table", "figure", "code", "closed" (a part that is folded at first), or of a
    paragraph its class or "".
    """

    kind: str
    body: Any
    caption: str = ""


Section = tuple[str, Sequence[Part]]


def paragraph(text: str, kind: str = "") -> Part:
    """Plain text."""
    return Part(kind, text)


def table(found: Table, caption: str = "") -> Part:
    """A table, with its own title as caption if there is no other."""
    return Part("table", found, caption or found.title)


def drawing(figure: Figure, name: str, spoken: str, caption: str) -> Part:
    """A figure; `name` is unique in the page, `spoken` is for those who cannot see it."""
    return Part("figure", inline_svg(figure, name, spoken), caption)


def page(
    title: str,
    lead: str,
    first: Sequence[Part],
    sections: Sequence[Section],
    facts: Sequence[tuple[str, str, str, str]] = (),
) -> str:
    """A complete document; all texts are plain and become escaped.

    Args:
        title: its heading.
        lead: the line below.
        first: what comes before the sections.
        sections: heading and parts each; one without parts is left out.
        facts: the figures that matter most: (class, what, value, detail) each.
    """
    words = {"title": title, "lead": lead, "first": first, "facts": facts, "sections": sections}
    return environment().get_template("page.html").render(words)
