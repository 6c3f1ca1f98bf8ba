// The cases of cases.json through the page's own modules; `test_cases.py` runs this.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

const STATIC = new URL("../../lesionseg/web/static/", import.meta.url);
const load = (name) => import(new URL(name, STATIC));
const { draftScale, enlargedAbove, pixels, reduce, shrink } = await load("resize.js");
const { agreement } = await load("quality.js");
const { keepLargestRegion } = await load("postprocess.js");
const { measure } = await load("measurements.js");
const { packMask, unpackMask } = await load("masks.js");

function photo(width, height) {
  const data = new Uint8Array(3 * width * height);
  let place = 0;
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      for (let channel = 0; channel < 3; channel++) {
        data[place++] = (x * x + 3 * x * y + 7 * y + 50 * channel + Math.floor((x * y) / 5)) % 256;
      }
    }
  }
  return pixels(data, width, height, 3);
}

function probabilities(side, shift) {
  return Float32Array.from({ length: side * side }, (_, place) => {
    const [x, y] = [place % side, Math.floor(place / side)];
    const value = 128 + 9 * (side / 3 + shift - Math.hypot(x - side / 2, y - side / 3));
    return Math.min(255, Math.max(1, Math.floor(value))) / 256;
  });
}

function maskOf(rows) {
  const data = Uint8Array.from(rows.join(""), (pixel) => Number(pixel === "#"));
  return unpackMask(packMask({ width: rows[0].length, height: rows.length, data }));
}

function rowsOf({ width, height, data }) {
  const row = (y) => [...data.subarray(y * width, (y + 1) * width)].map((pixel) => ".#"[pixel]);
  return Array.from({ length: height }, (_, y) => row(y).join(""));
}

const BY_PAGE = {
  shrink: ({ width, height, size }) => (
    { bytes: Buffer.from(shrink(photo(width, height), size)).toString("base64") }),
  draft: ({ width, height, size }) => ({ scale: draftScale(width, height, size) }),
  enlarge: ({ side, shift, width, height, threshold }) => {
    const data = enlargedAbove(probabilities(side, shift), side, width, height, threshold);
    return { rows: rowsOf({ width, height, data }) };
  },
  quality: ({ side, shift, threshold }) => (
    { quality: agreement(probabilities(side, shift), threshold) }),
  largest_region: ({ mask }) => ({ rows: rowsOf(keepLargestRegion(maskOf(mask))) }),
  measurements: ({ mask, mm_per_pixel: scale }) => measure(maskOf(mask), scale),
};

test("a JPEG that is read at half its scale gets no brighter", () => {
  const mean = (bytes) => bytes.reduce((sum, value) => sum + value, 0) / bytes.length;
  const data = new Uint8Array(3 * 512 * 512);
  for (let place = 0, value = 1; place < data.length; place++) {
    value = (1103515245 * (value % 65536) + 12345) % 2 ** 31;
    data[place] = value >>> 16;
  }
  const added = (isInTurn) => mean(reduce(pixels(data, 512, 512, 3), 2, 2, isInTurn).data) - mean(data);
  assert.ok(Math.abs(added(true)) < 0.02);
  assert.ok(Math.abs(added(false) - 1 / 8) < 0.02); // as Pillow's own
});

const CASES = JSON.parse(readFileSync(new URL("cases.json", import.meta.url)));
for (const [kind, pairs] of Object.entries(CASES)) {
  pairs.forEach(([given, expected], number) => {
    test(`${kind} ${number}`, () => {
      const result = BY_PAGE[kind](given);
      assert.deepEqual(Object.keys(result), Object.keys(expected));
      for (const [name, value] of Object.entries(expected)) {
        const isFraction = typeof value === "number" && !Number.isInteger(value);
        if (isFraction) assert.ok(Math.abs(result[name] - value) <= 1e-6 * Math.max(1, value), name);
        else assert.deepEqual(result[name], value, name);
      }
    });
  });
}
