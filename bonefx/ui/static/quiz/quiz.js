// The steps of a round: settings, a case alone, with marks, its truth, and the end. Each value of the component is
// one step; what is not due yet is not in it.

const link = () => query().get("quiz");
const query = () => new URLSearchParams(location.search);
const study = () => Boolean(props.value?.study);
const PATIENCE = 20_000; // ms, until a silent server is said to be one: the models' first marks take some seconds
let busy = 0; // a timer while an answer is under way

const SECTIONS = ["front", "reading", "end", "wait"];
function open(name, heading) {
  const byKeys = document.activeElement === pane.view && name === "reading"; // who reads by keys goes on there
  for (const each of SECTIONS) part(each).hidden = each !== name;
  if (byKeys) return;
  const node = part(heading);
  node.focus({ preventScroll: true });
  part("quiz").scrollIntoView({ block: "nearest" });
}

function leave() {
  step = null;
  bonefx.mode(null);
}

// --- the settings ------------------------------------------------------------------------------------------

function showFront() {
  const { models, intro, cases } = props.value.offer;
  part("intro").textContent = intro;
  part("start").textContent = `Begin: ${counted(cases, "case")}`;
  if (!part("whose").querySelector("label")) {
    for (const { id, name } of models) {
      const box = make("input", { type: "checkbox", name: "model", value: id, checked: true });
      part("whose").append(make("label", {}, box, name));
    }
  }
  showHistory(part("history"), remembered());
  part("settings").dispatchEvent(new Event("change"));
  open("front", "heading");
}

part("settings").addEventListener("change", () => {
  const setting = new FormData(part("settings")).get("setting");
  const boxes = [...part("whose").querySelectorAll("input")];
  part("whose").disabled = setting === "never";
  part("start").disabled = setting !== "never" && !boxes.some((box) => box.checked);
});

part("settings").addEventListener("submit", (event) => {
  event.preventDefault();
  begin();
});
part("another").addEventListener("click", showFront);

function begin() {
  const form = new FormData(part("settings"));
  const all = props.value.offer.models.map(({ id }) => id);
  const models = form.getAll("model");
  send("begin", {
    link: link(),
    setting: form.get("setting"),
    models: models.length > 0 ? models : all,
    played: remembered().played,
  });
}

function send(name, data) {
  if (busy) return;
  busy = setTimeout(() => {
    ready();
    part("late").hidden = false;
  }, PATIENCE);
  part("go").disabled = true;
  part("problem").hidden = true;
  trigger(name, data);
}

function ready() {
  clearTimeout(busy);
  busy = 0;
  part("go").disabled = false;
  part("late").hidden = true;
}

// --- one step ----------------------------------------------------------------------------------------------

function update() {
  const value = props.value?.now ?? null;
  if (!value || value === step) return;
  ready();
  if (value.problem) {
    part("problem").textContent = value.problem;
    part("problem").hidden = false;
    return;
  }
  if (value.phase === "wait") showWait(value);
  else if (value.phase === "end") showEnd(value);
  else showStep(value);
}

function showWait({ sentence }) {
  step = null;
  part("wait-title").textContent = sentence;
  open("wait", "wait-title");
}

function showStep(value) {
  const sameImage = step?.image?.file.url === value.image.file.url && !part("reading").hidden;
  step = value;
  mine = value.mine.map(({ box, confidence, verdict }) => ({ box, confidence, verdict: verdict ?? undefined }));
  drawnNow = null;
  part("title").textContent = value.title;
  part("sentence").textContent = value.sentence;
  part("count").textContent = `${value.number} of ${value.of}`;
  pane.view.setAttribute("aria-label", `${value.image.alt}. ${value.title}`);
  showLegend(value);
  open("reading", "title");
  state.value = value; // what the viewer's scripts look at
  if (!sameImage) {
    Object.assign(state, { picture: null, window: null, fitted: true });
    cross = null;
    pane.pointer.classList.remove("used");
    Object.assign(state.at, { x: value.image.width / 2, y: value.image.height / 2 });
    showPicture(value.image);
  }
  fitWhereFitted();
  showAnswer();
  drawMarks();
  announce([value.title, value.sentence, ...value.said].join(" "));
  if (value.phase === "read" && value.arm === "alone") trigger("ahead", {});
}

