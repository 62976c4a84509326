// The state that all figures of an evaluation are drawn from.

const data = JSON.parse(document.querySelector("#data").textContent);
const ALL = data.classes.length; // the label of all classes together
const KIND_NAMES = { bbox: "boxes", segm: "masks" };
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

const numbers = () => data.kinds[state.kind];
const otherNumbers = () => data.other?.kinds[state.kind];
const threshold = () => data.score_thresholds[state.score];
const className = (label) => (label === ALL ? "all classes" : data.classes[label]);
