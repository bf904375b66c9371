// The table of findings: what the boxes say, in words. It is the viewer's text alternative.

const MOST_ROWS = 60;

// What the table lists in the view of the moment: {key, label, parts: [{pane, group}], kind, words}.
function listed() {
  const panes_ = visibleModels();
  if (agreement && !agreement.data.error && agreement.of.every((id) => panes_.some(({ data }) => data.id === id))) {
    const [first, second] = agreement.pair;
    const both = agreement.joint.map((finding) => ({
      kind: finding.kind,
      label: finding.label,
      loose: finding.loose,
      parts: [first, second].map((pane, side) => finding.sides[side] && { pane, group: finding.sides[side] }),
      more: finding.item,
    }));
    const others = panes_.filter((pane) => pane !== first && pane !== second);
    return [...both, ...others.flatMap(alone)];
  }
  return panes_.flatMap(alone);
}

function alone(pane) {
  return pane.groups.map((group) => {
    const leader = pane.above[group[0]];
    return { kind: "alone", label: leader.label, loose: isLoose(pane, leader), parts: [{ pane, group }], more: null };
  });
}

function showFindings() {
  const columns = visibleModels();
  const findings = listed();
  const strong = ({ parts }) => Math.max(...parts.filter(Boolean).map(({ pane, group }) => pane.above[group[0]].score));
  const shown = findings.slice(0, MOST_ROWS).sort((a, b) => KINDS.indexOf(a.kind) - KINDS.indexOf(b.kind) || strong(b) - strong(a));
  const lit = state.lit?.key;
  light(null);
  state.hovered = state.focused = null;
  for (const pane of panes) for (const item of pane.items) item.finding = null;
  const head = ["Place", ...columns.map(({ look, data }) => (columns.length > 1 ? look.tag : data.title)), ""];
  const body = make("tbody");
  for (const finding of shown) body.append(...makeFinding(finding, columns));
  const cells = head.map((text, i) => {
    const name = columns[i - 1]?.data.title;
    return text ? make("th", { scope: "col", "aria-label": name }, text) : make("td");
  });
  const failed = columns.filter(({ data }) => data.error);
  const rest = findings.length - shown.length;
  const words = [
    ...failed.map(({ data }) => `${data.title}: ${data.error}`),
    ...(findings.length === 0 && failed.length < columns.length && about().done
      ? ["No detection above the threshold. That does not mean that there is no fracture."]
      : []),
    ...(rest > 0 ? [`And ${rest} more, which only the picture shows.`] : []),
  ];
  part("findings").replaceChildren(
    ...(shown.length > 0 ? [make("table", {}, make("thead", {}, make("tr", {}, ...cells)), body)] : []),
    ...words.map((text) => make("p", {}, text)),
  );
  const again = shown.find(({ key }) => key === lit);
  if (again) focus(again);
}

function makeFinding(finding, columns) {
  const parts = finding.parts.filter(Boolean);
  const leaders = parts.map(({ pane, group }) => pane.above[group[0]]);
  finding.key = parts.map(({ pane, group }) => `${pane.data.id}:${group[0]}`).join();
  finding.box = around(leaders.map(({ box }) => box));
  const items = parts.flatMap(({ pane, group }) => group.map((i) => pane.items[i]));
  for (const item of items) item.finding = finding;
  if (finding.more) finding.more.finding = finding;
  finding.marks = [...items.map(({ mark }) => mark), ...(finding.more ? [finding.more.mark] : [])];
  const several = parts.some(({ group }) => group.length > 1);
  const scores = parts.map(({ pane }, i) => `${pane.data.title} ${leaders[i].score.toFixed(2)}`).join(", ");
  const button = make("button", { type: "button", "aria-label": `${finding.label}, ${scores}: zoom to its box` }, finding.label);
  const swatch = make("span", { class: "swatch", "aria-hidden": "true" });
  swatch.style.setProperty("--mark", finding.more ? agreement.kinds[finding.kind].look.color : parts[0].pane.look.color);
  const opener = make("button", {
    type: "button",
    class: "more",
    "aria-expanded": String(state.opened.has(finding.key)),
    "aria-label": `${finding.label}, ${scores}: its boxes`,
  });
  opener.append(several ? `×${Math.max(...parts.map(({ group }) => group.length))}` : "▾");
  const cells = columns.map((pane) => {
    const own = parts.find((each) => each.pane === pane);
    return make("td", { class: "number" }, own ? pane.above[own.group[0]].score.toFixed(2) : "–");
  });
  const row = make(
    "tr",
    { class: "finding" },
    make("th", { scope: "row" }, swatch, button),
    ...cells,
    make("td", { class: "words" }, make("div", {}, findingInWords(finding, leaders), opener)),
  );
  finding.row = row;
  const detail = make("tr", { class: "boxes", hidden: !state.opened.has(finding.key) });
  detail.append(make("td", { colspan: columns.length + 2 }, ...boxesInWords(parts)));
  listenToRow(finding, button);
  opener.addEventListener("click", (event) => {
    event.stopPropagation();
    const open = detail.hidden;
    detail.hidden = !open;
    opener.setAttribute("aria-expanded", open);
    if (open) state.opened.add(finding.key);
    else state.opened.delete(finding.key);
    for (const pane of models) showExtras(pane);
    nameMarks();
    draw();
  });
  return [row, detail];
}

function listenToRow(finding, button) {
  const { row } = finding;
  row.addEventListener("pointerenter", () => hover(finding));
  row.addEventListener("pointerleave", () => hover(null));
  row.addEventListener("focusin", () => focus(finding));
  row.addEventListener("focusout", () => focus(null));
  row.addEventListener("click", () => {
    visit(finding);
    button.focus({ preventScroll: true });
  });
  button.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step) return onKey(event);
    event.preventDefault();
    const all = [...part("findings").querySelectorAll(".finding th button")];
    all[all.indexOf(button) + step]?.focus();
  });
}

// Who found it, how strongly, and what is true of it.
function findingInWords({ kind, loose }, leaders) {
  const words = [];
  if (state.truth) words.push([...new Set(leaders.map(({ truth }) => truth))].join(" / ")); // the colour says the rest
  else {
    if (kind === "both") words.push("both");
    if (kind === "other label") words.push("both, other name");
    if (loose) words.push("weaker");
  }
  return make("span", {}, words.join(" · "));
}

function boxesInWords(parts) {
  const whole = (value) => Math.round(value).toString();
  return parts.flatMap(({ pane, group }) =>
    group.map((i) => {
      const { score, label, truth, box } = pane.above[i];
      const place = `at ${whole(box.x1)}, ${whole(box.y1)}, ${whole(box.x2 - box.x1)} × ${whole(box.y2 - box.y1)} px`;
      const more = [isLoose(pane, pane.above[i]) && "weaker", shareInWords(pane, score), state.truth && truth].filter(Boolean);
      return make("p", {}, [`${pane.data.title} ${score.toFixed(3)} ${label}`, place, ...more].join(" · "));
    }),
  );
}

// How many marks with such a score lie on a fracture, where that was measured (bonefx/calibration.py).
function shareInWords({ data }, score) {
  if (!data.share) return "";
  const [slope, offset] = data.share;
  const held = Math.min(Math.max(score, 1e-6), 1 - 1e-6);
  const share = 1 / (1 + Math.exp(-(slope * Math.log(held / (1 - held)) + offset)));
  const many = share < 0.05 ? "fewer than 1 in 20" : share > 0.95 ? "more than 19 in 20" : `about ${Math.max(Math.round(10 * share), 1)} in 10`;
  return `on radiographs ${many} marks like this are fractures`;
}
