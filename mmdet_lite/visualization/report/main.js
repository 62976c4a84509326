// What the controls do, and which part of the state each figure is drawn from.

function setUpControls() {
  const kinds = Object.keys(data.kinds);
  select("#kind").hidden = kinds.length < 2;
  select("#kind").append(
    ...kinds.map((kind) =>
      html(
        "label",
        {},
        html("input", {
          type: "radio",
          name: "kind",
          value: kind,
          checked: kind === state.kind,
          onchange: () => change("kind", kind),
        }),
        html("span", {}, KIND_NAMES[kind]),
      ),
    ),
  );
  const labels = data.classes
    .map((_, label) => label)
    .sort((a, b) => className(a).localeCompare(className(b)));
  select("#class").append(
    ...[ALL, ...labels].map((label) => html("option", { value: label }, className(label))),
  );
  select("#class").addEventListener("change", (event) =>
    change("label", Number(event.target.value)),
  );
  const ious = [...data.iou_thresholds.map((iou) => iou.toFixed(2)), "mean of all"];
  select("#iou").append(...ious.map((name, i) => html("option", { value: i }, name)));
  select("#iou").addEventListener("change", (event) => change("iou", Number(event.target.value)));
  select("#score").value = state.score;
  select("#score").addEventListener("input", (event) =>
    change("score", Number(event.target.value)),
  );
  select("#best-f1").addEventListener("click", () => {
    select("#score").value = bestF1(countsByScore(state.label));
    change("score", Number(select("#score").value));
  });
  select("#large-close").addEventListener("click", () => select("#large").close());
  select("#large-before").addEventListener("click", () => step(-1));
  select("#large-next").addEventListener("click", () => step(1));
  select("#large").addEventListener("keydown", (event) => {
    if (event.key === "ArrowLeft") step(-1);
    if (event.key === "ArrowRight") step(1);
  });
}

function drawTitle() {
  select("#title").textContent = data.title;
  const { images, objects, crowds } = data.data;
  const parts = [data.checkpoint, plural(images, "image"), plural(objects, "object")];
  if (crowds) parts.push(plural(crowds, "crowd"));
  parts.push(ALL === 1 ? "1 class" : `${count(ALL)} classes`);
  if (data.other) parts.push(`compared with ${data.other.run}`);
  select("#subject").textContent = parts.join(" · ");
}

setUpControls();
drawTitle();
draws(["score"], () => {
  select("#score-text").textContent = threshold().toFixed(2);
});
draws(["kind"], drawSummary);
draws(["kind", "label", "score"], drawCounts);
const drawScoreTable = classTable(select("#score-classes"), "score-table", scoreColumns(), 2);
draws(["kind", "label", "score"], () => {
  if (select("#score-details").open) drawScoreTable();
});
select("#score-details").addEventListener("toggle", () => redraw("score"));
draws(["kind"], drawErrors);
draws(["kind"], drawCompared);
draws(["kind", "score"], drawGalleries);
draws(["kind", "score"], drawLarge);
draws(["kind", "label"], classTable(select("#classes"), "class-table", figureColumns(), 1));
draws(["kind", "label", "iou"], drawCurves);
draws(["kind", "score"], drawConfusion);
draws(["kind", "label"], drawCalibration);
draws(["kind"], drawSizes);
draws([], () => {
  if (!data.training) return;
  select("#training").hidden = false;
  drawTraining(select("#training-charts"), data.training);
});
redraw();

let width = window.innerWidth;
window.addEventListener("resize", () => {
  if (window.innerWidth === width) return;
  width = window.innerWidth;
  redraw();
});
