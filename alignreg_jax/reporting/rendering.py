"""jinja2's templates, which lie in the folder templates."""

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

import jinja2


@cache
def environment() -> jinja2.Environment:
    """For HTML, where all text is escaped, and Markdown, where none is."""
    return jinja2.Environment(
        loader=jinja2.PackageLoader("alignreg_jax.reporting"),
        autoescape=jinja2.select_autoescape(["html"]),
        keep_trailing_newline=True,
        trim_blocks=True,
    )


@cache
def latex() -> jinja2.Environment:
    """For LaTeX: the templates' signs are none of its own."""
    return environment().overlay("<%", "%>", "<<", ">>")


def sentences(template: str, macro: str, known: Mapping[str, Any]) -> list[str]:
    """The paragraphs that a macro of a template says of what is known, each in one line."""
    text = environment().get_template(template).make_module(dict(known))
    parts = re.split(r"\n\s*\n", getattr(text, macro)())
    return [" ".join(part.split()) for part in parts if part.strip()]
