// The page: photos come in, outlines and numbers are shown, results are saved.
import { asset } from "./assets.js";
import { openCamera } from "./camera.js";
import { PageError } from "./errors.js";
import { Gallery } from "./gallery.js";
import { packMask, unpackMask } from "./masks.js";
import { measure } from "./measurements.js";
import { paintOutline, paintStroke } from "./outline.js";
import { decode } from "./photo.js";
import { maskPng } from "./png.js";
import { level } from "./quality.js";
import { Segmenter } from "./segmenter.js";
import { csv } from "./table.js";
import { text } from "./texts.js";
import { View, VIEW_SIDE } from "./view.js";

const SETTINGS = JSON.parse(document.getElementById("settings").textContent);
const UNDO_STEPS = 10;
const at = (id) => document.getElementById(id);

const segmenter = new Segmenter(SETTINGS);
const photos = []; // { name, file, state, packed, quality, picture, scale, corrected, measurements }
let current = null; // of these, the one on the screen
let mask = null; // of the current one, unpacked
let undone = []; // packed masks before each stroke
let keptScale = null; // millimetres a pixel for the next photos
let opening = null; // the promise of the network
let isWorking = false;

// Words

function fillTexts() {
  for (const element of document.querySelectorAll("[data-text]")) {
    element.textContent = text(element.dataset.text, SETTINGS);
  }
  for (const element of document.querySelectorAll("[data-label]")) {
    element.setAttribute("aria-label", text(element.dataset.label));
  }
  document.title = text("title");
  document.documentElement.lang = text("language");
}

function say(key, values) {
  at("status").textContent = key ? text(key, values) : "";
}

function complain(key, values) {
  const item = document.createElement("li");
  item.textContent = text(key, values);
  at("errors").append(item);
}

function reasonOf(error) {
  const isMemory = error instanceof RangeError || /memory|alloc/i.test(error.message);
  return isMemory ? text("noMemory") : error.message || String(error);
}

/** Say what went wrong with a photo. */
function explain(error, file) {
  if (error instanceof PageError) complain(error.key, { file, ...error.values });
  else complain("failed", { file, reason: reasonOf(error) });
}

const number = (value, options) => value.toLocaleString(text("language"), options);
const rounded = (value, digits = 3) => number(value, { maximumSignificantDigits: digits });

// Photos come in

function add(files) {
  at("errors").replaceChildren();
  if (!files.length) {
    complain("noPhoto");
    return;
  }
  for (const file of files) {
    photos.push({ name: unusedName(file.name || "photo.png"), file, state: "waiting" });
  }
  work();
}

/** A name that no other photo has: pasted ones, and those of some cameras, are all called alike. */
function unusedName(name) {
  const names = new Set(photos.map((photo) => photo.name));
  const [, start, end] = name.match(/^(.*?)(\.[^.]*)?$/s);
  let unused = name;
  for (let count = 2; names.has(unused); count++) unused = `${start} (${count})${end ?? ""}`;
  return unused;
}

async function work() {
  if (isWorking) return;
  isWorking = true;
  at("progress").hidden = false;
  let photo;
  while ((photo = photos.find(({ state }) => state === "waiting"))) {
    photo.state = "working";
    showList();
    try {
      await segment(photo);
      photo.state = "done";
      say("done", { file: photo.name, level: text(photo.level) });
      if (!view.mode) show(photo); // else someone is at work on another
    } catch (error) {
      photos.splice(photos.indexOf(photo), 1);
      say(null);
      explain(error, photo.name);
    }
    showList();
  }
  at("progress").hidden = true;
  isWorking = false;
}

/** A break in which the browser can paint. */
const painted = () => new Promise((resolve) => { setTimeout(resolve, 20); });

async function segment(photo) {
  say("reading", { file: photo.name });
  await painted();
  const read = await segmenter.read(photo.file, VIEW_SIDE);
  if (!segmenter.network) {
    say("loading");
    await opening;
  }
  say("outlining", { file: photo.name });
  await painted();
  const { mask: lesion, quality } = await segmenter.outline(read);
  Object.assign(photo, { picture: read.picture, quality, corrected: false, scale: keptScale });
  keep(photo, lesion);
  photo.level = level(quality, !photo.measurements.area_px);
}

function keep(photo, lesion) {
  photo.packed = packMask(lesion);
  photo.measurements = measure(lesion, photo.scale);
}

// One photo on the screen

