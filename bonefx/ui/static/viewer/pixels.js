// Pixels of an image as a pyramid, and a frame painted from it.
//
// A picture is {levels, kind, min, max, window}. levels[k] is {planes, width, height, stepX, stepY}: one
// plane of grey values or three of colour, and how many pixels of the original image one of its pixels is
// wide and high. Painting reads the level whose pixels are closest to those of the screen, so that a frame
// costs the same at any zoom and any image size, and maps values through a table, so that the window does too.

const BACKGROUND = 0xff100c0b; // of a pane, as little-endian RGBA

// Long loops hand the thread back this often, in ms. A message and not a timer: timers are slowed down to 4 ms.
const SLICE = 8;
const channel = new MessageChannel();
let waiting = [];
channel.port1.onmessage = () => {
  const ready = waiting;
  waiting = [];
  for (const go of ready) go();
};
function pacer() {
  let since = performance.now();
  return async () => {
    if (performance.now() - since < SLICE) return;
    await new Promise((go) => {
      waiting.push(go);
      channel.port2.postMessage(0);
    });
    since = performance.now();
  };
}

async function fetched(address) {
  const response = await fetch(address);
  if (!response.ok) throw new Error("the server answered " + response.status);
  return response;
}

// An image file that the browser can decode: 8 bits. The grey values are taken out in strips, because
// phones limit the size of a canvas.
async function readImage(address, image) {
  const bitmap = await createImageBitmap(await (await fetched(address)).blob(), {
    colorSpaceConversion: "none",
  });
  const { width, height } = bitmap;
  const rows = 128;
  const strip = document.createElement("canvas");
  strip.width = width;
  strip.height = Math.min(rows, height);
  const context = strip.getContext("2d", { alpha: false, willReadFrequently: true });
  let planes = [new Uint8Array(width * height)];
  const pace = pacer();
  for (let top = 0; top < height; top += rows) {
    const count = Math.min(rows, height - top);
    context.drawImage(bitmap, 0, top, width, count, 0, 0, width, count);
    const data = context.getImageData(0, 0, width, count).data;
    if (planes.length === 1 && hasColour(data)) planes = [planes[0], planes[0].slice(), planes[0].slice()];
    for (let c = 0; c < planes.length; c++) {
      const plane = planes[c];
      for (let from = c, to = top * width; from < data.length; from += 4, to++) plane[to] = data[from];
    }
    await pace();
  }
  bitmap.close();
  const levels = await pyramid(planes, width, height, image.width / width, image.height / height);
  return { levels, kind: planes.length === 1 ? "grey" : "colour", min: 0, max: 255, window: [0, 255] };
}

function hasColour(data) {
  for (let i = 0; i < data.length; i += 4) {
    if (data[i] !== data[i + 1] || data[i] !== data[i + 2]) return true;
  }
  return false;
}

// The format that `deep_bytes` in component.py writes and explains.
async function readDeep(address, deep, image) {
  const { width, height } = image;
  const count = width * height;
  const bytes = new Uint8Array(2 * count);
  const reader = (await fetched(address)).body.pipeThrough(new DecompressionStream("gzip")).getReader();
  let length = 0;
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    if (length + part.value.length > bytes.length) throw new Error("the 16-bit data are too long");
    bytes.set(part.value, length);
    length += part.value.length;
  }
  if (length < bytes.length) throw new Error("the 16-bit data are too short");
  const plane = new Uint16Array(count);
  const pace = pacer();
  let min = 65535;
  let max = 0;
  for (let row = 0; row < height; row++) {
    let value = 0;
    for (let i = row * width; i < (row + 1) * width; i++) {
      const code = bytes[i] | (bytes[count + i] << 8);
      value = (value + ((code >>> 1) ^ -(code & 1))) & 0xffff;
      plane[i] = value;
      if (value < min) min = value;
      if (value > max) max = value;
    }
    if (row % 64 === 0) await pace();
  }
  const levels = await pyramid([plane], width, height, 1, 1);
  return { levels, kind: "grey", min, max: Math.max(max, min + 1), window: deep.window };
}

async function pyramid(planes, width, height, stepX, stepY) {
  const levels = [{ planes, width, height, stepX, stepY }];
  const pace = pacer();
  while (Math.min(levels.at(-1).width, levels.at(-1).height) > 128) {
    const big = levels.at(-1);
    const level = {
      planes: [],
      width: (big.width + 1) >> 1,
      height: (big.height + 1) >> 1,
      stepX: big.stepX * 2,
      stepY: big.stepY * 2,
    };
    for (const plane of big.planes) {
      const half = new plane.constructor(level.width * level.height);
      for (let y = 0; y < level.height; y++) {
        halveRow(plane, big, half, level.width, y);
        if (y % 64 === 0) await pace();
      }
      level.planes.push(half);
    }
    levels.push(level);
  }
  return levels;
}

