// From what the signatures answer to what a page shows.

/** The address of a picture for <img>, from one element of `image_bytes`. */
export function fromPng(element) {
  return `data:image/png;base64,${element.b64}`;
}

/** The address of a picture for <img>, from one [height][width][channels] of `image`. */
export function fromFloats(image, [lowest, highest]) {
  const channels = image[0][0].length;
  const level = (value) => ((value - lowest) / (highest - lowest)) * 255;
  return drawn(image[0].length, image.flat(), (pixel, i) => level(pixel[Math.min(i, channels - 1)]));
}

/** The address of a square picture for <img>, from grey levels 0..255 row by row. */
export function fromLevels(levels) {
  return drawn(Math.sqrt(levels.length), Array.from(levels), (level) => level);
}

/** Draws pixels row by row; `level(pixel, i)` gives red, green and blue. */
function drawn(width, all, level) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [width, all.length / width];
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(canvas.width, canvas.height);
  all.forEach((pixel, at) => {
    for (let i = 0; i < 3; i++) pixels.data[4 * at + i] = Math.round(level(pixel, i));
    pixels.data[4 * at + 3] = 255;
  });
  context.putImageData(pixels, 0, 0);
  return canvas.toDataURL();
}

/** Mean absolute difference of two pictures as floats. */
export function difference(one, other) {
  const [a, b] = [one.flat(2), other.flat(2)];
  return a.reduce((sum, value, i) => sum + Math.abs(value - b[i]), 0) / a.length;
}

/** An <img> in its pixels. */
export function picture(address, description) {
  const image = document.createElement("img");
  image.className = "pixels";
  [image.src, image.alt] = [address, description];
  return image;
}

/** Draws pictures of equal size on a canvas, row after row. */
export async function sheet(canvas, addresses, columns, scale, margin) {
  const images = addresses.map((address) => picture(address, ""));
  await Promise.all(images.map((image) => image.decode()));
  const [width, height] = [images[0].naturalWidth * scale, images[0].naturalHeight * scale];
  canvas.width = columns * (width + margin) + margin;
  canvas.height = Math.ceil(images.length / columns) * (height + margin) + margin;
  const context = canvas.getContext("2d");
  context.fillStyle = "white";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingEnabled = false;
  images.forEach((image, i) => {
    const [column, row] = [i % columns, Math.floor(i / columns)];
    const [x, y] = [margin + column * (width + margin), margin + row * (height + margin)];
    context.drawImage(image, x, y, width, height);
  });
}

/** Grey levels 0..255 of a picture, row by row. */
export async function levelsOf(address) {
  const image = picture(address, "");
  await image.decode();
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0);
  return levelsIn(context, 0, 0, canvas.width, canvas.height);
}

/** Grey levels 0..255 of a part of a canvas, row by row. */
export function levelsIn(context, x, y, width, height) {
  const { data } = context.getImageData(x, y, width, height);
  return Array.from({ length: width * height }, (_, i) => data[4 * i]);
}

/** A part of a picture: its address, as any other's, and its grey levels 0..255. */
export function cut(image, x, y, side) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [side, side];
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, x, y, side, side, 0, 0, side, side);
  return { address: canvas.toDataURL(), levels: levelsIn(context, 0, 0, side, side) };
}

/** Each pixel of an image as scale x scale pixels. */
export function enlarge(levels, width, scale) {
  const side = width * scale;
  const row = (y) => Array.from({ length: side }, (_, x) => levels[y * width + Math.floor(x / scale)]);
  return Array.from({ length: (levels.length / width) * scale }, (_, y) => row(Math.floor(y / scale))).flat();
}

/** A sheet of pictures as an SVG file's text, which can be enlarged without blur. */
export function svgSheet(addresses, titles, columns, side) {
  const margin = 2;
  const place = (i) => margin + i * (side + margin);
  const escape = (text) => text.replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);
  const [width, height] = [place(columns), place(Math.ceil(addresses.length / columns))];
  const images = addresses.map((address, i) =>
    `<image x="${place(i % columns)}" y="${place(Math.floor(i / columns))}" width="${side}" ` +
    `height="${side}" href="${address}"><title>${escape(titles[i])}</title></image>`);
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" ` +
    `width="${4 * width}" height="${4 * height}" style="image-rendering: pixelated">\n` +
    `<rect width="100%" height="100%" fill="white"/>\n${images.join("\n")}\n</svg>\n`;
}
