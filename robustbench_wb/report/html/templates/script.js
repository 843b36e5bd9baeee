"use strict";
(() => {
  const value = (row, column) => {
    const cell = row.cells[column];
    return "v" in cell.dataset ? cell.dataset.v : cell.textContent.trim();
  };

  // A column aligned to the right holds numbers like "55.0 [50.6, 59.3] B" or "<= 80.0"; a word there is no number.
  const key = (row, column, numbers) => {
    const text = value(row, column);
    return numbers ? (/^(?:<= )?(-?\d+(?:\.\d+)?(?:e[+-]?\d+)?)/.exec(text) || ["", ""])[1] : text;
  };

  // Empty cells come last in both directions. A column of numbers is sorted by size, any other column as text.
  const sorted = (rows, column, sign, numbers) => {
    const keyed = rows.map((row) => [key(row, column, numbers), row]);
    const filled = keyed.filter(([key]) => key !== "");
    const numeric = filled.every(([key]) => key !== "" && Number.isFinite(Number(key)));
    const order = numeric ? (a, b) => a[0] - b[0] : (a, b) => a[0].localeCompare(b[0], "en", { numeric: true });
    filled.sort((a, b) => sign * order(a, b));
    return [...filled, ...keyed.filter(([key]) => key === "")].map(([, row]) => row);
  };

  const NEXT = { none: "descending", descending: "ascending", ascending: "none" };
  const SIGN = { descending: -1, ascending: 1 };

  const makeSortable = (table) => {
    const body = table.tBodies[0];
    const original = [...body.rows];
    const headings = [...table.tHead.rows[0].cells];
    headings.forEach((heading, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...heading.childNodes);
      heading.append(button);
      heading.setAttribute("aria-sort", "none");
      button.addEventListener("click", () => {
        const next = NEXT[heading.getAttribute("aria-sort")];
        headings.forEach((other) => other.setAttribute("aria-sort", "none"));
        heading.setAttribute("aria-sort", next);
        body.append(...(next === "none" ? original : sorted(original, column, SIGN[next], heading.classList.contains("right"))));
      });
    });
  };

  const field = (name, update) => {
    const label = document.createElement("label");
    const input = document.createElement("input");
    input.type = "search";
    input.name = name;
    input.addEventListener("input", update);
    label.append(name, input);
    return [label, input];
  };

  // In the overview, rows are filtered by their first cell and columns by their heading; elsewhere rows by any cell.
  const makeFilterable = (table) => {
    const form = document.createElement("form");
    const status = document.createElement("output");
    const matrix = table.classList.contains("matrix");
    const headings = [...table.tHead.rows[0].cells].slice(1);
    const rows = [...table.tBodies[0].rows];
    const titles = headings.map((heading) => heading.textContent.trim().toLowerCase());
    let texts = null; // computed on first use, because a page may have thousands of rows
    const update = () => {
      texts ??= rows.map((row) => (matrix ? row.cells[0] : row).textContent.trim().toLowerCase());
      const wanted = rowInput.value.trim().toLowerCase();
      const across = columnInput ? columnInput.value.trim().toLowerCase() : "";
      rows.forEach((row, at) => { row.hidden = !texts[at].includes(wanted); });
      const shown = titles.map((title) => title.includes(across));
      if (matrix) {
        [table.tHead.rows[0], ...rows].forEach((row) => {
          shown.forEach((show, at) => { row.cells[at + 1].hidden = !show; });
        });
      }
      const count = `${rows.filter((row) => !row.hidden).length} of ${rows.length} rows`;
      status.textContent = matrix ? `${count}, ${shown.filter(Boolean).length} of ${shown.length} columns` : count;
    };
    const [rowLabel, rowInput] = field(matrix ? "models" : "rows", update);
    const [columnLabel, columnInput] = matrix ? field("perturbations", update) : [null, null];
    form.className = "filter";
    form.setAttribute("role", "search");
    form.setAttribute("aria-label", table.caption.textContent);
    form.addEventListener("submit", (event) => event.preventDefault());
    form.append(rowLabel, ...(columnLabel ? [columnLabel] : []), status);
    table.parentElement.before(form);
  };

  const FEW = 8;
  document.querySelectorAll("table.sortable").forEach((table) => {
    const plain = table.classList.contains("headline");
    if (table.classList.contains("matrix") || (!plain && table.tBodies[0].rows.length > FEW)) makeFilterable(table);
    makeSortable(table);
  });

  const reveal = () => {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    for (let at = target; at; at = at.parentElement) if (at.tagName === "DETAILS") at.open = true;
    if (target) target.scrollIntoView({ block: "center" });
  };
  window.addEventListener("hashchange", reveal);
  reveal();
})();
