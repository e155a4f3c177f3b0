"""The pages in a real browser: no error, nothing cut or too faint, on screen and paper; they act.

One start of Chromium a page: a script that is added to a copy of the page does what a reader does,
at every width, and writes what it saw into the document. What the page keeps for paper or for the
dark is there taken for all (`held`), as headless Chromium cannot be asked for it.
"""

import json
import re
import shutil
import subprocess

import pytest
import sweep_cases

from alignreg_jax.reporting import report, side_by_side
from alignreg_jax.reporting.sweeps.report import write_sweep

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no chromium or google-chrome installed")
LONG = "l2-mbp@distill.teacher=dense@distill.text=data@pruning.epochs_per_step=2"
WATCH = """<script>
const seen = { errors: [] };
addEventListener("error", (event) => seen.errors.push(event.message));
</script>"""
# A reader: looks how wide it is, points at every tenth point, picks a row, sorts each table twice
ACT = """<script>
const channels = (color) => color.match(/[\\d.]+/g).map(Number);
const behind = (part) => {  // the colour of the nearest surface below its middle
  part.scrollIntoView({ block: "center" });
  const box = part.getBoundingClientRect();
  const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
  for (const below of [part, ...document.elementsFromPoint(x, y)]) {
    const style = getComputedStyle(below), svg = below instanceof SVGGeometryElement;
    const color = svg ? style.fill : style.backgroundColor;
    if (color !== "none" && (channels(color)[3] ?? 1) > 0) return color;
  }
  return "rgb(255, 255, 255)";
};
const contrast = (one, other) => {  // WCAG 2.2: (L1 + .05) / (L2 + .05) of relative luminances
  const [dark, light] = [one, other].map((color) => {
    const [r, g, b] = channels(color).slice(0, 3).map((c) => c / 255)
      .map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  }).sort((a, b) => a - b);
  return (light + 0.05) / (dark + 0.05);
};
addEventListener("load", () => {
  const page = document.documentElement, all = (q) => [...document.querySelectorAll(q)];
  seen.inner = innerWidth;
  seen.width = page.scrollWidth;
  seen.cut = all("svg").filter((svg) => {
    const frame = svg.getBoundingClientRect();
    return [...svg.querySelectorAll("text")].some((text) => {
      const box = text.getBoundingClientRect();
      return box.left < frame.left - 1 || box.right > frame.right + 1
        || box.top < frame.top - 1 || box.bottom > frame.bottom + 1;
    });
  }).length;
  seen.overflow = all(".scroll").filter((box) => box.scrollWidth > box.clientWidth + 1).length;
  seen.tips = [];
  for (const mark of all("[data-row] use").filter((_, place) => place % 10 === 0)) {
    const box = mark.getBoundingClientRect();
    const where = { clientX: box.x + box.width / 2, clientY: box.y + box.height / 2 };
    mark.dispatchEvent(new PointerEvent("pointermove", { bubbles: true, ...where }));
    const tip = document.querySelector(".tip");
    if (!tip.hidden) seen.tips.push(tip.textContent);
  }
  seen.faint = {};
  for (const part of all("body *").filter((e) => e.checkVisibility({ opacityProperty: true }))) {
    if (![...part.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim())) continue;
    const style = getComputedStyle(part), svg = part instanceof SVGElement;
    const size = parseFloat(style.fontSize);  // large text, and large bold one, needs 3, not 4.5
    const share = size >= 24 || (size >= 18.6 && style.fontWeight >= 700) ? 3 / 4.5 : 1;
    const ratio = contrast(svg ? style.fill : style.color, behind(part)) / share;
    if (ratio < 4.5) seen.faint[part.textContent] = ratio;
  }
  const chip = document.querySelector(".chips button");
  if (chip) {
    chip.click();
    seen.picked = chip.dataset.row;
    seen.dim = all("svg .dim").length;
    seen.left = [...new Set(all("svg .picked").map((part) => part.dataset.row))];
    chip.click();
    seen.dim_after = all("svg .dim").length;
  }
  seen.orders = all("table").filter((t) => t.querySelector("th.sortable")).map((table) => {
    const head = [...table.querySelectorAll("th.sortable")][1];
    const column = head.cellIndex;
    return ["descending", "ascending"].map((order) => {
      head.click();
      const read = (row) => parseFloat(row.cells[column].textContent.replace(/,/g, ""));
      const found = [...table.tBodies[0].rows].map(read).filter((x) => !isNaN(x));
      return head.getAttribute("aria-sort") === order ? found : null;
    });
  });
  const note = document.createElement("pre");
  note.id = "seen";
  note.textContent = JSON.stringify(seen);
  document.body.append(note);
});
</script>"""


