// One more view: both models' findings in one image, by what the two agree on.

const KINDS = ["both", "other label", "only first", "only second"];

function makeAgreement(value) {
  const { looks } = value.agreement;
  const of = comparedPair(value);
  const pair = of.map((id) => models.find(({ data }) => data.id === id));
  const [first, second] = pair;
  const error = pair.some(({ data }) => data.error) ? "Needs a result of both models" : "";
  const pane = makePane({ id: "agreement", title: "Agreement", error }, value, null);
  const tags = pair.map(({ look }) => look.tag);
  pane.section.classList.add("agreement");
  const kinds = {
    both: { look: safeLook({ ...looks.both, tag: tags.join("+") }), words: "by both", brief: "both" },
    "other label": {
      look: safeLook({ ...looks["other label"], tag: tags.join("≠") }),
      words: "by both, with another name",
      brief: "other name",
    },
    "only first": { look: first.look, words: `only by ${first.data.title}`, brief: `only ${tags[0]}` },
    "only second": { look: second.look, words: `only by ${second.data.title}`, brief: `only ${tags[1]}` },
  };
  for (const kind of KINDS) {
    kinds[kind].number = make("span");
    const long = make("span", { class: "long" }, kinds[kind].words);
    const words = make("span", {}, kinds[kind].number, " ", long, make("span", { class: "short" }, kinds[kind].brief));
    kinds[kind].said = make("span", { class: "kind" }, makeSample(kinds[kind].look), words);
    pane.count.append(kinds[kind].said, " ");
  }
  const none = make("span", {}, "no marks at this setting");
  pane.count.append(none);
  if (error) pane.count.textContent = error;
  return Object.assign(pane, { of, pair, kinds, none, joint: [], made: new Map() });
}

function showAgreement(pane) {
  const { pair, kinds, made, data } = pane;
  for (const mark of pane.truthMarks) mark.show(state.truth);
  for (const { mark } of pane.items) mark.show(false);
  pane.items = [];
  pane.joint = [];
  if (data.error) return;
  pane.joint = jointFindings(...pair).sort((a, b) => KINDS.indexOf(a.kind) - KINDS.indexOf(b.kind));
  for (const finding of pane.joint) {
    const leaders = finding.sides.map((group, side) => group && pair[side].above[group[0]]);
    const present = leaders.filter(Boolean);
    const key = finding.sides.map((group) => group?.[0] ?? "").join();
    if (!made.has(key)) {
      const mark = makeMark(pane.layers, present.map(({ box }) => box), kinds[finding.kind].look);
      made.set(key, { mark, kind: finding.kind });
    }
    const item = made.get(key);
    const loose = leaders.every((each, side) => !each || isLoose(pair[side], each));
    item.mark.show(state.boxes);
    item.mark.as("dashed", loose);
    Object.assign(finding, { leaders, loose, item, label: [...new Set(present.map((each) => each.label))].join(" / ") });
    item.words = (wide) => [kinds[finding.kind].look.tag, wide && finding.label];
    pane.items.push(item);
  }
  for (const kind of KINDS) {
    const n = pane.joint.filter((each) => each.kind === kind).length;
    kinds[kind].number.textContent = n;
    kinds[kind].said.hidden = n === 0;
  }
  pane.none.hidden = pane.joint.length > 0;
}
