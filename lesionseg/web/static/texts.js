// Every word that the page says. To translate the page, translate this table; {names} stay.

export const TEXTS = {
  title: "Lesion outline",
  warning: "Research use only. Not a medical device: no diagnosis may rest on it.",
  intro: "Outlines a skin lesion in a dermoscopic photo. The photo stays on this device.",
  take: "Take a photo",
  choose: "Choose photos",
  dropHint: "or drop or paste them here",
  photos: "Photos",
  loading: "Loading the network …",
  reading: "Reading {file} …",
  outlining: "Outlining {file} …",
  done: "{file}: {level}",
  waiting: "waiting",
  loadFailed: "The network could not be started in this browser: {reason}. "
    + "Try a current Chrome, Edge, Firefox or Safari.",

  clear: "Clear outline",
  clearMeaning: "The network is sure of this outline. Look at it all the same.",
  look: "Look at this outline",
  lookMeaning: "The network is unsure in places. Compare the outline with the photo and correct it.",
  doubt: "Do not rely on this outline",
  doubtMeaning: "The outline is a guess. Take a sharper photo in even light, or draw it yourself.",
  none: "No lesion found",
  noneMeaning: "The network sees no lesion here. That says nothing about the skin. "
    + "Draw it yourself if there is one.",
  quality: "Quality {value}",
  qualityHelp: "How well a generous and a strict outline agree, 0 to 1, by the network's own "
    + "probabilities. It is about the outline, not about the lesion.",
  corrected: "Corrected by hand.",

  canvas: "The photo with the outline of the lesion. Arrow keys move a cross, Enter taps, "
    + "Shift makes small steps.",
  hideOutline: "Hide outline",
  showOutline: "Show outline",
  ruler: "Set scale",
  rulerHelp: "Tap two marks of a ruler in the photo.",
  rulerSecond: "Tap the second mark.",
  rulerType: "Type how far apart the two marks are; or tap again.",
  rulerLength: "Millimetres between the marks",
  rulerApply: "Use this scale",
  rulerKeep: "For the next photos, too",
  rulerShort: "The marks are too close to each other; tap two that are farther apart.",
  rulerBad: "Type the distance in millimetres: a number above 0.",
  noScale: "in pixels; set the scale for millimetres",
  scale: "1 mm is {value} pixels",
  brush: "Correct",
  brushHelp: "Paint over the photo; on a keyboard, move with the arrow keys and paint with Enter.",
  add: "Add lesion",
  erase: "Erase",
  brushSize: "Brush size",
  undo: "Undo",
  finish: "Done",
  cancel: "Cancel",

  area: "Area",
  diameter: "Longest diameter",
  perimeter: "Perimeter",
  share: "Share of the photo",
  touches: "The lesion reaches the edge of the photo: what lies outside is not measured.",
  px: "{value} px",
  px2: "{value} px²",
  mm: "{value} mm",
  mm2: "{value} mm²",

  saveMask: "Save mask",
  saveOverlay: "Save overlay",
  saveTable: "Save table (CSV)",
  remove: "Remove",
  saved: "{file} was handed to the browser to save.",

  emptyFile: "{file}: the file is empty (0 bytes). Take or copy the photo again.",
  notAPhoto: "{file}: not a photo. Choose a JPEG, PNG, WebP or BMP.",
  heic: "{file}: this browser cannot read HEIC. On an iPhone choose Settings, Camera, Formats, "
    + "Most Compatible; or share the photo as JPEG.",
  tiff: "{file}: browsers cannot read TIFF. Save the photo as JPEG or PNG.",
  damaged: "{file}: this photo is damaged or cut short. Take or copy it again.",
  tooLarge: "{file}: {megapixels} megapixels; this page reads up to {most}. Make the photo smaller.",
  noPhoto: "No photo in there. Drop or paste a JPEG, PNG, WebP or BMP.",
  failed: "{file}: {reason}",
  noMemory: "not enough memory; close other pages, or make the photo smaller",

  camera: "Camera",
  shoot: "Take the photo",
  cameraRefused: "No camera: it was refused, is in use, or there is none. Choose a photo instead.",
  licences: "About and licences",
  about: "lesionseg {version}, network {network}. Runs on this device by {engine}.",
  wasm: "WebAssembly ({threads} threads)",
  webgpu: "WebGPU",
  licenceText: "lesionseg and its weights: Apache-2.0. ONNX Runtime Web {runtime}: MIT, "
    + "© Microsoft Corporation, and parts of others.",
  notices: "Show all notices",
};

/** The text of a key with its {names} filled in. */
export function text(key, values = {}) {
  return TEXTS[key].replace(/\{(\w+)\}/g, (_, name) => values[name]);
}
