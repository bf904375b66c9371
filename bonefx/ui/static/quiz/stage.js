// The picture that is read: one view, with the reader's marks, the models' and, when it is due, the truth.
//
// It uses the viewer's scripts (pixels, marks, labels, gestures, state, frames); what these expect is here too.

const RING = 0.06; // side of the ring around a tapped place, as a share of the picture's longer side
const YOU = { color: "#ffffff", tag: "you" };
const TRUTH = { color: "#e6fff4", line: "dotted", tag: "" };
const inside = (value, end) => Math.min(Math.max(value, 0), end);

let step = null; // what is shown, see bonefx/ui/quiz/screen.py
let mine = []; // [{box, confidence, verdict}], in pixels of the image
let drawnNow = null; // a box that is being drawn
let cross = null; // where the keys are, in pixels of the image
const pane = makeStage();
panes = [pane];
const visiblePanes = () => panes;
const nameMarks = () => {};

function makeStage() {
  const canvas = make("canvas");
  const layers = makeLayers();
  const pointer = make("div", { class: "cross", "aria-hidden": "true" });
  const view = make(
    "div",
    { class: "view", tabindex: 0, role: "application", "aria-roledescription": "picture to be marked", "aria-describedby": `${element.id}-keys` },
    make("div", { class: "layers", "aria-hidden": "true" }, canvas, layers.svg),
    pointer,
    make("span", { class: "unseen", id: `${element.id}-keys` }, "Arrow keys move a cross, Enter marks the place, Delete removes the last mark, N says that there is nothing."),
  );
  part("panes").append(make("section", { class: "pane" }, view));
  const made = { data: { id: "quiz" }, view, canvas, layers, pointer, truthMarks: [], items: [] };
  made.context = canvas.getContext("2d", { alpha: false });
  return made;
}

// --- marks -------------------------------------------------------------------------------------------------

const isRing = ({ x1, y1, x2, y2 }) => {
  const side = RING * Math.max(image().width, image().height);
  return Math.abs(x2 - x1 - side) < 1 && Math.abs(y2 - y1 - side) < 1;
};

function placeOf(at) {
  return { x: state.at.x + at.x / state.at.scale, y: state.at.y + at.y / state.at.scale };
}

function boxBetween(from, to) {
  const [a, b] = [placeOf(from), placeOf(to)];
  const { width, height } = image();
  const [x1, x2] = sorted([inside(a.x, width), inside(b.x, width)]);
  const [y1, y2] = sorted([inside(a.y, height), inside(b.y, height)]);
  return { x1, y1, x2, y2 };
}

function ringAt({ x, y }) {
  const half = (RING * Math.max(image().width, image().height)) / 2;
  const [cx, cy] = [inside(x, image().width), inside(y, image().height)];
  return { x1: cx - half, y1: cy - half, x2: cx + half, y2: cy + half };
}

function drawMarks() {
  const { outlines, chips } = pane.layers;
  outlines.replaceChildren();
  chips.replaceChildren();
  pane.truthMarks = (step?.truth ?? []).map(({ label, box, found }) => {
    const mark = makeMark(pane.layers, [box], TRUTH);
    mark.as("missed", !found);
    mark.say(found ? `broken: ${label}` : `missed: ${label}`);
    return mark;
  });
  const models = (step?.shown ?? []).flatMap((model) => {
    const look = safeLook(model);
    return model.marks.map(({ box, score, label, verdict }) => {
      const mark = makeMark(pane.layers, [box], look);
      mark.say(`${look.tag} ${verdict ?? `${label} ${score.toFixed(2)}`}`);
      return { mark };
    });
  });
  const own = [...mine, ...(drawnNow ? [{ box: drawnNow, confidence: "sure" }] : [])].map(({ box, confidence, verdict }, i) => {
    const mark = makeMark(pane.layers, [box], { ...YOU, line: isRing(box) ? "ring" : "plain" });
    mark.as("dashed", confidence === "perhaps");
    mark.say(`${i + 1} ${verdict ?? confidence}`);
    return { mark };
  });
  pane.items = [...own, ...models];
  draw();
}

function add(box) {
  if (step?.phase !== "read") return;
  if (mine.length >= 50) return announce("That is as many marks as one picture takes.");
  mine.push({ box, confidence: "sure" });
  changed(`Mark ${mine.length} set, ${whereabouts(box)}: sure.`);
}

function remove(index) {
  mine.splice(index, 1);
  changed(`Mark ${index + 1} removed. ${counted(mine.length, "mark")} left.`);
}

function grade(index, confidence) {
  mine[index].confidence = confidence;
  changed(`Mark ${index + 1}: ${confidence}.`);
}

// Where a box is, for those who cannot see it.
function whereabouts({ x1, y1, x2, y2 }) {
  const share = (value, whole) => Math.round((100 * value) / whole);
  const { width, height } = image();
  return `${share((x1 + x2) / 2, width)} % from the left, ${share((y1 + y2) / 2, height)} % from the top`;
}

const markAt = (at) => {
  const { x, y } = placeOf(at);
  return mine.findIndex(({ box }) => x >= box.x1 && x <= box.x2 && y >= box.y1 && y <= box.y2);
};

// --- the picture -------------------------------------------------------------------------------------------

