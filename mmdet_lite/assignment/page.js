"use strict";

const data = JSON.parse(document.getElementById("data").textContent);
const STATUS = ["positive", "unsampled", "background", "ignored"];
const SHOW = ["positive", "matched, not sampled", "sampled background", "ignored"];
const MOST_OUTLINES = 40;

const state = {
  pinned: null, // ground truth that stays lit
  hovered: null, // ground truth under the pointer or the keyboard's focus
  active: null, // {panel, row} of the mark that the tooltip is about
  zoom: false,
  color: "level",
  shown: new Set(data.shown),
  levels: new Set(data.levels.keys()),
};

function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

function draw(tag, attributes = {}) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}

const drawBox = ([x1, y1, x2, y2], attributes) =>
  draw("rect", { x: x1, y: y1, width: Math.max(x2 - x1, 0), height: Math.max(y2 - y1, 0), ...attributes });

const number = (value, digits = 3) => (value === null ? "\u2013" : String(Number(value.toPrecision(digits))));
const sum = (values) => values.reduce((total, value) => total + value, 0);
const lit = () => state.pinned ?? state.hovered;

/* Exchange the buttons of a group; the focus stays in it. */
function renew(group, buttons) {
  const hadFocus = group.contains(document.activeElement);
  group.replaceChildren(...buttons);
  if (hadFocus) group.querySelector("[aria-pressed=true]").focus();
}

/* One system: its weights, its stages, the picture. */
class Panel {
  constructor(system) {
    this.system = system;
    this.frame = system.frames.length - 1;
    this.stage = 0;
    const aspect = `--aspect: ${data.width / data.height}`;
    this.svg = draw("svg", { class: "scene", role: "img", style: aspect });
    this.tally = make("p", { class: "tally" });
    this.assigner = make("p", { class: "assigner" });
    this.tabs = make("div", { class: "tabs", role: "group", "aria-label": "Stages" });
    this.strip = make("div", { class: "strip", role: "group", "aria-label": "Weights" });
    this.root = make("section", { class: "panel", "aria-label": system.name });
    this.root.append(make("h2", {}, system.name));
    if (system.frames.length > 1) this.root.append(this.strip);
    if (system.frames[0].stages.length > 1) this.root.append(this.tabs);
    this.root.append(this.assigner, make("figure", {}, this.svg), this.tally);
    this.svg.addEventListener("pointerover", (event) => this.point(event));
    this.svg.addEventListener("pointerleave", () => release());
    this.svg.addEventListener("click", (event) => this.click(event));
    new ResizeObserver(() => this.place()).observe(this.svg);
  }

  get now() {
    return this.system.frames[this.frame].stages[this.stage];
  }

  show() {
    renew(this.tabs, this.system.frames[0].stages.map((stage, i) => {
      const tab = make("button", { type: "button", "aria-pressed": i === this.stage }, stage.name);
      tab.addEventListener("click", () => { this.stage = i; refresh(this); });
      return tab;
    }));
    renew(this.strip, this.system.frames.map((frame, i) => this.thumbnail(frame, i)));
    this.assigner.textContent = this.now.assigner;
    this.tally.textContent = this.now.tally;
    this.svg.setAttribute("aria-label", `${this.system.name}, ${this.now.name}: ${this.now.tally}`);
    this.fill();
    this.paint();
  }

  thumbnail(frame, i) {
    const stage = frame.stages[this.stage];
    const small = draw("svg", { viewBox: `0 0 ${data.width} ${data.height}`, "aria-hidden": true });
    small.append(draw("image", { href: data.image, width: data.width, height: data.height }));
    stage.rows.forEach((row) => {
      if (row.status !== 0) return;
      small.append(draw("circle", {
        cx: row.x, cy: row.y, r: data.width / 60, fill: data.levels[row.level].color,
        "fill-opacity": 0.25 + 0.75 * (row.score ?? 1), stroke: "#000", "stroke-width": data.width / 350,
      }));
    });
    const count = sum(stage.positives.map(sum));
    const missed = stage.positives.filter((levels) => !sum(levels)).length;
    const text = `${count} positive` + (missed ? `, nothing for ${missed}` : "");
    const button = make("button", { type: "button", "aria-pressed": i === this.frame });
    button.append(small, make("b", {}, frame.label), text);
    button.addEventListener("click", () => { this.frame = i; refresh(this); });
    return button;
  }

