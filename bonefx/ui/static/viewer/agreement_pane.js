// The third view: both models' detections in one image, by what the two agree on.

const KINDS = ["both", "other label", "only first", "only second"];

function makeAgreement(value) {
  const { of, looks } = value.agreement;
  const pair = of.map((id) => models.find(({ data }) => data.id === id));
  const [first, second] = pair;
  const error = pair.some(({ data }) => data.error) ? "Needs a result of both models" : "";
  const columns = ["Label", "Found by", ...pair.map(({ look }) => `${look.tag} score`), "IoU"];
  const pane = makePane({ id: "agreement", title: "Agreement", error }, value, null, columns);
  const tags = pair.map(({ look }) => look.tag);
  const kinds = {
    both: { look: safeLook({ ...looks.both, tag: tags.join("+") }), words: "found by both" },
    "other label": {
      look: safeLook({ ...looks["other label"], tag: tags.join("≠") }),
      words: "same place, other label",
    },
    "only first": { look: first.look, words: `only by ${first.data.title}` },
    "only second": { look: second.look, words: `only by ${second.data.title}` },
  };
  for (const kind of KINDS) {
    const number = make("span");
    kinds[kind].number = number;
    const words = make("span", {}, number, " " + kinds[kind].words);
    pane.count.append(make("span", { class: "kind" }, makeSample(kinds[kind].look), words), " ");
  }
  if (error) pane.count.textContent = error;
  return Object.assign(pane, { of, pair, kinds, made: new Map() });
}

function showAgreement(pane) {
  const { pair, kinds, made, list, data } = pane;
  pane.section.classList.toggle("failed", Boolean(data.error));
  for (const mark of pane.truthMarks) mark.show(state.truth);
  if (data.error) return;
  const findings = agree(pair[0].above, pair[1].above);
  findings.sort((a, b) => KINDS.indexOf(a.kind) - KINDS.indexOf(b.kind));
  const lit = state.lit;
  light(null); // with the marks that belong together until now
  for (const item of pane.items) item.mark.show(false);
  pane.items = findings.map((finding) => {
    const key = finding.at.join();
    if (!made.has(key)) made.set(key, makeFinding(pane, finding));
    const item = made.get(key);
    const members = finding.at.map((i, side) => pair[side].items[i]);
    item.mark.show(state.boxes);
    item.mark.as("dashed", members.every((each, side) => !each || isLoose(pair[side], each.detection)));
    item.marks = [item.mark];
    for (const member of members.filter(Boolean)) {
      item.marks.push(member.mark);
      member.marks = [member.mark, item.mark];
    }
    return item;
  });
  light(lit);
  for (const kind of KINDS) kinds[kind].number.textContent = findings.filter((each) => each.kind === kind).length;
  list.caption.textContent = `Agreement: ${counted(findings.length, "finding")} (on the same place: IoU of at least ${SAME_PLACE})`;
  list.nothing.firstChild.textContent = "No detection above the thresholds";
  list.body.replaceChildren(...(pane.items.length > 0 ? pane.items.map(({ row }) => row) : [list.nothing]));
}

function makeFinding(pane, { kind, at, iou }) {
  const { look, words } = pane.kinds[kind];
  const members = at.map((i, side) => pane.pair[side].above[i]);
  const present = members.filter(Boolean);
  const label = [...new Set(present.map((each) => each.label))].join(" / ");
  const number = (value, digits) => make("td", { class: "number" }, isNumber(value) ? value.toFixed(digits) : "–");
  const cells = [
    make("td", {}, { both: "both", "other label": "both, other label" }[kind] ?? words.replace("only by ", "")),
    ...members.map((each) => number(each?.score, 3)),
    number(iou, 2),
  ];
  const mark = makeMark(pane.layers, present.map(({ box }) => box), look);
  const item = { mark, marks: [mark], words: (wide) => [look.tag, wide && label] };
  return Object.assign(item, makeRow(item, label, cells, act));
}
