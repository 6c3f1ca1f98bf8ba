// A mask -> area, perimeter and longest diameter.
// The same definitions as lesionseg/segmentation/measurements.py; names as in its table.
import { boundingBox } from "./postprocess.js";

const REACH = 3; // of the pairs of pixels by which the border is crossed, along rows and columns

function commonDivisor(a, b) {
  return b ? commonDivisor(b, a % b) : Math.abs(a);
}

/** Steps [right, down, the angle that it stands for]; pi together. */
function directions(reach) {
  const steps = [[1, 0]];
  for (let down = 1; down <= reach; down++) {
    for (let right = -reach; right <= reach; right++) {
      if (commonDivisor(right, down) === 1) steps.push([right, down]);
    }
  }
  const angle = ([right, down]) => Math.atan2(down, right);
  steps.sort((one, other) => angle(one) - angle(other));
  const around = [angle(steps.at(-1)) - Math.PI, ...steps.map(angle), angle(steps[0]) + Math.PI];
  return steps.map(([right, down], i) => [right, down, (around[i + 2] - around[i]) / 2]);
}

/** The length of the border in pixels, by Crofton's formula; the frame counts as border. */
export function perimeter(mask, box) {
  const width = box.right - box.left + 2 * REACH;
  const height = box.bottom - box.top + 2 * REACH;
  const padded = new Uint8Array(width * height);
  for (let y = box.top; y < box.bottom; y++) {
    const row = mask.data.subarray(y * mask.width + box.left, y * mask.width + box.right);
    padded.set(row, (y - box.top + REACH) * width + REACH);
  }
  let length = 0;
  for (const [right, down, angle] of directions(REACH)) {
    let crossings = 0;
    const first = Math.max(0, -right), last = width - Math.max(0, right);
    const step = down * width + right;
    for (let y = 0; y < height - down; y++) {
      for (let place = y * width + first, end = y * width + last; place < end; place++) {
        crossings += padded[place] ^ padded[place + step];
      }
    }
    length += (angle * crossings) / Math.hypot(right, down);
  }
  return length / 2;
}

/** The corners of the convex hull of points [x, y]. */
function hull(points) {
  points.sort((one, other) => one[0] - other[0] || one[1] - other[1]);
  const half = (ordered) => {
    const chain = [];
    for (const [x, y] of ordered) {
      while (chain.length > 1) {
        const [[ax, ay], [bx, by]] = chain.slice(-2);
        if ((bx - ax) * (y - ay) - (by - ay) * (x - ax) > 0) break;
        chain.pop();
      }
      chain.push([x, y]);
    }
    return chain;
  };
  return [...half(points), ...half([...points].reverse())];
}

/** The greatest distance between two points of the lesion in pixels: the maximum Feret diameter. */
export function longestDiameter(mask, box) {
  const ends = [];
  for (let y = box.top; y < box.bottom; y++) {
    const row = mask.data.subarray(y * mask.width, (y + 1) * mask.width);
    const first = row.indexOf(1);
    if (first >= 0) ends.push([first, y], [row.lastIndexOf(1), y]);
  }
  const corners = hull(ends);
  let longest = 0;
  for (const [x, y] of corners) {
    for (const [otherX, otherY] of corners) {
      const across = Math.abs(x - otherX), along = Math.abs(y - otherY);
      longest = Math.max(longest, across ** 2 + along ** 2 + 2 * Math.max(across, along) + 1);
    }
  }
  return Math.sqrt(longest);
}

/** What is measured on a mask; null for what means nothing. */
export function measure(mask, mmPerPixel = null) {
  const box = boundingBox(mask);
  const { width, height, data } = mask;
  let area = 0;
  for (const value of data) area += value;
  const border = box ? perimeter(mask, box) : 0;
  const diameter = box ? longestDiameter(mask, box) : 0;
  const scaled = (length, power = 1) => (mmPerPixel === null ? null : length * mmPerPixel ** power);
  return {
    area_px: area,
    area_mm2: scaled(area, 2),
    perimeter_px: border,
    perimeter_mm: scaled(border),
    longest_diameter_px: diameter,
    longest_diameter_mm: scaled(diameter),
    frame_share: area / (width * height),
    touches_frame: Boolean(box)
      && (box.left === 0 || box.top === 0 || box.right === width || box.bottom === height),
    mm_per_pixel: mmPerPixel,
  };
}
