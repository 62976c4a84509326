// What follows the slider: counts of true, false and missed ones, and the confusion matrix.

/** True and false detections with at least each score threshold, of one class or of all. */
function countsByScore(label) {
  const { scores, classes } = numbers();
  const labels = label === ALL ? data.classes.map((_, each) => each) : [label];
  const objects = labels.reduce((sum, each) => sum + classes.objects[each], 0);
  const rows = new Array(data.score_thresholds.length);
  let right = 0;
  let wrong = 0;
  for (let i = rows.length - 1; i >= 0; i -= 1) {
    for (const each of labels) {
      right += scores.true[each][i];
      wrong += scores.false[each][i];
    }
    rows[i] = measures(right, wrong, objects - right);
  }
  return rows;
}

function measures(right, wrong, missed) {
  return {
    right,
    wrong,
    missed,
    precision: ratio(right, right + wrong),
    recall: ratio(right, right + missed),
    f1: ratio(2 * right, 2 * right + wrong + missed),
  };
}

function bestF1(rows) {
  return rows.reduce((best, row, i) => ((row.f1 || 0) > (rows[best].f1 || 0) ? i : best), 0);
}

function drawCounts() {
  const rows = countsByScore(state.label);
  const now = rows[state.score];
  const entry = (name, id, text, side) =>
    html("div", {}, html("dt", {}, name), html("dd", { id, class: side }, text));
  select("#counts").replaceChildren(
    entry("true (TP)", "count-true", count(now.right), "true"),
    entry("false (FP)", "count-false", count(now.wrong), "false"),
    entry("missed (FN)", "count-missed", count(now.missed), "missed"),
    entry("precision", "count-precision", percent(now.precision)),
    entry("recall", "count-recall", percent(now.recall)),
    entry("F1", "count-f1", decimal(now.f1)),
  );
  const curve = (key) => rows.map((row, i) => [data.score_thresholds[i], row[key]]);
  lineChart(select("#score-chart"), {
    label: `Precision, recall and F1 of ${className(state.label)} by score threshold`,
    x: { name: "score threshold", min: 0, max: 1 },
    y: { min: 0, max: 1 },
    height: 230,
    marker: threshold(),
    series: [
      { name: "precision", color: PALETTE[0], points: curve("precision") },
      { name: "recall", color: PALETTE[1], points: curve("recall") },
      { name: "F1", color: PALETTE[2], points: curve("f1") },
    ],
  });
  const best = bestF1(rows);
  const text = `Go to the best F1, ${decimal(rows[best].f1)} at ${data.score_thresholds[best].toFixed(2)}`;
  select("#best-f1").textContent = text;
  select("#best-f1").disabled = !rows[best].f1;
}

function scoreColumns() {
  const at = (label) => countsByScore(label)[state.score];
  const column = (name, title, key, text) => ({
    name,
    title,
    value: (label) => at(label)[key],
    text: (label) => text(at(label)[key]),
  });
  return [
    { name: "class", title: "by name", value: className, text: className },
    column("true", "true detections", "right", count),
    column("false", "false detections", "wrong", count),
    column("missed", "objects that are missed", "missed", count),
    column("precision", "true among all detections", "precision", percent),
    column("recall", "found among all objects", "recall", percent),
    column("F1", "harmonic mean of precision and recall", "f1", decimal),
  ];
}

/** The confusion matrix at the slider: rows are true classes, the last one is background. */
function confusionMatrix() {
  const size = ALL + 1;
  const matrix = Array.from({ length: size }, () => new Array(size).fill(0));
  for (let i = 0; i <= state.score; i += 1) {
    const changes = numbers().confusion[i];
    for (let j = 0; j < changes.length; j += 2) {
      matrix[Math.floor(changes[j] / ALL)][changes[j] % ALL] += changes[j + 1];
    }
  }
  for (let label = 0; label < ALL; label += 1) {
    const { right, wrong } = detectionsFrom(label);
    const column = matrix.reduce((sum, row) => sum + row[label], 0);
    matrix[ALL][label] = right + wrong - column;
    matrix[label][ALL] =
      numbers().classes.objects[label] - matrix[label].reduce((a, b) => a + b, 0);
  }
  return matrix;
}

function detectionsFrom(label) {
  const sum = (values) => values.slice(state.score).reduce((a, b) => a + b, 0);
  return { right: sum(numbers().scores.true[label]), wrong: sum(numbers().scores.false[label]) };
}

const MOST_IN_TABLE = 20; // classes; more are drawn as cells without names

function drawConfusion() {
  const matrix = confusionMatrix();
  const names = [...data.classes, "background"];
  const draw = ALL <= MOST_IN_TABLE ? confusionTable : confusionCells;
  select("#confusion").replaceChildren(draw(matrix, names));
  const pairs = matrix
    .flatMap((row, i) => row.map((value, j) => ({ i, j, value })))
    .filter(({ i, j, value }) => i !== j && value > 0)
    .sort((a, b) => b.value - a.value)
    .slice(0, 12);
  const say = ({ i, j }) => {
    if (i === ALL) return `background taken for ${names[j]}`;
    return j === ALL ? `${names[i]} missed` : `${names[i]} taken for ${names[j]}`;
  };
  const rows = pairs.map((pair) => ({
    name: say(pair),
    value: pair.value,
    text: count(pair.value),
  }));
  barTable(select("#confusions"), "Most frequent confusions", rows);
}

function shareOf(row, value) {
  const whole = row.reduce((a, b) => a + b, 0);
  return whole > 0 ? value / whole : 0;
}

function confusionTable(matrix, names) {
  const head = html(
    "tr",
    {},
    html("th", {}, "object ↓ detection →"),
    names.map((name) => html("th", { scope: "col", title: name }, name)),
  );
  const rows = matrix.map((row, i) =>
    html(
      "tr",
      {},
      html("th", { scope: "row", title: names[i] }, names[i]),
      row.map((value, j) => {
        if (i === ALL && j === ALL) return html("td", {}, "");
        const share = shareOf(row, value);
        const look = [share > 0.55 ? "strong" : "", value ? "" : "zero"].join(" ").trim();
        return html(
          "td",
          {
            class: look,
            "--share": share.toFixed(3),
            "--hue": i === j ? "var(--bar)" : "var(--other)",
            title: `${names[i]} → ${names[j]}: ${count(value)} (${percent(share)} of the row)`,
          },
          count(value),
        );
      }),
    ),
  );
  return html(
    "div",
    { class: "scroll", tabindex: 0, role: "region", "aria-label": "Confusion matrix" },
    html("table", { class: "matrix" }, html("thead", {}, head), html("tbody", {}, rows)),
  );
}

function confusionCells(matrix, names) {
  const size = names.length;
  const root = svg("svg", {
    class: "cells",
    viewBox: `0 0 ${size} ${size}`,
    role: "img",
    "aria-label":
      "Confusion matrix: rows are objects, columns detections, the last ones background",
  });
  matrix.forEach((row, i) =>
    row.forEach((value, j) => {
      if (!value) return;
      const share = shareOf(row, value);
      root.append(
        svg(
          "rect",
          {
            x: j,
            y: i,
            width: 1,
            height: 1,
            fill: i === j ? "var(--bar)" : "var(--other)",
            "fill-opacity": Math.min(1, 0.08 + share).toFixed(3),
          },
          svg(
            "title",
            {},
            `${names[i]} → ${names[j]}: ${count(value)} (${percent(share)} of the row)`,
          ),
        ),
      );
    }),
  );
  return root;
}
