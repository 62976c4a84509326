// Curves and bars that do not follow the slider.

const ERROR_NOTES = {
  classification: "right place, wrong class",
  localisation: "right class, IoU 0.1 to 0.5",
  both: "wrong class, IoU 0.1 to 0.5",
  duplicate: "of an object that is found already",
  background: "there is nothing",
  missed: "objects that nothing came near",
  "false positives": "all false detections, for comparison",
  "false negatives": "all objects not found, for comparison",
};

function drawCurves() {
  const x = data.iou_thresholds.map((_, i) => i);
  const curveOf = (from) => {
    const curves = from?.curves[state.label];
    if (!curves) return null;
    return state.iou < x.length ? curves[state.iou] : meanCurve(curves);
  };
  const points = (curve) =>
    Array.from({ length: 101 }, (_, i) => [i / 100, (curve[i] || 0) / 1000]);
  const series = [];
  const here = curveOf(numbers());
  const there = curveOf(otherNumbers());
  const area = (curve) => decimal(points(curve).reduce((sum, [, y]) => sum + y, 0) / 101);
  if (here)
    series.push({
      name: `${className(state.label)}, AP ${area(here)}`,
      color: "var(--bar)",
      points: points(here),
    });
  if (there)
    series.push({
      name: `${data.other.run}, AP ${area(there)}`,
      color: "var(--other)",
      dashed: true,
      points: points(there),
    });
  const host = select("#pr-chart");
  if (!series.length) {
    host.replaceChildren(
      html("p", { class: "soft" }, `The ground truth has no objects of ${className(state.label)}.`),
    );
    return;
  }
  const label = `Precision over recall of ${className(state.label)}`;
  lineChart(host, {
    label,
    x: { name: "recall", min: 0, max: 1 },
    y: { min: 0, max: 1 },
    series,
    height: 320,
  });
}

function meanCurve(curves) {
  return Array.from(
    { length: 101 },
    (_, i) => curves.reduce((sum, curve) => sum + (curve[i] || 0), 0) / curves.length,
  );
}

function drawErrors() {
  const { counts, gains } = numbers().errors;
  const others = otherNumbers()?.errors;
  const rows = Object.keys(ERROR_NOTES).map((type) => ({
    name: type,
    note: ERROR_NOTES[type],
    value: gains[type],
    text: `${signed(gains[type])}${type in counts ? `  (${count(counts[type])})` : ""}`,
    other: others?.gains[type],
    otherText:
      others &&
      `${signed(others.gains[type])}${type in counts ? `  (${count(others.counts[type])})` : ""}`,
  }));
  barTable(select("#errors"), "Gain in AP50 by error type; in brackets how many there are", rows);
}

function drawCalibration() {
  const { counts, scores, shares, errors } = numbers().calibration;
  const label = state.label;
  const host = select("#calibration-chart");
  select("#calibration-error").textContent = exists(errors[label])
    ? `Expected calibration error of ${className(label)}: ${decimal(errors[label])}, over ${count(counts[label].reduce((a, b) => a + b, 0))} detections.`
    : `No detections of ${className(label)}.`;
  const options = {
    label: `Share of true detections of ${className(label)} by score`,
    x: { name: "score", min: 0, max: 1 },
    y: { min: 0, max: 1 },
    top: 24,
  };
  const { root, toX, toY, bottom } = frame(host, options);
  const bins = counts[label].length;
  counts[label].forEach((number, i) => {
    if (!number) return;
    const [left, right, top] = [toX(i / bins), toX((i + 1) / bins), toY(shares[label][i])];
    root.append(
      svg(
        "rect",
        {
          x: left + 1,
          y: top,
          width: right - left - 2,
          height: Math.max(1, bottom - top),
          fill: "var(--bar)",
          "fill-opacity": 0.75,
        },
        svg(
          "title",
          {},
          `${count(number)} detections, mean score ${decimal(scores[label][i])}, ${percent(shares[label][i])} true`,
        ),
      ),
    );
    if (right - left > 40) {
      root.append(
        svg("text", { x: (left + right) / 2, y: 14, "text-anchor": "middle" }, count(number)),
      );
    }
    root.append(svg("circle", { cx: toX(scores[label][i]), cy: top, r: 3.5, fill: "var(--ink)" }));
  });
  root.append(svg("line", { class: "diagonal", x1: toX(0), y1: toY(0), x2: toX(1), y2: toY(1) }));
  host.replaceChildren(
    root,
    html(
      "p",
      { class: "soft" },
      "Height: share that is true. Dot: where the mean score is. Number: detections.",
    ),
  );
}

function drawSizes() {
  const here = numbers();
  const there = otherNumbers();
  const names = ["small, to 32² px", "medium", "large, from 96² px"];
  barTable(
    select("#sizes"),
    "AP by size",
    ["s", "m", "l"].map((size, i) => ({
      name: names[i],
      note: plural(here.sizes[i], "object"),
      value: here.figures[`mAP_${size}`],
      text: `${decimal(here.figures[`mAP_${size}`])} AP`,
      other: there?.figures[`mAP_${size}`],
      otherText: there && decimal(there.figures[`mAP_${size}`]),
    })),
    1,
  );
  const crowd = ({ first, last }) =>
    last === null ? `${first} or more` : first === last ? `${first}` : `${first} to ${last}`;
  barTable(
    select("#objects-an-image"),
    "AP by objects in the image",
    here.objects_an_image.map((row, i) => ({
      name: crowd(row),
      note: `${plural(row.images, "image")}, ${plural(row.objects, "object")}`,
      value: row.AP,
      text: `${decimal(row.AP)} AP`,
      other: there?.objects_an_image[i].AP,
      otherText: there && decimal(there.objects_an_image[i].AP),
    })),
    1,
  );
  const recall = (row) => row && ratio(row.found, row.objects);
  barTable(
    select("#overlap"),
    "Recall by overlap",
    here.overlap.map((row, i) => ({
      name: `IoU ${row.from} to ${row.to}`,
      note: plural(row.objects, "object"),
      value: recall(row),
      text: `${percent(recall(row))} found`,
      other: recall(there?.overlap[i]),
      otherText: there && percent(recall(there.overlap[i])),
    })),
    1,
  );
}