function showLegend({ shown, truth, weights }) {
  part("legend-card").hidden = shown.length === 0 && !truth;
  const rows = shown.map((model) => {
    const words = model.error || `${model.name}: ${counted(model.marks.length, "mark")}`;
    return make("li", {}, makeSample(safeLook(model)), words);
  });
  if (truth) rows.push(make("li", {}, makeSample(TRUTH), "The truth"));
  rows.push(make("li", {}, makeSample({ ...YOU, line: "ring" }), "You"));
  part("legend").replaceChildren(...rows);
  part("weights").textContent = weights;
}

function changed(words) {
  showAnswer();
  drawMarks();
  announce(words);
}

function showAnswer() {
  const reading = step.phase === "read";
  part("mine").replaceChildren(...mine.map((mark, i) => answerRow(mark, i, reading)));
  part("none").hidden = mine.length > 0;
  part("none").textContent = reading ? "None yet. Tap a place in the picture, or drag a box around it." : "You marked nothing.";
  part("said-card").hidden = reading;
  part("said").replaceChildren(...step.said.map((words) => make("li", {}, words)));
  const last = step.phase === "truth" && step.number === step.of;
  const next = { read: mine.length > 0 ? `Done: ${counted(mine.length, "mark")}` : "Nothing here", truth: last ? "How I did" : "Next case", again: "Back to the results" };
  part("go").textContent = next[step.phase];
}

function answerRow({ box, confidence, verdict }, i, reading) {
  const which = make("span", { class: "which" }, `Mark ${i + 1}`);
  if (!reading) return make("li", {}, which, `${confidence}: ${verdict}`);
  const choices = ["sure", "perhaps"].map((name) => {
    const button = make("button", { type: "button", "aria-pressed": String(name === confidence), "aria-label": `Mark ${i + 1}: ${name}` }, name);
    button.addEventListener("click", () => {
      grade(i, name);
      part("mine").children[i]?.querySelector('[aria-pressed="true"]').focus();
    });
    return button;
  });
  const gone = make("button", { type: "button", class: "gone", title: "Remove this mark", "aria-label": `Remove mark ${i + 1}, ${whereabouts(box)}` }, "×");
  gone.addEventListener("click", () => {
    remove(i);
    (part("mine").children[Math.min(i, mine.length - 1)]?.querySelector("button") ?? pane.view).focus();
  });
  return make("li", {}, which, make("span", { class: "sure", role: "group", "aria-label": `How sure, mark ${i + 1}` }, ...choices), gone);
}

// Not the second click of a double click: what it is on may be the next step already.
part("go").addEventListener("click", ({ detail }) => detail < 2 && go());
function go() {
  if (!step) return;
  if (step.phase === "again") return open("end", "end-title");
  const marks = mine.map(({ box: { x1, y1, x2, y2 }, confidence }) => ({ box: [x1, y1, x2, y2], confidence }));
  send("answer", { round: step.round, step: step.step, ...(step.phase === "read" ? { marks } : {}) });
}

// --- the end -----------------------------------------------------------------------------------------------

function showEnd(value) {
  step = null;
  const { sentences, rows, plot, tally, again } = value.end;
  part("sentences").replaceChildren(...sentences.map((words) => make("p", {}, words)));
  const head = ["", "Fractures found (95 % interval)", "False alarms per image", "Time a case"];
  const cells = rows.map(([name, ...rest]) => make("tr", {}, make("th", { scope: "row" }, name), ...rest.map((text) => make("td", {}, text))));
  part("rows").replaceChildren(
    make("thead", {}, make("tr", {}, ...head.map((text) => make(text ? "th" : "td", text ? { scope: "col" } : {}, text)))),
    make("tbody", {}, ...cells),
  );
  part("figure").hidden = !plot;
  if (plot) drawPlot(part("plot"), plot);
  part("again").replaceChildren(...again.map(({ number, short, view }) => {
    const button = make("button", { type: "button" }, `Case ${number}`);
    button.addEventListener("click", () => showStep(view));
    return make("li", {}, button, make("span", { class: "short" }, short));
  }));
  showHistory(part("total"), remember(value.round, tally));
  open("end", "end-title");
  announce(sentences.join(" "));
}

// --- the start ---------------------------------------------------------------------------------------------

watch("value", update);
document.addEventListener("bonefx:mode", ({ detail: { mode } }) => {
  if (mode === "quiz") start();
  else step = null;
});
function start() {
  if (study()) begin();
  else if (props.value?.now && props.value.now.phase !== "wait") update();
  else showFront();
}
