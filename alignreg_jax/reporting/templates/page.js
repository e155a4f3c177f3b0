// What a page can do beside being read: the text of the nearest point on hover, rows picked out in
// all figures at once, tables sorted by a click on a heading. Without scripts nothing is missing.
"use strict";
(() => {
  const all = (query, root = document) => [...root.querySelectorAll(query)];
  const drawn = new Set(all("svg [data-row]").map((part) => part.dataset.row));
  const picked = new Set();

  function pick(row) {
    if (!drawn.has(row)) return;
    if (!picked.delete(row)) picked.add(row);
    for (const part of all("[data-row]")) {
      const chosen = picked.has(part.dataset.row);
      part.classList.toggle("picked", chosen);
      part.classList.toggle("dim", picked.size > 0 && !chosen);
      if (part.tagName === "BUTTON") part.setAttribute("aria-pressed", chosen);
    }
  }

  const tip = document.createElement("div");
  tip.className = "tip";
  tip.hidden = true;
  document.body.append(tip);
  const offered = new Set();
  for (const svg of all("figure svg")) {
    all(":scope > title", svg).forEach((title) => title.remove()); // aria-label says it
    const points = all("use > title", svg).map((title) => {
      const point = { mark: title.parentNode, text: title.textContent };
      title.remove(); // or the browser would show it, too
      return point;
    });
    svg.addEventListener("pointermove", (event) => {
      let least = 24, best = null;
      const seen = (point) => !picked.size || point.mark.closest(".picked");
      for (const point of points.filter(seen)) {
        const box = point.mark.getBoundingClientRect();
        const x = box.x + box.width / 2 - event.clientX, y = box.y + box.height / 2 - event.clientY;
        if (Math.hypot(x, y) < least) [least, best] = [Math.hypot(x, y), point];
      }
      tip.hidden = best === null;
      if (best === null) return;
      tip.textContent = best.text;
      const left = Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8);
      tip.style.left = `${Math.max(left, 4)}px`;
      tip.style.top = `${Math.max(event.clientY - tip.offsetHeight - 10, 4)}px`;
    });
    svg.addEventListener("pointerleave", () => { tip.hidden = true; });
    svg.addEventListener("click", (event) => {
      const part = event.target.closest("[data-row]");
      if (part) pick(part.dataset.row);
    });
    const rows = [...new Set(all("[data-row]", svg).map((part) => part.dataset.row))];
    const order = all("tr[data-row]").map((line) => line.dataset.row); // as in the tables
    rows.sort((a, b) => order.indexOf(a) - order.indexOf(b));
    if (rows.length < 3 || rows.every((row) => offered.has(row))) continue;
    const chips = document.createElement("div");
    chips.className = "chips";
    for (const row of rows) {
      offered.add(row);
      const chip = document.createElement("button");
      [chip.type, chip.textContent, chip.dataset.row] = ["button", row, row];
      chip.setAttribute("aria-pressed", "false");
      chip.addEventListener("click", () => pick(row));
      chips.append(chip);
    }
    svg.closest("figure").prepend(chips);
  }

  const number = (cell) => {
    const text = cell.textContent.replaceAll(",", "").replace("−", "-");
    const found = text.match(/[-+]?\d+(\.\d+)?(e[-+]?\d+)?/);
    return found ? parseFloat(found[0]) : NaN;
  };
  for (const table of all("table")) {
    const body = table.tBodies[0], heads = [...table.tHead.rows[table.tHead.rows.length - 1].cells];
    for (const head of all("tbody th.name", table)) {
      const row = head.parentNode.dataset.row;
      if (!drawn.has(row)) continue;
      head.classList.add("pick");
      head.addEventListener("click", () => pick(row));
    }
    if (body.rows.length < 3) continue;
    heads.forEach((head, column) => {
      head.classList.add("sortable");
      head.tabIndex = 0;
      const sort = () => {
        const up = head.getAttribute("aria-sort") === "descending"; // the largest first
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", up ? "ascending" : "descending");
        const name = head.classList.contains("name") || !head.textContent;
        const key = (row) => {
          const cell = row.cells[column];
          return name ? cell.textContent : number(cell);
        };
        const order = (a, b) => {
          const [x, y] = [key(a), key(b)];
          if (name) return up ? y.localeCompare(x) : x.localeCompare(y);
          if (isNaN(x) || isNaN(y)) return isNaN(x) - isNaN(y); // what has no number comes last
          return up ? x - y : y - x;
        };
        body.append(...[...body.rows].sort(order));
      };
      head.addEventListener("click", sort);
      head.addEventListener("keydown", (event) => { if (event.key === "Enter") sort(); });
    });
  }
})();
