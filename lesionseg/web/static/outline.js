// The outline of a mask painted around the lesion, as lesionseg/images/encode.py's `overlay_png` has it:
// cyan between black, just outside, so that the lesion's own border stays seen.

const BLACK = [0, 0, 0], CYAN = [0, 255, 255];

/** Paint RGBA bytes of the mask's size; the line is four times `edge` pixels wide. */
export function paintOutline(rgba, { width, height, data }, edge) {
  const border = [];
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const place = y * width + x;
      if (!data[place]) continue;
      const inside = (x === 0 || data[place - 1]) && (x === width - 1 || data[place + 1])
        && (y === 0 || data[place - width]) && (y === height - 1 || data[place + width]);
      if (!inside) border.push(x, y);
    }
  }
  for (const [reach, colour] of [[4 * edge, BLACK], [3 * edge, CYAN], [edge, BLACK]]) {
    const spans = []; // half the width of a disc at each row of it
    for (let dy = -reach; dy <= reach; dy++) {
      spans.push(Math.floor(Math.sqrt((reach + 0.5) ** 2 - dy ** 2)));
    }
    for (let i = 0; i < border.length; i += 2) {
      const [x, y] = [border[i], border[i + 1]];
      for (let dy = Math.max(-reach, -y); dy <= Math.min(reach, height - 1 - y); dy++) {
        const span = spans[dy + reach];
        const row = (y + dy) * width;
        const last = row + Math.min(width - 1, x + span);
        for (let place = row + Math.max(0, x - span); place <= last; place++) {
          if (!data[place]) [rgba[4 * place], rgba[4 * place + 1], rgba[4 * place + 2]] = colour;
        }
      }
    }
  }
}

/** A mask at another size, by the nearest pixel. */
export function scaledMask(mask, width, height) {
  const data = new Uint8Array(width * height);
  for (let y = 0; y < height; y++) {
    const row = Math.floor(((y + 0.5) * mask.height) / height) * mask.width;
    for (let x = 0; x < width; x++) {
      data[y * width + x] = mask.data[row + Math.floor(((x + 0.5) * mask.width) / width)];
    }
  }
  return { width, height, data };
}

/** Set every pixel within `radius` of the line between two points to `value`, in place. */
export function paintStroke(mask, [x0, y0], [x1, y1], radius, value) {
  const { width, height, data } = mask;
  const [dx, dy] = [x1 - x0, y1 - y0];
  const length = dx ** 2 + dy ** 2;
  const top = Math.max(0, Math.floor(Math.min(y0, y1) - radius));
  const bottom = Math.min(height - 1, Math.ceil(Math.max(y0, y1) + radius));
  const left = Math.max(0, Math.floor(Math.min(x0, x1) - radius));
  const right = Math.min(width - 1, Math.ceil(Math.max(x0, x1) + radius));
  for (let y = top; y <= bottom; y++) {
    for (let x = left; x <= right; x++) {
      const along = length ? ((x - x0) * dx + (y - y0) * dy) / length : 0;
      const share = Math.min(1, Math.max(0, along));
      const distance = (x - x0 - share * dx) ** 2 + (y - y0 - share * dy) ** 2;
      if (distance <= radius ** 2) data[y * width + x] = value;
    }
  }
}
