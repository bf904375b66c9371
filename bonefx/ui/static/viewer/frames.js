// Movement, window and level, and the frame that shows them.

const firstPane = () => visiblePanes()[0];

function fitScale() {
  const { width, height } = firstPane();
  return Math.min(width / image().width, height / image().height);
}

// Zooms about a point of the view; true if that changed anything.
function zoomTo(wanted, at = { x: 0, y: 0 }) {
  if (!image() || !firstPane()?.width) return false;
  const fit = fitScale();
  const scale = Math.min(Math.max(wanted, Math.min(fit, 1 / devicePixelRatio)), Math.max(32, fit));
  const { at: view } = state;
  if (Math.abs(scale / view.scale - 1) < 1e-6) return false;
  const x = view.x + at.x / view.scale - at.x / scale;
  const y = view.y + at.y / view.scale - at.y / scale;
  view.scale = scale;
  moveTo(x, y);
  return true;
}

// Whole, the image lies in the middle; zoomed in, any of it may be brought there, and zooming about a point
// never pushes that point away.
function moveTo(x, y) {
  if (!image() || !firstPane()?.width) return;
  const { at: view } = state;
  const play = Math.min(0.5, Math.max(0, 2 - (2 * fitScale()) / view.scale));
  const within = (at, size) => Math.min(Math.max(at, size * (0.5 - play)), size * (0.5 + play));
  view.x = within(x, image().width);
  view.y = within(y, image().height);
  state.fitted = Math.abs(view.scale / fitScale() - 1) < 1e-4;
  clearTimeout(settling);
  settling = setTimeout(() => {
    settling = 0;
    draw();
  }, 100);
  draw();
}

function fitWhereFitted() {
  // Measured here only: asking for a size in the middle of a frame costs a layout.
  for (const pane of panes) Object.assign(pane, { width: pane.view.clientWidth, height: pane.view.clientHeight });
  if (!image() || !firstPane()?.width) return; // in a hidden tab
  // Where there is more room now than a large image takes, it is fitted again; a small one may stay small.
  if (state.fitted || state.at.scale < Math.min(fitScale(), 1 / devicePixelRatio)) state.at.scale = fitScale();
  nameMarks();
  moveTo(state.at.x, state.at.y);
}

function currentWindow() {
  const [low, high] = sorted(state.picture.window);
  return state.window ?? { level: (low + high) / 2, width: high - low };
}

function setWindow(change) {
  if (!state.picture) return;
  const { level, width } = { ...currentWindow(), ...change };
  const { min, max } = state.picture;
  const range = max - min;
  state.window = {
    level: Math.min(Math.max(level, min), max),
    width: Math.min(Math.max(width, range / 1000, 1), 2 * range),
  };
  drawWindow();
}

// Sideways is width; up is brighter.
function dragWindow(dx, dy) {
  if (!state.picture) return;
  const step = (state.picture.max - state.picture.min) / 500;
  const { level, width } = currentWindow();
  setWindow({ level: level + dy * step, width: width + dx * step });
}

function showWindow() {
  const { picture } = state;
  const { level, width } = currentWindow();
  const [from, to] = picture.window;
  table = lookup(picture, level - width / 2, level + width / 2, state.inverted !== from > to);
  const { min, max } = picture;
  const step = Math.max(1, Math.round((max - min) / 256));
  Object.assign(part("level"), { min, max, step }).value = level;
  Object.assign(part("width"), { min: 1, max: 2 * (max - min), step }).value = width;
  part("window").textContent = `${Math.round(level)} / ${Math.round(width)}`;
}

function showZoom() {
  part("zoom").textContent = `${Math.round(100 * state.at.scale * devicePixelRatio)} %`;
  for (const { view } of panes) view.classList.toggle("whole", state.fitted && !state.windowing);
}

// All that moves is written here, once a frame: writing in the events themselves, which may be several a frame
// and which ask where the pointer is, would cost a layout each.
function draw() {
  if (!drawing) drawing = requestAnimationFrame(drawNow);
}

function drawWindow() {
  table = null;
  draw();
}

function drawNow() {
  drawing = 0;
  showZoom();
  if (state.picture && !table) showWindow();
  const sharpness = Math.min(devicePixelRatio, 2); // of the image; more cannot be seen, and costs phones their pace
  let frame = null;
  for (const pane of panes) {
    const { canvas, width, height } = pane;
    if (!width || !height || !image()) continue;
    const size = [Math.round(width * sharpness), Math.round(height * sharpness)];
    if (canvas.width !== size[0] || canvas.height !== size[1]) [canvas.width, canvas.height] = size;
    if (state.picture && (frame?.width !== size[0] || frame?.height !== size[1])) {
      frame = frameOf(...size);
      const { x, y, scale } = state.at;
      paint(state.picture, table, image(), { x, y, density: scale * sharpness }, frame, settling);
    }
    if (frame) pane.context.putImageData(frame, 0, 0);
    placeMarks(pane, width, height);
  }
}

let lastFrame = null;
function frameOf(width, height) {
  if (lastFrame?.width !== width || lastFrame?.height !== height) lastFrame = new ImageData(width, height);
  return lastFrame;
}

function placeMarks(pane, width, height) {
  const { x, y, scale } = state.at;
  const toX = (at) => (at - x) * scale + width / 2;
  const toY = (at) => (at - y) * scale + height / 2;
  pane.layers.outlines.setAttribute("transform", `translate(${toX(0)} ${toY(0)}) scale(${scale})`);
  if (!state.labels && !state.lit) return;
  const marks = pane.items.filter(({ extra, mark }) => mark.shown && (!extra || mark.lit)).map(({ mark }) => mark);
  for (const { mark, extra } of pane.items) if (extra && !mark.lit) mark.chip.classList.add("covered");
  placeLabels([...pane.truthMarks, ...marks], toX, toY, width, height);
}
