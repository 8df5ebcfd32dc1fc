// Sorts and filters the tables, shows one track at a time, and says where one is wider than the screen. Makes no markup of what a submission holds,
// and asks nobody for anything.
"use strict";

function valueOf(row, column) {
  const cell = row.cells[column];
  return cell.dataset.value !== undefined ? cell.dataset.value : cell.textContent.trim();
}

function compare(a, b) {
  // What is not known comes last, whichever way the column is sorted.
  if (a === "" || b === "") return { fixed: (a === "") - (b === "") };
  const x = Number(a), y = Number(b);
  return { order: Number.isNaN(x) || Number.isNaN(y) ? a.localeCompare(b, "en", { numeric: true }) : x - y };
}

function sort(table, heading) {
  const column = heading.cellIndex;
  const first = heading.dataset.first || "ascending";
  const other = first === "ascending" ? "descending" : "ascending";
  const direction = heading.getAttribute("aria-sort") === first ? other : first;
  const sign = direction === "ascending" ? 1 : -1;
  const body = table.tBodies[0];
  const rows = Array.from(body.rows, (row, place) => ({ row, place, value: valueOf(row, column) }));
  rows.sort((a, b) => {
    const { fixed, order } = compare(a.value, b.value);
    return fixed || sign * (order || 0) || a.place - b.place;
  });
  for (const each of table.tHead.rows[0].cells) each.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", direction);
  body.append(...rows.map((each) => each.row));
}

function filter(box) {
  const words = box.querySelector("input").value.toLowerCase().split(/\s+/).filter(Boolean);
  const choices = Array.from(box.querySelectorAll("select")).filter((select) => select.value);
  let shown = 0, all = 0;
  for (const table of document.querySelectorAll("table[data-filtered]")) {
    // A track that is not shown is filtered, and not counted.
    const counts = !table.closest("[data-tab][hidden]");
    for (const row of table.tBodies[0].rows) {
      const text = row.textContent.toLowerCase();
      const fits = words.every((word) => text.includes(word))
        && choices.every((select) => row.getAttribute("data-" + select.name) === select.value);
      row.hidden = !fits;
      shown += counts && fits;
      all += counts;
    }
  }
  box.querySelector("output").textContent = shown + " of " + all + " rows";
}

// Sections become the panels of tabs; without this script they stand one below the other, each under its heading.
function tabs(bar) {
  const panels = Array.from(document.querySelectorAll('[data-tab="' + bar.dataset.tabs + '"]'));
  bar.setAttribute("role", "tablist");
  bar.setAttribute("aria-label", "Track");
  const buttons = panels.map((panel) => {
    const button = document.createElement("button");
    button.type = "button";
    button.id = panel.id + "-tab";
    button.textContent = panel.dataset.name;
    button.setAttribute("role", "tab");
    button.setAttribute("aria-controls", panel.id);
    panel.setAttribute("role", "tabpanel");
    panel.setAttribute("aria-labelledby", button.id);
    bar.append(button);
    return button;
  });
  const show = (chosen) => {
    panels.forEach((panel, place) => {
      panel.hidden = place !== chosen;
      buttons[place].setAttribute("aria-selected", String(place === chosen));
      buttons[place].tabIndex = place === chosen ? 0 : -1;
    });
    for (const box of document.querySelectorAll("form[data-filter]")) filter(box);
  };
  buttons.forEach((button, place) => {
    button.addEventListener("click", () => {
      show(place);
      history.replaceState(null, "", "#" + panels[place].id);
    });
    button.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      const next = (place + step + panels.length) % panels.length;
      show(next);
      buttons[next].focus();
    });
  });
  const follow = () => {
    const target = location.hash ? document.getElementById(decodeURIComponent(location.hash.slice(1))) : null;
    const place = target ? panels.findIndex((panel) => panel.contains(target)) : -1;
    show(Math.max(place, 0));
    if (place >= 0) target.scrollIntoView();
  };
  window.addEventListener("hashchange", follow);
  follow();
}

document.documentElement.classList.add("js");
for (const box of document.querySelectorAll(".scroll")) {
  const hint = document.createElement("p");
  hint.className = "hint";
  hint.textContent = "Scroll sideways to see all of it →";
  box.before(hint);
  const update = () => hint.classList.toggle("shown", box.scrollWidth > box.clientWidth + 8);
  new ResizeObserver(update).observe(box);
  update();
}
for (const table of document.querySelectorAll("table[data-sortable]")) {
  for (const heading of table.tHead.rows[0].cells) {
    const button = heading.querySelector("button");
    if (button) button.addEventListener("click", () => sort(table, heading));
  }
}
for (const box of document.querySelectorAll("form[data-filter]")) {
  box.addEventListener("input", () => filter(box));
  box.addEventListener("submit", (event) => event.preventDefault());
  box.hidden = false;
  filter(box);
}
for (const bar of document.querySelectorAll("[data-tabs]")) tabs(bar);
