"""The Hub's cache, which somebody without a home folder has not."""

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
