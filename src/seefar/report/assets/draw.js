// Pixels: sprite sheets, class activation maps, hidden regions. Independent of the page.

/** The bytes of base64 text, as an array of numbers such as Int16Array. */
function unpack(text, Kind) {
  const letters = atob(text);
  const bytes = new Uint8Array(letters.length);
  for (let i = 0; i < letters.length; i++) bytes[i] = letters.charCodeAt(i);
  return new Kind(bytes.buffer);
}

/** A sprite sheet: draws image number `i` over a canvas, or into a box of it, and returns its pixels. */
class Sheet {
  constructor(picture, { width, height, columns }) {
    Object.assign(this, { picture, width, height, columns });
  }

  static async load(sheet) {
    const bytes = unpack(sheet.uri.slice(sheet.uri.indexOf(",") + 1), Uint8Array);
    return new Sheet(await createImageBitmap(new Blob([bytes])), sheet); // an Image would be decoded again when it is drawn
  }

  draw(context, i, box = [0, 0, context.canvas.width, context.canvas.height]) {
    const { width, height, columns, picture } = this;
    const x = (i % columns) * width, y = Math.floor(i / columns) * height;
    context.imageSmoothingEnabled = false;
    context.drawImage(picture, x, y, width, height, ...box);
  }

  pixels(i) {
    this.scratch ??= blank(this.width, this.height); // a canvas for each call would take longer than all else
    this.draw(this.scratch, i);
    return this.scratch.getImageData(0, 0, this.width, this.height);
  }
}

function blank(width, height) {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  return canvas.getContext("2d", { willReadFrequently: true });
}

/** A map of h x w cells at the pixels of its image: each pixel has the value of its nearest cell. */
function toPixels(map, cells, spacing, origin, height, width) {
  const axis = (pixels, count) => Int32Array.from({ length: pixels }, (_, pixel) => (
    Math.floor(Math.min(Math.max((pixel - origin) / spacing, 0), count - 1) + 0.5)));
  const [h, w] = cells, rows = axis(height, h), columns = axis(width, w), values = new Float32Array(height * width);
  rows.forEach((row, y) => columns.forEach((column, x) => { values[y * width + x] = map[row * w + column]; }));
  return values;
}

// The same image as `show_map` draws: a light grey image, tinted in matplotlib's RdBu_r as strongly as the value.
const TINTS = [
  [5, 48, 97], [33, 102, 172], [67, 147, 195], [146, 197, 222], [209, 229, 240], [247, 247, 247],
  [253, 219, 199], [244, 165, 130], [214, 96, 77], [178, 24, 43], [103, 0, 31],
];
const DARKEST = -110, STRONGEST = 0.8;

/** The pixels of a map over its image: red is evidence for the class, blue is evidence against it. */
function mapPixels(sheet, i, values, scale) {
  const image = sheet.pixels(i), { data } = image;
  values.forEach((value, at) => {
    const share = Math.max(-1, Math.min(1, value / scale)), cover = STRONGEST * Math.sqrt(Math.abs(share));
    const place = 5 + 5 * share, below = Math.min(9, Math.floor(place)), part = place - below;
    const grey = (255 * ((data[4 * at] + data[4 * at + 1] + data[4 * at + 2]) / 3 - DARKEST)) / (255 - DARKEST);
    for (let c = 0; c < 3; c++) {
      const tint = TINTS[below][c] * (1 - part) + TINTS[below + 1][c] * part;
      data[4 * at + c] = Math.round(cover * tint + (1 - cover) * grey);
    }
  });
  return image;
}

/** Draw pixels over a canvas, each as a square. */
function putPixels(context, pixels) {
  if (context.canvas.width === pixels.width && context.canvas.height === pixels.height) return context.putImageData(pixels, 0, 0);
  const small = blank(pixels.width, pixels.height);
  small.putImageData(pixels, 0, 0);
  context.imageSmoothingEnabled = false;
  return context.drawImage(small.canvas, 0, 0, context.canvas.width, context.canvas.height);
}

/** Whether each pixel is hidden, from packed bits. */
function maskOf(bits, i, count) {
  const bytes = Math.ceil(count / 8);
  return Uint8Array.from({ length: count }, (_, at) => (bits[i * bytes + (at >> 3)] >> (7 - (at & 7))) & 1);
}

/** Fill the hidden pixels as the occlusion test does; `how` is blur, grey or mean. Changes `image`. */
function hidePixels(image, mask, how) {
  const { width, height, data } = image, count = width * height;
  const shown = [0, 1, 2].map((c) => Float64Array.from({ length: count }, (_, at) => (mask[at] ? 0 : data[4 * at + c])));
  let weight = Float64Array.from(mask, (hidden) => 1 - hidden), planes = shown;
  if (how === "blur") {
    const soften = (plane) => gauss(gauss(plane, width, height, width / 8, 1), width, height, height / 8, width);
    [weight, ...planes] = [weight, ...shown].map(soften);
  } else if (how === "mean") {
    const whole = (plane) => new Float64Array(count).fill(plane.reduce((sum, value) => sum + value, 0));
    [weight, ...planes] = [weight, ...shown].map(whole);
  }
  for (let at = 0; at < count; at++) {
    if (!mask[at]) continue;
    const known = how !== "grey" && weight[at] > 1e-9;
    for (let c = 0; c < 3; c++) data[4 * at + c] = known ? Math.round(planes[c][at] / weight[at]) : 128;
  }
  return image;
}

/** A Gaussian along one axis (`stride` 1: rows, width: columns), cut at six deviations, nothing beyond the edge. */
function gauss(plane, width, height, sigma, stride) {
  const reach = Math.floor(6 * sigma + 0.5), along = stride === 1 ? width : height;
  const kernel = Array.from({ length: 2 * reach + 1 }, (_, k) => Math.exp(-0.5 * ((k - reach) / sigma) ** 2));
  const sum = kernel.reduce((total, value) => total + value, 0);
  return plane.map((_, at) => {
    const place = stride === 1 ? at % width : Math.floor(at / width);
    let value = 0;
    const first = Math.max(-reach, -place), last = Math.min(reach, along - 1 - place);
    for (let k = first; k <= last; k++) value += kernel[k + reach] * plane[at + k * stride];
    return value / sum;
  });
}

/** Outline the hidden pixels: white on black, so that it is visible on any image. */
function outline(context, mask, width, height) {
  const across = context.canvas.width / width, down = context.canvas.height / height;
  const hidden = (x, y) => x >= 0 && y >= 0 && x < width && y < height && mask[y * width + x];
  const path = new Path2D();
  for (let y = 0; y <= height; y++) {
    for (let x = 0; x <= width; x++) {
      if (y < height && Boolean(hidden(x, y)) !== Boolean(hidden(x - 1, y))) line(path, x, y, x, y + 1);
      if (x < width && Boolean(hidden(x, y)) !== Boolean(hidden(x, y - 1))) line(path, x, y, x + 1, y);
    }
  }
  function line(to, ...[x1, y1, x2, y2]) {
    const inside = (value, size) => Math.min(Math.max(value, 2), size - 2);
    to.moveTo(inside(x1 * across, context.canvas.width), inside(y1 * down, context.canvas.height));
    to.lineTo(inside(x2 * across, context.canvas.width), inside(y2 * down, context.canvas.height));
  }
  context.lineCap = "square";
  for (const [colour, thick] of [["#000000", 5], ["#ffffff", 2.5]]) {
    context.strokeStyle = colour;
    context.lineWidth = thick;
    context.stroke(path);
  }
}
