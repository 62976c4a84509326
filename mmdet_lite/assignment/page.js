"use strict";

/* What is lit, and the tooltip. */
function activate(panel, row) {
  state.active = { panel, row };
  const gt = panel.now.rows[row].gt;
  state.hovered = gt < 0 ? null : gt;
  update();
}

function hover(gt) {
  state.active = null;
  state.hovered = gt;
  update();
}

function letGo() {
  state.pinned = null;
  state.zoom = false;
  for (const panel of panels) panel.place();
  hover(null);
}

function pin(gt) {
  state.pinned = state.pinned === gt ? null : gt;
  update();
}

function update() {
  for (const panel of panels) {
    if (state.zoom) panel.place();
    panel.paint();
  }
  for (const row of document.querySelectorAll("tbody tr")) {
    const gt = Number(row.dataset.gt);
    row.classList.toggle("lit", gt === lit());
    row.querySelector("button").setAttribute("aria-pressed", gt === state.pinned);
  }
  const zoom = document.getElementById("zoom");
  zoom.disabled = data.gts.length === 0;
  zoom.setAttribute("aria-pressed", state.zoom);
  showTip();
}

function showTip() {
  const tip = document.getElementById("tip");
  tip.hidden = state.active === null;
  if (tip.hidden) return;
  const { panel, row: index } = state.active;
  const row = panel.now.rows[index], own = row.gt >= 0 ? data.gts[row.gt].name : "";
  const title = [
    `positive for ${own}`, `matched to ${own}, not sampled`, "sampled as background", "ignored",
  ][row.status];
  const size = `${Math.round(row.box[2] - row.box[0])} x ${Math.round(row.box[3] - row.box[1])}`;
  const one = panel.now.kind.slice(0, -1);
  const facts = [["stride", String(data.levels[row.level].stride)]];
  if (row.place) facts.push(["row, column", `${row.place[0]}, ${row.place[1]}`]);
  if (panel.now.kind !== "points") facts.push([one, size]);
  if (row.itself) facts.push(["where from", "the object itself"]);
  if (row.iou !== null) facts.push([own ? `IoU of the ${one}` : "largest IoU", number(row.iou)]);
  if (row.predictedIou !== null) facts.push(["IoU of its prediction", number(row.predictedIou)]);
  if (row.score !== null) facts.push(["has to score", number(row.score)]);
  if (row.weight !== null) facts.push(["weight in the box loss", number(row.weight)]);
  const list = make("dl");
  for (const [name, value] of facts) list.append(make("dt", {}, name), make("dd", {}, value));
  tip.replaceChildren(make("b", {}, title), list);
  const mark = panel.nodes.get(index).getBoundingClientRect();
  const box = tip.getBoundingClientRect(), gap = 10;
  const right = mark.right + gap + box.width < innerWidth;
  const left = right ? mark.right + gap : Math.max(4, mark.left - gap - box.width);
  const below = mark.bottom + gap + box.height < innerHeight;
  tip.style.left = `${Math.min(left, innerWidth - box.width - 4)}px`;
  tip.style.top = `${below ? mark.bottom + gap : Math.max(4, mark.top - gap - box.height)}px`;
}

/* The table of ground truths, for the stages and weights that are chosen. */
function fillTable() {
  const table = document.getElementById("table");
  if (!data.gts.length) {
    const text = "The image has no objects: every prior is background.";
    table.replaceChildren(make("caption", {}, text));
    return;
  }
  const column = (text, kind = "") => make("th", { scope: "col", class: kind }, text);
  const head = make("tr", {}, column("object"), column("size", "figure"));
  for (const panel of panels) {
    const { now, system } = panel;
    if (panels.length > 1) head.append(column(`${system.name}: positives`, "side"));
    else head.append(column("positives, by level"));
    if (now.unsampled) head.append(column("not sampled", "figure"));
    if (now.inside) head.append(column("points inside", "figure"));
    if (now.best) head.append(column(now.bestName, "figure"));
    head.append(column("sum of weights", "figure"));
  }
  const body = make("tbody", {}, ...data.gts.map((gt, i) => tableRow(gt, i)));
  table.replaceChildren(make("thead", {}, head), body);
}

function tableRow(gt, i) {
  const line = make("tr", { "data-gt": i });
  const name = make("button", { type: "button" });
  if (state.color === "object") name.append(swatch(gt.color));
  name.append(gt.name);
  name.addEventListener("focus", () => hover(i));
  name.addEventListener("blur", () => { if (state.hovered === i) hover(null); });
  line.append(make("th", { scope: "row" }, name), make("td", { class: "figure" }, gt.size));
  for (const panel of panels) line.append(...cells(panel.now, i));
  line.addEventListener("pointerenter", () => hover(i));
  line.addEventListener("pointerleave", () => hover(null));
  line.addEventListener("click", () => pin(i));
  return line;
}

