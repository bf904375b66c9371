// Draws the table of a batch. Names and messages come from visitors' files: they are set as text, never as HTML.

function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

const problem = (tag, text) => make(tag, { class: "problem" }, text);

function makeCell(cell) {
  if (cell.error) return make("td", {}, problem("span", cell.error));
  const count = cell.count ? [make("strong", {}, String(cell.count)), " "] : [];
  return make("td", {}, ...count, make("span", {}, cell.words));
}

function makeRow(row, models) {
  const picture = row.picture ? [make("img", { src: row.picture, alt: `Thumbnail of ${row.name}` })] : [];
  const warning = row.warning ? [problem("small", row.warning)] : [];
  const head = make("th", { scope: "row" }, ...picture, make("span", {}, row.name), ...warning);
  const failed = () => make("td", { colspan: models.length }, problem("span", row.error));
  return make("tr", {}, head, ...(row.error ? [failed()] : row.cells.map(makeCell)));
}

function makeTable({ models, rows }) {
  const heads = models.map((name) => make("th", { scope: "col" }, name, make("small", {}, "detections")));
  const head = make("thead", {}, make("tr", {}, make("th", { scope: "col" }, "Image"), ...heads));
  const body = make("tbody", {}, ...rows.map((row) => makeRow(row, models)));
  const about = { class: "scroller", tabindex: 0, role: "region", "aria-label": "Table of the batch" };
  return make("div", about, make("table", {}, head, body));
}

function draw() {
  const value = props.value;
  const words = " These small weights travel with the app; they are not the published model.";
  const demo = make("p", { class: "demo" }, make("strong", {}, "Demo weights."), words);
  const madeBy = make("ul", { class: "made-by" }, ...value.made_by.map((each) => make("li", {}, each)));
  const results = value.rows.length ? [...(value.demo ? [demo] : []), madeBy, makeTable(value)] : [];
  element.querySelector(".batch").replaceChildren(...results, make("p", { class: "notice" }, value.notice));
}

watch("value", draw);
draw();
