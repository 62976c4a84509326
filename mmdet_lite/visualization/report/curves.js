// The page of a run's curves.

const data = JSON.parse(select("#data").textContent);

function drawCurvesPage() {
  select("#title").textContent = data.title;
  select("#subject").textContent = data.subject;
  const tiles = data.tiles.map(({ name, value, note }) =>
    html(
      "div",
      { class: "card tile" },
      html("div", { class: "soft" }, name),
      html("div", { class: "value" }, value),
      html("div", { class: "soft" }, note),
    ),
  );
  select("#tiles").replaceChildren(...tiles);
  drawTraining(select("#charts"), data.training);
}

drawCurvesPage();
let width = window.innerWidth;
window.addEventListener("resize", () => {
  if (window.innerWidth === width) return;
  width = window.innerWidth;
  drawCurvesPage();
});
