// The tables: what the boxes say, in words. They are the viewer's text alternative.

const PLACE = ["x (px)", "y (px)", "Size (px)"];

function boxCells({ x1, y1, x2, y2 }) {
  const whole = (value) => Math.round(value).toString();
  return [whole(x1), whole(y1), `${whole(x2 - x1)} × ${whole(y2 - y1)}`].map((text) =>
    make("td", { class: "number" }, text),
  );
}

function headerRow(names) {
  const cells = names.map((name) => make("th", { scope: "col", "data-column": name }, name));
  return make("thead", {}, make("tr", {}, ...cells));
}

// An empty table. Of the columns, those that are false are left out.
function makeTable(columns) {
  const names = columns.filter(Boolean);
  const caption = make("span");
  const body = make("tbody");
  const nothing = make("tr", {}, make("td", { colspan: names.length }));
  const table = make("table", {}, make("caption", {}, caption), headerRow(names), body);
  return { wrapper: make("div", { class: "scroller" }, table), caption, body, nothing };
}

// The row of one finding; its button is what keyboard and screen reader act on. `act` is what happens:
// hover(item or null), focus(item or null), visit(item).
function makeRow(item, name, cells, act) {
  const button = make("button", { type: "button", "aria-label": name + ": zoom to its box" }, name);
  const row = make("tr", {}, make("th", { scope: "row" }, button), ...cells);
  row.addEventListener("pointerenter", () => act.hover(item));
  row.addEventListener("pointerleave", () => act.hover(null));
  button.addEventListener("focus", () => act.focus(item));
  button.addEventListener("blur", () => act.focus(null));
  row.addEventListener("click", () => act.visit(item));
  button.addEventListener("keydown", (event) => {
    const step = { ArrowDown: "nextElementSibling", ArrowUp: "previousElementSibling" }[event.key];
    if (!step) return;
    event.preventDefault();
    let other = row[step];
    while (other?.hidden) other = other[step];
    other?.querySelector("button")?.focus();
  });
  return { row, button };
}
