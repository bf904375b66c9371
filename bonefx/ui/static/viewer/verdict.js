// One sentence that says what the models found, at the setting of the moment.

const the = (labels) => "the " + [...new Set(labels)].join(" and the ");
const places = (n) => (n === 1 ? "one place" : `${n} places`);

function verdict() {
  if (!image()) return "Which X-ray?";
  if (!about().done) return state.stopped ? "The models have not looked at this picture" : "Looking for fractures";
  const view = shownView();
  if (view === "compare" || view === "agreement") return togetherInWords();
  const pane = models.find(({ data }) => data.id === view);
  return pane ? aloneInWords(pane) + "." : "";
}

function aloneInWords(pane) {
  const { data, groups, above } = pane;
  if (data.error) return `${data.title} gave no result`;
  if (groups.length === 0) return `${data.title} marks nothing at this setting`;
  return `${data.title} marks ${the(groups.map(([leader]) => above[leader].label))} at ${places(groups.length)}`;
}

function togetherInWords() {
  if (!agreement || agreement.data.error) return comparedModels().map((pane) => aloneInWords(pane) + ".").join(" ");
  const of = (kind) => agreement.joint.filter((finding) => finding.kind === kind);
  const [both, other, first, second] = KINDS.map(of);
  const [one, two] = agreement.pair.map(({ data }) => data.title);
  const together = compared().length > 2 ? `${one} and ${two}` : "Both models";
  const said = [];
  if (both.length > 0) said.push(`${together} mark ${the(both.map(({ label }) => label))} at ${places(both.length)}.`);
  if (other.length > 0) said.push(`${said.length > 0 ? "They" : together} mark ${places(other.length)} under different names.`);
  const more = said.length > 0 ? " more" : "";
  if (said.length === 0 && first.length + second.length === 0) said.push(compared().length > 2 ? `Neither ${one} nor ${two} marks anything at this setting.` : "Neither model marks anything at this setting.");
  else if (first.length > 0 && second.length > 0 && more) said.push(`${one} marks ${first.length} more, ${two} ${second.length}.`);
  else if (first.length > 0 && second.length > 0) said.push(`The models mark different places: ${one} ${first.length}, ${two} ${second.length}.`);
  else {
    for (const [found, name, another] of [
      [first, one, two],
      [second, two, one],
    ]) {
      if (found.length === 0) continue;
      if (more) said.push(`${name} marks ${found.length} more.`);
      else said.push(`${name} marks ${the(found.map(({ label }) => label))} at ${places(found.length)}; ${another} marks nothing.`);
    }
  }
  return said.join(" ");
}

function showVerdict() {
  const words = verdict();
  if (part("verdict").textContent !== words) part("verdict").textContent = words;
}
