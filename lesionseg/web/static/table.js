// The table of all photos as CSV; columns as those of `lesionseg segment --measurements`.

export const COLUMNS = [
  "file", "area_px", "area_mm2", "perimeter_px", "perimeter_mm", "longest_diameter_px",
  "longest_diameter_mm", "frame_share", "touches_frame", "quality", "mm_per_pixel", "corrected",
];

function cell(value) {
  if (value === null || value === undefined) return "";
  if (typeof value === "boolean") return value ? "True" : "False";
  let text = String(value);
  if (typeof value === "string" && /^[=+\-@\t\r]/.test(text)) text = `'${text}`; // no formula
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** Rows (objects by column) as CSV with a header. */
export function csv(rows) {
  const lines = rows.map((row) => COLUMNS.map((column) => cell(row[column])).join(","));
  return [COLUMNS.join(","), ...lines].map((line) => `${line}\n`).join("");
}