function halveRow(plane, big, half, width, y) {
  const above = 2 * y * big.width;
  const below = Math.min(2 * y + 1, big.height - 1) * big.width;
  const last = big.width - 1;
  for (let x = 0; x < width; x++) {
    const left = 2 * x;
    const right = left < last ? left + 1 : last;
    half[y * width + x] =
      (plane[above + left] + plane[above + right] + plane[below + left] + plane[below + right] + 2) >> 2;
  }
}

// What each value looks like: from black at `low` to white at `high`, packed RGBA for grey, bytes for colour.
function lookup(picture, low, high, inverted) {
  const size = picture.levels[0].planes[0].BYTES_PER_ELEMENT === 2 ? 65536 : 256;
  const table = picture.kind === "grey" ? new Uint32Array(size) : new Uint8Array(size);
  const shade = (part) => {
    const grey = Math.round(255 * (inverted ? 1 - part : part));
    return picture.kind === "grey" ? 0xff000000 | (grey * 0x010101) : grey;
  };
  const first = Math.min(Math.max(Math.ceil(low), 0), size);
  const last = Math.min(Math.max(Math.ceil(high), first), size);
  table.fill(shade(0), 0, first);
  for (let value = first; value < last; value++) table[value] = shade((value - low) / (high - low));
  return table.fill(shade(1), last);
}

// Which source pixels make up each of `count` screen pixels along one axis: `low` and the one after it, whose
// share is `weight` 128ths (three factors of a product then fit 32 bits); or, not smooth, the nearest alone.
// `density` is screen pixels per pixel of the original, `centre` the original's coordinate in mid-screen.
function axis(count, centre, density, extent, step, size, smooth) {
  const first = Math.max(0, Math.ceil(count / 2 - 0.5 - centre * density));
  const last = Math.min(count, Math.ceil(count / 2 - 0.5 + (extent - centre) * density));
  const low = new Int32Array(count);
  const weight = new Int32Array(count);
  const limit = Math.max(size - 2, 0);
  for (let i = first; i < last; i++) {
    const at = Math.min(Math.max((centre + (i + 0.5 - count / 2) / density) / step - 0.5, 0), size - 1);
    low[i] = smooth ? Math.min(Math.floor(at), limit) : Math.round(at);
    weight[i] = Math.round((at - low[i]) * 128);
  }
  return { first, last, low, weight };
}

// Paints the picture into `frame`, an ImageData. `view` is {x, y, density}: the image point in the frame's
// middle, and screen pixels per image pixel. Quick frames, for what moves, take the nearest pixel; so do large
// magnifications, where the pixels themselves are what one wants to see.
function paint(picture, table, image, view, frame, quick) {
  const { width, height } = frame;
  const level = picture.levels.find((each) => each.stepX * view.density >= 0.5) ?? picture.levels.at(-1);
  const smooth = !quick && level.stepX * view.density < 6;
  const across = axis(width, view.x, view.density, image.width, level.stepX, level.width, smooth);
  const down = axis(height, view.y, view.density, image.height, level.stepY, level.height, smooth);
  const packed = new Uint32Array(frame.data.buffer);
  packed.fill(BACKGROUND);
  const grey = picture.kind === "grey";
  for (let y = down.first; y < down.last; y++) {
    const row = down.low[y] * level.width;
    level.planes.forEach((plane, c) => {
      const out = grey ? packed : frame.data;
      const [start, step] = grey ? [y * width, 1] : [4 * y * width + c, 4];
      if (smooth) smoothRow(plane, row, level.width, down.weight[y], across, table, out, start, step);
      else nearestRow(plane, row, across, table, out, start, step);
    });
  }
}

// The innermost loops. `| 0` keeps the numbers 32-bit integers, which takes a quarter off their time.
function smoothRow(plane, row, stride, share, { first, last, low, weight }, table, out, start, step) {
  for (let x = first; x < last; x++) {
    const above = (row + low[x]) | 0;
    const below = (above + stride) | 0;
    const part = weight[x] | 0;
    const a = plane[above] | 0;
    const b = plane[below] | 0;
    const top = ((a << 7) + (((plane[above + 1] - a) * part) | 0)) | 0;
    const bottom = ((b << 7) + (((plane[below + 1] - b) * part) | 0)) | 0;
    out[start + x * step] = table[((top << 7) + (((bottom - top) * share) | 0)) >> 14];
  }
}

function nearestRow(plane, row, { first, last, low }, table, out, start, step) {
  for (let x = first; x < last; x++) out[start + x * step] = table[plane[(row + low[x]) | 0]];
}
