"use strict";
const found = [...document.querySelectorAll("[data-find]")];
const label = document.createElement("label");
const box = document.createElement("input");
const count = document.createElement("output");
box.type = "search";
label.append("Find a name ", box);
document.getElementById("search").append(label, " ", count);
box.addEventListener("input", () => {
  const words = box.value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const element of found) {
    const text = element.dataset.find.toLowerCase();
    element.hidden = !words.every((word) => text.includes(word));
    shown += !element.hidden;
  }
  count.textContent = words.length ? `${shown} of ${found.length} entries` : "";
});

// A link into a pair that is folded opens it.
const open = () => {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!target) return;
  for (let element = target; element; element = element.parentElement) {
    if (element.tagName === "DETAILS") element.open = true;
  }
  target.scrollIntoView();
};
addEventListener("hashchange", open);
open();
