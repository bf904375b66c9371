// Where two models agree: the rule of bonefx/agreement.py, for what is above the thresholds of the moment.

const SAME_PLACE = 0.5;

function overlapOf(a, b) {
  const width = Math.min(a.x2, b.x2) - Math.max(a.x1, b.x1);
  const height = Math.min(a.y2, b.y2) - Math.max(a.y1, b.y1);
  if (width <= 0 || height <= 0) return 0;
  const common = width * height;
  return common / ((a.x2 - a.x1) * (a.y2 - a.y1) + (b.x2 - b.x1) * (b.y2 - b.y1) - common);
}

// Both lists have the highest score first. In that order each detection of the first takes, of the second's
// that are still free and reach `SAME_PLACE`, the one of highest score, whatever its label. The answer holds
// every detection once: {kind, at: [place in the first list, place in the second], iou}, -1 for "in none".
function agree(first, second) {
  const free = new Set(second.keys());
  const found = first.map((one, i) => {
    for (const j of free) { // a Set keeps its order
      const iou = overlapOf(one.box, second[j].box);
      if (iou < SAME_PLACE) continue;
      free.delete(j);
      return { kind: one.class_id === second[j].class_id ? "both" : "other label", at: [i, j], iou };
    }
    return { kind: "only first", at: [i, -1], iou: null };
  });
  for (const j of free) found.push({ kind: "only second", at: [-1, j], iou: null });
  return found;
}
