"""jinja2's templates, which lie in the folder templates."""

from functools import cache

import jinja2

_LOADER = jinja2.PackageLoader("alignreg_jax.reporting")


@cache
def environment() -> jinja2.Environment:
    """For HTML, where all text is escaped, and Markdown, where none is."""
    return jinja2.Environment(
        loader=_LOADER,
        autoescape=jinja2.select_autoescape(["html"]),
        keep_trailing_newline=True,
        trim_blocks=True,
    )


@cache
def latex() -> jinja2.Environment:
    """For LaTeX: the templates' signs are none of its own."""
    return jinja2.Environment(
        loader=_LOADER,
        block_start_string="<%",
        block_end_string="%>",
        variable_start_string="<<",
        variable_end_string=">>",
        keep_trailing_newline=True,
        trim_blocks=True,
    )
