// What is true of an example: its lesions, and which model finds them at the setting of the moment.

// A detection's verdict does not depend on the threshold (matching goes by score, and a threshold takes from
// the end), so a lesion is missed exactly when the detection that found it is below the threshold.
function isMissed(truth, id) {
  const score = truth.found?.[id];
  return !isNumber(score) || !isAbove(Math.fround(score), limit(id));
}

function showTruth() {
  const on = Boolean(truths && state.truth);
  part("truth").hidden = !on;
  for (const pane of panes) {
    for (const mark of pane.truthMarks) {
      const lost = !pane.data.error && pane.of.every((id) => isMissed(mark.truth, id));
      mark.show(on);
      mark.as("missed", lost);
      mark.say(lost ? `missed: ${mark.truth.label}` : `broken: ${mark.truth.label}`);
    }
  }
  if (!on) return;
  const judged = visibleModels().filter(({ data }) => !data.error);
  const rows = truths.map((truth) => {
    const said = judged.map(({ data }) => `${isMissed(truth, data.id) ? "missed" : "found"} by ${data.title}`);
    return make("li", {}, make("b", {}, truth.label), `: ${said.join(", ")}`);
  });
  const title = truths.length === 0 ? "The truth: nothing is broken." : `The truth: ${counted(truths.length, "fracture")}.`;
  part("truth").replaceChildren(make("h4", {}, title), make("ul", {}, ...rows));
}
