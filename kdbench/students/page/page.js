"use strict";
// Asks for what is new, and shows it. Text is only ever set as text.
const find = (id) => document.getElementById(id);
const most = 120;
let after = -1;
let windows = [];

// Okabe and Ito's, which people tell apart who see colours otherwise; then whatever is far from the one before.
const palette = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442", "#808080"];
const colours = new Map();

function colour(place) {
  if (!colours.has(place)) {
    const count = colours.size;
    colours.set(place, palette[count] ?? `hsl(${(count * 137.5) % 360} 60% 50%)`);
  }
  return colours.get(place);
}

const percent = (share) => `${(100 * share).toFixed(1)} %`;

function line(name, share) {
  const item = document.createElement("li");
  const label = document.createElement("span");
  label.textContent = name;
  const value = document.createElement("b");
  value.textContent = percent(share);
  const bar = document.createElement("progress");
  bar.max = 1;
  bar.value = share;
  item.append(label, value, bar);
  return item;
}

function named(place, label) {
  const item = document.createElement("li");
  const patch = document.createElement("i");
  patch.style.background = colour(place);
  item.append(patch, label);
  return item;
}

function fact(name, value) {
  const group = document.createElement("div");
  const term = document.createElement("dt");
  term.textContent = name;
  const text = document.createElement("dd");
  text.textContent = value;
  group.append(term, text);
  return group;
}

function show(state) {
  find("student").textContent = state.student;
  windows = windows.concat(state.windows).slice(-most);
  const last = windows[windows.length - 1];
  if (last) {
    find("label").textContent = last.label ?? last.missing;
    find("time").textContent = `${last.start.toFixed(1)} to ${last.end.toFixed(1)} s`;
    find("classes").replaceChildren(...last.top.map(([name, share]) => line(name, share)));
    const parts = windows.map((each) => {
      const part = document.createElement("div");
      part.style.background = each.place === null ? "transparent" : colour(each.place);
      part.title = `${each.end.toFixed(1)} s: ${each.label ?? each.missing}`;
      return part;
    });
    find("timeline").replaceChildren(...parts);
    const seen = new Map(windows.filter((each) => each.place !== null).map((each) => [each.place, each.label]));
    find("legend").replaceChildren(...[...seen].map(([place, label]) => named(place, label)));
    find("span").textContent = `${windows[0].start.toFixed(1)} to ${last.end.toFixed(1)} s`;
    find("facts").replaceChildren(
      fact("windows", String(last.number + 1)),
      fact("latency", `${last.latency_ms.toFixed(1)} ms`),
      fact("frames or samples a second that it holds", last.holds_hz.toFixed(0)),
      fact("state", state.over ?? "running"),
    );
    if (state.windows.length && last.has_picture) {
      find("shown").src = `/shown.png?window=${last.number}`;
      find("shown").hidden = false;
    }
    after = last.number;
  }
  document.body.dataset.over = state.over === null ? "" : "yes";
}

async function ask() {
  try {
    const answer = await fetch(`/state.json?after=${after}`, { cache: "no-store" });
    if (answer.ok) show(await answer.json());
  } catch {
    find("time").textContent = "the stream is not there any more";
  }
  setTimeout(ask, 250);
}

ask();
