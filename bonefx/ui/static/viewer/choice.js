// What the visitor has set, once for the whole page: several viewers (one a tab) show the same result, some of
// them are made only when their tab is first opened, and values come and go.
//
// `choice.rate` is an operating point by its label, null once a score was set by hand, and undefined as long as
// nothing was set; `?fp=1/4` or `?fp=0.25` in the page's address sets it at the start. `choice.scores` are the
// thresholds by pane id that hold where there are no operating points, or none is wanted.
//
// For other scripts of the page: bonefx.choose({rate: "1/4"}), bonefx.choose({scores: {yolo: 0.3}}), and
// bonefx.thresholds("elem-id of a viewer"), what that viewer shows now: a score by pane id, null for "nothing".
const visitor = (globalThis.bonefx ??= {
  choice: { rate: new URLSearchParams(location.search).get("fp") ?? undefined, scores: {} },
  viewers: new Set(), // {element, take(), thresholds()}

  choose({ rate = null, scores = {} }) {
    this.choice.rate = rate;
    Object.assign(this.choice.scores, scores);
    for (const viewer of this.viewers) {
      if (viewer.element.isConnected) viewer.take();
      else this.viewers.delete(viewer);
    }
  },

  thresholds(id) {
    const root = document.getElementById(id);
    return [...this.viewers].find((viewer) => root?.contains(viewer.element))?.thresholds() ?? {};
  },
});

// The operating point of a value that the visitor wants; -1 if it has none like that.
function wantedPoint({ points = [] }) {
  const { rate } = visitor.choice;
  return points.findIndex(({ label, fp_per_image }) => rate === label || rate === String(fp_per_image));
}
