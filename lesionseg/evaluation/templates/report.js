"use strict";
const list = document.getElementById("photos");
const cards = [...list.children];
const control = name => document.getElementById(name);

function arrange() {
  const text = control("search").value.trim().toLowerCase();
  const show = control("show").value;
  const key = control("sort").value;
  const order = Number(control("order").value);
  let shown = 0;
  for (const card of cards) {
    const failed = "failed" in card.dataset;
    const fits = card.dataset.name.toLowerCase().includes(text) &&
      (show === "" || (show === "failed") === failed);
    card.hidden = !fits;
    shown += fits;
  }
  const value = card => card.dataset[key];
  const compare = (a, b) => key === "name"
    ? a.localeCompare(b, undefined, {numeric: true}) : Number(a) - Number(b);
  list.append(...cards.sort((first, second) => {
    const [a, b] = [value(first), value(second)];
    if (a === undefined || b === undefined) return (a === undefined) - (b === undefined);
    return order * compare(a, b);
  }));
  control("shown").value = `${shown} of ${cards.length} photo${cards.length === 1 ? "" : "s"}`;
}

control("search").addEventListener("input", arrange);
for (const name of ["show", "sort", "order"]) control(name).addEventListener("change", arrange);
control("controls").addEventListener("submit", event => event.preventDefault());
control("controls").hidden = false;
arrange();

function outline(box) {
  const lines = document.querySelectorAll(`g[data-candidate="${box.dataset.outline}"]`);
  for (const line of lines) line.style.display = box.checked ? "" : "none";
}

for (const box of document.querySelectorAll("[data-outline]")) {
  box.addEventListener("change", () => outline(box));
  outline(box);  // some browsers restore the state of a checkbox
}

const zoom = control("zoom");
let current = null;

function open(item) {
  current = item;
  const copy = item.cloneNode(true);
  const button = copy.querySelector(".open");
  button.replaceWith(...button.childNodes);
  const figure = document.createElement("div");
  figure.append(...copy.childNodes);
  const {width, height} = figure.querySelector(".outlines").viewBox.baseVal;
  figure.querySelector(".picture").style.width = `min(100%, 48rem, ${70 * width / height}vh)`;
  // An id is unique in a page: the copy has paths of its own.
  for (const use of figure.querySelectorAll("use")) {
    const path = use.previousElementSibling.firstElementChild;
    path.removeAttribute("id");
    const line = path.cloneNode();
    line.classList.add("over");
    use.replaceWith(line);
  }
  zoom.querySelector(":scope > div").replaceWith(figure);
  if (!zoom.open) zoom.showModal();
}

function step(by) {
  const items = [...current.parentElement.children].filter(item => !item.hidden);
  const next = items[items.indexOf(current) + by];
  if (next) open(next);
}

document.addEventListener("click", event => {
  const button = event.target.closest(".open");
  if (button) open(button.closest("li"));
  const dot = event.target.closest("[data-n]");
  if (dot) open(document.getElementById(`p${dot.dataset.n}`));
  if (event.target === zoom) zoom.close();
});
control("earlier").addEventListener("click", () => step(-1));
control("later").addEventListener("click", () => step(1));
zoom.addEventListener("keydown", event => {
  if (event.key === "ArrowLeft") step(-1);
  if (event.key === "ArrowRight") step(1);
});
