"use strict";
// Photographs in and out of canvases: {height, width, pixels}, pixels being RGB bytes, row by row.
// Sizes change as in decoders/images.py: averages over areas where a picture shrinks, bilinear where it grows.

const pictures = (() => {
  const MOST_PIXELS = 2 ** 24; // what small devices still draw

  /** A file, or an image of the page, as the browser decodes it. */
  async function read(source) {
    const asStored = { imageOrientation: "from-image", colorSpaceConversion: "none", premultiplyAlpha: "none" };
    const bitmap = await createImageBitmap(source, asStored);
    const scale = Math.min(1, Math.sqrt(MOST_PIXELS / (bitmap.width * bitmap.height)));
    const [height, width] = [bitmap.height, bitmap.width].map((side) => Math.max(1, Math.floor(side * scale)));
    const canvas = document.createElement("canvas");
    Object.assign(canvas, { height, width });
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(bitmap, 0, 0, width, height);
    bitmap.close();
    const rgba = context.getImageData(0, 0, width, height).data;
    const pixels = new Uint8Array(height * width * 3);
    for (let i = 0, j = 0; i < pixels.length; i += 3, j += 4) {
      pixels[i] = rgba[j];
      pixels[i + 1] = rgba[j + 1];
      pixels[i + 2] = rgba[j + 2];
    }
    return { height, width, pixels };
  }

  /** For each place of a new side: the old places it is made of, and their shares. */
  function shares(from, to, shrinks) {
    const scale = from / to;
    return Array.from({ length: to }, (_, place) => {
      if (!shrinks) {
        const middle = Math.min(Math.max((place + 0.5) * scale - 0.5, 0), from - 1);
        const before = Math.floor(middle);
        const after = Math.min(before + 1, from - 1);
        return [[before, 1 - middle + before], [after, middle - before]];
      }
      const [begin, end] = [place * scale, Math.min((place + 1) * scale, from)];
      const parts = [];
      for (let at = Math.floor(begin); at < Math.ceil(end - 1e-9); at++) {
        parts.push([at, (Math.min(at + 1, end) - Math.max(at, begin)) / (end - begin)]);
      }
      return parts;
    });
  }

  /** Cut the part at (top, left), height x width, and scale it. */
  function resample(picture, { top, left, height, width }, newHeight, newWidth) {
    const shrinks = newHeight * newWidth < height * width;
    const columns = shares(width, newWidth, shrinks);
    const narrow = new Float32Array(height * newWidth * 3);
    for (let y = 0; y < height; y++) {
      const row = ((top + y) * picture.width + left) * 3;
      for (let x = 0; x < newWidth; x++) {
        for (const [place, share] of columns[x]) {
          for (let c = 0; c < 3; c++) narrow[(y * newWidth + x) * 3 + c] += share * picture.pixels[row + place * 3 + c];
        }
      }
    }
    const line = newWidth * 3;
    const pixels = new Uint8ClampedArray(newHeight * line); // rounds
    shares(height, newHeight, shrinks).forEach((parts, y) => {
      for (let x = 0; x < line; x++) {
        let sum = 0;
        for (const [place, share] of parts) sum += share * narrow[place * line + x];
        pixels[y * line + x] = sum;
      }
    });
    return { height: newHeight, width: newWidth, pixels: new Uint8Array(pixels.buffer) };
  }

  /** Halves to even, as Python rounds. */
  function round(value) {
    const nearest = Math.round(value);
    return Math.abs(value % 1) === 0.5 && nearest % 2 ? nearest - 1 : nearest;
  }

  /** The largest centred part of the proportions height : width, scaled to that. */
  function cover(picture, height, width) {
    if (picture.height === height && picture.width === width) return picture;
    const scale = Math.min(picture.height / height, picture.width / width);
    const part = {
      height: Math.min(picture.height, Math.max(1, round(height * scale))),
      width: Math.min(picture.width, Math.max(1, round(width * scale))),
    };
    part.top = Math.floor((picture.height - part.height) / 2);
    part.left = Math.floor((picture.width - part.width) / 2);
    return resample(picture, part, height, width);
  }

  /** The whole picture, scaled. */
  function stretch(picture, height, width) {
    return resample(picture, { top: 0, left: 0, ...picture }, height, width);
  }

  /** Draw bytes or numbers 0..255, with `of(y, x, c)` their place. */
  function draw(canvas, height, width, values, of) {
    Object.assign(canvas, { height, width });
    const image = new ImageData(width, height);
    for (let y = 0, i = 0; y < height; y++) {
      for (let x = 0; x < width; x++, i += 4) {
        for (let c = 0; c < 3; c++) image.data[i + c] = values[of(y, x, c)]; // rounds halves to even, and clips
        image.data[i + 3] = 255;
      }
    }
    canvas.getContext("2d").putImageData(image, 0, 0);
  }

  function drawRgb(canvas, { height, width, pixels }) {
    draw(canvas, height, width, pixels, (y, x, c) => (y * width + x) * 3 + c);
  }

  function drawPlanes(canvas, height, width, planes) {
    draw(canvas, height, width, planes, (y, x, c) => (c * height + y) * width + x);
  }

  /** Features for people: maps side by side, black to white by magnitude; a vector as bars. */
  function drawFeatures(canvas, values, shape) {
    const [count, height, width] = shape.length === 3 ? shape : [shape[0], 0, 0];
    if (!height) return drawBars(canvas, values);
    const largest = values.reduce((most, value) => Math.max(most, Math.abs(value)), 1e-6);
    const columns = Math.ceil(Math.sqrt(count));
    const rows = Math.ceil(count / columns);
    const [tall, wide] = [rows * (height + 1) - 1, columns * (width + 1) - 1];
    const grid = new Float32Array(tall * wide);
    for (let map = 0; map < count; map++) {
      const corner = Math.floor(map / columns) * (height + 1) * wide + (map % columns) * (width + 1);
      for (let y = 0; y < height; y++) {
        for (let x = 0; x < width; x++) {
          const value = Math.abs(values[(map * height + y) * width + x]) / largest;
          grid[corner + y * wide + x] = 24 + 231 * value;
        }
      }
    }
    return draw(canvas, tall, wide, grid, (y, x) => y * wide + x);
  }

  function drawBars(canvas, values) {
    const side = 256;
    const low = Math.min(0, ...values);
    const span = Math.max(0, ...values) - low || 1;
    const grid = new Float32Array(side * side).fill(24);
    for (let x = 0; x < side; x++) {
      const begin = Math.floor((x * values.length) / side);
      const stop = Math.max(begin + 1, Math.floor(((x + 1) * values.length) / side));
      let shown = 0;
      for (const value of values.subarray(begin, stop)) if (Math.abs(value) > Math.abs(shown)) shown = value;
      const [from, to] = [Math.min(shown, 0), Math.max(shown, 0)].map((v) => Math.round(((v - low) / span) * side));
      for (let y = side - to; y < side - from; y++) grid[y * side + x] = 255;
    }
    draw(canvas, side, side, grid, (y, x) => y * side + x);
  }

  return { read, cover, stretch, drawRgb, drawPlanes, drawFeatures };
})();
