"""For `make docs`: README.md and tpu/README.md become pages of the site, and links lead to them.

On GitHub the pages of docs/ link to files beside that folder, which a site of it alone lacks.
"""

import posixpath
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
ADDED = {"README.md": "readme.md", "tpu/README.md": "tpu.md"}
"""Where a page is in the repository, and in the site."""

LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!https?:|mailto:|#)([^)#\s]+)(#[^)\s]*)?\)")


def on_files(files: Any, config: Any) -> Any:
    """Add the two pages."""
    from mkdocs.structure.files import File  # of an environment that the tests lack

    for source, page in ADDED.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / source)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Send each link to its page of the site; of a file that the site lacks the name is left."""
    here = page.file.src_uri
    origin = {page: source for source, page in ADDED.items()}.get(here, f"docs/{here}")

    def link(found: re.Match[str]) -> str:
        picture, text, path, anchor = found.groups()
        target = posixpath.normpath(posixpath.join(posixpath.dirname(origin), path))
        there = ADDED.get(target, target.removeprefix("docs/"))
        if target not in ADDED and (not target.startswith("docs/") or target == "docs"):
            return f"![{text}]({path})" if picture else text
        way = posixpath.relpath(there, posixpath.dirname(here) or ".")
        return f"{picture}[{text}]({way}{anchor or ''})"

    return LINK.sub(link, markdown)
