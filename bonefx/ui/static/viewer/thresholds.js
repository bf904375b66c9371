// What is above the threshold, what that comes to, and what sets it.

// The score from which a pane's detections show: all of them where it has no threshold.
const limit = (id) => state.thresholds[id] ?? 0;

// The same rule as Detections.above, which compares float32 numbers.
const isAbove = (score, threshold) => score >= Math.fround(threshold);

// Weaker: above the threshold, but not above the stricter one.
function isLoose(pane, { score }) {
  const strict = state.stricts[pane.data.id];
  return pane.graded && isNumber(strict) && !isAbove(score, strict);
}

function filter() {
  for (const pane of models) showDetections(pane);
  if (agreement) showAgreement(agreement);
  showFindings();
  for (const pane of models) showExtras(pane);
  showTruth();
  showRecall();
  showVerdict();
  nameMarks();
  controls?.show(state.thresholds, state.point);
  announce(`${part("verdict").textContent} ${visiblePanes().map(({ data, count }) => `${data.title}: ${count.textContent}`).join(". ")}`);
  draw();
}

function showDetections(pane) {
  const threshold = limit(pane.data.id);
  const n = pane.data.error ? 0 : pane.detections.filter(({ score }) => isAbove(score, threshold)).length;
  while (pane.items.length < n) pane.items.push(makeItem(pane, pane.detections[pane.items.length]));
  pane.above = pane.detections.slice(0, n);
  pane.groups = groupsOf(pane.above);
  pane.items.forEach((item, i) => {
    item.mark.show(i < n && state.boxes);
    item.mark.as("dashed", i < n && isLoose(pane, item.detection));
  });
  showExtras(pane);
  showCount(pane, n);
}

// Of several boxes on one place the strongest stands for all; the others are faint until the finding is opened.
function showExtras(pane) {
  for (const item of pane.items) item.extra = false;
  for (const [leader, ...others] of pane.groups) {
    pane.items[leader].others = others.length;
    const open = state.opened.has(pane.items[leader].finding?.key);
    for (const i of others) {
      pane.items[i].extra = !open;
      pane.items[i].others = 0;
    }
  }
  for (const { mark, extra } of pane.items) mark.as("extra", Boolean(extra));
}

// How much the models find where the truth is known, at the setting of the moment.
function showRecall() {
  const said = visibleModels().filter(({ data }) => !data.error && state.notes[data.id]);
  part("recall").textContent = said.map(({ data }) => `${data.title} ${state.notes[data.id]}.`).join(" ");
  part("recall").hidden = said.length === 0;
}

function showCount(pane, n) {
  const { data, groups } = pane;
  pane.section.classList.toggle("failed", Boolean(data.error));
  const where = groups.length < n ? ` at ${places(groups.length)}` : "";
  pane.count.textContent = data.error || (n === 0 ? "no marks at this setting" : counted(n, "mark") + where);
}

// Labels say everything where there is room, and on a phone only what tells one box from another.
const NARROW = 380;
function nameMarks() {
  for (const pane of panes) {
    for (const item of pane.items) {
      const words = pane === agreement ? item.words : detectionInWords(pane, item);
      item.mark.say(words(pane.width >= NARROW || item.mark.lit).filter(Boolean).join(" "));
    }
  }
}

function detectionInWords(pane, { detection, others }) {
  return (wide) => {
    const { truth } = detection;
    const brief = state.truth && truth && (wide ? `· ${truth}` : truth === "found" ? "✓" : "✗");
    return [pane.look.tag, wide && detection.label, detection.score.toFixed(2), others > 0 && `×${others + 1}`, brief];
  };
}

let announcing = 0;
function announce(text) {
  clearTimeout(announcing);
  announcing = setTimeout(() => (part("status").textContent = text), 300); // not every step of a drag
}

// --- what sets it ------------------------------------------------------------------------------------------

const choosePoint = (index) => visitor.choose({ rate: state.value.operating.points[index].label });

function chooseThreshold(id, threshold) {
  const current = Object.entries({ ...state.thresholds, [id]: threshold });
  visitor.choose({ scores: Object.fromEntries(current.filter(([, score]) => isNumber(score))) });
}

// The visitor's choice as far as it fits this value, else the value's own.
function takeChoice() {
  const operating = state.value?.operating ?? {};
  const { rate, scores } = visitor.choice;
  const wanted = visitor.wantedPoint(operating);
  const own = operating.points?.length > 0 ? (operating.selected ?? null) : null;
  if (wanted >= 0) takePoint(wanted);
  else if (rate !== null && own !== null) takePoint(own);
  else takeScores(scores);
}

// An operating point that no score reaches (null) shows nothing; nothing is above such a stricter one.
function takePoint(index) {
  const { thresholds, strict = {}, notes = {} } = state.value.operating.points[index];
  state.point = index;
  for (const [id, threshold] of Object.entries(thresholds)) state.thresholds[id] = threshold ?? Infinity;
  for (const [id, threshold] of Object.entries(strict)) state.stricts[id] = threshold ?? Infinity;
  Object.assign(state.notes, notes);
}

function takeScores(scores) {
  state.point = null;
  for (const { id, strict, note } of state.value?.panes ?? []) {
    if (id in scores) state.thresholds[id] = scores[id];
    state.stricts[id] = strict; // and not those of an operating point that is left
    state.notes[id] = note;
  }
}

visitor.take = () => {
  if (!state.value) return;
  takeChoice();
  filter();
};

const portable = (scores) =>
  Object.fromEntries(
    models
      .filter(({ data }) => !data.error)
      .map(({ data: { id } }) => [id, Number.isFinite(scores(id)) ? scores(id) : null]),
  );
visitor.thresholds = () => portable(limit);