const view = new View(at("view"), {
  tap(place) {
    if (view.marks.length === 2) view.marks = [];
    view.marks.push(place);
    view.draw();
    at("ruler-help").textContent = text(view.marks.length === 1 ? "rulerSecond" : "rulerType");
    at("apply").disabled = view.marks.length < 2;
    if (view.marks.length === 2) at("length").focus({ preventScroll: true });
  },
  begin() {
    undone.push(packMask(mask));
    if (undone.length > UNDO_STEPS) undone.shift();
  },
  stroke(from, to) {
    const radius = (at("size").value / 200) * Math.max(mask.width, mask.height);
    const isAdding = at("add").getAttribute("aria-pressed") === "true";
    paintStroke(mask, from, to, radius, Number(isAdding));
    return { radius, isAdding };
  },
  end() {
    current.corrected = true;
    changed();
  },
  cancel() {
    mask = unpackMask(undone.pop());
    view.update(mask);
  },
});

function show(photo) {
  leaveTools();
  current = photo;
  mask = unpackMask(photo.packed);
  undone = [];
  view.show(photo.picture, mask);
  at("result").hidden = false;
  tell();
  showList();
}

/** The mask was corrected. */
function changed() {
  keep(current, mask);
  view.update(mask);
  at("undo").disabled = !undone.length;
  tell();
  showList();
}

function tell() {
  const { measurements: found, quality, corrected } = current;
  at("verdict").className = `panel ${current.level}`;
  at("level").textContent = text(current.level);
  at("meaning").textContent = text(`${current.level}Meaning`);
  const digits = { minimumFractionDigits: 2, maximumFractionDigits: 2 };
  at("quality").textContent = text("quality", { value: number(quality, digits) });
  at("corrected").hidden = !corrected;
  const length = (pixels, millimetres, power = "") => (millimetres === null
    ? text(`px${power}`, { value: rounded(pixels, 4) })
    : text(`mm${power}`, { value: rounded(millimetres) }));
  at("area").textContent = length(found.area_px, found.area_mm2, "2");
  at("diameter").textContent = length(found.longest_diameter_px, found.longest_diameter_mm);
  at("perimeter").textContent = length(found.perimeter_px, found.perimeter_mm);
  at("share").textContent = text("percent", { value: rounded(100 * found.frame_share) });
  at("scale").textContent = current.scale === null ? text("noScale") : text("scale", scaleOf(current));
  at("touches").hidden = !found.touches_frame;
}

const scaleOf = ({ scale }) => ({ value: rounded(1 / scale, 4) });

// Tools

function setTool(mode) {
  for (const tool of ["ruler", "brush"]) at(`${tool}-panel`).hidden = tool !== mode;
  at("view").setAttribute("role", mode ? "application" : "img");
  at("view").setAttribute("aria-label", text(mode ? "canvasTool" : "canvas"));
  if (mode) at("view").tabIndex = 0;
  else at("view").removeAttribute("tabindex");
  view.setMode(mode);
}

function leaveTools() {
  if (!view.mode) return;
  const button = at(view.mode);
  const places = [at("view"), at(`${view.mode}-panel`)];
  const isThere = places.some((place) => place.contains(document.activeElement));
  setTool(null);
  if (isThere) button.focus({ preventScroll: true }); // not lost with the panel
}

at("toggle").onclick = () => {
  view.isOutlined = !view.isOutlined;
  at("toggle").textContent = text(view.isOutlined ? "hideOutline" : "showOutline");
  view.draw();
};
at("ruler").onclick = () => {
  at("ruler-help").textContent = text("rulerHelp");
  at("apply").disabled = true;
  setTool("ruler");
};
at("ruler-cancel").onclick = leaveTools;
at("ruler-panel").onsubmit = (event) => {
  event.preventDefault();
  if (view.marks.length < 2) return;
  const [[x0, y0], [x1, y1]] = view.marks;
  const distance = Math.hypot(x1 - x0, y1 - y0);
  const millimetres = at("length").valueAsNumber;
  if (!(millimetres > 0 && Number.isFinite(millimetres))) {
    at("ruler-help").textContent = text("rulerBad");
  } else if (distance < 2) {
    at("ruler-help").textContent = text("rulerShort");
  } else {
    current.scale = millimetres / distance;
    keptScale = at("keep-scale").checked ? current.scale : null;
    keep(current, mask);
    leaveTools();
    tell();
    say("scale", scaleOf(current));
  }
};
at("brush").onclick = () => {
  at("undo").disabled = !undone.length;
  setTool("brush");
};
at("brush-done").onclick = leaveTools;
for (const [one, other] of [["add", "erase"], ["erase", "add"]]) {
  at(one).onclick = () => {
    at(one).setAttribute("aria-pressed", "true");
    at(other).setAttribute("aria-pressed", "false");
  };
}
at("undo").onclick = () => {
  mask = unpackMask(undone.pop());
  changed();
};
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") leaveTools();
});

