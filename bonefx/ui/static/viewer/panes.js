// Panes: one a model, each with its view of the image, its marks and its table; see agreement_pane.js for one more.

const act = { hover, focus, visit };

function makePanes(value) {
  sizes.disconnect();
  models = value.panes.map((data) => makeModel(data, value));
  agreement = value.agreement ? makeAgreement(value) : null;
  panes = agreement ? [...models, agreement] : models;
  part("panes").replaceChildren(...panes.map((pane) => pane.section));
  part("lists").replaceChildren(...panes.map((pane) => pane.list.wrapper));
  for (const pane of panes) sizes.observe(pane.view);
  makeTruths(value);
  toggles.find((button) => button.dataset.toggle === "truth").hidden = !truths;
}

function makeModel(data, value) {
  const look = safeLook(data);
  const graded =
    isNumber(data.strict) || (value.operating?.points ?? []).some(({ strict }) => strict && data.id in strict);
  const columns = ["Label", "Score", graded && "Line", value.ground_truth && "Ground truth", ...PLACE];
  const detections = [...data.detections].sort((a, b) => b.score - a.score);
  return Object.assign(makePane(data, value, look, columns), { look, of: [data.id], detections, graded, above: [] });
}

// What all panes have in common; `look` for a sample in the heading, or null.
function makePane(data, value, look, columns) {
  const id = `${element.id}-${data.id}`;
  const canvas = make("canvas");
  const layers = makeLayers();
  const message = make("p", { class: "message", hidden: !state.message }, state.message);
  const count = make("div", { class: "count" });
  const note = make("span", { class: "note" });
  const picture = make("div", { class: "layers", "aria-hidden": "true" }, canvas, layers.svg);
  const view = make(
    "div",
    {
      class: "view",
      tabindex: 0,
      role: "application",
      "aria-roledescription": "image viewer",
      "aria-label": `${data.title}: ${value.image?.alt ?? "image"}`,
      "aria-describedby": `${id}-count`,
    },
    picture,
    message,
  );
  count.id = `${id}-count`;
  const title = make("h3", {}, (look?.tag ? look.tag + " · " : "") + data.title);
  const sample = look ? [makeSample(look)] : [];
  const heading = make(
    "div",
    { class: "heading" },
    make("div", {}, ...sample, title, make("span", { class: "subtitle" }, data.subtitle ?? "")),
    make("div", {}, count, note),
  );
  const list = makeTable(columns);
  list.wrapper.classList.toggle("failed", Boolean(data.error));
  const section = make("section", { class: "pane", "aria-label": data.title }, heading, view);
  const pane = { data, view, canvas, layers, message, count, note, list, section };
  pane.context = canvas.getContext("2d", { alpha: false });
  pane.truthMarks = (value.ground_truth ?? []).map((truth) => {
    const mark = makeMark(layers, [truth.box], { color: "#ffffff", line: "dotted", tag: "" });
    return Object.assign(mark, { truth });
  });
  pane.items = []; // of detections; made when first above the threshold: a detector gives up to 300
  listenToGestures(view, {
    zoom: (factor, at) => zoomTo(state.view.scale * factor, at),
    pan: (dx, dy) => moveTo(state.view.x - dx / state.view.scale, state.view.y - dy / state.view.scale),
    window: dragWindow,
    hover: (at) => {
      state.pointer = at;
      hover((at && itemAt(pane, at)) ?? null);
    },
    press: (at) => itemAt(pane, at)?.button.focus({ preventScroll: true }),
    dragSetsWindow: () => state.windowing,
  });
  view.addEventListener("keydown", onKey);
  return pane;
}

function makeItem(pane, detection) {
  const mark = makeMark(pane.layers, [detection.box], pane.look);
  const line = make("td");
  const cells = [
    make("td", { class: "number" }, detection.score.toFixed(3)),
    pane.graded && line,
    state.value.ground_truth && make("td", { class: "verdict" }, detection.mark ?? ""),
    ...boxCells(detection.box),
  ];
  const words = (wide) => {
    const verdict = state.truth && detection.mark;
    const brief = verdict && (wide ? `· ${verdict}` : verdict.startsWith("hit") ? "✓" : "✗");
    return [pane.look.tag, wide && detection.label, detection.score.toFixed(2), brief];
  };
  const item = { mark, detection, line, words, marks: [mark] };
  Object.assign(item, makeRow(item, detection.label, cells.filter(Boolean), act));
  pane.list.body.append(item.row);
  return item;
}

function makeTruths(value) {
  const root = part("truth");
  truths = null;
  root.replaceChildren();
  if (!value.ground_truth) return;
  const judged = value.panes.filter((pane) => !pane.error);
  const list = makeTable(["Label", ...judged.map((pane) => pane.title), ...PLACE]);
  list.nothing.firstChild.textContent = "No lesion in this image";
  list.body.append(list.nothing);
  list.nothing.hidden = value.ground_truth.length > 0;
  const items = value.ground_truth.map((truth, index) => {
    const verdicts = judged.map(() => make("td", { class: "verdict" }));
    const marks = panes.map((pane) => pane.truthMarks[index]);
    const item = { truth, verdicts, marks, mark: marks[0] };
    Object.assign(item, makeRow(item, truth.label, [...verdicts, ...boxCells(truth.box)], act));
    list.body.append(item.row);
    return item;
  });
  list.caption.textContent = `Ground truth: ${counted(items.length, "lesion")}`;
  root.append(list.wrapper);
  truths = { items, judged };
}

// The finding under a point of a view: the smallest box, so that one inside another can be reached.
function itemAt(pane, at) {
  if (!state.boxes) return null;
  const x = state.view.x + at.x / state.view.scale;
  const y = state.view.y + at.y / state.view.scale;
  const slack = 4 / state.view.scale;
  const area = ({ x1, y1, x2, y2 }) => (x2 - x1) * (y2 - y1);
  const hits = pane.items.filter(({ row, mark: { box } }) => {
    return !row.hidden && x >= box.x1 - slack && x <= box.x2 + slack && y >= box.y1 - slack && y <= box.y2 + slack;
  });
  return hits.sort((a, b) => area(a.mark.box) - area(b.mark.box))[0];
}

function hover(item) {
  state.hovered = item;
  light(item ?? state.focused);
}

function focus(item) {
  state.focused = item;
  light(state.hovered ?? item);
}

function light(item) {
  if (item === state.lit) return;
  for (const [each, lit] of [
    [state.lit, false],
    [item, true],
  ]) {
    if (!each) continue;
    each.row.classList.toggle("lit", lit);
    for (const mark of each.marks) mark.light(lit);
  }
  state.lit = item;
  nameMarks();
  draw();
}

function visit(item) {
  const { x1, y1, x2, y2 } = item.mark.box;
  const { width, height } = panes[0];
  const scale = Math.min(width / (x2 - x1 + 1), height / (y2 - y1 + 1)) / 2.5;
  zoomTo(Math.min(scale, 4));
  moveTo((x1 + x2) / 2, (y1 + y2) / 2);
  item.button.focus({ preventScroll: true });
}
