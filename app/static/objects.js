// The list of objects, and the link between a row and its box: pointing at either lights both.

import { paint } from "./colours.js";
import { byId, element, moveByArrows } from "./element.js";

const rows = byId("objects");
const layer = byId("boxes");
let pinned = null;

moveByArrows(rows);
for (const side of [rows, layer]) {
  side.addEventListener("pointerover", (event) => light(indexAt(event) ?? pinned));
  side.addEventListener("pointerleave", () => light(pinned));
  side.addEventListener("focusin", (event) => light(indexAt(event)));
  side.addEventListener("focusout", () => light(pinned));
  side.addEventListener("click", (event) => {
    const index = indexAt(event);
    pinned = index === pinned ? null : index;
    light(pinned);
  });
}

/** List detections. `all` are those of the photo; an index into it connects a row with its box. */
export function listObjects(detections, all) {
  rows.replaceChildren(...detections.map((one, order) => row(one, all.indexOf(one), order)));
  if (!detections.includes(all[pinned])) pinned = null;
  light(pinned);
}

function row({ label, label_id: labelId, score, box }, index, order) {
  const swatch = element("i", { className: "swatch" });
  const button = element("button", { type: "button", tabIndex: order ? -1 : 0 }, swatch, label);
  const bar = element("i", { className: "bar" });
  bar.style.setProperty("--part", score);
  const made = element(
    "tr",
    { data: { index } },
    element("td", {}, button),
    element("td", {}, bar, score.toFixed(2)),
    element("td", {}, box.map(Math.round).join(", ")),
  );
  paint(made, labelId);
  return made;
}

function indexAt(event) {
  const index = event.target.closest("[data-index]")?.dataset.index;
  return index === undefined ? null : Number(index);
}

function light(index) {
  layer.classList.toggle("pointing", index !== null);
  for (const one of [...rows.children, ...layer.children]) {
    one.classList.toggle("lit", Number(one.dataset.index) === index);
  }
  for (const one of rows.children) {
    one.querySelector("button").setAttribute("aria-pressed", Number(one.dataset.index) === pinned);
  }
}
