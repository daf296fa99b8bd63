// Sorting of tables by a column, and the choice of what is shown under each number.
(() => {
  "use strict";
  const number = (text) => {
    const found = /-?\d+(\.\d+)?/.exec(text);
    return found ? parseFloat(found[0]) : null;
  };

  const cellText = (row, column) => {
    const cell = row.cells[column];
    return (cell.firstElementChild || cell).textContent.trim();
  };

  function sort(table, column, head) {
    const rising = head.getAttribute("aria-sort") === "descending" || (!head.hasAttribute("aria-sort") && !head.classList.contains("number"));
    const body = table.tBodies[0];
    const keyed = [...body.rows].map((row, place) => ({ row, place, text: cellText(row, column) }));
    const numeric = head.classList.contains("number");
    keyed.forEach((one) => { one.value = numeric ? number(one.text) : one.text.toLowerCase(); });
    keyed.sort((a, b) => {
      if (a.value === null || b.value === null) return (a.value === null) - (b.value === null) || a.place - b.place;
      const order = numeric ? a.value - b.value : a.value.localeCompare(b.value);
      return (rising ? order : -order) || a.place - b.place;
    });
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", rising ? "ascending" : "descending");
    body.append(...keyed.map((one) => one.row));
  }

  window.sortable = (table) => {
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      if (head.title) button.setAttribute("aria-description", head.title);
      button.addEventListener("click", () => sort(table, column, head));
      head.append(button);
    });
  };

  document.querySelectorAll("figure.table table").forEach((table) => {
    if (table.tBodies[0].rows.length > 1) window.sortable(table);
  });

  const section = document.getElementById("tables");
  if (section && section.querySelector("td small")) {
    const select = document.createElement("select");
    const choices = { both: "interval and proved", interval: "95 % interval", proved: "proved", none: "nothing" };
    for (const [value, text] of Object.entries(choices)) select.add(new Option(text, value));
    select.addEventListener("change", () => { section.dataset.under = select.value; });
    const label = document.createElement("label");
    label.append("Under each number", select);
    const controls = document.createElement("div");
    controls.className = "controls";
    controls.append(label);
    section.querySelector("h2").after(controls);
  }
})();
