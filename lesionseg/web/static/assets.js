// The files that the page needs besides itself: inside this page, or beside it in a folder.
// Each is packed by gzip; `lesionseg page` writes them.
import { PageError } from "./errors.js";

const ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
  + "!#$%&()*+-;,=.?@^_`{|}~"; // Python's base64.b85encode, with , and . for < and >
const DIGITS = new Uint8Array(128);
[...ALPHABET].forEach((letter, value) => { DIGITS[letter.charCodeAt(0)] = value; });

/** Bytes of text in base 85: five letters for four bytes; 25 % longer where base 64 is 33 %. */
export function fromBase85(text) {
  const padding = (5 - (text.length % 5)) % 5;
  const bytes = new Uint8Array((4 * (text.length + padding)) / 5);
  const view = new DataView(bytes.buffer);
  for (let from = 0, to = 0; from < text.length; from += 5, to += 4) {
    let value = 0;
    for (let k = from; k < from + 5; k++) {
      value = 85 * value + (k < text.length ? DIGITS[text.charCodeAt(k)] : 84);
    }
    view.setUint32(to, value);
  }
  return bytes.subarray(0, bytes.length - padding);
}

async function unpacked(bytes) {
  if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) return bytes; // a server has done it
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

async function fetched(address, part) {
  try {
    const response = await fetch(address);
    if (response.ok) return new Uint8Array(await response.arrayBuffer());
  } catch { /* the network's own words are not for users */ }
  throw new PageError("unreachable", { part });
}

/** Whether the page has this file. */
export function hasAsset(name) {
  return document.getElementById(name) !== null;
}

/** The bytes of a file. */
export async function asset(name) {
  const element = document.getElementById(name);
  if (element.href) return unpacked(await fetched(element.href, name));
  const bytes = fromBase85(element.textContent.trim());
  element.textContent = ""; // not needed twice
  return unpacked(bytes);
}

/** An address from which a script can be imported. */
export async function scriptAddress(name) {
  const script = new Blob([await asset(name)], { type: "text/javascript" });
  return URL.createObjectURL(script);
}
