// A photo file -> its mask, quality and a small picture: what `segment` does, in the same order.
import { openNetwork } from "./network.js";
import { checkColours, decode, rowsOf, scaledCanvas } from "./photo.js";
import { keepLargestRegion } from "./postprocess.js";
import { agreement } from "./quality.js";
import { enlargedAbove, shrink } from "./resize.js";

/** Opened once; `segment(file, side)` for each photo. */
export class Segmenter {
  constructor({ size, threshold }) {
    Object.assign(this, { size, threshold: Math.fround(threshold) }); // as NumPy compares float32
  }

  async open() {
    this.network = await openNetwork(this.size);
  }

  /** The photo as the network sees it, and a picture of at most `side` pixels. */
  async read(file, side) {
    const photo = await decode(file);
    try {
      const small = shrink(rowsOf(photo), this.size, photo.kind === "jpeg");
      checkColours(photo, small);
      return { small, width: photo.width, height: photo.height, picture: scaledCanvas(photo, side) };
    } finally {
      photo.bitmap.close(); // at once: it is the largest thing in memory
    }
  }

  /** The mask of what `read` gave, and its quality. */
  async outline({ small, width, height }) {
    const soft = await this.network.run(small);
    const data = enlargedAbove(soft, this.size, width, height, this.threshold);
    return {
      mask: keepLargestRegion({ width, height, data }),
      quality: agreement(soft, this.threshold),
    };
  }
}
