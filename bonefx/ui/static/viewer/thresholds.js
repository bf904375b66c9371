// What is above the threshold, what that comes to, and what sets it.

// The score from which a pane's detections show: all of them where it has no threshold.
const limit = (id) => state.thresholds[id] ?? 0;

// The same rule as Detections.above, which compares float32 numbers.
const isAbove = (score, threshold) => score >= Math.fround(threshold);

// Suspicious: above the threshold, but not above the stricter one.
function isLoose(pane, { score }) {
  const strict = state.stricts[pane.data.id];
  return pane.graded && isNumber(strict) && !isAbove(score, strict);
}

function filter() {
  for (const pane of models) showDetections(pane);
  if (agreement) showAgreement(agreement);
  showTruth();
  nameMarks();
  controls?.show(state.thresholds, state.point);
  announce(panes.map(({ data, count }) => `${data.title}: ${count.textContent}`).join(". "));
  draw();
}

function showDetections(pane) {
  const threshold = limit(pane.data.id);
  const n = pane.data.error ? 0 : pane.detections.filter(({ score }) => isAbove(score, threshold)).length;
  while (pane.items.length < n) pane.items.push(makeItem(pane, pane.detections[pane.items.length]));
  let dashed = 0;
  pane.items.forEach((item, i) => {
    const loose = isLoose(pane, item.detection);
    item.row.hidden = i >= n;
    item.mark.show(i < n && state.boxes);
    item.mark.as("dashed", loose);
    item.line.textContent = loose ? "dashed" : "solid";
    if (i < n && loose) dashed += 1;
  });
  pane.above = pane.detections.slice(0, n);
  showCount(pane, n, dashed, threshold, state.stricts[pane.data.id]);
  for (const mark of pane.truthMarks) mark.show(state.truth);
}

function showCount(pane, n, dashed, threshold, strict) {
  const { data, list } = pane;
  pane.section.classList.toggle("failed", Boolean(data.error));
  const none = "No detection above the threshold";
  if (data.error) pane.count.textContent = data.error;
  else if (n === 0) pane.count.textContent = none;
  else pane.count.textContent = counted(n, "detection") + (dashed ? `, ${dashed} of them suspicious` : "");
  pane.note.textContent = state.notes[data.id] ?? "";
  const short = (score) => Number(score.toFixed(3));
  const rule = threshold > 0 && n > 0 ? ` with a score of at least ${short(threshold)}` : "";
  const grade = dashed ? `; dashed: suspicious${strict <= 1 ? `, below ${short(strict)}` : ""}` : "";
  list.caption.textContent = `${data.title}: ${counted(n, "detection")}${rule}${grade}`;
  list.nothing.firstChild.textContent = none;
  if (n === 0) list.body.prepend(list.nothing);
  else list.nothing.remove();
}

// A detection's verdict does not depend on the threshold (matching goes by score, and a threshold takes from
// the end), so a lesion is missed exactly when the detection that found it is below the threshold.
function showTruth() {
  part("truth").hidden = !(truths && state.truth);
  part("viewer").classList.toggle("with-truth", state.truth);
  const missed = (truth, id) => {
    const score = truth.found?.[id];
    return !isNumber(score) || !isAbove(score, limit(id));
  };
  for (const pane of panes) {
    for (const mark of pane.truthMarks) {
      const lost = !pane.data.error && pane.of.every((id) => missed(mark.truth, id));
      mark.as("missed", lost);
      mark.say(lost ? `missed: ${mark.truth.label}` : mark.truth.label);
    }
  }
  for (const item of truths?.items ?? []) {
    item.verdicts.forEach((cell, i) => {
      cell.textContent = missed(item.truth, truths.judged[i].id) ? "missed" : "found";
    });
  }
}

// Labels say everything where there is room, and on a phone only what tells one box from another.
const NARROW = 380;
function nameMarks() {
  for (const { items, width } of panes) {
    for (const { mark, words } of items) mark.say(words(width >= NARROW || mark.lit).filter(Boolean).join(" "));
  }
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
  const wanted = wantedPoint(operating);
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

visitor.viewers.add({
  element,
  take() {
    takeChoice();
    filter();
  },
  thresholds() {
    const shown = models.filter(({ data }) => !data.error).map(({ data: { id } }) => [id, limit(id)]);
    return Object.fromEntries(shown.map(([id, score]) => [id, Number.isFinite(score) ? score : null]));
  },
});
