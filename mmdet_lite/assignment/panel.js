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

function drawBox([x1, y1, x2, y2], attributes) {
  const width = Math.max(x2 - x1, 0), height = Math.max(y2 - y1, 0);
  return draw("rect", { x: x1, y: y1, width, height, ...attributes });
}

const number = (value) => (value === null ? "\u2013" : String(Number(value.toPrecision(3))));
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
    this.svg.addEventListener("pointerleave", () => hover(null));
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
        "fill-opacity": 0.25 + 0.75 * (row.score ?? 1),
        stroke: "#000", "stroke-width": data.width / 350,
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
    const area = (gt) => {
      const [x1, y1, x2, y2] = data.gts[gt].box;
      return (x2 - x1) * (y2 - y1);
    };
    this.labels = [];
    // The smallest lies on top, so that it can be pointed at.
    for (const gt of [...data.gts.keys()].sort((a, b) => area(b) - area(a))) {
      this.boxes.append(drawBox(data.gts[gt].box, { class: "casing" }));
      this.boxes.append(drawBox(data.gts[gt].box, { class: "gt", "data-gt": gt }));
      const label = draw("text", { class: "number" });
      label.textContent = gt;
      this.labels.push([label, data.gts[gt].box]);
      this.boxes.append(label);
    }
    this.nodes = new Map();
    const all = this.now.rows;
    const order = [...all.keys()].sort((a, b) => all[b].status - all[a].status);
    for (const i of order) { // positives on top
      const row = all[i];
      if (state.shown.has(row.status) && state.levels.has(row.level)) this.add(i, row);
    }
    this.place();
  }

  add(i, row) {
    const mark = draw("g", { class: `mark ${STATUS[row.status]}`, "data-row": i });
    const color = this.color(row);
    if (row.status < 2) mark.append(draw("circle", { class: "under", r: 1 }));
    mark.append(draw("circle", { class: "ring", r: 1, fill: color, stroke: color }));
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
    const wanted = Math.max((x2 - x1) * 1.8, (y2 - y1) * 1.8 * aspect, 32);
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
    hover(box ? Number(box.dataset.gt) : null);
  }

  click(event) {
    const mark = event.target.closest(".mark"), box = event.target.closest(".gt");
    const gt = mark ? this.now.rows[mark.dataset.row].gt : box ? Number(box.dataset.gt) : -1;
    pin(gt < 0 ? null : gt);
    if (mark) activate(this, Number(mark.dataset.row));
  }
}
