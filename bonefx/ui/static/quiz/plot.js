// The FROC plot of a round: the models' curves, and the reader's points among them. `value` is what results.py makes.
// Lines are stretched to the plot's place; marks and text stand at percentages of it, in CSS pixels.

function drawPlot(place, { most, curves, points }) {
  const legend = make("ul", { class: "legend" }, ...[...curves, ...points].map(legendRow));
  const svg = document.createElementNS(SVG, "svg");
  for (const [name, value] of [["role", "img"], ["aria-labelledby", "quiz-plot-title quiz-plot-words"]]) svg.setAttribute(name, value);
  const x = (rate) => `${(100 * Math.min(rate, most)) / most}%`;
  const y = (share) => `${100 * (1 - share)}%`;
  const text = (words, attributes) => (drawn("text", attributes, svg).textContent = words);
  for (let rate = 0; rate <= most; rate += 0.5) {
    drawn("line", { class: "grid", x1: x(rate), x2: x(rate), y1: 0, y2: "100%" }, svg);
    text(rate, { x: x(rate), y: "100%", dy: 19, "text-anchor": "middle" });
  }
  for (const share of [0, 0.2, 0.4, 0.6, 0.8, 1]) {
    drawn("line", { class: "grid", x1: 0, x2: "100%", y1: y(share), y2: y(share) }, svg);
    text(`${Math.round(100 * share)} %`, { x: 0, y: y(share), dx: -8, dy: 5, "text-anchor": "end" });
  }
  const stretched = drawn("svg", { viewBox: `0 0 ${most} 1`, preserveAspectRatio: "none" }, svg);
  for (const { look, steps } of curves) {
    const d = "M" + steps.map(([rate, share]) => `${rate} ${1 - share}`).join("L");
    for (const layer of ["case", "line"]) tint(drawn("path", { class: layer, d, "stroke-dasharray": look.dash }, stretched), look);
  }
  for (const { look, rate, share, low, high } of points) {
    for (const layer of ["case", "line"]) tint(drawn("line", { class: layer, x1: x(rate), x2: x(rate), y1: y(low), y2: y(high) }, svg), look);
    const at = drawn("svg", { class: "at", x: x(rate), y: y(share) }, svg);
    tint(drawn("path", { class: "mark", d: look.mark }, at), look);
  }
  text("False alarms per image", { x: "50%", y: "100%", dy: 42, "text-anchor": "middle" });
  const axis = make("p", { class: "axis", "aria-hidden": "true" }, "Fractures found");
  place.replaceChildren(legend, axis, make("div", { class: "plot" }, svg));
}

function tint(node, look) {
  node.style.setProperty("--mark", look.color);
}

function legendRow({ look, name }) {
  const svg = document.createElementNS(SVG, "svg");
  for (const [attribute, value] of [["width", 44], ["height", 16], ["aria-hidden", "true"]]) svg.setAttribute(attribute, value);
  for (const layer of ["case", "line"]) tint(drawn("line", { class: layer, x1: 2, x2: 42, y1: 8, y2: 8, "stroke-dasharray": look.dash }, svg), look);
  tint(drawn("path", { class: "mark", d: look.mark }, drawn("svg", { class: "at", x: 22, y: 8 }, svg)), look);
  return make("li", {}, svg, name);
}