def browse(page, *flags, held=None):
    """What the reader saw; `held`: a condition of the page's style that is taken for true."""
    copy = page.with_name("browsed.html")
    text = page.read_text().replace("<style>", f"{WATCH}<style>", 1)
    if held:
        assert f"@media {held} {{" in text
        text = text.replace(f"@media {held} {{", "@media all {")
    copy.write_text(text.replace("</body>", f"{ACT}</body>"))
    fixed = ["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=2000"]
    profile = f"--user-data-dir={page.parent / 'profile'}"
    command = [BROWSER, *fixed, profile, *flags, "--dump-dom", f"file://{copy}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    found = re.search(r'<pre id="seen">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found, done.stderr[-2000:]
    return json.loads(found[1].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    folder, rows = tmp_path_factory.mktemp("sweep"), ("none", "l2-mbp", "random", LONG)
    runs = [
        run
        for row in rows
        for run in sweep_cases.write_runs(
            folder / "runs", rows=(row,), seeds=(0, 1), skill=(0.6, 0.3)
        )
    ]
    return write_sweep(folder, sweep_cases.facts(rows=rows, seeds=(0, 1)), runs)


@pytest.fixture
def page(request, make_run, tmp_path):
    if request.param == "sweep":
        return request.getfixturevalue("sweep")
    run = make_run()
    if request.param == "run":
        return report.write_report(run)
    other = shutil.copytree(run, tmp_path / "other")
    return side_by_side.report([run, other], tmp_path / "both.html", None)


@pytest.mark.parametrize("page", ["run", "sweep", "runs"], indirect=True)
def test_a_reader_at_1200_pixels(page):
    seen = browse(page, "--window-size=1200,900")
    assert seen["errors"] == []
    assert seen["inner"] == 1200
    assert seen["width"] <= 1200
    assert (seen["cut"], seen["overflow"]) == (0, 0)
    assert seen["faint"] == {}
    assert len(seen["tips"]) > 5
    assert all(re.search(r": \d+\.\d\d", tip) for tip in seen["tips"])
    if "picked" in seen:
        assert seen["dim"] > 0 == seen["dim_after"]
        assert seen["left"] == [seen["picked"]]
    assert seen["orders"]
    for descending, ascending in seen["orders"]:
        assert descending == sorted(descending, reverse=True)
        assert ascending == sorted(ascending)


@pytest.mark.parametrize("page", ["sweep"], indirect=True)
def test_a_reader_with_a_phone(page):
    """What is wide scrolls in a frame of its own."""
    seen = browse(page, "--window-size=390,800")
    assert seen["errors"] == []
    assert seen["width"] <= seen["inner"] <= 500  # the least that some versions allow


@pytest.mark.parametrize("page", ["run", "sweep", "runs"], indirect=True)
def test_a_reader_in_the_dark(page):
    seen = browse(page, "--window-size=1200,900", held="(prefers-color-scheme: dark)")
    assert seen["errors"] == []
    assert seen["faint"] == {}


@pytest.mark.parametrize("page", ["run", "sweep", "runs"], indirect=True)
def test_a_reader_of_paper(page):
    """A4 has 188 mm between the page's margins, 711 pixels of 96 an inch."""
    seen = browse(page, "--window-size=711,1000", held="print")
    assert seen["inner"] == 711
    assert seen["width"] <= 711
    assert (seen["cut"], seen["overflow"]) == (0, 0)
    assert seen["faint"] == {}
