// From what the signatures answer to what a page shows.

/** The address of a picture for <img>, from one element of `image_bytes`. */
export function fromPng(element) {
  return `data:image/png;base64,${element.b64}`;
}

/** The address of a picture for <img>, from one [height][width][channels] of `image`. */
export function fromFloats(image, [lowest, highest]) {
  const [height, width, channels] = [image.length, image[0].length, image[0][0].length];
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [width, height];
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(width, height);
  let at = 0;
  for (const row of image) {
    for (const pixel of row) {
      for (let i = 0; i < 3; i++) {
        const value = pixel[Math.min(i, channels - 1)];
        pixels.data[at++] = Math.round(((value - lowest) / (highest - lowest)) * 255);
      }
      pixels.data[at++] = 255;
    }
  }
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
