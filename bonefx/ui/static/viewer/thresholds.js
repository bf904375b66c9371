// What is above the threshold, what that comes to, and what sets it.

// The score from which a pane's detections show: all of them where it has no threshold.
const limit = (id) => state.thresholds[id] ?? 0;

// The same rule as Detections.above, which compares float32 numbers.
const isAbove = (score, threshold) => score >= Math.fround(threshold);

function filter() {
  const spoken = [];
  for (const pane of panes) {
    const threshold = limit(pane.data.id);
    const strict = pane.graded ? state.stricts[pane.data.id] : null;
    const n = pane.data.error ? 0 : pane.detections.filter(({ score }) => isAbove(score, threshold)).length;
    while (pane.items.length < n) pane.items.push(makeItem(pane, pane.detections[pane.items.length]));
    let dashed = 0;
    pane.items.forEach((item, i) => {
      const { score } = item.detection;
      const loose = isNumber(strict) && !isAbove(score, strict);
      item.row.hidden = i >= n;
      item.mark.show(i < n && state.boxes);
      item.mark.as("dashed", loose);
      item.line.textContent = loose ? "dashed" : "solid";
      if (i < n && loose) dashed += 1;
    });
    showCount(pane, n, dashed, threshold, strict);
    spoken.push(`${pane.data.title}: ${pane.count.textContent}`);
    for (const mark of pane.truthMarks) mark.show(state.truth);
  }
  showTruth();
  nameMarks();
  controls?.show(state.thresholds, state.point);
  announce(spoken.join(". "));
  draw();
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
  const grade = isNumber(strict) && dashed ? `; dashed: suspicious, below ${short(strict)}` : "";
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
      const lost = !pane.data.error && missed(mark.truth, pane.data.id);
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
const NARROW = 450;
function nameMarks() {
  for (const { items, width } of panes) {
    for (const { mark, detection, tag } of items) {
      const wide = width >= NARROW || mark.lit;
      const verdict = state.truth && detection.mark;
      const words = [tag, wide && detection.label, detection.score.toFixed(2)];
      if (verdict) words.push(wide ? `· ${verdict}` : verdict.startsWith("hit") ? "✓" : "✗");
      mark.say(words.filter(Boolean).join(" "));
    }
  }
}

let announcing = 0;
function announce(text) {
  clearTimeout(announcing);
  announcing = setTimeout(() => (part("status").textContent = text), 300); // not every step of a drag
}

function choosePoint(index) {
  takePoint(index);
  filter();
}

// An operating point that no score reaches (null) shows nothing.
function takePoint(index) {
  const { thresholds, strict, notes } = state.value.operating.points[index];
  state.point = index;
  for (const [id, threshold] of Object.entries(thresholds)) state.thresholds[id] = threshold ?? Infinity;
  Object.assign(state.stricts, strict);
  Object.assign(state.notes, notes);
}

function chooseThreshold(id, threshold) {
  if (state.point !== null) state.notes = {}; // they belong to the operating point that is left
  state.point = null;
  state.thresholds[id] = threshold;
  filter();
}

function done() {
  trigger("input", { thresholds: { ...state.thresholds }, point: state.point });
}

// For controls elsewhere on the page: window.bonefx.setThresholds({yolo: 0.3}, "elem-id of one viewer").
globalThis.bonefx ??= {
  setThresholds(thresholds, viewer = null) {
    document.dispatchEvent(new CustomEvent("bonefx:thresholds", { detail: { thresholds, viewer } }));
  },
};
function onThresholds({ detail: { thresholds, viewer } }) {
  if (!element.isConnected) return document.removeEventListener("bonefx:thresholds", onThresholds);
  if (viewer && !document.getElementById(viewer)?.contains(element)) return;
  for (const { data } of panes) {
    if (typeof thresholds[data.id] === "number") chooseThreshold(data.id, thresholds[data.id]);
  }
}
document.addEventListener("bonefx:thresholds", onThresholds);
