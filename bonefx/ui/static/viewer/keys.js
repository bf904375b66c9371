// Buttons and keys.

const commands = {
  "zoom-in": (at) => zoomTo(state.at.scale * 1.25, at),
  "zoom-out": (at) => zoomTo(state.at.scale / 1.25, at),
  fit: () => image() && firstPane()?.width && zoomTo(fitScale()),
  actual: (at) => zoomTo(1 / devicePixelRatio, at),
  "reset-window": () => {
    state.window = null;
    drawWindow();
  },
  full: () => (document.fullscreenElement ? document.exitFullscreen() : part("stage").requestFullscreen?.()),
  link: copyLink,
  forget: () => trigger("forget", { choice: visitor.numbered() }),
  check: () => run("check"),
  again: () => run("run"),
};
const KEYS = { "+": "zoom-in", "=": "zoom-in", "-": "zoom-out", 0: "fit", 1: "actual" };
const SWITCHES = { i: "inverted", b: "boxes", l: "labels", g: "truth" };
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const { at } = state;
  if (KEYS[event.key]) commands[KEYS[event.key]](state.pointer ?? undefined);
  else if (SWITCHES[event.key]) flip(SWITCHES[event.key]);
  else if (ARROWS[event.key] && !state.fitted) {
    const [dx, dy] = ARROWS[event.key];
    moveTo(at.x + (dx * 60) / at.scale, at.y + (dy * 60) / at.scale);
  } else return; // the page scrolls, the focus moves on
  event.preventDefault();
}

function flip(name) {
  if (name === "truth" && !truths) return;
  state[name] = !state[name];
  showSwitches();
  if (name === "inverted") drawWindow();
  else if (name === "grey" || name === "windowing") draw();
  else filter();
}

function showSwitches() {
  for (const button of toggles) {
    const on = state[button.dataset.toggle];
    button.setAttribute("aria-pressed", on);
    if (button.hasAttribute("aria-expanded")) button.setAttribute("aria-expanded", on);
  }
  part("viewer").classList.toggle("no-labels", !state.labels);
  part("viewer").classList.toggle("dragging-window", state.windowing);
  part("windowing").hidden = !state.grey;
  draw();
}

async function copyLink(event) {
  const button = element.querySelector('[data-do="link"]');
  const link = new URL(location.pathname, location.href);
  const { example } = about();
  if (example) link.searchParams.set("example", example);
  const rate = state.point === null ? null : state.value.operating.points[state.point].label;
  if (rate) link.searchParams.set("fp", rate);
  if (state.view !== "compare") link.searchParams.set("tab", state.view);
  try {
    await navigator.clipboard.writeText(link.href);
    button.textContent = "Copied";
  } catch {
    window.prompt("The link", link.href);
  }
  setTimeout(() => (button.textContent = "Copy link"), 1500);
}

for (const button of toggles) button.addEventListener("click", () => flip(button.dataset.toggle));
for (const button of element.querySelectorAll("[data-do]")) {
  button.addEventListener("click", () => commands[button.dataset.do]());
}
for (const button of element.querySelectorAll("[data-save]")) {
  button.addEventListener("click", () => {
    trigger("save", {
      choice: about().choice,
      kind: button.dataset.save,
      view: shownView(),
      thresholds: visitor.thresholds(),
      stricts: portable((id) => state.stricts[id] ?? 0),
      truth: state.truth,
      pair: agreement?.of ?? null,
    });
  });
}
for (const name of ["level", "width"]) {
  part(name).addEventListener("input", (event) => setWindow({ [name]: event.target.valueAsNumber }));
}
