// Photos to the network's square as Pillow shrinks them, probabilities to the photo's size.
// The same as `shrink` and `enlarged_above` of lesionseg/images/resize.py, rounding included.

const ONE = 2 ** 22; // of fixed-point weights, as in Pillow's Resample.c
const HALF = ONE / 2;
const STRIP = 256; // rows read at a time, so that a large photo is never in memory twice
const GAP = 2; // times the target, as `reducing_gap`: what is larger is averaged in blocks first

// A source of pixels is { width, height, channels, rows(first, count) }; `rows` gives bytes.

/** An array of pixels as a source. */
export function pixels(data, width, height, channels) {
  const stride = width * channels;
  return {
    width, height, channels, data,
    rows: (first, count) => data.subarray(first * stride, (first + count) * stride),
  };
}

/**
 * The mean of blocks of across x down pixels, as Pillow's `reduce`; three channels.
 * Halves are rounded up, or up and down in turn, so that on average no brightness is added.
 */
export function reduce(source, across, down, isInTurn = false) {
  const { width, height, channels } = source;
  const columns = Math.ceil(width / across);
  const lines = Math.ceil(height / down);
  const result = new Uint8Array(3 * columns * lines);
  const strip = Math.max(1, Math.floor(STRIP / down)) * down;
  const sums = new Uint32Array(3 * columns);
  for (let top = 0; top < height; top += strip) {
    const count = Math.min(strip, height - top);
    const data = source.rows(top, count);
    for (let first = 0; first < count; first += down) {
      const last = Math.min(first + down, count);
      sums.fill(0);
      for (let y = first; y < last; y++) {
        let from = y * width * channels;
        for (let column = 0, x = 0; column < columns; column++) {
          const end = Math.min(x + across, width);
          let red = 0, green = 0, blue = 0;
          for (; x < end; x++, from += channels) {
            red += data[from];
            green += data[from + 1];
            blue += data[from + 2];
          }
          sums[3 * column] += red;
          sums[3 * column + 1] += green;
          sums[3 * column + 2] += blue;
        }
      }
      const line = 3 * columns * ((top + first) / down);
      for (let column = 0; column < columns; column++) {
        const size = (Math.min(across, width - column * across)) * (last - first);
        const factor = Math.floor(2 ** 24 / size);
        const isLower = isInTurn && size % 2 === 0 && (column + (top + first) / down) % 2;
        const half = Math.floor(size / 2) - Number(isLower);
        for (let c = 3 * column; c < 3 * column + 3; c++) {
          result[line + c] = Math.floor(((sums[c] + half) * factor) / 2 ** 24);
        }
      }
    }
  }
  return pixels(result, columns, lines, 3);
}

/** For each of `size` places: the first pixel it is made of, and the weights of it and the next. */
function weights(length, size, end) {
  const scale = end / size;
  const support = Math.max(1, scale);
  return Array.from({ length: size }, (_, place) => {
    const centre = (place + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - support + 0.5));
    const last = Math.min(length, Math.trunc(centre + support + 0.5));
    const shares = [];
    let total = 0;
    for (let x = first; x < last; x++) {
      const share = Math.max(0, 1 - Math.abs((x - centre + 0.5) / support));
      shares.push(share);
      total += share;
    }
    return { first, shares: shares.map((share) => share / total) };
  });
}

/** Rows of three-channel bytes at `size` columns; `end` is where the photo ends in them. */
function resizeRows(data, width, height, size, end) {
  if (width === size && end === width) return data;
  const result = new Uint8Array(3 * size * height);
  columnsOf(width, size, end).forEach(({ first, shares }, x) => {
    for (let y = 0; y < height; y++) {
      for (let c = 0; c < 3; c++) {
        let sum = HALF;
        for (let k = 0, from = 3 * (y * width + first) + c; k < shares.length; k++, from += 3) {
          sum += data[from] * shares[k];
        }
        result[3 * (y * size + x) + c] = Math.min(255, Math.floor(sum / ONE));
      }
    }
  });
  return result;
}

/** Columns of three-channel bytes at `size` rows; `end` is where the photo ends in them. */
function resizeColumns(data, width, height, size, end) {
  if (height === size && end === height) return data;
  const stride = 3 * width;
  const result = new Uint8Array(stride * size);
  columnsOf(height, size, end).forEach(({ first, shares }, y) => {
    for (let x = 0; x < stride; x++) {
      let sum = HALF;
      for (let k = 0, from = stride * first + x; k < shares.length; k++, from += stride) {
        sum += data[from] * shares[k];
      }
      result[stride * y + x] = Math.min(255, Math.floor(sum / ONE));
    }
  });
  return result;
}

