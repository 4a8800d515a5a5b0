// Several photos as a strip of thumbnails, each with its count or its state.

import { byId, element, moveByArrows } from "./element.js";
import { countOf, shown } from "./selection.js";

const strip = byId("gallery");
const list = strip.querySelector("ul");
const items = new Map();
moveByArrows(list, (button) => button.scrollIntoView({ block: "nearest", inline: "nearest" }));

/** Show the photos' thumbnails if there are several. */
export function showGallery(photos, view) {
  strip.hidden = photos.all.length < 2;
  for (const [photo, item] of items) {
    if (!photos.all.includes(photo)) {
      item.remove();
      items.delete(photo);
    }
  }
  for (const photo of photos.all) {
    if (!items.has(photo)) {
      items.set(photo, thumbnail(photo, () => photos.select(photo)));
      list.append(items.get(photo));
    }
    update(items.get(photo).firstChild, photo, photo === photos.selected, view);
  }
}

function thumbnail(photo, onclick) {
  const picture = element("img", { src: photo.url, alt: "", decoding: "async" });
  picture.onerror = () => {
    picture.onerror = null;
    picture.replaceWith(element("span", { className: "no-picture" }, photo.file.name.split(".").pop()));
  };
  const badge = element("span", { className: "badge" });
  return element("li", {}, element("button", { type: "button", onclick }, picture, badge));
}

function update(button, photo, isSelected, view) {
  const [short, long] = stateOf(photo, view);
  button.dataset.state = photo.state;
  button.tabIndex = isSelected ? 0 : -1;
  button.setAttribute("aria-current", isSelected);
  button.setAttribute("aria-label", `${photo.file.name}: ${long}`);
  button.title = photo.file.name;
  button.querySelector(".badge").textContent = short;
  const picture = button.querySelector(".no-picture");
  if (picture && photo.upright) picture.replaceWith(element("img", { src: photo.upright, alt: "" }));
}

function stateOf(photo, view) {
  if (photo.state === "done") {
    const detections = shown(photo.answer.detections, view);
    return [String(detections.length), countOf(detections)];
  }
  if (photo.busyS) return ["…", "the service is busy, waiting"];
  if (photo.state === "failed") return ["!", `failed: ${photo.problem.title}`];
  return ["…", photo.state === "asking" ? "detecting" : "waiting"];
}
