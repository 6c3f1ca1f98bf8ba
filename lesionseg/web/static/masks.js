// A mask at a bit a pixel, for photos that are not on the screen: 1.5 MB for 12 megapixels.

/** Pack a mask { width, height, data of 0 and 1 }. */
export function packMask({ width, height, data }) {
  const bits = new Uint8Array(Math.ceil(data.length / 8));
  for (let place = 0; place < data.length; place++) bits[place >> 3] |= data[place] << (place & 7);
  return { width, height, bits };
}

/** The mask that was packed. */
export function unpackMask({ width, height, bits }) {
  const data = new Uint8Array(width * height);
  for (let place = 0; place < data.length; place++) data[place] = (bits[place >> 3] >> (place & 7)) & 1;
  return { width, height, data };
}