/** `weights` in fixed point; Pillow holds a box's sides in float32. */
function columnsOf(length, size, end) {
  return weights(length, size, Math.fround(end)).map(({ first, shares }) => (
    { first, shares: shares.map((share) => Math.trunc(0.5 + share * ONE)) }));
}

/** A source of three channels at size x size; `right` and `bottom` are where the photo ends. */
function resizeBytes({ width, height, data }, size, right, bottom) {
  // Each pass rounds to bytes. Pillow 13 begins with the one that takes far more away.
  if (height > size && height - size > 2 * (width - size)) {
    const low = resizeColumns(data, width, height, size, bottom);
    return resizeRows(low, width, size, size, right);
  }
  const narrow = resizeRows(data, width, height, size, right);
  return resizeColumns(narrow, size, height, size, bottom);
}

/** The scale at which Pillow would decode a JPEG for this square: 1, 2, 4 or 8. */
export function draftScale(width, height, size) {
  const room = Math.min(Math.floor(width / (GAP * size)), Math.floor(height / (GAP * size)));
  return [8, 4, 2].find((scale) => room >= scale) ?? 1;
}

/**
 * A photo as the network sees it: (size, size, 3) bytes. A JPEG is first read at a lower scale:
 * Pillow lets the decoder do so, which takes the means of the same blocks before they are bytes.
 */
export function shrink(source, size, isJpeg = false) {
  const scale = isJpeg ? draftScale(source.width, source.height, size) : 1;
  let image = scale > 1 ? reduce(source, scale, scale, true) : source;
  const { width, height } = image;
  const across = Math.max(1, Math.floor(width / size / GAP));
  const down = Math.max(1, Math.floor(height / size / GAP));
  if (across > 1 || down > 1 || image === source) image = reduce(image, across, down);
  return resizeBytes(image, size, width / across, height / down);
}

/** Probabilities (size, size) at (height, width), Float32Array; where a side gets smaller. */
function resizeFloats(soft, size, width, height) {
  const wide = new Float32Array(width * size);
  weights(size, width, size).forEach(({ first, shares }, x) => {
    for (let y = 0; y < size; y++) {
      let sum = 0;
      shares.forEach((share, k) => { sum += soft[y * size + first + k] * share; });
      wide[y * width + x] = sum;
    }
  });
  const result = new Float32Array(width * height);
  weights(size, height, size).forEach(({ first, shares }, y) => {
    for (let x = 0; x < width; x++) {
      let sum = 0;
      shares.forEach((share, k) => { sum += wide[(first + k) * width + x] * share; });
      result[y * width + x] = sum;
    }
  });
  return result;
}

/** Where each of `length` places lies between two of `size`: [above, below, share of below]. */
function between(size, length) {
  return Array.from({ length }, (_, place) => {
    const exact = Math.min(size - 1, Math.max(0, (place + 0.5) * (size / length) - 0.5));
    const above = Math.floor(exact);
    return [above, Math.min(above + 1, size - 1), Math.fround(exact - above)];
  });
}

/** Probabilities (size, size) at (height, width) and above the threshold: bytes of 0 and 1. */
export function enlargedAbove(soft, size, width, height, threshold) {
  const mask = new Uint8Array(width * height);
  if (width < size || height < size) {
    resizeFloats(soft, size, width, height).forEach((value, place) => {
      mask[place] = value > threshold;
    });
    return mask;
  }
  const wide = new Float32Array(width * size);
  const columns = between(size, width);
  for (let y = 0; y < size; y++) {
    for (let x = 0; x < width; x++) {
      const [left, right, share] = columns[x];
      const value = soft[y * size + left];
      wide[y * width + x] = value + (soft[y * size + right] - value) * share;
    }
  }
  between(size, height).forEach(([above, below, share], y) => {
    const upper = above * width, lower = below * width, to = y * width;
    for (let x = 0; x < width; x++) {
      const value = wide[upper + x];
      mask[to + x] = value + (wide[lower + x] - value) * share > threshold;
    }
  });
  return mask;
}
