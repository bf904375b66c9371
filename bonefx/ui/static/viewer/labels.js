// Where labels stand: beside their boxes, each clear of the others, and never on what a box is about.

const HEADROOM = 34; // CSS pixels at the top of a view, which its caption takes
const OBSTACLES = 16; // the most boxes that labels keep clear of: those of highest score

const meets = (a, b) => a.x < b.x + b.w && b.x < a.x + a.w && a.y < b.y + b.h && b.y < a.y + a.h;

// Places for a label of width `w` around a box, in the order of preference.
function placesAround({ left, top, right, bottom }, w) {
  const h = CHIP_HEIGHT;
  const found = [];
  for (const x of [left - 1, right - w + 1, (left + right - w) / 2]) found.push([x, top - h - 4], [x, bottom + 4]);
  for (const y of [top, bottom - h, (top + bottom - h) / 2]) found.push([right + 4, y], [left - w - 4, y]);
  for (let step = 1; step <= 5; step++) {
    const far = step * (h + 3);
    found.push([left - 1, top - h - 4 - far], [left - 1, bottom + 4 + far]);
    found.push([right + 4, top + far], [left - w - 4, top + far]);
  }
  return found.map(([x, y]) => ({ x: Math.round(x), y: Math.round(y), w, h }));
}

// Shows the marks of a view of `width` by `height` pixels: `toX` and `toY` give the place of image coordinates.
// Labels go in order of importance; the lit one first, and always shown. A box may lie in a larger one: where no
// place is clear of all boxes, a label keeps clear of the boxes that are not larger than its own.
function placeLabels(marks, toX, toY, width, height) {
  const shown = marks.filter((mark) => mark.shown).map((mark) => {
    const { x1, y1, x2, y2 } = mark.box;
    const [left, top, right, bottom] = [toX(x1), toY(y1), toX(x2), toY(y2)];
    const area = { x: left, y: top, w: right - left, h: bottom - top };
    return { mark, left, top, right, bottom, area, size: area.w * area.h };
  });
  const boxes = shown.slice(0, OBSTACLES);
  const taken = [{ x: 0, y: 0, w: width, h: HEADROOM }];
  const put = (each) => {
    const { mark, left, top, right, bottom } = each;
    if (right < 0 || bottom < 0 || left > width || top > height) return false;
    const w = mark.chipWidth;
    const inView = (x) => Math.min(Math.max(x, 0), Math.max(width - w, 0));
    const options = placesAround(each, w)
      .map((place) => (place.y < top - 1 || place.y > bottom ? { ...place, x: inView(place.x) } : place))
      .filter(({ x, y, h }) => x >= 0 && x + w <= width && y >= 0 && y + h <= height)
      .filter((place) => !taken.some((other) => meets(place, other)) && !meets(place, each.area));
    const clear = (obstacles) => options.find((place) => !obstacles.some(({ area }) => meets(place, area)));
    const place =
      clear(boxes) ??
      clear(boxes.filter(({ size }) => size <= each.size)) ??
      (mark.lit ? (options[0] ?? { x: inView(left), y: Math.max(top - CHIP_HEIGHT - 4, 0), w, h: CHIP_HEIGHT }) : null);
    if (!place) return false;
    mark.chip.setAttribute("transform", `translate(${place.x} ${place.y})`);
    taken.push(place);
    return true;
  };
  for (const each of [...shown].sort((a, b) => b.mark.lit - a.mark.lit)) {
    each.mark.chip.classList.toggle("covered", !put(each));
  }
}
