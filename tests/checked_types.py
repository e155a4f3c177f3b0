"""Types and shapes in the signatures are checked in tests, and cost nothing in a run."""

from pathlib import Path

import beartype.claw
from beartype import BeartypeConf
from jaxtyping import install_import_hook

_PACKAGE = Path(__file__).parent.parent / "alignreg_jax"
_SHAPES = ("jaxtyping", "TYPE_CHECKING")
"""What modules name whose signatures have shapes, or types that do not exist while they run, which
beartype by itself cannot look up."""


def install() -> None:
    """Check what is imported from now on: shapes where signatures have some, else types alone.

    jaxtyping binds the arguments of every call by inspect, which in modules of plain values was
    nearly half of the time that their tests took.
    """
    with_shapes = [
        ".".join(path.relative_to(_PACKAGE.parent).with_suffix("").parts)
        for path in sorted(_PACKAGE.rglob("*.py"))
        if any(name in path.read_text(encoding="utf-8") for name in _SHAPES)
    ]
    # An int is a float where one is asked for (PEP 484); variables in functions are pyright's
    types = BeartypeConf(is_pep484_tower=True, claw_is_pep526=False)
    beartype.claw.beartype_package(_PACKAGE.name, conf=types)
    install_import_hook(with_shapes, "beartype.beartype")
