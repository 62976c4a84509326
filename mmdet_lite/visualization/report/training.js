// The course of a training: losses, learning rate and average precision over iterations.

const TRAINING_NAMES = {
  loss: "Losses",
  lr: "Learning rate",
  mAP: "Average precision at validation",
};

/** Charts of what Python's training_series() gives, each in a card of its own. */
function drawTraining(place, training) {
  const cards = Object.entries(TRAINING_NAMES)
    .filter(([key]) => training[key].length)
    .map(([key, name]) => {
      const host = html("div", {});
      return [html("div", { class: "card" }, html("h3", {}, name), host), host, key];
    });
  place.replaceChildren(...cards.map(([card]) => card));
  const all = Object.values(training).flat();
  const last = Math.max(...all.flatMap(({ x }) => x)); // one axis for all of them
  for (const [, host, key] of cards) {
    const curves = training[key];
    const most = Math.max(...curves.flatMap(({ y }) => y.filter(exists)), 0) || 1;
    lineChart(host, {
      label: TRAINING_NAMES[key],
      x: { name: "iteration", min: 0, max: last },
      y: { min: 0, max: most },
      series: curves.map(({ name, x, y }, i) => ({
        name: name.replace("loss_", ""),
        color: PALETTE[i % PALETTE.length],
        dashed: name.endsWith("_50"),
        dots: key === "mAP",
        points: x.map((each, j) => [each, y[j]]),
      })),
    });
  }
}
