"use strict";
const search = document.querySelector("#search");
const buttons = [...document.querySelectorAll(".filter button")];
const groups = [...document.querySelectorAll("details.kind")];
const rows = new Map(groups.map((group) => [
  group, [...group.querySelectorAll("tbody tr")].map((row) => [row, row.textContent.toLowerCase()]),
]));

function filter() {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  const hidden = new Set(
    buttons.filter((b) => b.getAttribute("aria-pressed") === "false").map((b) => b.dataset.severity)
  );
  let shown = 0;
  for (const group of groups) {
    const name = group.querySelector("summary").textContent.toLowerCase();
    let left = 0;
    for (const [row, text] of rows.get(group)) {
      row.hidden = !words.every((word) => text.includes(word) || name.includes(word));
      left += row.hidden ? 0 : 1;
    }
    for (const block of group.querySelectorAll(".block")) {
      block.hidden = !block.querySelector("tbody tr:not([hidden])");
    }
    group.hidden = left === 0 || hidden.has(group.dataset.severity);
    if (words.length && !group.hidden) group.open = true;
    shown += group.hidden ? 0 : 1;
  }
  document.querySelector("#nothing").hidden = shown > 0 || groups.length === 0;
}

search.addEventListener("input", filter);
for (const button of buttons) {
  button.addEventListener("click", () => {
    const pressed = button.getAttribute("aria-pressed") === "true";
    button.setAttribute("aria-pressed", String(!pressed));
    filter();
  });
}
document.addEventListener("keydown", (event) => {
  if (event.key === "/" && document.activeElement !== search) {
    event.preventDefault();
    search.focus();
  } else if (event.key === "Escape" && document.activeElement === search) {
    search.value = "";
    filter();
  }
});