async function showPicture(record) {
  const current = () => step?.image?.file.url === record.file.url;
  say("Loading the picture");
  try {
    const picture = await readImage(bonefx.allowedAddress(record.file.url, element), record);
    if (!current()) return;
    Object.assign(state, { picture });
    say("");
    drawWindow();
    if (record.deep) {
      const deep = await readDeep(bonefx.allowedAddress(record.deep.file.url, element), record.deep, record);
      if (current()) {
        Object.assign(state, { picture: deep, window: null });
        drawWindow();
      }
    }
  } catch (error) {
    if (current()) say(`The picture cannot be shown (${error.message}). Leave, and begin another round.`);
  }
}

function say(words) {
  part("message").textContent = words;
  part("message").hidden = !words;
}

function announce(words) {
  part("status").textContent = words;
}

// --- mouse, touch and keys ---------------------------------------------------------------------------------

const commands = {
  "zoom-in": (at) => zoomTo(state.at.scale * 1.25, at),
  "zoom-out": (at) => zoomTo(state.at.scale / 1.25, at),
  fit: () => image() && zoomTo(fitScale()),
  actual: (at) => zoomTo(1 / devicePixelRatio, at),
  "reset-window": () => {
    state.window = null;
    drawWindow();
  },
  leave: () => leave(),
};
const KEYS = { "+": "zoom-in", "=": "zoom-in", "-": "zoom-out", 0: "fit", 1: "actual" };
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

listenToGestures(pane.view, {
  zoom: (factor, at) => zoomTo(state.at.scale * factor, at),
  pan: (dx, dy) => moveTo(state.at.x - dx / state.at.scale, state.at.y - dy / state.at.scale),
  window: dragWindow,
  hover: (at) => (state.pointer = at),
  press: (at) => {
    pane.pointer.classList.remove("used");
    if (step?.phase !== "read") return;
    const hit = markAt(at);
    if (hit >= 0) grade(hit, mine[hit].confidence === "sure" ? "perhaps" : "sure");
    else add(ringAt(placeOf(at)));
  },
  twice: () => {},
  refused: () => {},
  draws: () => step?.phase === "read" && !state.moving,
  outline: (from, to) => {
    drawnNow = to && boxBetween(from, to);
    if (drawnNow && (drawnNow.x2 - drawnNow.x1 < 1 || drawnNow.y2 - drawnNow.y1 < 1)) drawnNow = null;
    drawMarks();
  },
  outlined: (from, to) => {
    const box = boxBetween(from, to);
    const least = 6 / state.at.scale; // smaller than that nobody draws: it was a tap that slipped
    if (box.x2 - box.x1 < least || box.y2 - box.y1 < least) add(ringAt(placeOf(to)));
    else add(box);
  },
  dragSetsWindow: () => false,
  wheelZooms: () => true,
});

pane.view.addEventListener("keydown", (event) => {
  if (event.altKey) return;
  const { key } = event;
  if ((event.ctrlKey || event.metaKey) && key !== "Enter") return;
  if (ARROWS[key]) moveCross(...ARROWS[key], event.shiftKey ? 0.004 : 0.02);
  else if (KEYS[key]) commands[KEYS[key]](state.pointer ?? undefined);
  else if (key === "i") flip("inverted");
  else if (key === "Enter" && (event.ctrlKey || event.metaKey)) go();
  else if ((key === "Enter" || key === " ") && step?.phase === "read") {
    moveCross(0, 0, 0);
    add(ringAt(cross));
  } else if (key === "Enter") go();
  else if ((key === "Delete" || key === "Backspace") && mine.length > 0 && step?.phase === "read") remove(mine.length - 1);
  else if (key === "n" && step?.phase === "read") {
    mine = [];
    go();
  } else return;
  event.preventDefault();
});

function moveCross(dx, dy, share) {
  const { width, height } = image();
  const reach = share * Math.max(width, height);
  cross ??= { x: width / 2, y: height / 2 };
  cross = { x: inside(cross.x + dx * reach, width), y: inside(cross.y + dy * reach, height) };
  pane.pointer.classList.add("used");
  showCross();
  if (share) announce(whereabouts({ x1: cross.x, x2: cross.x, y1: cross.y, y2: cross.y }));
}

function showCross() {
  if (!cross) return;
  const { width, height } = pane;
  pane.pointer.style.left = `${(cross.x - state.at.x) * state.at.scale + width / 2}px`;
  pane.pointer.style.top = `${(cross.y - state.at.y) * state.at.scale + height / 2}px`;
}

function flip(name) {
  state[name] = !state[name];
  for (const button of toggles) {
    button.setAttribute("aria-pressed", Boolean(state[button.dataset.toggle]));
    if (button.hasAttribute("aria-expanded")) button.setAttribute("aria-expanded", Boolean(state[button.dataset.toggle]));
  }
  part("windowing").hidden = !state.grey;
  part("stage").classList.toggle("moving", Boolean(state.moving));
  if (name === "inverted") drawWindow();
  else draw();
}

for (const button of toggles) button.addEventListener("click", () => flip(button.dataset.toggle));
for (const button of element.querySelectorAll("[data-do]")) {
  button.addEventListener("click", () => commands[button.dataset.do]());
}
for (const name of ["level", "width"]) {
  part(name).addEventListener("input", (event) => setWindow({ [name]: event.target.valueAsNumber }));
}
const sizes = new ResizeObserver(() => {
  fitWhereFitted();
  showCross();
});
sizes.observe(pane.view);
