// A mask -> the one lesion in it: its largest region, without holes.
// The same as lesionseg/segmentation/postprocess.py.
// A mask is { width, height, data }; data holds a byte for each pixel, 1 where the lesion is.

/** Runs of `value` in the rows of a box of a mask, joined where they touch by their sides. */
function regions(mask, value, { left, top, right, bottom }) {
  const starts = [], ends = [], rows = [], parents = [];
  const root = (run) => {
    while (parents[run] !== run) {
      parents[run] = parents[parents[run]];
      run = parents[run];
    }
    return run;
  };
  let previous = 0, current = 0; // the first run of the row above, and of this row
  for (let y = top; y < bottom; y++) {
    let above = previous;
    current = starts.length;
    for (let x = left, row = y * mask.width; x < right; x++) {
      if (mask.data[row + x] !== value) continue;
      const start = x;
      while (x < right && mask.data[row + x] === value) x++;
      const run = starts.length;
      starts.push(start);
      ends.push(x);
      rows.push(y);
      parents.push(run);
      while (above < current && ends[above] <= start) above++;
      for (let other = above; other < current && starts[other] < x; other++) {
        const [one, two] = [root(other), root(run)];
        parents[Math.max(one, two)] = Math.min(one, two);
      }
    }
    previous = current;
  }
  return { starts, ends, rows, roots: parents.map((_, run) => root(run)) };
}

/** The smallest box that holds the lesion: left, top, and right, bottom just beyond; null if none. */
export function boundingBox({ width, height, data }) {
  const first = data.indexOf(1);
  if (first < 0) return null;
  const top = Math.floor(first / width);
  const bottom = Math.floor(data.lastIndexOf(1) / width) + 1;
  let left = width, right = 0;
  for (let y = top; y < bottom; y++) {
    const row = data.subarray(y * width, (y + 1) * width);
    const start = row.indexOf(1);
    if (start < 0) continue;
    left = Math.min(left, start);
    right = Math.max(right, row.lastIndexOf(1) + 1);
  }
  return { left, top, right, bottom };
}

/** Keep the largest region (the first of equal ones) with its holes filled, in place. */
export function keepLargestRegion(mask) {
  const box = boundingBox(mask);
  if (!box) return mask;
  const { starts, ends, rows, roots } = regions(mask, 1, box);
  const areas = new Map();
  roots.forEach((root, run) => areas.set(root, (areas.get(root) ?? 0) + ends[run] - starts[run]));
  const largest = [...areas].reduce((best, one) => (one[1] > best[1] ? one : best))[0];
  roots.forEach((root, run) => {
    const row = rows[run] * mask.width;
    if (root !== largest) mask.data.fill(0, row + starts[run], row + ends[run]);
  });
  return fillHoles(mask, box);
}

/** Make lesion of what is enclosed by lesion, in place. */
function fillHoles(mask, box) {
  const { starts, ends, rows, roots } = regions(mask, 0, box);
  const outside = new Set();
  roots.forEach((root, run) => {
    const atRim = starts[run] === box.left || ends[run] === box.right
      || rows[run] === box.top || rows[run] === box.bottom - 1;
    if (atRim) outside.add(root);
  });
  roots.forEach((root, run) => {
    const row = rows[run] * mask.width;
    if (!outside.has(root)) mask.data.fill(1, row + starts[run], row + ends[run]);
  });
  return mask;
}
