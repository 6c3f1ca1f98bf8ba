// The photo on the screen with its outline; taps, strokes and a cross for the keyboard on it.
import { paintOutline, scaledMask } from "./outline.js";

const LONGEST = 1280; // pixels of the canvas's longer side; a phone shows no more
const LINE = 320; // the outline's quarter is the longer side over this
const STEP = 40; // arrow keys move by the longer side over this

export const VIEW_SIDE = LONGEST;

/** The canvas; `on.tap([x, y])` and `on.stroke(from, to)` get places in the photo's own pixels. */
export class View {
  constructor(canvas, on) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d", { willReadFrequently: true });
    this.on = on;
    this.mode = null; // or "ruler", "brush"
    this.photo = null; // a small canvas of the photo
    this.outlined = null; // the same with the outline on it
    this.isOutlined = true;
    this.marks = []; // of the ruler, in the photo's pixels
    this.cross = null; // of the keyboard, in the canvas's pixels
    this.last = null; // where a stroke is
    canvas.addEventListener("pointerdown", (event) => this.down(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    canvas.addEventListener("pointerup", () => this.end());
    canvas.addEventListener("pointercancel", () => this.cancel()); // two fingers that zoom
    canvas.addEventListener("click", (event) => this.click(event));
    canvas.addEventListener("keydown", (event) => this.key(event));
    canvas.addEventListener("blur", () => { this.cross = null; this.draw(); });
  }

  /** Show a photo (a canvas) and the mask at the photo's own size. */
  show(photo, mask) {
    this.photo = photo;
    this.factor = mask.width / photo.width;
    if (this.canvas.width !== photo.width || this.canvas.height !== photo.height) {
      this.canvas.width = photo.width;
      this.canvas.height = photo.height;
      const aspect = photo.width / photo.height;
      this.canvas.style.width = `min(100%, calc(72vh * ${aspect}))`; // as large as the screen allows
      this.cross = null;
    }
    this.update(mask);
  }

  /** Draw the outline of a changed mask. */
  update(mask) {
    const { width, height } = this.photo;
    const image = this.photo.getContext("2d").getImageData(0, 0, width, height);
    const edge = Math.max(1, Math.round(Math.max(width, height) / LINE / 2));
    paintOutline(image.data, scaledMask(mask, width, height), edge);
    this.outlined = image;
    this.draw();
  }

  setMode(mode) {
    this.mode = mode;
    this.marks = [];
    this.last = null;
    this.canvas.classList.toggle("active", mode !== null);
    if (mode) this.canvas.focus({ preventScroll: true });
    this.draw();
  }

  draw() {
    if (!this.photo) return;
    if (this.isOutlined) this.context.putImageData(this.outlined, 0, 0);
    else this.context.drawImage(this.photo, 0, 0);
    const points = this.marks.map(([x, y]) => [x / this.factor, y / this.factor]);
    if (points.length === 2) this.line(points);
    for (const point of points) this.target(point);
    if (this.cross && this.mode) this.target(this.cross);
  }

  line(points) {
    for (const [colour, width] of [["#000", 5], ["#ff0", 2]]) {
      this.context.beginPath();
      this.context.moveTo(...points[0]);
      this.context.lineTo(...points[1]);
      this.context.strokeStyle = colour;
      this.context.lineWidth = width * this.unit;
      this.context.stroke();
    }
  }

  target([x, y]) {
    const arm = 12 * this.unit;
    for (const [colour, width] of [["#000", 4], ["#ff0", 2]]) {
      this.context.beginPath();
      this.context.moveTo(x - arm, y);
      this.context.lineTo(x + arm, y);
      this.context.moveTo(x, y - arm);
      this.context.lineTo(x, y + arm);
      this.context.strokeStyle = colour;
      this.context.lineWidth = width * this.unit;
      this.context.stroke();
    }
  }

  /** Canvas pixels in one pixel of the screen. */
  get unit() {
    return this.canvas.width / (this.canvas.clientWidth || this.canvas.width);
  }

  place(event) {
    const box = this.canvas.getBoundingClientRect();
    const within = (value, size) => Math.min(size - 1, Math.max(0, value));
    const x = ((event.clientX - box.left) / box.width) * this.canvas.width;
    const y = ((event.clientY - box.top) / box.height) * this.canvas.height;
    return [within(x, this.canvas.width), within(y, this.canvas.height)];
  }

  inPhoto([x, y]) {
    return [x * this.factor, y * this.factor];
  }

  down(event) {
    if (!this.mode || event.button || !event.isPrimary) return;
    event.preventDefault();
    this.canvas.focus({ preventScroll: true });
    this.cross = null;
    if (this.mode === "ruler") return; // a click, unless it becomes a zoom
    const place = this.place(event);
    this.canvas.setPointerCapture(event.pointerId);
    this.last = place;
    this.on.begin();
    this.paint(place, place);
  }

  click(event) {
    if (this.mode === "ruler") this.on.tap(this.inPhoto(this.place(event)));
  }

  move(event) {
    if (!this.last || !event.isPrimary) return;
    const place = this.place(event);
    this.paint(this.last, place);
    this.last = place;
  }

  end() {
    if (!this.last) return;
    this.last = null;
    this.on.end();
  }

  cancel() {
    if (!this.last) return;
    this.last = null;
    this.on.cancel();
  }

  paint(from, to) {
    const { radius, isAdding } = this.on.stroke(this.inPhoto(from), this.inPhoto(to));
    this.context.beginPath();
    this.context.moveTo(...from);
    this.context.lineTo(to[0] + 0.01, to[1]);
    this.context.lineCap = "round";
    this.context.lineWidth = (2 * radius) / this.factor;
    this.context.strokeStyle = isAdding ? "#00ffff" : "#ff8040";
    this.context.globalAlpha = 0.5;
    this.context.stroke();
    this.context.globalAlpha = 1;
  }

  key(event) {
    if (!this.mode) return;
    const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const step = steps[event.key];
    const { width, height } = this.canvas;
    if (step) {
      event.preventDefault();
      const length = event.shiftKey ? this.unit : Math.max(width, height) / STEP;
      const [x, y] = this.cross ?? [width / 2, height / 2];
      this.cross = [
        Math.min(width - 1, Math.max(0, x + step[0] * length)),
        Math.min(height - 1, Math.max(0, y + step[1] * length)),
      ];
      this.draw();
    } else if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      this.cross ??= [width / 2, height / 2];
      if (this.mode === "ruler") {
        this.on.tap(this.inPhoto(this.cross));
      } else {
        this.on.begin();
        this.on.stroke(this.inPhoto(this.cross), this.inPhoto(this.cross));
        this.on.end();
      }
    }
  }
}

