"use strict";
// Elements, and numbers as text.

const select = (selector) => document.querySelector(selector);

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

