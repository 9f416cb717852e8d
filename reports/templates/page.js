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
      place.hidden = false;
      await window.Plotly.newPlot(place, data, layout, { responsive: true, displaylogo: false });
      place.closest("figure").querySelector("img").style.display = "none";
      place.dataset.drawn = "yes";
    }
  })();
}
