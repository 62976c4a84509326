// Images with what is right, wrong and missed at the slider's threshold.

const GALLERIES = {
  wins: (names) => `Better than ${names.other}`,
  losses: (names) => `Worse than ${names.other}`,
  worst: () => "The worst",
  best: () => "The best",
};

function outlines(thing, look, dashed) {
  const [x, y, width, height] = thing.box;
  const box = { x, y, width, height };
  const masks = (thing.outline || []).map((points) => svg("polygon", { points: points.join(" ") }));
  return svg(
    "g",
    { class: look },
    masks,
    svg("rect", { ...box, class: "back" }),
    svg("rect", { ...box, class: dashed ? "front dashed" : "front" }),
  );
}

const outcomeLook = (outcome) => (outcome === "true" || outcome === "ignored" ? outcome : "false");
const isFound = (thing) => exists(thing.found) && thing.found >= threshold();
const shownOf = (drawn) => drawn.found.filter(({ score }) => score >= threshold()).reverse();

/** Detections by outcome, and dashed the objects that they leave out. */
function predictionGroups(drawn) {
  const missed = drawn.objects.filter((thing) => !thing.crowd && !isFound(thing));
  return [
    ...missed.map((thing) => ({
      thing,
      look: "missed",
      dashed: true,
      text: `missed ${className(thing.label)}`,
    })),
    ...shownOf(drawn).map((thing) => ({
      thing,
      look: outcomeLook(thing.outcome),
      text: `${className(thing.label)} ${thing.score.toFixed(2)}`,
      title:
        thing.outcome === "true"
          ? "true"
          : `${thing.outcome}${thing.outcome === "ignored" ? ": on a crowd" : " error"}`,
    })),
  ];
}

function truthGroups(drawn) {
  return drawn.objects.map((thing) => ({
    thing,
    look: thing.crowd ? "ignored" : isFound(thing) ? "found" : "missed",
    dashed: thing.crowd,
    text: `${className(thing.label)}${thing.crowd ? " (crowd)" : ""}`,
  }));
}

/** The image with outlines; with names if the width that it will have is given. */
function overlay(picture, groups, width) {
  const root = svg("svg", {
    viewBox: `0 0 ${picture.width} ${picture.height}`,
    "aria-hidden": "true",
  });
  const size = width ? (12.5 * picture.width) / width : 0;
  for (const { thing, look, dashed, text, title } of groups) {
    const group = outlines(thing, look, dashed);
    if (title) group.append(svg("title", {}, `${text}: ${title}`));
    root.append(group);
  }
  const taken = [];
  for (const { thing, text } of width ? groups.slice().reverse() : []) {
    const place = labelPlace(thing.box, text.length * 0.6 * size, size, picture, taken);
    taken.push(place);
    root.append(svg("text", { x: place.x, y: place.y, "font-size": size.toFixed(2) }, text));
  }
  return html(
    "span",
    { class: "overlay" },
    html("img", { src: picture.source, alt: "", width: picture.width, height: picture.height }),
    root,
  );
}

/** Where a name stands: above its box, below, or in it, where no other name is yet. */
function labelPlace([left, top, , tall], width, size, picture, taken) {
  const x = Math.max(0, Math.min(left + 0.2 * size, picture.width - width));
  const fits = (y) =>
    !taken.some(
      (other) =>
        Math.abs(other.y - y) < 1.1 * size && x < other.x + other.width && other.x < x + width,
    );
  const lines = [top - 0.35 * size, top + tall + 1.05 * size];
  for (let y = top + 1.1 * size; y < top + tall; y += 1.15 * size) lines.push(y);
  const inside = lines.map((y) => Math.max(1.05 * size, Math.min(y, picture.height - 0.3 * size)));
  return { x, width, y: inside.find(fits) ?? inside[0] };
}