// Results

function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => { URL.revokeObjectURL(link.href); }, 60000);
  say("saved", { file: name });
}

const stem = ({ name }) => name.replace(/\.[^.]*$/, "");

async function overlay() {
  const photo = await decode(current.file);
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [photo.width, photo.height];
  const context = canvas.getContext("2d", { alpha: false, willReadFrequently: true });
  context.drawImage(photo.bitmap, 0, 0);
  photo.bitmap.close();
  const image = context.getImageData(0, 0, canvas.width, canvas.height);
  paintOutline(image.data, mask, Math.max(1, Math.round(Math.max(mask.width, mask.height) / 1000)));
  context.putImageData(image, 0, 0);
  return new Promise((resolve, reject) => {
    const give = (blob) => (blob ? resolve(blob) : reject(new Error(text("noMemory"))));
    canvas.toBlob(give, "image/jpeg", 0.92);
  });
}

function whenClicked(id, action) {
  at(id).onclick = async () => {
    const { name } = current ?? {};
    try {
      await action();
    } catch (error) {
      explain(error, name);
    }
  };
}

whenClicked("save-mask", async () => save(await maskPng(mask), `${stem(current)}_segmentation.png`));
whenClicked("save-overlay", async () => save(await overlay(), `${stem(current)}_overlay.jpg`));
whenClicked("save-table", async () => save(new Blob([table()], { type: "text/csv" }), "lesions.csv"));
whenClicked("remove", async () => {
  const place = photos.indexOf(current);
  photos.splice(place, 1);
  const next = photos.filter(({ state }) => state === "done")[Math.max(0, place - 1)];
  say(null);
  if (next) {
    show(next);
  } else {
    leaveTools();
    current = mask = null;
    at("result").hidden = true;
    at("choose").focus();
    showList();
  }
});

function table() {
  const done = photos.filter(({ state }) => state === "done");
  return csv(done.map(({ name, quality, corrected, measurements }) => (
    { file: name, ...measurements, quality, corrected })));
}

const gallery = new Gallery(at("list"), (photo) => {
  show(photo);
  at("stage").scrollIntoView({ block: "nearest" }); // on a phone it is far above the list
});

function showList() {
  at("gallery").hidden = !photos.length;
  at("remove").disabled = at("save-table").disabled = !current;
  gallery.show(photos, current);
}

// Ways in

at("choose").onclick = () => at("files").click();
at("take").onclick = async () => {
  const hasOwnCamera = matchMedia("(pointer: coarse)").matches || !navigator.mediaDevices;
  if (hasOwnCamera) {
    at("camera-file").click();
    return;
  }
  try {
    const file = await openCamera(at("camera"));
    if (file) add([file]);
  } catch {
    complain("cameraRefused");
  }
};
for (const id of ["files", "camera-file"]) {
  at(id).onchange = () => {
    add([...at(id).files]);
    at(id).value = ""; // so that the same photo can be chosen again
  };
}
for (const name of ["dragenter", "dragover", "dragleave", "drop"]) {
  document.addEventListener(name, (event) => {
    event.preventDefault();
    at("start").classList.toggle("over", name === "dragenter" || name === "dragover");
    if (name === "drop") add([...event.dataTransfer.files]);
  });
}
document.addEventListener("paste", (event) => {
  if (event.clipboardData.files.length) add([...event.clipboardData.files]);
  else if (!event.target.closest("input")) add([]);
});

// About

at("about").ontoggle = () => {
  const { engine, threads } = segmenter.network ?? {};
  if (!engine) return;
  const values = { ...SETTINGS, engine: text(engine, { threads }) };
  at("about-text").textContent = text("about", values);
};
at("show-notices").onclick = async () => {
  at("show-notices").hidden = true;
  at("notices").textContent = new TextDecoder().decode(await asset("notices.txt"));
  at("notices").hidden = false;
};

function start() {
  fillTexts();
  showList();
  say("loading");
  at("progress").hidden = false;
  opening = segmenter.open().catch((error) => {
    throw error instanceof PageError ? error : new PageError("loadFailed", { reason: reasonOf(error) });
  });
  opening.then(() => {
    if (!isWorking) say(null);
    document.documentElement.dataset.engine = segmenter.network.engine;
  }, (error) => {
    say(null);
    explain(error);
  }).finally(() => { at("progress").hidden = !isWorking; });
}

start();
