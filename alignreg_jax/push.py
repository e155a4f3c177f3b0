"""A model's folder onto the Hub: an export, a smaller model, or one that is served.

`alignreg push FOLDER OWNER/NAME [--private] [--message TEXT]`
"""

import os
from collections.abc import Sequence
from pathlib import Path

from alignreg_jax.errors import UserError
from alignreg_jax.support import flags, terminal

USAGE = """\
usage: alignreg push FOLDER OWNER/NAME [--private] [--message TEXT]

Uploads a run's export, or what shrink, trim or deploy has written, to the Hub as one commit; the
repository is made if it is not there. Needs `hf auth login`, or HF_TOKEN; HF_ENDPOINT is another
Hub. The folder's card says what each language scores, by its metadata, too."""


def main(arguments: Sequence[str]) -> int:
    """Parse the command line, upload, say where it is; returns the exit code."""
    return flags.execute(arguments, lambda: USAGE, _run, "the Hub has all of it or nothing")


def _run(arguments: Sequence[str]) -> int:
    parser = flags.Parser("alignreg push")
    parser.add_argument("folder", metavar="FOLDER")
    parser.add_argument("repository", metavar="OWNER/NAME")
    parser.add_argument("--private", action="store_true")
    parser.add_argument("--message", default="Upload with alignreg push")
    values = parser.parse_args(list(arguments))
    folder = Path(os.path.expanduser(values.folder))
    terminal.show(push(folder, values.repository, private=values.private, message=values.message))
    return 0


def push(folder: Path, repository: str, *, private: bool, message: str) -> str:
    """Upload a folder as one commit; returns its address.

    Args:
        folder: with config.json and README.md.
        repository: owner/name; made if it is not there.
        private: whether only its owner sees it, if it is made.
        message: of the commit.

    Raises:
        UserError: no model's folder, a name that is none, no right to write there, no connection.
    """
    for name in ("config.json", "README.md"):
        if not (folder / name).is_file():
            raise UserError(
                f"{folder}: has no {name}; give the export of a run (RUN/export), or what shrink,"
                " trim or deploy has written"
            )
    if repository.count("/") != 1:
        raise UserError(f"{repository}: should be OWNER/NAME, as the Hub has it")
    # Imported here: --help does not need it
    from huggingface_hub import HfApi
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HFValidationError,
        LocalTokenNotFoundError,
        OfflineModeIsEnabled,
    )

    hub = HfApi()
    try:
        hub.create_repo(repository, private=private, exist_ok=True)
        done = hub.upload_folder(
            repo_id=repository, folder_path=folder, commit_message=message, ignore_patterns=[".*"]
        )
    except HFValidationError as error:
        raise UserError(f"{repository}: {error}") from error
    except OfflineModeIsEnabled as error:
        raise UserError(f"{repository}: HF_HUB_OFFLINE is set, so nothing is sent") from error
    except LocalTokenNotFoundError as error:
        raise UserError(f"{repository}: not logged in; `hf auth login`, or set HF_TOKEN") from error
    except HfHubHTTPError as error:
        raise UserError(f"{repository}: the Hub refuses: {str(error).splitlines()[0]}") from error
    except Exception as error:  # of the client for HTTP, which is another in each version
        if type(error).__module__.partition(".")[0] not in ("httpx", "httpx2", "httpcore"):
            raise
        raise UserError(f"{repository}: {hub.endpoint} cannot be reached ({error})") from error
    return str(done)
