// The classes as switches, each with its count above the threshold.

import { paint } from "./colours.js";
import { byId, element } from "./element.js";
import { countsByClass } from "./selection.js";

const MOST_SHOWN = 20; // of a model with more classes only those are shown that a photo has
const chips = byId("classes").querySelector(".chips");
let onToggle = () => {};

/** Call back with the name of a class that is switched, and whether it is on now. */
export function onClass(toggle) {
  onToggle = toggle;
}

/** Show the class switches for a photo. While the classes are the same, the elements stay, and so does the focus. */
export function showClasses(classes, detections, view) {
  const found = new Set(detections.map((one) => one.label));
  const names = classes.length <= MOST_SHOWN ? classes : classes.filter((name) => found.has(name));
  byId("classes").hidden = names.length < 2;
  const key = JSON.stringify(names);
  if (chips.dataset.names !== key) {
    chips.dataset.names = key;
    chips.replaceChildren(...names.map((name) => chip(name, classes.indexOf(name) + 1)));
  }
  const counts = countsByClass(detections, view.threshold);
  for (const [index, name] of names.entries()) {
    const [box, , , count] = chips.children[index].children;
    box.checked = !view.off.has(name);
    count.textContent = counts.get(name) ?? 0;
  }
}

function chip(name, labelId) {
  const box = element("input", { type: "checkbox", onchange: () => onToggle(name, box.checked) });
  const swatch = element("i", { className: "swatch" });
  const made = element("label", { className: "chip" }, box, swatch, element("span", {}, name), element("b"));
  paint(made, labelId);
  return made;
}
