// The operating point: how many false alarms per image one accepts, or, under "Advanced", raw score
// thresholds. `act` is what happens: point(index), threshold(pane id, value).

function makeControls(root, value, act) {
  const operating = value.operating ?? {};
  const points = operating.points ?? [];
  const controls = { show: () => {} };
  root.replaceChildren();
  root.hidden = value.panes.length === 0;

  const message = make("p", {}, operating.message ?? "");
  message.hidden = !operating.message;
  let slider = null;
  const chosen = make("output");
  if (points.length > 0) {
    const title = operating.title ?? "False alarms per image accepted";
    slider = make("input", { type: "range", min: 0, max: points.length - 1, step: 1, "aria-label": title });
    const ticks = points.map(({ label }) => make("span", {}, label));
    root.append(
      make("div", { class: "point" }, make("span", { class: "title" }, title), chosen),
      make("div", { class: "scale" }, slider, make("div", { class: "ticks", "aria-hidden": "true" }, ...ticks)),
    );
    slider.addEventListener("input", () => act.point(slider.valueAsNumber));
  }

  const raw = value.panes.filter((pane) => pane.threshold !== null && !pane.error).map((pane) => {
    const name = pane.title + ": score threshold";
    const range = make("input", { type: "range", min: 0, max: 1, step: 0.01, "aria-label": name });
    const number = make("input", { type: "number", min: 0, max: 1, step: 0.01, "aria-label": name + ", as a number" });
    for (const input of [range, number]) {
      input.addEventListener("input", () => {
        const wanted = input.valueAsNumber;
        if (wanted >= 0 && wanted <= 1) act.threshold(pane.id, wanted); // half-typed numbers wait
      });
    }
    return { id: pane.id, range, number, row: make("div", { class: "raw" }, make("span", {}, name), range, number) };
  });
  const summary = points.length > 0 ? "Advanced: score thresholds" : "Score thresholds";
  const opener = make("summary", {}, summary);
  const open = state.advanced ?? points.length === 0;
  const advanced = make("details", { open }, opener, ...raw.map((r) => r.row));
  opener.addEventListener("click", () => (state.advanced = !advanced.open));
  advanced.hidden = raw.length === 0;
  root.append(message, advanced);

  controls.show = (thresholds, point) => {
    if (slider) {
      chosen.textContent = point === null ? "set by score" : points[point].label;
      if (point !== null) slider.value = point;
      slider.setAttribute("aria-valuetext", chosen.textContent);
    }
    for (const { id, range, number } of raw) {
      const threshold = Math.min(thresholds[id], 1); // infinite: an operating point that no score reaches
      range.value = threshold;
      // Not while it is being typed in: 0.2 on the way to 0.25 must stay as it is.
      if (document.activeElement !== number) number.value = Number(threshold.toFixed(3));
    }
  };
  return controls;
}
