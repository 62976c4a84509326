"use strict";
// Elements, numbers as text, and the state that all figures are drawn from.

const data = JSON.parse(document.querySelector("#data").textContent);
const ALL = data.classes.length; // the label of all classes together
const KIND_NAMES = { bbox: "boxes", segm: "masks" };
const PALETTE = [
  "#3b7dd8",
  "#d98a1f",
  "#12976f",
  "#c2649c",
  "#d4572a",
  "#35a7d6",
  "#8a79d6",
  "#8f8f3a",
];

const state = {
  kind: Object.keys(data.kinds)[0],
  label: ALL,
  score: Math.round(100 * data.score_threshold),
  iou: 0,
};

const drawings = [];

/** Have a function called now and whenever one of the named parts of the state changes. */
function draws(parts, draw) {
  drawings.push({ parts, draw });
}

function change(part, value) {
  state[part] = value;
  redraw(part);
}

function redraw(part) {
  for (const { parts, draw } of drawings) {
    if (part === undefined || parts.includes(part)) draw();
  }
}

const select = (selector) => document.querySelector(selector);
const numbers = () => data.kinds[state.kind];
const otherNumbers = () => data.other?.kinds[state.kind];
const threshold = () => data.score_thresholds[state.score];

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name.startsWith("--")) element.style.setProperty(name, value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(
    ...children.flat(Infinity).filter((child) => child !== null && child !== undefined),
  );
  return element;
}

/** An HTML element; children are elements or texts, and texts stay texts. */
function html(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

const exists = (value) => value !== null && value !== undefined;
const decimal = (value, digits = 3) => (exists(value) ? value.toFixed(digits) : "–");
const count = (value) => (exists(value) ? value.toLocaleString("en-US") : "–");
const percent = (value) => (exists(value) ? `${(100 * value).toFixed(1)} %` : "–");
const plural = (value, noun) => `${count(value)} ${noun}${value === 1 ? "" : "s"}`;
const ratio = (part, whole) => (whole > 0 ? part / whole : null);

function signed(value, digits = 3) {
  if (!exists(value)) return "–";
  return (value > 0 ? "+" : value < 0 ? "−" : "±") + Math.abs(value).toFixed(digits);
}

/** A difference between this run and the other, in the colour of better or worse. */
function difference(here, there) {
  if (!exists(here) || !exists(there)) return html("span", {}, "–");
  const value = here - there;
  const side = value > 0.0005 ? "better" : value < -0.0005 ? "worse" : "";
  return html("span", { class: side }, signed(value));
}

const className = (label) => (label === ALL ? "all classes" : data.classes[label]);
