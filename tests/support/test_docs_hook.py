"""Links of the site that `make docs` builds."""

import importlib.util
from types import SimpleNamespace

import pytest
import tiny

spec = importlib.util.spec_from_file_location("docs_hook", tiny.ROOT / "tools" / "docs_hook.py")
assert spec is not None
assert spec.loader is not None
hook = importlib.util.module_from_spec(spec)
spec.loader.exec_module(hook)


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
def test_links_lead_to_pages_of_the_site(page, before, after):
    there = SimpleNamespace(file=SimpleNamespace(src_uri=page))
    assert hook.on_page_markdown(before, there, None, None) == after
