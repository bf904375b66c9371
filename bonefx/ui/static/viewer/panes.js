// Panes: one a model, each with its view of the image and its marks; see agreement_pane.js for one more.

function makePanes(value) {
  sizes.disconnect();
  models = value.panes.map((data) => makeModel(data, value));
  agreement = value.agreement ? makeAgreement(value) : null;
  panes = agreement ? [...models, agreement] : models;
  part("panes").replaceChildren(...panes.map((pane) => pane.section));
  for (const pane of panes) sizes.observe(pane.view);
  truths = value.ground_truth;
  toggles.find((button) => button.dataset.toggle === "truth").hidden = !truths;
}

function makeModel(data, value) {
  const look = safeLook(data);
  const graded =
    isNumber(data.strict) || (value.operating?.points ?? []).some(({ strict }) => strict && data.id in strict);
  const detections = unpacked(data.detections).sort((a, b) => b.score - a.score);
  return Object.assign(makePane(data, value, look), { look, of: [data.id], detections, graded, above: [], groups: [] });
}

// The columns that `_packed` in component.py made, as one object a detection. Scores are float32 in Python.
function unpacked({ label = [], class_id = [], score = [], box = [], truth = [] }) {
  return score.map((each, i) => {
    const [x1, y1, x2, y2] = box.slice(4 * i, 4 * i + 4);
    return { label: label[i], class_id: class_id[i], score: Math.fround(each), truth: truth[i], box: { x1, y1, x2, y2 } };
  });
}

// What all panes have in common; `look` for a sample in the heading, or null.
function makePane(data, value, look) {
  const id = `${element.id}-${data.id}`;
  const canvas = make("canvas");
  const layers = makeLayers();
  const count = make("span", { class: "count", id: `${id}-count` });
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
    make("div", { class: "layers", "aria-hidden": "true" }, canvas, layers.svg),
  );
  const sample = look ? [makeSample(look)] : [];
  const caption = make("div", { class: "caption" }, ...sample, make("b", {}, data.title), count);
  const section = make("section", { class: "pane", "aria-label": data.title }, caption, view);
  const pane = { data, view, canvas, layers, count, section };
  pane.context = canvas.getContext("2d", { alpha: false });
  pane.truthMarks = (value.ground_truth ?? []).map((truth) => {
    const mark = makeMark(layers, [truth.box], { color: "#ffffff", line: "dotted", tag: "" });
    return Object.assign(mark, { truth });
  });
  pane.items = []; // of detections; made when first above the threshold: a detector gives up to 300
  listenToGestures(view, {
    zoom: (factor, at) => zoomTo(state.at.scale * factor, at),
    pan: (dx, dy) => moveTo(state.at.x - dx / state.at.scale, state.at.y - dy / state.at.scale),
    window: dragWindow,
    hover: (at) => {
      state.pointer = at;
      hover((at && findingAt(pane, at)) ?? null);
    },
    press: (at) => press(findingAt(pane, at)),
    twice: (at) => (state.fitted ? zoomTo(fitScale() * 2.5, at) : commands.fit()),
    refused: () => hint("Hold Ctrl to zoom with the wheel, or click into the picture first."),
    dragSetsWindow: () => state.windowing,
    wheelZooms: () => state.active,
  });
  view.addEventListener("keydown", onKey);
  view.addEventListener("focusout", ({ relatedTarget }) => {
    if (!part("stage").contains(relatedTarget)) activate(false);
  });
  return pane;
}

function makeItem(pane, detection) {
  return { mark: makeMark(pane.layers, [detection.box], pane.look), detection, finding: null };
}

// The finding under a point of a view: that of the smallest box, so that one inside another can be reached.
function findingAt(pane, at) {
  if (!state.boxes) return null;
  const x = state.at.x + at.x / state.at.scale;
  const y = state.at.y + at.y / state.at.scale;
  const slack = 4 / state.at.scale;
  const area = ({ x1, y1, x2, y2 }) => (x2 - x1) * (y2 - y1);
  const hits = pane.items.filter(({ mark: { box, shown } }) => {
    return shown && x >= box.x1 - slack && x <= box.x2 + slack && y >= box.y1 - slack && y <= box.y2 + slack;
  });
  return hits.sort((a, b) => area(a.mark.box) - area(b.mark.box))[0]?.finding ?? null;
}

function hover(finding) {
  state.hovered = finding;
  light(finding ?? state.focused);
}

function focus(finding) {
  state.focused = finding;
  light(state.hovered ?? finding);
}

// A press keeps what it hit lit, and leaves the focus in the picture, where the keys act.
function press(finding) {
  activate(true);
  state.focused = finding;
  light(finding);
  finding?.row.scrollIntoView({ block: "nearest" });
}

function activate(on) {
  state.active = on;
  part("stage").classList.toggle("active", on);
}

function light(finding) {
  if (finding === state.lit) return;
  for (const [each, lit] of [
    [state.lit, false],
    [finding, true],
  ]) {
    if (!each) continue;
    each.row.classList.toggle("lit", lit);
    for (const mark of each.marks) mark.light(lit);
  }
  state.lit = finding;
  nameMarks();
  draw();
}

function visit(finding) {
  const { x1, y1, x2, y2 } = finding.box;
  const { width, height } = visiblePanes()[0];
  const scale = Math.min(width / (x2 - x1 + 1), height / (y2 - y1 + 1)) / 2.5;
  zoomTo(Math.min(scale, 4));
  moveTo((x1 + x2) / 2, (y1 + y2) / 2);
}
