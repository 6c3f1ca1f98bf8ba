// Every word that the page says. To translate the page, translate this table; {names} stay.

export const TEXTS = {
  language: "en", // of the page, and of how it writes numbers
  title: "Lesion outline",
  warning: "Research use only. Not a medical device: do not base a diagnosis on it.",
  intro: "Outlines a skin lesion in a dermoscopic photo. The photo stays on this device.",
  take: "Take a photo",
  choose: "Choose photos",
  dropHint: "or drop or paste them here",
  photos: "Photos",
  loading: "Getting ready …",
  reading: "Reading {file} …",
  outlining: "Outlining {file} …",
  done: "{file}: {level}",
  waiting: "waiting",
  working: "working …",
  loadFailed: "The page could not start in this browser: {reason}. "
    + "Try a current Chrome, Edge, Firefox or Safari.",
  unreachable: "A part of this page could not be loaded ({part}). Check the connection, then open "
    + "the page again.",

  clear: "Clear outline",
  clearMeaning: "The software is sure of this outline. Check it all the same.",
  look: "Look at this outline",
  lookMeaning: "The software is unsure in places. Compare the outline with the photo and correct it.",
  doubt: "Do not rely on this outline",
  doubtMeaning: "The outline is a guess. Take a sharper photo in even light, or draw it yourself.",
  none: "No lesion found",
  noneMeaning: "The software sees no lesion here. That says nothing about the skin. "
    + "Draw the outline yourself if there is one.",
  quality: "Quality {value}",
  qualityHelp: "How well a generous and a strict outline agree, from 0 to 1. It is about the outline, "
    + "not about the lesion.",
  corrected: "Corrected by hand.",

  canvas: "The photo with the outline of the lesion",
  canvasTool: "The photo with the outline of the lesion. Arrow keys move a cross, with Shift in small "
    + "steps; Enter taps or paints.",
  hideOutline: "Hide outline",
  showOutline: "Show outline",
  ruler: "Set scale",
  rulerHelp: "Tap two marks of a ruler in the photo.",
  rulerSecond: "Tap the second mark.",
  rulerType: "Type how far apart the marks are, or tap again.",
  rulerLength: "Millimetres between the marks",
  rulerApply: "Use this scale",
  rulerKeep: "For the next photos, too",
  rulerShort: "The marks are too close together. Tap two that are farther apart.",
  rulerBad: "Type the distance in millimetres: a number above 0.",
  noScale: "Sizes are in pixels. Set the scale to get millimetres.",
  scale: "1 mm is {value} pixels.",
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
  percent: "{value} %",

  saveMask: "Save mask",
  saveOverlay: "Save overlay",
  saveTable: "Save table (CSV)",
  remove: "Remove photo",
  saved: "Sent to your downloads: {file}",

  emptyFile: "{file}: the file is empty (0 bytes). Take or copy the photo again.",
  notAPhoto: "{file}: not a photo. Choose a JPEG or PNG.",
  heic: "{file}: this browser cannot read HEIC. On an iPhone choose Settings, Camera, Formats, "
    + "Most Compatible; or share the photo as JPEG.",
  tiff: "{file}: browsers cannot read TIFF. Save the photo as JPEG or PNG.",
  unreadable: "{file}: cannot be opened. If it is a folder, choose the photos in it.",
  black: "{file}: black in this browser. Save it with 8 bits a channel and without transparency.",
  damaged: "{file}: this photo is damaged or cut short. Take or copy it again.",
  tooLarge: "{file}: {megapixels} megapixels; this page reads up to {most}. Make the photo smaller.",
  noPhoto: "No photo in there. Drop or paste a JPEG or PNG.",
  failed: "{file}: {reason}",
  noMemory: "not enough memory; close other pages, or make the photo smaller",

  camera: "Camera",
  shoot: "Take the photo",
  cameraRefused: "No camera: it is in use, not allowed, or there is none. Choose a photo instead.",
  licences: "About and licences",
  about: "lesionseg {version}, network {network}. Runs on this device, by {engine}.",
  wasm: "WebAssembly, threads: {threads}",
  webgpu: "WebGPU",
  licenceText: "lesionseg and its weights: Apache-2.0. ONNX Runtime Web {runtime}: MIT, "
    + "© Microsoft Corporation, and parts of others.",
  notices: "Show all notices",
};

/** The text of a key with its {names} filled in. */
export function text(key, values = {}) {
  return TEXTS[key].replace(/\{(\w+)\}/g, (_, name) => values[name]);
}
