// What the visitor has set, and the page's address, which says it: `?example=`, `?fp=` and `?tab=`.
//
// `choice.rate` is an operating point by its label, null once a score was set by hand, and undefined as long as
// nothing was set. `choice.scores` are the thresholds by pane id that hold where there are no operating points,
// or none is wanted. `number` counts the visitor's choices: what answers an older one is dropped.
//
// For other scripts of the page: bonefx.choose({rate: "1/4"}), bonefx.choose({scores: {yolo: 0.3}}),
// bonefx.thresholds(), what is shown now: a score by pane id, null for "nothing"; bonefx.numbered();
// bonefx.arrows(event, nodes); bonefx.query() and bonefx.write(changes, step), of the address;
// bonefx.started, a promise; bonefx.allowedAddress(address, root); bonefx.parts(file, element, trigger, { props, watch }).
let start;
const query = () => new URLSearchParams(location.search);
const visitor = {
  choice: { rate: query().get("fp") ?? undefined, scores: {} },
  number: 0,
  shown: undefined, // the example on the screen; null is another image

  // What the viewer does when something is set or chosen, once it has started; `started` is kept then.
  take() {},
  opening() {},
  started: new Promise((keep) => (start = keep)),

  choose({ rate = null, scores = {} }) {
    this.choice.rate = rate;
    Object.assign(this.choice.scores, scores);
    this.take();
    const fp = rate === null ? null : rate;
    writeAddress({ fp }, false);
  },

  // The number of a new choice: an example by its id, or null for an image of the visitor's own. `quiet`: it is
  // the address that has chosen.
  numbered(example = null, quiet = false) {
    if (!quiet) writeAddress({ example }, true);
    this.opening(example);
    return this.count();
  },

  count() {
    this.number += 1;
    return this.number;
  },

  // Arrow keys, Home and End move the focus among nodes that stand in a row, round its ends; where it went.
  arrows(event, nodes) {
    const at = nodes.indexOf(document.activeElement);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: nodes.length - 1 }[event.key];
    if (at < 0 || to === undefined) return null;
    event.preventDefault();
    const node = nodes[(to + nodes.length) % nodes.length];
    node.focus();
    return node;
  },

  // The operating point of a value that the visitor wants; -1 if it has none like that.
  wantedPoint({ points = [] }) {
    const { rate } = this.choice;
    return points.findIndex(({ label, fp_per_image }) => rate === label || rate === String(fp_per_image));
  },

  // Fetches the scripts and style of a component (see scripts.py), and runs them as Gradio would have. `made` is
  // called in between, once all is there.
  async parts(file, element, trigger, { props, watch }, made = () => {}) {
    const response = await fetch(allowedAddress(file.url, element));
    if (!response.ok) throw new Error(`the server answered ${response.status}`);
    const { css, js } = await response.json();
    const module = URL.createObjectURL(new Blob([js], { type: "text/javascript" }));
    try {
      const { default: run } = await import(module);
      if (css) {
        const style = document.createElement("style");
        style.textContent = css;
        element.append(style);
      }
      made();
      run(element, props, trigger, watch);
    } finally {
      URL.revokeObjectURL(module);
    }
  },
};
Object.assign(visitor, { query, write: writeAddress, allowedAddress });
globalThis.bonefx = visitor;

// Addresses come with the value, as data: only this page's own host, or the host of the app embedded in it.
function allowedAddress(address, root) {
  const home = root.closest("gradio-app")?.getAttribute("src");
  const origins = [location.origin, ...(home ? [new URL(home, location.href).origin] : [])];
  const url = new URL(address, location.href);
  if (!origins.includes(url.origin)) throw new Error("the image lies on another host");
  return url.href;
}

// Changes parameters of the address (null takes one away), as a new step of the history or in place.
function writeAddress(changes, step) {
  const wanted = query();
  for (const [name, value] of Object.entries(changes)) {
    if (value === null || value === undefined) wanted.delete(name);
    else wanted.set(name, value);
  }
  const text = String(wanted);
  if (text === String(query())) return;
  const address = location.pathname + (text && "?" + text) + location.hash;
  if (step) history.pushState(null, "", address);
  else history.replaceState(history.state, "", address);
  // A Space lies in a frame of huggingface.co, which takes the query over from this message.
  if (window.parent !== window) window.parent.postMessage({ queryString: text }, "https://huggingface.co");
}