  /* Everything in the picture; sizes follow in place(), highlights in paint(). */
  fill() {
    const layers = ["boxes", "marks", "over"].map((name) => draw("g", { class: name }));
    [this.boxes, this.marks, this.over] = layers;
    const photo = draw("image", { href: data.image, width: data.width, height: data.height });
    this.svg.replaceChildren(photo, ...layers);
    data.ignored.forEach((box) => this.boxes.append(drawBox(box, { class: "crowd" })));
    const area = ([x1, y1, x2, y2]) => (x2 - x1) * (y2 - y1);
    const order = [...data.gts.keys()].sort((a, b) => area(data.gts[b].box) - area(data.gts[a].box));
    this.labels = [];
    for (const gt of order) { // the smallest lies on top, so that it can be pointed at
      this.boxes.append(drawBox(data.gts[gt].box, { class: "casing" }));
      this.boxes.append(drawBox(data.gts[gt].box, { class: "gt", "data-gt": gt }));
      const label = draw("text", { class: "number" });
      label.textContent = gt;
      this.labels.push([label, data.gts[gt].box]);
      this.boxes.append(label);
    }
    this.nodes = new Map();
    const rows = [...this.now.rows.keys()].sort((a, b) => this.now.rows[b].status - this.now.rows[a].status);
    for (const i of rows) { // positives on top
      const row = this.now.rows[i];
      if (state.shown.has(row.status) && state.levels.has(row.level)) this.add(i, row);
    }
    this.place();
  }

  add(i, row) {
    const mark = draw("g", { class: `mark ${STATUS[row.status]}`, "data-row": i });
    const color = this.color(row);
    mark.append(draw("circle", { class: "ring", r: 1, fill: color }));
    if (row.status === 0) {
      mark.append(draw("circle", { class: "fill", r: Math.sqrt(row.score ?? 1), fill: color }));
    }
    if (row.status === 3) mark.append(draw("path", { d: "M-.7-.7L.7.7M-.7.7L.7-.7" }));
    this.nodes.set(i, mark);
    this.marks.append(mark);
  }

  color(row) {
    const byObject = state.color === "object" && row.gt >= 0;
    return byObject ? data.gts[row.gt].color : data.levels[row.level].color;
  }

  /* Marks have a size on the screen, whatever the image's. */
  place() {
    const view = this.view();
    this.svg.setAttribute("viewBox", view.join(" "));
    const width = this.svg.clientWidth, height = this.svg.clientHeight;
    if (!width || !this.nodes) return;
    const pixel = Math.max(view[2] / width, view[3] / height); // of the screen, in the image's
    for (const [i, mark] of this.nodes) {
      const row = this.now.rows[i];
      const radius = pixel * [4 + row.level * 0.9, 4 + row.level * 0.9, 2.2, 3.4][row.status];
      const x = row.x + row.dx * radius, y = row.y + row.dy * radius;
      mark.setAttribute("transform", `translate(${x} ${y}) scale(${radius})`);
    }
    for (const [label, box] of this.labels) {
      label.setAttribute("font-size", 14 * pixel);
      label.setAttribute("x", box[0] + 4 * pixel);
      label.setAttribute("y", box[1] + 15 * pixel);
    }
  }

  view() {
    const all = [0, 0, data.width, data.height];
    if (!state.zoom || state.pinned === null) return all;
    const [x1, y1, x2, y2] = data.gts[state.pinned].box;
    const aspect = data.width / data.height;
    const wanted = Math.max((x2 - x1) * 2.2, (y2 - y1) * 2.2 * aspect, 48);
    const width = Math.min(wanted, data.width), height = width / aspect;
    const left = Math.min(Math.max((x1 + x2 - width) / 2, 0), data.width - width);
    const top = Math.min(Math.max((y1 + y2 - height) / 2, 0), data.height - height);
    return [left, top, width, height];
  }

  paint() {
    const gt = lit(), rows = this.now.rows;
    this.svg.classList.toggle("focus", gt !== null);
    for (const [i, mark] of this.nodes) {
      mark.classList.toggle("lit", rows[i].gt === gt);
      mark.classList.toggle("on", state.active?.panel === this && state.active.row === i);
    }
    for (const box of this.boxes.querySelectorAll(".gt")) {
      const own = Number(box.dataset.gt);
      box.classList.toggle("lit", own === gt);
      box.classList.toggle("none", !sum(this.now.positives[own]));
    }
    const over = gt === null || this.now.kind === "points" ? [] : this.outlines(gt);
    this.over.replaceChildren(...over, ...this.details());
  }

  outlines(gt) {
    return this.positives(gt).slice(0, MOST_OUTLINES).map((i) => {
      const row = this.now.rows[i];
      return drawBox(row.box, { class: "outline", stroke: this.color(row) });
    });
  }

