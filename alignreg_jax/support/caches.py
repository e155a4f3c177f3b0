"""Where caches are; somebody without a home folder has none."""

import os
from pathlib import Path

from alignreg_jax.errors import UserError


def check_hub_cache(field: str) -> None:
    """Check that the Hub's client has a folder to keep downloads in.

    Where there is no home it would make one that is called "~" where the program was started.

    Raises:
        UserError: it has none; names the field that asked for the Hub.
    """
    from huggingface_hub import constants

    if constants.HF_HUB_CACHE.startswith("~"):
        raise UserError(
            f"{field}: there is no home folder for the Hub's cache; the environment variable "
            "HF_HOME says where else"
        )


def default_cache_dir() -> Path | None:
    """Return where tokenised data are cached: $ALIGNREG_CACHE, or ~/.cache/alignreg_jax.

    None where nobody has a home, as a user of a container that no passwd file names.
    """
    named = os.environ.get("ALIGNREG_CACHE") or "~/.cache/alignreg_jax"
    path = os.path.expanduser(named)  # leaves the ~ of nobody; Path's raises
    return None if path.startswith("~") else Path(path)
