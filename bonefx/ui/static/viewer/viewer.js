// The viewer's start and its values. All scripts of this folder but choice.js and loader.js run as one function body
// with `element`, `props`, `trigger` and `watch`; component.py says in which order, and what a value holds.

const linkedTab = () => {
  const tab = query().get("tab");
  return ["read", "batch", "metrics", "about"].includes(tab) ? { outer: tab } : { outer: tab && "read", view: tab };
};

// A value of an older choice than the newest has come too late.
function update() {
  const value = props.value ?? null;
  if ((value?.about?.choice ?? 0) < visitor.number) return;
  takeValue(value);
}

function takeValue(value) {
  const before = state.value;
  const sameImage = Boolean(value?.image) && address(before?.image) === address(value.image);
  const same = sameImage && JSON.stringify({ ...before, about: 0 }) === JSON.stringify({ ...value, about: 0 });
  const away = isAway();
  state.value = value;
  part("stage").classList.remove("opening");
  if (!same) rebuild(value, sameImage);
  else showAbout();
  saySo(before, value, sameImage);
  const { example, done, settled, choice } = about();
  Object.assign(part("viewer").dataset, { choice: choice ?? 0, example: example ?? "", done: Boolean(done), settled: settled ?? "" });
  if (!value?.image) return;
  visitor.shown = example;
  document.dispatchEvent(new CustomEvent("bonefx:shown", { detail: { example } }));
  const fresh = !sameImage || (done && !before.about.done); // each of the two changes how long the page is
  if (fresh && choice > 0 && (away || isAway())) part("viewer").scrollIntoView();
  // What has no result yet gets one; what was shown before it was known which weights are used is looked at again.
  if (typeof settled === "boolean" && state.ran !== choice && (!done || !settled)) run("run");
}

function isAway() {
  const { top, bottom } = part("stage").getBoundingClientRect();
  return top < 0 || bottom > innerHeight;
}

function rebuild(value, sameImage) {
  Object.assign(state, { hovered: null, focused: null, lit: null, thresholds: {}, stricts: {}, notes: {} });
  state.opened.clear();
  part("viewer").classList.toggle("empty", !value?.image);
  const shown = value?.image ? value : { panes: [], ground_truth: null };
  state.truth = Boolean(shown.ground_truth && state.truth && sameImage);
  for (const pane of shown.panes) {
    state.thresholds[pane.id] = pane.threshold;
    state.stricts[pane.id] = pane.strict;
    state.notes[pane.id] = pane.note;
  }
  const selected = shown.operating?.selected ?? null;
  if (selected !== null && shown.operating.points.length > 0) takePoint(selected);
  takeChoice();
  makePanes(shown);
  makeViews();
  makePairs(shown);
  showView();
  controls = makeControls(part("operating"), shown, {
    point: choosePoint,
    threshold: chooseThreshold,
    back: () => visitor.choose({ rate: state.value.operating.points[state.value.operating.selected].label }),
  });
  if (!sameImage) {
    Object.assign(state, { picture: null, window: null, fitted: true });
    say("");
    if (value?.image) load(value.image);
  }
  showAbout();
  filter();
  fitWhereFitted();
  showSwitches();
}

// What a new result says beside the picture.
function saySo(before, value, sameImage) {
  if (!value?.image) return;
  const { done, sha256 } = about();
  const old = before?.about;
  const replaced = sameImage && done && old?.done && JSON.stringify(old.sha256) !== JSON.stringify(sha256);
  if (replaced) tell(`These are now the results of other weights. ${about().weights}`, [dismiss]);
  else if (done) tell("");
}

const address = (image) => image?.file?.url;

async function load(image) {
  const current = () => address(state.value?.image) === address(image);
  say("Loading the image");
  part("depth").textContent = "";
  try {
    const picture = await readImage(allowedAddress(image.file.url, element), image);
    if (!current()) return;
    setPicture(picture);
    say("");
    part("depth").textContent = image.deep ? "8 bits, 16 on their way" : "";
  } catch (error) {
    if (current()) say(`The image cannot be shown (${error.message}). The findings are complete.`);
    return;
  }
  if (!image.deep) return;
  try {
    const picture = await readDeep(allowedAddress(image.deep.file.url, element), image.deep, image);
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
  part("message").textContent = message;
  part("message").hidden = !message;
}

// --- the address -------------------------------------------------------------------------------------------

function followAddress() {
  const { outer, view } = linkedTab();
  if (outer) document.dispatchEvent(new CustomEvent("bonefx:go", { detail: { id: outer } }));
  state.view = view ?? "compare";
}

addEventListener("popstate", () => {
  const example = query().get("example");
  visitor.choice.rate = query().get("fp") ?? visitor.choice.rate;
  followAddress();
  const { outer } = linkedTab();
  if (!outer) document.dispatchEvent(new CustomEvent("bonefx:go", { detail: { id: "read" } }));
  const first = props.value?.about?.example;
  if (example !== visitor.shown && (example ?? visitor.first)) {
    document.dispatchEvent(new CustomEvent("bonefx:pick", { detail: { example: example ?? visitor.first } }));
  } else if (state.value?.image) {
    takeChoice();
    showView();
    filter();
  }
});
document.addEventListener("bonefx:tab", ({ detail: { id } }) => {
  writeAddress({ tab: id === "read" ? (state.view === "compare" ? null : state.view) : id }, true);
});

// --- the start ---------------------------------------------------------------------------------------------

const sizes = new ResizeObserver(() => {
  const phone = part("viewer").classList.contains("phone");
  if (state.value?.image && phone !== isPhone()) {
    showView();
    filter();
  } else fitWhereFitted();
});
visitor.first = props.value?.about?.example ?? null;
followAddress();
const linked = query().get("example");
watch("value", update);
if (!linked || linked === visitor.first) update();
else part("stage").classList.add("opening");
