// The operating point: how many false alarms per image one accepts, or, under "Score thresholds", raw scores.
// `act` is what happens: point(index), threshold(pane id, value), back() to the operating point.

function makeControls(root, value, act) {
  const operating = value.operating ?? {};
  const points = operating.points ?? [];
  root.replaceChildren();
  root.hidden = !value.panes.some((pane) => !pane.error);
  const slider = points.length > 0 ? makeSlider(points, act) : null;
  const raw = value.panes.filter((pane) => pane.threshold !== null && !pane.error).map((pane) => makeRaw(pane, act));
  const opener = make("summary", {}, "Score thresholds");
  const open = state.advanced ?? points.length === 0;
  const advanced = make("details", { open, class: "raws" }, opener, ...raw.map(({ row }) => row));
  if (operating.measured) advanced.append(make("p", {}, operating.measured));
  opener.addEventListener("click", () => (state.advanced = !advanced.open));
  advanced.hidden = raw.length === 0;
  if (operating.message) root.append(make("p", {}, operating.message));
  root.append(...(slider ? [slider.row] : []), advanced);
  return {
    show(thresholds, point) {
      slider?.show(point);
      for (const each of raw) each.show(thresholds);
    },
  };
}

function makeSlider(points, act) {
  const name = "False alarms per image";
  const input = make("input", { type: "range", min: 0, max: points.length - 1, step: 1, "aria-label": name });
  const words = make("output", { class: "rate" });
  const back = make("button", { type: "button" }, "Back to false alarms");
  const row = make("div", { class: "point" }, make("b", {}, "fewer marks"), input, make("b", {}, "more marks"), words, back);
  input.addEventListener("input", () => act.point(input.valueAsNumber));
  back.addEventListener("click", act.back);
  const show = (point) => {
    // Scores that were typed in belong to no point: the slider then has no say, and does not pretend to.
    const off = point === null;
    row.classList.toggle("off", off);
    back.hidden = !off;
    if (!off) input.value = point;
    const label = off ? "" : points[point].label;
    words.textContent = off ? "set by score" : `about ${label} false alarm${["2", "4", "8"].includes(label) ? "s" : ""} per image, for each model`;
    input.setAttribute("aria-valuetext", off ? "set by score" : label);
  };
  return { row, show };
}

function makeRaw(pane, act) {
  const name = pane.title + ": score threshold";
  const range = make("input", { type: "range", min: 0, max: 1, step: 0.01, "aria-label": name });
  const number = make("input", { type: "number", min: 0, max: 1, step: 0.01, "aria-label": name + ", as a number" });
  for (const input of [range, number]) {
    input.addEventListener("input", () => {
      const wanted = input.valueAsNumber;
      if (wanted >= 0 && wanted <= 1) act.threshold(pane.id, wanted); // half-typed numbers wait
    });
  }
  const show = (thresholds) => {
    const threshold = Math.min(thresholds[pane.id], 1); // infinite: an operating point that no score reaches
    range.value = threshold;
    // Not while it is being typed in: 0.2 on the way to 0.25 must stay as it is.
    if (document.activeElement !== number) number.value = Number(threshold.toFixed(3));
  };
  return { row: make("div", { class: "raw" }, make("span", {}, pane.title), range, number), show };
}
