// Several boxes of one model on one place are one finding, led by the box of highest score.

// The groups of detections (highest score first) as lists of places in that list.
function groupsOf(detections) {
  const groups = [];
  detections.forEach(({ box }, i) => {
    const own = groups.find(([leader]) => overlapOf(detections[leader].box, box) >= SAME_PLACE);
    if (own) own.push(i);
    else groups.push([i]);
  });
  return groups;
}

// The findings of two models together: {kind, sides: [group or null, group or null], iou}.
function jointFindings(first, second) {
  const leaders = (pane) => pane.groups.map(([leader]) => pane.above[leader]);
  return agree(leaders(first), leaders(second)).map(({ kind, at: [i, j], iou }) => ({
    kind,
    iou,
    sides: [first.groups[i] ?? null, second.groups[j] ?? null],
  }));
}
