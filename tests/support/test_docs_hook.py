"""Links of the site that `make docs` builds."""

import sys
from types import SimpleNamespace

import pytest
import tiny


@pytest.fixture
def hook(monkeypatch):
    monkeypatch.syspath_prepend(tiny.ROOT / "tools")
    import docs_hook

    yield docs_hook
    del sys.modules["docs_hook"]


@pytest.mark.parametrize(
    ("page", "before", "after"),
    [
        ("methods.md", "[a](../README.md#what)", "[a](readme.md#what)"),
        ("results/x/README.md", "[a](../../statistics.md)", "[a](../../statistics.md)"),
        ("results/x/README.md", "![a](p.png) [b](t.html)", "![a](p.png) [b](t.html)"),
        ("devices.md", "[a](../tpu/README.md)", "[a](tpu.md)"),
        (
            "readme.md",
            "![a](docs/results/d.png) [b](docs/r.md#x)",
            "![a](results/d.png) [b](r.md#x)",
        ),
        (
            "readme.md",
            "[Contributing](CONTRIBUTING.md) and [there](https://x.org/y)",
            "Contributing and [there](https://x.org/y)",
        ),
        (
            "tpu.md",
            "[a](../docs/performance.md) [`boot.sh`](vm/boot.sh)",
            "[a](performance.md) `boot.sh`",
        ),
        ("runs.md", "[here](#bits)", "[here](#bits)"),
    ],
)
def test_links_lead_to_pages_of_the_site(hook, page, before, after):
    there = SimpleNamespace(file=SimpleNamespace(src_uri=page))
    assert hook.on_page_markdown(before, there, None, None) == after
