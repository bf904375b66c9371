// Boxes over an image: vector outlines in screen pixels, and their labels.
//
// A mark is one outline, or those of several boxes on one place. Models are told apart by colour, by a letter,
// and by the line: "brackets" has heavy corners, "double" is two parallel lines, "crossed" is one that runs past
// the corners, "plain" is one, "slashed" cuts a corner off, "ring" is round; ground truth is dotted.
// Solid or dashed says something else: whether the mark is a stronger or a weaker one.

const SVG = "http://www.w3.org/2000/svg";
const LINES = ["brackets", "double", "crossed", "plain", "slashed", "ring", "dotted"];
const CHIP_HEIGHT = 18;

function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children); // strings become text, never markup
  return node;
}

function drawn(tag, attributes, parent) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  parent.append(node);
  return node;
}

const measuring = document.createElement("canvas").getContext("2d");
function textWidth(text) {
  measuring.font = "600 12px system-ui, sans-serif";
  return measuring.measureText(text).width;
}

// Black or white, whichever reads better on this colour (WCAG's relative luminance).
function inkOn(colour) {
  const [r, g, b] = [1, 3, 5].map((i) => {
    const part = parseInt(colour.slice(i, i + 2), 16) / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.179 ? "#000000" : "#ffffff";
}

// A look comes with the value, as data: what is not one of ours falls back.
function safeLook({ color, line, tag }) {
  return {
    color: /^#[0-9a-f]{6}$/i.test(color) ? color : "#ffffff",
    line: LINES.includes(line) ? line : "plain",
    tag: tag ?? "",
  };
}

// The strokes of one outline, in the order in which they lie on each other. Their points are image pixels,
// written once: a zoom sets the transform of the layer, and their width stays that of the screen (style sheet).
const STROKES = {
  brackets: ["halo", "line", "corners"],
  double: ["line", "core"],
  crossed: ["halo", "line"],
  plain: ["halo", "line"],
  slashed: ["halo", "line"],
  ring: ["halo", "line"],
  dotted: ["halo", "line"],
};

function makeMark(layers, boxes, look) {
  const group = drawn("g", { class: "mark " + look.line }, layers.outlines);
  const outline = { crossed: crossedOf, slashed: slashedOf, ring: ringOf }[look.line] ?? outlineOf;
  for (const name of STROKES[look.line]) {
    drawn("path", { class: name, d: boxes.map(name === "corners" ? cornersOf : outline).join("") }, group);
  }
  const chip = drawn("g", { class: "chip " + look.line, "data-order": layers.outlines.childElementCount }, layers.chips);
  for (const part of [group, chip]) part.style.setProperty("--mark", look.color);
  chip.style.setProperty("--on-mark", inkOn(look.color));
  const plate = drawn("rect", { height: CHIP_HEIGHT, rx: 3 }, chip);
  const text = drawn("text", { x: 5, y: 13 }, chip);
  const mark = { box: around(boxes), chip, chipWidth: 0, shown: true, lit: false };

  mark.say = (words) => {
    if (text.textContent === words) return;
    text.textContent = words;
    mark.chipWidth = Math.ceil(textWidth(words)) + 10;
    plate.setAttribute("width", mark.chipWidth);
  };
  mark.as = (name, on) => {
    for (const part of [group, chip]) part.classList.toggle(name, on);
  };
  mark.show = (shown) => {
    mark.shown = shown;
    mark.as("away", !shown);
  };
  mark.light = (lit) => {
    mark.lit = lit;
    mark.as("lit", lit);
    if (lit) layers.chips.append(chip); // above the others
  };
  return mark;
}

const outlineOf = ({ x1, y1, x2, y2 }) => `M${x1} ${y1}H${x2}V${y2}H${x1}Z`;

function around(boxes) {
  const least = (corner) => Math.min(...boxes.map((box) => box[corner]));
  const most = (corner) => Math.max(...boxes.map((box) => box[corner]));
  return { x1: least("x1"), y1: least("y1"), x2: most("x2"), y2: most("y2") };
}

function crossedOf({ x1, y1, x2, y2 }) {
  const past = Math.min(x2 - x1, y2 - y1) / 10;
  const [left, top, right, bottom] = [x1 - past, y1 - past, x2 + past, y2 + past];
  return `M${left} ${y1}H${right}M${left} ${y2}H${right}M${x1} ${top}V${bottom}M${x2} ${top}V${bottom}`;
}

function slashedOf(box) {
  const arm = Math.min(box.x2 - box.x1, box.y2 - box.y1) / 3;
  return outlineOf(box) + `M${box.x2 - arm} ${box.y1}L${box.x2} ${box.y1 + arm}`;
}

function ringOf({ x1, y1, x2, y2 }) {
  const [x, y] = [(x2 - x1) / 2, (y2 - y1) / 2];
  return `M${x1} ${y1 + y}a${x} ${y} 0 1 0 ${2 * x} 0a${x} ${y} 0 1 0 ${-2 * x} 0Z`;
}

function cornersOf({ x1, y1, x2, y2 }) {
  const arm = Math.min(x2 - x1, y2 - y1) / 5;
  return (
    `M${x1} ${y1 + arm}V${y1}H${x1 + arm}M${x2 - arm} ${y1}H${x2}V${y1 + arm}` +
    `M${x2} ${y2 - arm}V${y2}H${x2 - arm}M${x1 + arm} ${y2}H${x1}V${y2 - arm}`
  );
}

// What marks are drawn on: outlines, and above all of them the labels.
function makeLayers() {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("aria-hidden", "true");
  return { svg, outlines: drawn("g", {}, svg), chips: drawn("g", {}, svg) };
}

// A sample of a model's line, for the heading of its pane.
function makeSample(look) {
  const layers = makeLayers();
  layers.svg.setAttribute("class", "sample");
  layers.svg.setAttribute("viewBox", "3 2 36 22");
  makeMark(layers, [{ x1: 7, y1: 6, x2: 35, y2: 20 }], look);
  layers.chips.remove();
  return layers.svg;
}
