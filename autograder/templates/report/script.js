"use strict";
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  const key = (row, column) => row.cells[column].dataset.value ?? row.cells[column].textContent.trim();
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      const rows = [...table.tBodies[0].rows];
      const numbers = rows.every((row) => key(row, column) !== "" && !isNaN(key(row, column)));
      rows.sort((one, other) => {
        const [a, b] = [key(one, column), key(other, column)];
        const order = numbers ? a - b : a.localeCompare(b, undefined, { numeric: true, sensitivity: "base" });
        return down ? -order : order;
      });
      table.tBodies[0].append(...rows);
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
    });
  });
}

// Find learners by name or id.
const learners = document.getElementById("class");
const label = document.createElement("label");
const box = document.createElement("input");
const count = document.createElement("output");
box.type = "search";
label.append("Find a learner ", box);
document.getElementById("search").append(label, " ", count);
box.addEventListener("input", () => {
  const words = box.value.toLowerCase().split(/\s+/).filter(Boolean);
  const rows = [...learners.tBodies[0].rows];
  for (const row of rows) {
    const text = `${row.cells[0].textContent} ${row.cells[1].textContent}`.toLowerCase();
    row.hidden = !words.every((word) => text.includes(word));
  }
  count.textContent = words.length ? `${rows.filter((row) => !row.hidden).length} of ${rows.length}` : "";
  if (words.length) learners.closest("details").open = true;
});

// A phone shows the page's outline; a tap unfolds. On paper all is unfolded.
const folds = [...document.querySelectorAll("details.fold")];
if (matchMedia("(max-width: 44rem)").matches) for (const fold of folds) fold.open = false;
addEventListener("beforeprint", () => { for (const fold of folds) fold.open = true; });
const open = () => {
  for (const fold of document.querySelectorAll(":target details.fold")) fold.open = true;
};
addEventListener("hashchange", open);
open();
