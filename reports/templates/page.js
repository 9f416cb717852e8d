"use strict";

// Tables: a click on a head sorts, a second one the other way round.
const value = (cell) => {
  const text = (cell.dataset.value ?? cell.textContent).trim().replace("%", "");
  const number = Number(text.split(" ")[0].replace(/,/g, "").replace(/^\[/, ""));
  return text === "" || text.startsWith("–") ? null : Number.isNaN(number) ? text : number;
};
const order = (a, b) =>
  typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
for (const table of document.querySelectorAll("table.sortable")) {
  table.querySelectorAll("thead th").forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const rising = head.getAttribute("aria-sort") === "descending" || (column === 0 && !head.hasAttribute("aria-sort"));
      for (const other of table.querySelectorAll("thead th")) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", rising ? "ascending" : "descending");
      const body = table.tBodies[0];
      const rows = [...body.rows].map((row) => [value(row.cells[column]), row]);
      rows.sort(([a], [b]) => {
        if (a === null || b === null) return (a === null) - (b === null);
        return rising ? order(a, b) : order(b, a);
      });
      body.append(...rows.map(([, row]) => row));
    });
  });
}

// Copying: a page from a file may have no clipboard of its own, and the browser's older way always works.
const put = async (text) => {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = document.createElement("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    if (!done) throw new Error("the browser does not let this page copy");
  }
};
const copier = (name, what, text) => {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "copy";
  button.textContent = name;
  button.setAttribute("aria-label", `${name}: ${what}`);
  button.addEventListener("click", async () => {
    try {
      await put(text());
      button.textContent = "Copied";
    } catch {
      button.textContent = "Not copied: the browser forbids it";
    }
    setTimeout(() => { button.textContent = name; }, 1500);
  });
  return button;
};
const cellText = (cell) => {
  const copy = cell.cloneNode(true);
  for (const each of copy.querySelectorAll(".hidden, .copy")) each.remove();
  return copy.textContent.replace(/\s+/g, " ").trim();
};
const rowsOf = (table) => [...table.rows].map((row) => [...row.cells].map(cellText));
// A spreadsheet takes a name that begins like a formula for one.
const toTsv = (rows) =>
  rows.map((row) => row.map((text) => (/^[=@]/.test(text) ? `'${text}` : text)).join("\t")).join("\n") + "\n";
const markdownText = (text) =>
  text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/[\\`*|[\]~]/g, "\\$&");
const toMarkdown = ([head, ...body]) => {
  const line = (cells) => `| ${cells.map(markdownText).join(" | ")} |`;
  return [line(head), `|${":---|".repeat(head.length)}`, ...body.map(line)].join("\n") + "\n";
};
for (const table of document.querySelectorAll("table.sortable")) {
  const what = table.caption.textContent;
  const bar = document.createElement("div");
  bar.className = "copying";
  bar.append(
    copier("Copy as TSV", what, () => toTsv(rowsOf(table))),
    copier("Copy as Markdown", what, () => toMarkdown(rowsOf(table))),
  );
  table.closest(".scroll").after(bar);
}
for (const command of document.querySelectorAll("code.command")) {
  command.before(copier("Copy", command.textContent, () => command.textContent));
}

// Figures: the pictures stay where a browser cannot unpack plotly, and on paper.
const packed = document.getElementById("plotly");
if (packed && "DecompressionStream" in window) {
  (async () => {
    const bytes = Uint8Array.from(atob(packed.textContent.trim()), (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    const script = document.createElement("script");
    script.textContent = await new Response(stream).text();
    document.head.append(script);
    const plots = JSON.parse(document.getElementById("plots").textContent);
    for (const place of document.querySelectorAll(".plot")) {
      const { data, layout } = plots[place.dataset.plot];
      // Panels beside each other have no room on a phone.
      if (layout.grid && layout.grid.columns > 1 && window.innerWidth < 640) {
        layout.grid = { ...layout.grid, rows: layout.grid.columns, columns: 1 };
        layout.height = 330 * layout.grid.rows;
        for (let n = 2; n <= layout.grid.rows; n++) layout[`yaxis${n}`].title = layout.yaxis.title;
      }
      place.hidden = false;
      await window.Plotly.newPlot(place, data, layout, { responsive: true, displaylogo: false });
      place.closest("figure").querySelector("img").style.display = "none";
      place.dataset.drawn = "yes";
    }
  })();
}
