/* Sorts a table of the study by the column whose heading is pressed. */
(function () {
  "use strict";
  for (const table of document.querySelectorAll(".sortable table")) {
    const body = table.tBodies[0];
    const heads = Array.from(table.tHead.rows[0].cells);
    const value = function (row, column) {
      const text = row.cells[column].textContent.trim().replace(/\u2212/g, "-").replace(/,/g, "");
      const number = parseFloat(text);
      return { text: text, number: number, missing: text === "n/a" };
    };
    heads.forEach(function (head, column) {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "sort";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", function () {
        const up = head.getAttribute("aria-sort") === "descending";
        heads.forEach(function (other) { other.removeAttribute("aria-sort"); });
        head.setAttribute("aria-sort", up ? "ascending" : "descending");
        const sign = up ? 1 : -1;
        const rows = Array.from(body.rows).map(function (row) { return [value(row, column), row]; });
        const numeric = rows.every(function (r) { return r[0].missing || !isNaN(r[0].number); });
        rows.sort(function (a, b) {
          if (a[0].missing !== b[0].missing) return a[0].missing ? 1 : -1;
          if (numeric) return sign * (a[0].number - b[0].number);
          return -sign * a[0].text.localeCompare(b[0].text);
        });
        body.append(...rows.map(function (r) { return r[1]; }));
      });
    });
  }
})();
