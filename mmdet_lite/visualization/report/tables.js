// The figures as tables: COCO's, and those of each class, sortable by every column.

const FIGURES = [
  ["mAP", "AP", "IoU 0.50 to 0.95"],
  ["mAP_50", "AP50", "IoU 0.50"],
  ["mAP_75", "AP75", "IoU 0.75"],
  ["mAP_s", "AP small", "area up to 32² pixels"],
  ["mAP_m", "AP medium", "area 32² to 96² pixels"],
  ["mAP_l", "AP large", "area from 96² pixels"],
];

/** COCO's names of all figures: precision first, then recall as the metric has it. */
function figureRows(figures) {
  const recalls = Object.keys(figures).filter((key) => key.startsWith("AR"));
  const sizes = { s: "small", m: "medium", l: "large" };
  return FIGURES.concat(
    recalls.map((key) => {
      const [, size, most] = key.match(/^AR(?:_(\w))?@(\d+)$/);
      return [key, size ? `AR ${sizes[size]}` : `AR${most}`, `at most ${most} detections`];
    }),
  );
}

function drawSummary() {
  const kinds = Object.keys(data.kinds);
  const figures = numbers().figures;
  const others = otherNumbers()?.figures;
  const tiles = FIGURES.slice(0, 3).map(([key, name, note]) =>
    html(
      "div",
      { class: "card tile" },
      html("div", { class: "soft" }, name),
      html("div", { class: "value", id: `tile-${key}` }, decimal(figures[key])),
      html(
        "div",
        { class: "soft" },
        others ? [difference(figures[key], others[key]), ` from ${decimal(others[key])}`] : note,
      ),
    ),
  );
  const heads = kinds.flatMap((kind) => [
    KIND_NAMES[kind],
    ...(data.other?.kinds[kind] ? [data.other.run, "difference"] : []),
  ]);
  const rows = figureRows(figures).map(([key, name, note]) =>
    html(
      "tr",
      {},
      html("th", { scope: "row", title: note }, name),
      kinds.flatMap((kind) => {
        const here = data.kinds[kind].figures[key];
        const there = data.other?.kinds[kind]?.figures[key];
        const cells = [html("td", {}, decimal(here))];
        if (data.other?.kinds[kind])
          cells.push(html("td", {}, decimal(there)), html("td", {}, difference(here, there)));
        return cells;
      }),
    ),
  );
  const head = html(
    "tr",
    {},
    html("th", { scope: "col" }, "COCO's figures"),
    heads.map((name) => html("th", { scope: "col" }, name)),
  );
  select("#summary").replaceChildren(
    html("div", { class: "tiles" }, tiles),
    html(
      "div",
      { class: "card" },
      html(
        "div",
        { class: "scroll", tabindex: 0, role: "region", "aria-label": "COCO's figures" },
        html("table", { id: "figures" }, html("thead", {}, head), html("tbody", {}, rows)),
      ),
    ),
  );
}

/**
 * A table whose columns sort it. Columns are {name, title, value(label), text(label)}; the first one
 * holds the classes, each a button that chooses it. The order is kept when it is drawn again.
 */
function classTable(host, id, columns, start) {
  const order = { column: start, descending: true };

  function sortBy(column) {
    order.descending = column === order.column ? !order.descending : column !== 0;
    order.column = column;
    draw();
    host.querySelectorAll("thead button")[column].focus();
  }

  function sorted() {
    const value = columns[order.column].value;
    const sign = order.descending ? -1 : 1;
    return data.classes
      .map((_, label) => label)
      .sort((a, b) => {
        const [first, second] = [value(a), value(b)];
        if (!exists(first) || !exists(second)) return exists(second) - exists(first); // no value: last
        const larger = typeof first === "string" ? first.localeCompare(second) : first - second;
        return sign * larger || a - b;
      });
  }

  function draw() {
    const heads = columns.map(({ name, title }, index) =>
      html(
        "th",
        {
          scope: "col",
          "aria-sort":
            index === order.column ? (order.descending ? "descending" : "ascending") : "none",
        },
        html("button", { type: "button", title, onclick: () => sortBy(index) }, name),
      ),
    );
    const rows = sorted().map((label) =>
      html(
        "tr",
        { class: label === state.label && "chosen" },
        html(
          "th",
          { scope: "row" },
          html(
            "button",
            {
              type: "button",
              "aria-pressed": String(label === state.label),
              onclick: () => choose(label === state.label ? ALL : label),
            },
            className(label),
          ),
        ),
        columns.slice(1).map((column) => html("td", {}, column.text(label))),
      ),
    );
    const top = host.firstElementChild?.scrollTop || 0;
    host.replaceChildren(
      html(
        "div",
        { class: "scroll", tabindex: 0, role: "region", "aria-label": "Classes" },
        html("table", { id }, html("thead", {}, html("tr", {}, heads)), html("tbody", {}, rows)),
      ),
    );
    host.firstElementChild.scrollTop = top;
  }

  function choose(label) {
    select("#class").value = label;
    change("label", label);
    [...host.querySelectorAll("tbody button")]
      .find((each) => each.textContent === className(label))
      ?.focus();
  }
  return draw;
}

function figureColumns() {
  const column = (name, title, key, text = decimal) => ({
    name,
    title,
    value: (label) => numbers().classes[key][label],
    text: (label) => text(numbers().classes[key][label]),
  });
  const other = (label) => otherNumbers()?.classes.AP[label];
  const compared = data.other
    ? [
        {
          name: "other AP",
          title: `AP of ${data.other.run}`,
          value: other,
          text: (label) => decimal(other(label)),
        },
        {
          name: "difference",
          title: "AP of this run less that of the other",
          value: (label) =>
            exists(column("", "", "AP").value(label)) && exists(other(label))
              ? numbers().classes.AP[label] - other(label)
              : null,
          text: (label) => difference(numbers().classes.AP[label], other(label)),
        },
      ]
    : [];
  return [
    { name: "class", title: "by name", value: className, text: className },
    column("AP", "IoU 0.50 to 0.95", "AP"),
    ...compared,
    column("AP50", "IoU 0.50", "AP_50"),
    column("AP75", "IoU 0.75", "AP_75"),
    column("small", "AP of objects up to 32² pixels", "AP_s"),
    column("medium", "AP of objects of 32² to 96² pixels", "AP_m"),
    column("large", "AP of objects from 96² pixels", "AP_l"),
    column("AR", "recall, mean over IoU 0.50 to 0.95", "AR"),
    column("objects", "in the ground truth, without crowds", "objects", count),
    column("detections", "at any score", "detections", count),
  ];
}
