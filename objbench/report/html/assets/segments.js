// Pictures of segments: label maps unpacked, painted in colours, outlined; planes cut out of their atlas.

/** Labels that were deflated and written as base64: 16-bit numbers, one map after the other. */
async function unpacked(text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('deflate'));
  return new Uint16Array(await new Response(stream).arrayBuffer());
}

const kept = new Map();

/** A value made once for each key, such as the decoded picture of a data URI. */
function once(key, make) {
  if (!kept.has(key)) kept.set(key, make(key));
  return kept.get(key);
}

async function decoded(source) {
  const image = new Image();
  image.src = source;
  await image.decode();
  return image;
}

function canvas(width, height) {
  const made = document.createElement('canvas');
  made.width = width;
  made.height = height;
  return [made, made.getContext('2d')];
}

const rgb = (hex) => [1, 3, 5].map((start) => parseInt(hex.slice(start, start + 2), 16));

/** A label map as a picture: the colour of each label, nothing where it has none. */
function painted(labels, width, height, colours) {
  const [picture, context] = canvas(width, height);
  const pixels = context.createImageData(width, height);
  for (let i = 0; i < labels.length; i += 1) {
    const colour = colours.get(labels[i]);
    if (colour) pixels.data.set([...colour, 255], 4 * i);
  }
  context.putImageData(pixels, 0, 0);
  return picture;
}

/** The borders between labels as lines, light on dark, so that they show on anything. */
function outline(context, labels, width, height, scale) {
  const path = new Path2D();
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      const here = labels[y * width + x];
      if (x + 1 < width && labels[y * width + x + 1] !== here) {
        path.moveTo((x + 1) * scale, y * scale);
        path.lineTo((x + 1) * scale, (y + 1) * scale);
      }
      if (y + 1 < height && labels[(y + 1) * width + x] !== here) {
        path.moveTo(x * scale, (y + 1) * scale);
        path.lineTo((x + 1) * scale, (y + 1) * scale);
      }
    }
  }
  context.lineCap = 'square';
  for (const [colour, thickness] of [['#000', 4], ['#fff', 1.6]]) {
    context.strokeStyle = colour;
    context.lineWidth = thickness;
    context.stroke(path);
  }
}

/** Boxes {place: [left, top, width, height], presence, colour} over the whole canvas; places are fractions of it. */
function drawBoxes(context, boxes) {
  const { width, height } = context.canvas;
  for (const { place: [x, y, w, h], presence, colour } of boxes) {
    context.globalAlpha = presence;
    for (const [style, thickness] of [['#000', 4], [colour, 2]]) {
      context.strokeStyle = style;
      context.lineWidth = thickness;
      context.strokeRect(x * width, y * height, w * width, h * height);
    }
  }
  context.globalAlpha = 1;
}

/** Squares in two light grays: what is seen through a plane. */
function checkerboard(context, width, height) {
  const side = Math.max(2, Math.floor(Math.min(width, height) / 12));
  context.fillStyle = '#fff';
  context.fillRect(0, 0, width, height);
  context.fillStyle = '#d7d7d7';
  for (let y = 0; y * side < height; y += 1) {
    for (let x = (y + 1) % 2; x * side < width; x += 2) context.fillRect(x * side, y * side, side, side);
  }
}

/** The planes `chosen` of an atlas, added up: colour times alpha, and alpha. */
function sumOfPlanes(atlas, planes, places) {
  const [sum, context] = canvas(planes.width, planes.height);
  context.globalCompositeOperation = 'lighter';
  for (const place of places) {
    context.drawImage(atlas, 0, place * planes.height, planes.width, planes.height, 0, 0, planes.width, planes.height);
  }
  return sum;
}

/** `picture` where `mask` is, by its alpha. */
function seenThrough(mask, picture, width, height) {
  const [seen, context] = canvas(width, height);
  context.drawImage(mask, 0, 0, width, height);
  context.globalCompositeOperation = 'source-in';
  context.drawImage(picture, 0, 0, width, height);
  return seen;
}

/** A mask by its alpha as gray. */
function asGray(mask, width, height) {
  const [gray, context] = canvas(width, height);
  context.drawImage(mask, 0, 0, width, height);
  context.globalCompositeOperation = 'source-in';
  context.fillStyle = '#fff';
  context.fillRect(0, 0, width, height);
  context.globalCompositeOperation = 'destination-over';
  context.fillStyle = '#000';
  context.fillRect(0, 0, width, height);
  return gray;
}
