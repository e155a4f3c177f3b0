"""The frame of the report: one HTML file with its own style, no scripts, nothing from a network."""

import html

STYLE = """
:root {
  color-scheme: light dark;
  --sans: system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif;
  --mono: ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace;
  --ink: #1b1d20; --muted: #5c6168; --faint: #a2a7ae; --rule: #e3e5e8; --paper: #ffffff;
  --soft: #f5f6f7;
  --blue: #0072b2; --vermilion: #d55e00; --green: #009e73; --purple: #c2649a; --orange: #dc9600;
  --sky: #56b4e9;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ink: #e7e9ec; --muted: #a0a6ae; --faint: #6c737c; --rule: #2c3036; --paper: #16181b;
    --soft: #1e2125;
    --blue: #56aee6; --vermilion: #f58b4c; --green: #35c699; --purple: #dd9cc2; --orange: #f0b73d;
    --sky: #9bd6f7;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; padding: 3rem 1.5rem 4rem; max-width: 66rem;
  background: var(--paper); color: var(--ink); font: 1rem/1.55 var(--sans);
}
h1 { margin: 0; font-size: 1.9rem; line-height: 1.2; letter-spacing: -0.01em; }
h2 { margin: 3.2rem 0 0.4rem; font-size: 1.25rem; letter-spacing: -0.005em; }
h3 { margin: 1.8rem 0 0.4rem; font-size: 1rem; }
p { margin: 0.4rem 0 1rem; max-width: 46rem; }
.lead { margin: 0.5rem 0 0; color: var(--muted); }
.finding { margin: 1.8rem 0 0; font-size: 1.12rem; line-height: 1.5; }
.note { margin: 0.7rem 0 1.8rem; color: var(--muted); font-size: 0.86rem; }
.facts {
  display: grid; grid-template-columns: repeat(auto-fit, minmax(11.5rem, 1fr)); gap: 0 2rem;
  margin: 1.8rem 0 0; padding: 0;
}
.facts div { padding: 0.8rem 0; border-top: 2px solid var(--ink); }
.facts dt { color: var(--muted); font-size: 0.86rem; }
.facts dd { margin: 0.1rem 0 0; font-size: 1.55rem; font-weight: 600; line-height: 1.25; }
.facts dd + dd { color: var(--muted); font-size: 0.86rem; font-weight: 400; }
.facts .en dd:first-of-type { color: var(--blue); }
.facts .mean dd:first-of-type { color: var(--vermilion); }
figure { margin: 1rem 0 0; }
figcaption { margin-top: 0.5rem; max-width: 46rem; color: var(--muted); font-size: 0.86rem; }
.scroll { overflow-x: auto; }
svg { display: block; width: 100%; min-width: 44rem; height: auto; }
table, svg { font-variant-ligatures: none; } /* fi is a language here, not a glyph */
table { border-collapse: collapse; margin-top: 1rem; font-size: 0.88rem; }
td { font-variant-numeric: tabular-nums; }
caption { padding: 0 0 0.5rem; color: var(--muted); font-size: 0.86rem; text-align: left; }
th, td { padding: 0.24rem 0.62rem; text-align: right; white-space: nowrap; }
th:first-child, td:first-child { padding-left: 0.2rem; }
thead th { border-bottom: 1.5px solid var(--ink); font-weight: 600; }
tbody tr { border-bottom: 1px solid var(--rule); }
tbody th { font-weight: 600; }
.name { text-align: left; }
details { margin-top: 1rem; }
summary { cursor: pointer; color: var(--muted); }
pre, code { font-family: var(--mono); font-size: 0.84rem; }
pre { margin: 0.6rem 0; padding: 0.8rem 1rem; overflow-x: auto; background: var(--soft); }
footer { margin-top: 3.5rem; color: var(--muted); font-size: 0.82rem; }
@media print { body { max-width: none; padding: 0; } figure, tr { break-inside: avoid; } }
"""


def page(title: str, body: str) -> str:
    """A complete document; `title` is plain text, `body` is HTML."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n"
        f"<body>\n{body}</body>\n</html>\n"
    )


def section(title: str, *parts: str) -> str:
    """A heading and what belongs to it; parts are HTML, empty ones are left out."""
    return (
        f"<section>\n<h2>{html.escape(title)}</h2>\n"
        + "\n".join(filter(None, parts))
        + "</section>\n"
    )


def paragraph(text: str, kind: str = "") -> str:
    """A paragraph of plain text."""
    attribute = f' class="{kind}"' if kind else ""
    return f"<p{attribute}>{html.escape(text)}</p>\n"


def drawing(svg: str, caption: str) -> str:
    """A figure that scrolls on a narrow screen, with its caption below."""
    return (
        f'<figure>\n<div class="scroll">{svg}</div>\n'
        f"<figcaption>{html.escape(caption)}</figcaption>\n</figure>\n"
    )


def facts(entries: list[tuple[str, str, str, str]]) -> str:
    """The figures that matter most: (class, what, value, detail) each."""
    items = [
        f'<div class="{kind}"><dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd>'
        f"<dd>{html.escape(detail)}</dd></div>"
        for kind, name, value, detail in entries
    ]
    return '<dl class="facts">\n' + "\n".join(items) + "\n</dl>\n"


def code(text: str) -> str:
    """Text as it is, in a box."""
    return f"<pre><code>{html.escape(text)}</code></pre>\n"


def collapsed(title: str, body: str) -> str:
    """A block that is closed at first; `body` is HTML."""
    return f"<details>\n<summary>{html.escape(title)}</summary>\n{body}</details>\n"
