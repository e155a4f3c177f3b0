"""Links of the pages lead to files of the repository and to headings in them."""

import re
from pathlib import Path

import pytest
import tiny

PAGES = sorted(
    page for where in ("*.md", "docs/**/*.md", "tpu/*.md") for page in tiny.ROOT.glob(where)
)
LINK = re.compile(r"\]\((?!https?:|mailto:)([^)#\s]*)(?:#([^)\s]+))?\)")


def anchors(page: Path) -> set[str]:
    """Of its headings, as GitHub makes them: lower case, spaces as dashes, no other signs."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(tiny.ROOT)))
def test_links_lead_somewhere(page):
    code = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)
    for path, anchor in LINK.findall(code.sub("", page.read_text(encoding="utf-8"))):
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), path
        if anchor and target.suffix == ".md":
            assert anchor in anchors(target), f"{path}#{anchor}"


def test_there_are_pages_with_links():
    assert len(PAGES) > 15
    readme = (tiny.ROOT / "README.md").read_text(encoding="utf-8")
    assert len(LINK.findall(readme)) > 10
