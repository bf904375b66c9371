// What the viewer knows. All other scripts show it or change it; functions that change it end in a `draw`.

const part = (name) => element.querySelector(`[data-part="${name}"]`);
const toggles = [...element.querySelectorAll("[data-toggle]")];
const state = {
  value: null,
  view: "compare",
  pair: null, // ids of the two models that are compared; null: the first two
  picture: null,
  ran: null, // the number of the choice that the models were last asked to run for
  stopped: false, // whether the models were called off for the picture that is shown
  message: "", // over the picture, while there is none
  at: { x: 0, y: 0, scale: 1 }, // the image point in the middle, and CSS pixels per image pixel
  fitted: true,
  active: false, // clicked into: the wheel zooms
  window: null, // {level, width} in the picture's grey values; null is the picture's own
  boxes: true,
  labels: true,
  truth: false,
  inverted: false,
  grey: false, // whether the controls of level and width are open
  windowing: false,
  thresholds: {},
  stricts: {},
  notes: {},
  point: null, // the operating point, by its number; null: thresholds were set by score
  advanced: null, // whether the raw thresholds were opened or closed by hand
  opened: new Set(), // findings of several boxes that are open, by their keys
  hovered: null, // findings; what is hovered goes before what has the focus
  focused: null,
  lit: null,
  pointer: null, // over a view, from its middle; where the keys zoom
};
let panes = []; // all views of the image: those of the models, and the agreement of two of them
let models = [];
let agreement = null;
let truths = null;
let controls = null;
let table = null; // the lookup table of the window in use
let drawing = 0;
let settling = 0; // a timer while the image moves: a smooth frame follows the quick ones

const image = () => state.value?.image;
const about = () => state.value?.about ?? {};
const sorted = ([a, b]) => (a < b ? [a, b] : [b, a]);
const isNumber = (value) => typeof value === "number";
const counted = (n, word) => `${n} ${word}${n === 1 ? "" : "s"}`;
