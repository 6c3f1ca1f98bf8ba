// How good a mask is likely to be, from the probabilities alone.
// `agreement` is that of lesionseg/segmentation/quality.py; the levels are the page's own words.

const MARGIN = 0.53; // logits, where their mean distance to the threshold is 1
const SMALLEST = 1e-7;
const CLEAR = 0.9, DOUBTFUL = 0.8; // docs/phone.md says how often each was wrong

function logit(probability) {
  const inside = Math.fround(Math.min(1 - SMALLEST, Math.max(SMALLEST, probability)));
  return Math.fround(Math.log(inside / (1 - inside)));
}

/** The Dice of a generous with a strict outline, 0 to 1; 0 where nothing is above the threshold. */
export function agreement(soft, threshold) {
  if (!soft.some((value) => value > threshold)) return 0;
  const zero = logit(threshold);
  const logits = Float32Array.from(soft, (value) => logit(value) - zero);
  const total = logits.reduce((sum, value) => sum + Math.abs(value), 0);
  const margin = MARGIN * Math.sqrt(total / logits.length);
  let strict = 0, generous = 0;
  for (const value of logits) {
    if (value > margin) strict++;
    if (value > -margin) generous++;
  }
  return generous ? (2 * strict) / (strict + generous) : 1;
}

/** A quality in words: the key of a text. */
export function level(quality, isEmpty) {
  if (isEmpty) return "none";
  if (quality >= CLEAR) return "clear";
  return quality >= DOUBTFUL ? "look" : "doubt";
}