function cells(stage, i) {
  const figure = (text) => make("td", { class: "figure" }, text);
  const first = make("td", { class: panels.length > 1 ? "side" : "" });
  const total = sum(stage.positives[i]);
  if (!total) first.append(make("span", { class: "missed" }, "none"));
  const chips = make("span", { class: "chips" });
  stage.positives[i].forEach((count, level) => {
    if (!count) return;
    const { stride, color } = data.levels[stage.levels[level]];
    const chip = make("span", { class: "chip", style: `background:${color}` });
    chip.title = `stride ${stride}`;
    chip.append(make("span", { class: "unseen" }, `stride ${stride}: `), String(count));
    chips.append(chip);
  });
  first.append(chips);
  const columns = [first];
  if (stage.unsampled) columns.push(figure(String(stage.unsampled[i])));
  if (stage.inside) columns.push(figure(String(stage.inside[i])));
  if (stage.best) columns.push(figure(number(stage.best[i])));
  columns.push(figure(number(stage.weights[i])));
  return columns;
}

/* Which objects get nothing: from the one system, or from which of two. */
function fillFindings() {
  const missed = panels.map((panel) =>
    data.gts.map((gt) => gt.name).filter((name, i) => !sum(panel.now.positives[i])));
  const lines = [];
  const say = (text, names) => { if (names.length) lines.push(`${text}: ${names.join(", ")}`); };
  if (panels.length === 1) say("Objects without a positive", missed[0]);
  else {
    panels.forEach((panel, i) => say(
      `Without a positive in ${panel.system.name} only`,
      missed[i].filter((name) => !missed[1 - i].includes(name))));
    say("Without a positive in both", missed[0].filter((name) => missed[1].includes(name)));
    if (!lines.length && data.gts.length) lines.push("Every object has positives in both.");
  }
  document.getElementById("findings").replaceChildren(...lines.map((line) => make("li", {}, line)));
}

function refresh(panel) {
  state.active = null;
  panel.show();
  fillTable();
  fillFindings();
  update();
}

/* Controls. */
const swatch = (color) => make("span", { class: "swatch", style: `background:${color}` });

function option(kind, name, checked, change, ...content) {
  const input = make("input", { type: kind, name });
  input.checked = checked;
  input.addEventListener("change", () => {
    change(input.checked);
    state.active = null;
    refreshAll();
  });
  return make("label", {}, input, ...content);
}

function refreshAll() {
  for (const panel of panels) panel.show();
  fillTable();
  fillFindings();
  update();
}

function toggle(set, value) {
  return (checked) => (checked ? set.add(value) : set.delete(value));
}

function fillControls() {
  const present = new Set(data.systems.flatMap((system) => system.frames).flatMap((frame) =>
    frame.stages.flatMap((stage) => stage.rows.map((row) => row.status))));
  SHOW.forEach((text, status) => {
    if (!present.has(status) && status) return;
    const { shown } = state;
    document.getElementById("shown").append(option(
      "checkbox", STATUS[status], shown.has(status), toggle(shown, status), text));
  });
  data.levels.forEach(({ stride, color }, level) => {
    const change = toggle(state.levels, level);
    document.getElementById("levels").append(option(
      "checkbox", `stride-${stride}`, true, change, swatch(color), String(stride)));
  });
  for (const color of ["level", "object"]) {
    document.getElementById("colors").append(option(
      "radio", "color", state.color === color, () => { state.color = color; }, `by ${color}`));
  }
  document.getElementById("zoom").addEventListener("click", toggleZoom);
}

function toggleZoom() {
  state.zoom = !state.zoom;
  if (state.zoom && data.gts.length) state.pinned = lit() ?? 0;
  state.active = null;
  for (const panel of panels) panel.place();
  update();
}

/* Keys: objects up and down, what learns the object left and right. */
function moveObject(step) {
  if (!data.gts.length) return;
  const count = data.gts.length, from = lit() ?? (step > 0 ? -1 : count);
  const next = (from + step + count) % count;
  if (state.pinned !== null) state.pinned = next;
  document.querySelector(`tbody tr[data-gt="${next}"] button`).focus({ preventScroll: false });
}

function moveMark(step) {
  const gt = lit();
  if (gt === null) return;
  const panel = state.active?.panel ?? panels.find((one) => one.positives(gt).length);
  if (!panel) return;
  const rows = panel.positives(gt);
  if (!rows.length) return;
  const place = rows.indexOf(state.active?.row);
  const next = place < 0 ? Math.min(step, 0) : place + step; // -1: the last
  activate(panel, rows.at(next % rows.length));
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input")) return;
  const actions = {
    ArrowDown: () => moveObject(1), ArrowUp: () => moveObject(-1),
    ArrowRight: () => moveMark(1), ArrowLeft: () => moveMark(-1),
    z: toggleZoom, Z: toggleZoom,
    Escape: letGo,
  };
  if (!(event.key in actions)) return;
  event.preventDefault();
  actions[event.key]();
});
addEventListener("scroll", () => { if (state.active) showTip(); }, { passive: true });

document.getElementById("place").textContent = data.place;
document.body.className = data.systems.length > 1 ? "two" : "one";
const panels = data.systems.map((system) => new Panel(system));
document.getElementById("panels").append(...panels.map((panel) => panel.root));
fillControls();
refreshAll();