  /* The prior and the prediction of the mark in question. */
  details() {
    if (state.active?.panel !== this) return [];
    const row = this.now.rows[state.active.row], nodes = [];
    if (this.now.kind !== "points") {
      nodes.push(drawBox(row.box, { class: "detail under" }));
      nodes.push(drawBox(row.box, { class: "detail", stroke: this.color(row) }));
    }
    if (row.predicted && row.gt >= 0) {
      nodes.push(drawBox(row.predicted, { class: "detail under" }));
      nodes.push(drawBox(row.predicted, { class: "detail predicted" }));
    }
    return nodes;
  }

  /* Drawn positives of a ground truth, the best first. */
  positives(gt) {
    const quality = (row) => (row.score ?? 1) + (row.iou ?? row.predictedIou ?? 0) / 1000;
    return [...this.nodes.keys()]
      .filter((i) => this.now.rows[i].gt === gt && this.now.rows[i].status === 0)
      .sort((a, b) => quality(this.now.rows[b]) - quality(this.now.rows[a]));
  }

  point(event) {
    const mark = event.target.closest(".mark"), box = event.target.closest(".gt");
    if (mark) return activate(this, Number(mark.dataset.row));
    state.active = null;
    state.hovered = box ? Number(box.dataset.gt) : null;
    update();
  }

  click(event) {
    const mark = event.target.closest(".mark"), box = event.target.closest(".gt");
    const gt = mark ? this.now.rows[mark.dataset.row].gt : box ? Number(box.dataset.gt) : -1;
    pin(gt < 0 ? null : gt);
    if (mark) activate(this, Number(mark.dataset.row));
  }
}

/* What is lit, and the tooltip. */
function activate(panel, row) {
  state.active = { panel, row };
  const gt = panel.now.rows[row].gt;
  state.hovered = gt < 0 ? null : gt;
  update();
}

function release() {
  state.active = null;
  state.hovered = null;
  update();
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
    table.replaceChildren(make("caption", {}, "The image has no objects: every prior is background."));
    return;
  }
  const head = make("tr", {}, make("th", { scope: "col" }, "object"), make("th", { scope: "col" }, "size"));
  for (const panel of panels) {
    const first = panels.length > 1 ? `${panel.system.name}: positives` : "positives, by level";
    head.append(make("th", { scope: "col", class: panels.length > 1 ? "side" : "" }, first));
    if (panel.now.unsampled) head.append(make("th", { scope: "col", class: "figure" }, "not sampled"));
    if (panel.now.inside) head.append(make("th", { scope: "col", class: "figure" }, "points inside"));
    if (panel.now.best) head.append(make("th", { scope: "col", class: "figure" }, panel.now.bestName));
    head.append(make("th", { scope: "col", class: "figure" }, "sum of weights"));
  }
  const body = make("tbody", {}, ...data.gts.map((gt, i) => tableRow(gt, i)));
  table.replaceChildren(make("thead", {}, head), body);
}

function tableRow(gt, i) {
  const line = make("tr", { "data-gt": i });
  const name = make("button", { type: "button" });
  if (state.color === "object") name.append(make("span", { class: "swatch", style: `background:${gt.color}` }));
  name.append(gt.name);
  name.addEventListener("focus", () => { state.active = null; state.hovered = i; update(); });
  name.addEventListener("blur", () => { if (state.hovered === i) release(); });
  line.append(make("th", { scope: "row" }, name), make("td", { class: "figure" }, gt.size));
  for (const panel of panels) line.append(...cells(panel.now, i));
  line.addEventListener("pointerenter", () => { state.active = null; state.hovered = i; update(); });
  line.addEventListener("pointerleave", () => release());
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
    const chip = make("span", { class: "chip", style: `background:${color}`, title: `stride ${stride}` });
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
function option(kind, name, checked, change, ...content) {
  const input = make("input", { type: kind, name });
  input.checked = checked;
  input.addEventListener("change", () => { change(input.checked); state.active = null; refreshAll(); });
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
    document.getElementById("shown").append(
      option("checkbox", STATUS[status], state.shown.has(status), toggle(state.shown, status), text));
  });
  data.levels.forEach(({ stride, color }, level) => {
    const swatch = make("span", { class: "swatch", style: `background:${color}` });
    document.getElementById("levels").append(
      option("checkbox", `stride-${stride}`, true, toggle(state.levels, level), swatch, String(stride)));
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
  const place = rows.indexOf(state.active?.row);
  activate(panel, rows[place < 0 ? (step > 0 ? 0 : rows.length - 1) : (place + step + rows.length) % rows.length]);
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input")) return;
  const actions = {
    ArrowDown: () => moveObject(1), ArrowUp: () => moveObject(-1),
    ArrowRight: () => moveMark(1), ArrowLeft: () => moveMark(-1),
    z: toggleZoom, Z: toggleZoom,
    Escape: () => { state.pinned = null; state.zoom = false; release(); panels.forEach((p) => p.place()); },
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
