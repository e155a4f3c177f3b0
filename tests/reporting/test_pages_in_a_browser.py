"""The pages in a real browser: no error, nothing wider than the screen or the paper, and they act.

One start of Chromium a page: a script that is added to a copy of the page does what a reader does,
at every width, and writes what it saw into the document.
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


def browse(page, *flags):
    """What the reader saw."""
    copy = page.with_name("browsed.html")
    text = page.read_text().replace("<style>", f"{WATCH}<style>", 1)
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
