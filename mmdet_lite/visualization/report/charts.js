// Line charts and bars, drawn to the width that there is.

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
const MARGIN = { left: 44, right: 12, top: 10, bottom: 38 };

/** Round numbers from least to most. */
function ticks(least, most, wanted) {
  const rough = (most - least) / wanted || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((each) => each >= rough);
  const found = [];
  for (let i = Math.ceil(least / step - 1e-9); i * step <= most + 1e-9 * step; i += 1) {
    found.push(i * step);
  }
  return found;
}

function tickText(value) {
  const size = Math.abs(value);
  if (size >= 10000) return `${value / 1000}k`;
  if (size > 0 && size < 0.001) return value.toExponential(0);
  return String(+value.toPrecision(3));
}

/** The frame of a chart: axes with names, and the way from values to pixels. */
function frame(host, { label, x, y, height = 260, top = MARGIN.top }) {
  const width = Math.max(260, Math.min(host.clientWidth || 600, 1040));
  const right = width - MARGIN.right;
  const bottom = height - MARGIN.bottom;
  const toX = (v) => MARGIN.left + ((v - x.min) / (x.max - x.min || 1)) * (right - MARGIN.left);
  const toY = (v) => bottom - ((v - y.min) / (y.max - y.min || 1)) * (bottom - top);
  const root = svg("svg", {
    class: "chart",
    viewBox: `0 0 ${width} ${height}`,
    role: "img",
    "aria-label": label,
  });
  root.style.maxWidth = `${width}px`;
  for (const v of ticks(y.min, y.max, 5)) {
    root.append(
      svg("line", { class: "axis", x1: MARGIN.left, x2: right, y1: toY(v), y2: toY(v) }),
      svg("text", { x: MARGIN.left - 6, y: toY(v) + 4, "text-anchor": "end" }, tickText(v)),
    );
  }
  for (const v of ticks(x.min, x.max, Math.min(10, width / 60))) {
    root.append(svg("text", { x: toX(v), y: bottom + 16, "text-anchor": "middle" }, tickText(v)));
  }
  root.append(
    svg("text", { x: (MARGIN.left + right) / 2, y: height - 4, "text-anchor": "middle" }, x.name),
  );
  return { root, toX, toY, width, bottom };
}

/**
 * Lines with a legend. Series are {name, color, dashed, points: [[x, y], ...]}; a y of null is a gap.
 */
function lineChart(host, options) {
  const { root, toX, toY, width, bottom } = frame(host, options);
  if (options.diagonal) {
    root.append(svg("line", { class: "diagonal", x1: toX(0), y1: toY(0), x2: toX(1), y2: toY(1) }));
  }
  for (const { points, color, dashed, dots } of options.series) {
    let path = "";
    let move = true;
    for (const [x, y] of points) {
      if (exists(y)) path += `${move ? "M" : "L"}${toX(x).toFixed(1)},${toY(y).toFixed(1)}`;
      move = !exists(y);
    }
    root.append(
      svg("path", { class: "series", d: path, stroke: color, "stroke-dasharray": dashed && "5 4" }),
    );
    if (dots) {
      root.append(
        ...points
          .filter(([, y]) => exists(y))
          .map(([x, y]) => svg("circle", { cx: toX(x), cy: toY(y), r: 3.5, fill: color })),
      );
    }
  }
  if (exists(options.marker)) {
    const at = toX(options.marker);
    root.append(svg("line", { class: "marker", x1: at, x2: at, y1: MARGIN.top, y2: bottom }));
  }
  const readout = html("div", { class: "readout", hidden: true });
  host.replaceChildren(root, readout, legend(options.series));
  host.classList.add("chart-host");
  readAlong(root, readout, options, toX, width, bottom);
}

const valueText = (value) =>
  value !== 0 && Math.abs(value) < 0.001
    ? value.toExponential(2)
    : String(+value.toPrecision(Math.abs(value) >= 1000 ? 7 : 4));

/** Show the values of all lines at the place nearest to the pointer, or step by the arrow keys. */
function readAlong(root, readout, { series, x }, toX, width, bottom) {
  const places = [...new Set(series.flatMap(({ points }) => points.map(([at]) => at)))];
  places.sort((a, b) => a - b);
  if (!places.length) return;
  const rule = svg("line", { class: "rule", y1: MARGIN.top, y2: bottom, visibility: "hidden" });
  root.append(rule);
  root.setAttribute("tabindex", "0");
  let shown = places.length - 1;

  const show = (index) => {
    shown = Math.max(0, Math.min(places.length - 1, index));
    const at = places[shown];
    const rows = series
      .map(({ name, color, points }) => [name, color, points.find(([px]) => px === at)?.[1]])
      .filter(([, , value]) => exists(value))
      .map(([name, color, value]) =>
        html("li", { "--color": color }, `${name} `, html("b", {}, valueText(value))),
      );
    readout.replaceChildren(html("div", {}, `${x.name} ${valueText(at)}`), html("ul", {}, rows));
    readout.hidden = false;
    for (const end of ["x1", "x2"]) rule.setAttribute(end, toX(at));
    rule.setAttribute("visibility", "visible");
    const share = toX(at) / width;
    readout.style.setProperty("left", share < 0.5 ? `calc(${100 * share}% + 10px)` : "auto");
    readout.style.setProperty("right", share < 0.5 ? "auto" : `calc(${100 - 100 * share}% + 10px)`);
  };
  const hide = () => {
    readout.hidden = true;
    rule.setAttribute("visibility", "hidden");
  };
  root.addEventListener("pointermove", ({ clientX }) => {
    const box = root.getBoundingClientRect();
    const here = ((clientX - box.left) * width) / box.width;
    const gaps = places.map((at) => Math.abs(toX(at) - here));
    show(gaps.indexOf(Math.min(...gaps)));
  });
  root.addEventListener("pointerleave", hide);
  root.addEventListener("blur", hide);
  root.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step) return;
    event.preventDefault();
    show(readout.hidden ? shown : shown + step);
  });
}

function legend(series) {
  const items = series
    .filter(({ name }) => name)
    .map(({ name, color, dashed }) =>
      html("li", { "--color": color, class: dashed && "dashed" }, name),
    );
  return html("ul", { class: "legend" }, items);
}

/**
 * Horizontal bars. Rows are {name, note, value, text, other, otherText}; values from 0 to most.
 */
function barTable(host, label, rows, most) {
  const limit =
    most || Math.max(1e-9, ...rows.flatMap(({ value, other }) => [value || 0, other || 0]));
  const meter = (value, text, kind) => {
    const bar = html("i", {});
    bar.style.width = `${(78 * Math.max(0, value || 0)) / limit}%`;
    return html(
      "div",
      { class: `meter ${kind}` },
      exists(value) ? bar : null,
      html("span", { class: "value" }, text),
    );
  };
  const lines = rows.map((row) =>
    html(
      "tr",
      {},
      html("th", { scope: "row" }, row.name, row.note ? html("small", {}, row.note) : null),
      html(
        "td",
        {},
        meter(row.value, row.text, ""),
        row.otherText === undefined ? null : meter(row.other, row.otherText, "other"),
      ),
    ),
  );
  host.replaceChildren(
    html("table", { class: "bars", "aria-label": label }, html("tbody", {}, lines)),
    runsLegend(rows),
  );
}

/** Which colour is which run, where two are shown. */
function runsLegend(rows) {
  if (!rows.some(({ otherText }) => otherText !== undefined)) return "";
  return legend([
    { name: data.run, color: "var(--bar)" },
    { name: data.other.run, color: "var(--other)" },
  ]);
}
