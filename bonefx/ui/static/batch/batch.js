// The Batch tab. Its value is what bonefx/ui/batch/table.py makes. Names and messages come from visitors' files:
// they are set as text, never as HTML.

const part = (name) => element.querySelector(`[data-part="${name}"]`);
const FILTERS = { all: "All", found: "Found", nothing: "Nothing found", differ: "Models differ", failed: "Failed" };
const WORDS =
  "Models differ: one of them has detections, and they share none, on one place and with one label. No detection " +
  "above the threshold means only that.";
const state = { filter: "all", column: null, falling: false, drawn: [], sent: false };
let shown = props.value; // what is on the screen
let over = false; // whether the visitor has ended the run

function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

function drawBoxes({ size: [width, height], cells }) {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.setAttribute("aria-hidden", "true");
  cells.forEach(({ boxes = [] }, i) => {
    for (const [x1, y1, x2, y2] of boxes) {
      const box = document.createElementNS(space, "rect");
      const about = { x: x1, y: y1, width: x2 - x1, height: y2 - y1, class: shown.models[i].dashed ? "dashed" : "plain" };
      for (const [name, value] of Object.entries(about)) box.setAttribute(name, value);
      box.style.stroke = shown.models[i].color;
      svg.append(box);
    }
  });
  return svg;
}

function makeHead(row, number) {
  const name = make("span", { class: "name" }, row.name);
  const warning = row.warning ? [make("small", { class: "warn" }, row.warning)] : [];
  if (!row.picture) return make("th", { scope: "row" }, name, ...warning);
  const thumb = make("span", { class: "thumb" }, make("img", { src: row.picture, alt: "" }), drawBoxes(row));
  const open = make("button", { type: "button", class: "open", title: "Open in the viewer" }, thumb, name);
  open.addEventListener("click", () => openRow(number));
  return make("th", { scope: "row" }, open, ...warning);
}

function makeCell(cell) {
  if (cell.error) return make("td", {}, make("span", { class: "warn" }, cell.error));
  if (!cell.count) return make("td", { class: "none" }, "no detection above the threshold");
  const best = make("small", {}, `best ${cell.best.toFixed(2)}, ${cell.label}`);
  return make("td", {}, make("strong", {}, String(cell.count)), best);
}

function makeRow(row, number) {
  const cells = row.error
    ? [make("td", { colspan: shown.models.length }, make("span", { class: "warn" }, row.error))]
    : row.cells.map(makeCell);
  return make("tr", {}, makeHead(row, number), ...cells);
}

// --- order and filter --------------------------------------------------------------------------------------

function place(row, column) {
  if (column === 0) return row.name;
  const cell = row.cells[column - 1];
  return cell.error || row.error ? -2 : (cell.best ?? -1);
}

function ordered(rows) {
  const numbers = [...rows.keys()];
  if (state.column === null) return numbers;
  const names = new Intl.Collator(undefined, { numeric: true });
  return numbers.sort((a, b) => {
    const [one, other] = [place(rows[a], state.column), place(rows[b], state.column)];
    const difference = state.column === 0 ? names.compare(one, other) : one - other;
    return (state.falling ? -difference : difference) || a - b;
  });
}

function sortBy(column) {
  const again = state.column === column;
  state.falling = again ? !state.falling : column > 0; // the strongest first
  state.column = column;
  drawHeads();
  drawRows();
}

function drawHeads() {
  const columns = ["Image", ...shown.models.map(({ name }) => name)];
  const heads = columns.map((name, column) => {
    const sorted = state.column === column ? (state.falling ? "descending" : "ascending") : "none";
    const head = make("th", { scope: "col", "aria-sort": sorted });
    const button = make("button", { type: "button" });
    if (column > 0) {
      const key = make("i", { class: `key ${shown.models[column - 1].dashed ? "dashed" : "plain"}` });
      key.style.borderColor = shown.models[column - 1].color;
      button.append(key);
    }
    button.append(name, make("i", { class: "arrow", "aria-hidden": "true" }));
    button.addEventListener("click", () => sortBy(column));
    head.append(button);
    return head;
  });
  const at = [...part("heads").children].findIndex((head) => head.contains(document.activeElement));
  part("heads").replaceChildren(...heads);
  if (at >= 0) heads[at].firstChild.focus();
}

function drawFilters(rows) {
  const focused = document.activeElement?.dataset?.filter;
  const buttons = Object.entries(FILTERS).map(([id, words]) => {
    const count = id === "all" ? rows.length : rows.filter(({ kinds }) => kinds.includes(id)).length;
    const button = make("button", { type: "button", "data-filter": id, "aria-pressed": state.filter === id });
    button.append(`${words} `, make("b", {}, String(count)));
    button.addEventListener("click", () => {
      state.filter = id;
      drawFilters(shown.rows);
      drawRows();
    });
    return button;
  });
  part("filters").replaceChildren(...buttons);
  buttons.find(({ dataset }) => focused && dataset.filter === focused)?.focus();
}

