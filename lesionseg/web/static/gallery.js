// The photos as a list of buttons. They stay the same elements, so that the keyboard keeps its place.
import { text } from "./texts.js";

const WIDTH = 160; // pixels of a thumbnail

function thumbnail(picture) {
  const canvas = document.createElement("canvas");
  canvas.width = WIDTH;
  canvas.height = Math.max(1, Math.round((WIDTH * picture.height) / picture.width));
  canvas.getContext("2d").drawImage(picture, 0, 0, canvas.width, canvas.height);
  canvas.setAttribute("aria-hidden", "true");
  return canvas;
}

export class Gallery {
  /** `choose(photo)` is called for the photo whose button is pressed. */
  constructor(list, choose) {
    Object.assign(this, { list, choose, buttons: new Map() });
  }

  /** Show photos, { name, state, level, picture } each, and which one is on the screen. */
  show(photos, current) {
    for (const [photo, button] of this.buttons) {
      if (photos.includes(photo)) continue;
      button.parentElement.remove();
      this.buttons.delete(photo);
    }
    for (const photo of photos) {
      const button = this.buttons.get(photo) ?? this.add(photo);
      if (photo.picture && !button.querySelector("canvas")) button.prepend(thumbnail(photo.picture));
      button.lastChild.textContent = text(photo.level ?? photo.state);
      button.disabled = photo.state !== "done";
      button.setAttribute("aria-current", String(photo === current));
    }
  }

  add(photo) {
    const button = document.createElement("button");
    const name = document.createElement("span");
    name.className = "name";
    name.textContent = photo.name;
    button.append(name, document.createElement("span"));
    button.onclick = () => this.choose(photo);
    const item = document.createElement("li");
    item.append(button);
    this.list.append(item);
    this.buttons.set(photo, button);
    return button;
  }
}
