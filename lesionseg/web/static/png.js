// A mask as the PNG that `lesionseg segment` writes: one channel, 0 and 255, no metadata.

const CRC = Uint32Array.from({ length: 256 }, (_, value) => {
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? 0xedb88320 ^ (value >>> 1) : value >>> 1;
  return value;
});

function chunk(name, content) {
  const bytes = new Uint8Array(12 + content.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, content.length);
  bytes.set(new TextEncoder().encode(name), 4);
  bytes.set(content, 8);
  let sum = 0xffffffff;
  for (const byte of bytes.subarray(4, -4)) sum = CRC[(sum ^ byte) & 255] ^ (sum >>> 8);
  view.setUint32(8 + content.length, ~sum);
  return bytes;
}

/** A mask as a Blob. */
export async function maskPng({ width, height, data }) {
  const rows = new Uint8Array((width + 1) * height); // each after a byte that names no filter
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) rows[y * (width + 1) + x + 1] = 255 * data[y * width + x];
  }
  const header = new Uint8Array(13);
  const view = new DataView(header.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  header.set([8, 0, 0, 0, 0], 8); // bits, grey, and the only methods that there are
  const packed = new Blob([rows]).stream().pipeThrough(new CompressionStream("deflate"));
  const content = new Uint8Array(await new Response(packed).arrayBuffer());
  const signature = new Uint8Array([137, 80, 78, 71, 13, 10, 26, 10]);
  const parts = [chunk("IHDR", header), chunk("IDAT", content), chunk("IEND", new Uint8Array())];
  return new Blob([signature, ...parts], { type: "image/png" });
}