// A row that is there already is moved, not made again: an image in it would flicker.
function drawRows() {
  const { rows, models } = shown;
  while (state.drawn.length < rows.length) state.drawn.push(makeRow(rows[state.drawn.length], state.drawn.length));
  const listed = ordered(rows).filter((i) => state.filter === "all" || rows[i].kinds.includes(state.filter));
  const none = make("tr", {}, make("td", { colspan: models.length + 1 }, "No image like this."));
  part("rows").replaceChildren(...(listed.length || !rows.length ? listed.map((i) => state.drawn[i]) : [none]));
}

// --- all of it ---------------------------------------------------------------------------------------------

function draw() {
  // The last words of a run that was cancelled may come after those that it has ended with.
  if (over && props.value.stage === "running") return;
  shown = props.value;
  const value = shown;
  const running = value.stage === "running";
  if (value.rows.length < state.drawn.length || value.stage === "ready") {
    Object.assign(state, { drawn: [], filter: "all", column: null });
  }
  if (!running) state.sent = false;
  const title = value.stage === "empty" && !value.said ? "Many radiographs at once" : value.said;
  part("said").textContent = running ? `${value.rows.length} of ${value.of} images done` : title;
  if (!running && part("live").textContent !== value.said) part("live").textContent = value.said;
  part("doing").textContent = value.said;
  part("alert").textContent = value.alert;
  part("alert").hidden = !value.alert;
  part("way").hidden = !running;
  Object.assign(part("progress"), { max: Math.max(value.of, 1), value: value.rows.length });
  part("run").hidden = running;
  part("run").disabled = value.of === 0;
  part("dicom").hidden = !value.dicom;
  part("run").textContent = value.stage === "done" ? "Run again" : "Run";
  part("cancel").hidden = !running;
  part("forget").hidden = value.of === 0;
  part("archive").hidden = !value.archive;
  if (value.archive) part("archive").href = value.archive.url;
  part("results").hidden = value.rows.length === 0;
  part("demo").hidden = !value.demo;
  part("words").textContent = WORDS;
  part("made-by").replaceChildren(...value.made_by.map((words) => make("li", {}, words)));
  part("notice").textContent = value.notice;
  part("privacy").textContent = value.privacy;
  part("bring").classList.toggle("small", value.of > 0);
  if (part("heads").children.length === 0) drawHeads();
  drawFilters(value.rows);
  drawRows();
}

function drawPrice() {
  const raw = part("raw").open;
  const { rate, label } = shown.rates[part("rate").value];
  part("rate").disabled = raw;
  part("rate").setAttribute("aria-valuetext", `${label} false alarms per image`);
  const alarms = rate > 1 ? "false alarms" : "false alarm";
  part("price").textContent = raw ? "every model at the same score" : `about ${label} ${alarms} per image, for each model`;
}

function start() {
  if (state.sent) return;
  state.sent = true;
  over = false;
  const raw = part("raw").open;
  state.drawn = [];
  part("run").disabled = true;
  part("doing").textContent = "Waiting for the models";
  part("way").hidden = false;
  trigger("run", { rate: raw ? null : shown.rates[part("rate").value].rate, score: part("score").valueAsNumber, dicom: part("reports").checked });
}

// The viewer of the Read tab shows it, with the results that it has here.
function openRow(row) {
  trigger("open", { row, choice: bonefx.numbered() });
  document.dispatchEvent(new CustomEvent("bonefx:tab", { detail: { id: "read" } }));
  document.dispatchEvent(new CustomEvent("bonefx:go", { detail: { id: "read" } }));
}

part("limits").textContent = "choose, drop or paste files or a ZIP of them: up to 200 at once, 512 MB unpacked";
part("rate").max = shown.rates.length - 1;
part("rate").value = shown.rates.findIndex(({ rate }) => rate === shown.rate);
part("rate").addEventListener("input", drawPrice);
part("raw").addEventListener("toggle", drawPrice);
part("bring").addEventListener("click", () => document.querySelector("#batch-files input[type=file]")?.click());
part("run").addEventListener("click", start);
part("cancel").addEventListener("click", () => {
  over = true;
  part("doing").textContent = "Ending with the image in hand";
  trigger("cancel", {});
});
part("forget").addEventListener("click", () => {
  over = true;
  trigger("forget", {});
});
watch("value", draw);
drawPrice();
draw();
