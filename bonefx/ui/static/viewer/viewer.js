// The viewer's start, its values, buttons and keys. Gradio runs all scripts of this folder as one function body
// with `element`, `props`, `trigger` and `watch`; viewer.py says in which order, and what a value holds.

// --- the value ---------------------------------------------------------------------------------------------

function update() {
  const before = state.value;
  const value = props.value || null;
  Object.assign(state, { value, hovered: null, focused: null, lit: null, thresholds: {}, stricts: {}, notes: {} });
  part("viewer").classList.toggle("empty", !value?.image);
  const notice = part("notice");
  notice.textContent = value?.notice ?? "";
  notice.hidden = !value?.notice;
  const shown = value ?? { panes: [], ground_truth: null };
  const sameImage = Boolean(value) && address(before?.image) === address(value.image);
  state.truth = Boolean(shown.ground_truth && (sameImage ? state.truth : shown.ground_truth_visible));
  for (const pane of shown.panes) {
    state.thresholds[pane.id] = pane.threshold;
    state.stricts[pane.id] = pane.strict;
    state.notes[pane.id] = pane.note;
  }
  const selected = shown.operating?.selected ?? null;
  if (selected !== null && shown.operating.points.length > 0) takePoint(selected);
  takeChoice();
  makePanes(shown);
  controls = makeControls(part("operating"), shown, { point: choosePoint, threshold: chooseThreshold });
  if (!sameImage) {
    releasePictures(element);
    Object.assign(state, { picture: null, window: null, fitted: true });
    say("");
    if (value?.image) load(value.image);
  }
  filter();
  fitWhereFitted();
  showSwitches();
}

const address = (image) => image?.file?.url;

async function load(image) {
  const current = () => address(state.value?.image) === address(image);
  const get = (file, read) => {
    const url = allowedAddress(file.url, element);
    return sharedPicture(url, element, () => read(url));
  };
  say("Loading the image");
  part("depth").textContent = "";
  try {
    const picture = await get(image.file, (url) => readImage(url, image));
    if (!current()) return;
    setPicture(picture);
    say("");
    part("depth").textContent = image.deep ? "8 bits, 16 on their way" : "";
  } catch (error) {
    if (current()) say(`The image cannot be shown (${error.message}). The findings below are complete.`);
    return;
  }
  if (!image.deep) return;
  try {
    const picture = await get(image.deep.file, (url) => readDeep(url, image.deep, image));
    if (!current()) return;
    setPicture(picture);
    part("depth").textContent = "16 bits";
  } catch (error) {
    if (current()) part("depth").textContent = `8 bits only: ${error.message}`;
  }
}

// A window chosen on the 8-bit preview keeps its place when the 16-bit data arrive.
function setPicture(picture) {
  if (state.window && state.picture) {
    const [from, to] = [sorted(state.picture.window), sorted(picture.window)];
    const ratio = (to[1] - to[0]) / (from[1] - from[0]);
    state.window = {
      level: to[0] + (state.window.level - from[0]) * ratio,
      width: state.window.width * ratio,
    };
  }
  state.picture = picture;
  drawWindow();
}

function say(message) {
  state.message = message;
  for (const pane of panes) {
    pane.message.textContent = message;
    pane.message.hidden = !message;
  }
}

// --- buttons and keys --------------------------------------------------------------------------------------

const commands = {
  "zoom-in": (at) => zoomTo(state.view.scale * 1.25, at),
  "zoom-out": (at) => zoomTo(state.view.scale / 1.25, at),
  fit: () => image() && panes[0]?.width && zoomTo(fitScale()),
  actual: (at) => zoomTo(1 / devicePixelRatio, at),
  "reset-window": () => {
    state.window = null;
    drawWindow();
  },
};
const KEYS = { "+": "zoom-in", "=": "zoom-in", "-": "zoom-out", 0: "fit", 1: "actual" };
const SWITCHES = { i: "inverted", b: "boxes", l: "labels", g: "truth" };
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const { view } = state;
  if (KEYS[event.key]) commands[KEYS[event.key]](state.pointer ?? undefined);
  else if (SWITCHES[event.key]) flip(SWITCHES[event.key]);
  else if (ARROWS[event.key] && !state.fitted) {
    const [dx, dy] = ARROWS[event.key];
    moveTo(view.x + (dx * 60) / view.scale, view.y + (dy * 60) / view.scale);
  } else return; // the page scrolls, the focus moves on
  event.preventDefault();
}

function flip(name) {
  if (name === "truth" && !truths) return;
  state[name] = !state[name];
  showSwitches();
  if (name === "inverted") drawWindow();
  else filter();
}

function showSwitches() {
  for (const button of toggles) button.setAttribute("aria-pressed", state[button.dataset.toggle]);
  part("viewer").classList.toggle("no-labels", !state.labels);
  part("viewer").classList.toggle("windowing", state.windowing);
  draw();
}

for (const button of toggles) button.addEventListener("click", () => flip(button.dataset.toggle));
for (const button of element.querySelectorAll("[data-do]")) {
  button.addEventListener("click", () => commands[button.dataset.do]());
}
for (const name of ["level", "width"]) {
  part(name).addEventListener("input", (event) => setWindow({ [name]: event.target.valueAsNumber }));
}

element.parentElement.style.padding = 0; // Gradio 6.31 gives it some, whatever its `padding` says

const sizes = new ResizeObserver(() => fitWhereFitted());
watch("value", update);
update();