function tally(drawn) {
  const objects = drawn.objects.filter(({ crowd }) => !crowd);
  const found = shownOf(drawn);
  const right = found.filter(({ outcome }) => outcome === "true").length;
  const wrong = found.filter(({ outcome }) => outcome !== "true" && outcome !== "ignored").length;
  const part = (look, number, name) => html("span", { class: look }, `${number} ${name}`);
  return [
    part("true", right, "true"),
    ", ",
    part("false", wrong, "false"),
    ", ",
    part("missed", objects.length - right, "missed"),
  ];
}

const placesOf = (gallery) => data.galleries[state.kind][gallery] || [];

function drawGalleries() {
  const names = { other: data.other?.run };
  const parts = Object.entries(GALLERIES)
    .filter(([gallery]) => placesOf(gallery).length)
    .flatMap(([gallery, title]) => {
      const items = placesOf(gallery).map((place) => {
        const picture = data.pictures[place];
        const drawn = picture.kinds[state.kind];
        const f1 = picture.f1?.[state.kind];
        return html(
          "li",
          {},
          html(
            "button",
            { type: "button", onclick: () => openPicture(gallery, place) },
            overlay(picture, predictionGroups(drawn)),
            html(
              "span",
              { class: "caption" },
              `id ${picture.id}: `,
              tally(drawn),
              f1 && (gallery === "wins" || gallery === "losses")
                ? `; F1 ${f1[0].toFixed(2)}, other ${f1[1].toFixed(2)}`
                : null,
            ),
          ),
        );
      });
      return [
        html("h3", {}, title(names)),
        html("ul", { class: "pictures", id: `gallery-${gallery}` }, items),
      ];
    });
  select("#gallery").hidden = !parts.length;
  select("#galleries").replaceChildren(...parts);
}

const large = { gallery: null, place: null };

function openPicture(gallery, place) {
  Object.assign(large, { gallery, place });
  drawLarge();
  if (!select("#large").open) select("#large").showModal();
}

function step(by) {
  const places = placesOf(large.gallery);
  const at = places.indexOf(large.place);
  openPicture(large.gallery, places[(at + by + places.length) % places.length]);
}

function drawLarge() {
  if (large.place === null) return;
  const picture = data.pictures[large.place];
  const drawn = picture.kinds[state.kind];
  const other = picture.other?.[state.kind];
  select("#large-title").textContent = `${picture.file.split(/[\\/]/).pop()}, id ${picture.id}`;
  select("#large-title").title = picture.file;
  const inside = Math.min(1240, 0.96 * window.innerWidth) - 36;
  const columns = Math.max(1, Math.min(other ? 3 : 2, Math.floor(inside / 290)));
  const width = inside / columns - 14;
  const pane = (caption, groups) =>
    html("figure", {}, html("figcaption", {}, caption), overlay(picture, groups, width));
  const at = ` at a score of ${threshold().toFixed(2)}`;
  const panes = [
    pane(`ground truth: ${plural(drawn.objects.length, "object")}`, truthGroups(drawn)),
    pane([other ? "this run: " : "prediction: ", tally(drawn), at], predictionGroups(drawn)),
  ];
  if (other) panes.push(pane([`${data.other.run}: `, tally(other), at], predictionGroups(other)));
  select("#large-body").replaceChildren(html("div", { class: "panes" }, panes));
}

function drawCompared() {
  const compared = data.compared[state.kind];
  select("#compared").hidden = !compared;
  if (!compared) return;
  const { wins, losses, ties } = compared;
  const part = (value, color) => {
    const bar = html("i", {});
    bar.style.width = `${(100 * value) / (wins + losses + ties)}%`;
    bar.style.background = color;
    return bar;
  };
  const text = `This run has the higher F1 in ${count(wins)} images, ${data.other.run} in ${count(losses)}; in ${count(ties)} they are even.`;
  select("#compared-body").replaceChildren(
    html(
      "div",
      { class: "share", role: "img", "aria-label": text },
      part(wins, "var(--bar)"),
      part(ties, "var(--line)"),
      part(losses, "var(--other)"),
    ),
    html("p", { id: "compared-text" }, text),
    html(
      "p",
      { class: "soft" },
      `F1 of each image at a score of ${data.score_threshold.toFixed(2)} and an IoU of ${data.iou_threshold}.`,
    ),
  );
}
