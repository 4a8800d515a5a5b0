// The photo with its boxes: positioned elements, so that borders and captions keep their size however small the photo.

import { paint } from "./colours.js";
import { byId, element } from "./element.js";
import { detect } from "./service.js";

const frame = byId("frame");
const picture = byId("photo");
const layer = byId("boxes");
const blank = byId("blank");
const NO_BOXES = new URLSearchParams({ score_threshold: "1", format: "png" });
let onStage = null;

/**
 * Show a photo and the boxes of some of its detections.
 *
 * @param {object} photo the photo, answered or not
 * @param {object[]} detections the detections to show, best first
 */
export function showPhoto(photo, detections) {
  if (onStage !== photo) {
    onStage = photo;
    blank.hidden = true;
    picture.hidden = photo.isLive;
    if (!photo.isLive) picture.src = photo.upright ?? photo.url;
    picture.alt = photo.file.name;
  }
  frame.dataset.state = photo.state;
  if (photo.answer) fit(photo.answer.image.width, photo.answer.image.height);
  drawBoxes(photo.answer?.image, detections, photo.answer?.detections ?? []);
  if (photo.state === "done" && !photo.isLive) seeThatItIsUpright(photo);
  byId("photo-name").textContent = photo.file.name;
  byId("timing").textContent = photo.state === "done" ? timingOf(photo) : "";
}

/** Remove the photo from the stage. */
export function clearStage() {
  onStage = null;
  picture.removeAttribute("src");
  layer.replaceChildren();
}

/** Give the frame the shape of a picture, px. */
export function fit(width, height) {
  frame.style.setProperty("--width", width);
  frame.style.setProperty("--height", height);
}

picture.addEventListener("load", () => {
  if (!onStage) return;
  picture.hidden = false;
  blank.hidden = true;
  if (!onStage.answer) fit(picture.naturalWidth, picture.naturalHeight);
  if (onStage.state === "done") seeThatItIsUpright(onStage);
});

picture.addEventListener("error", () => {
  if (!onStage) return;
  picture.hidden = true;
  blank.hidden = false;
  blank.textContent = "This browser cannot display the file.";
  if (!onStage.answer) fit(3, 1);
  onStage.isUnseen = true;
  if (onStage.state === "done") seeThatItIsUpright(onStage);
});

/** Let the service convert a photo to PNG that the browser cannot display, or displays with another orientation. */
async function seeThatItIsUpright(photo) {
  const { width, height } = photo.answer.image;
  const { naturalWidth, naturalHeight } = picture; // 0 until it is loaded
  const differs = naturalWidth && (naturalWidth !== width || naturalHeight !== height);
  if (photo.askedUpright || !(photo.isUnseen || differs)) return;
  photo.askedUpright = true;
  try {
    const { body } = await detect(photo.file, NO_BOXES);
    photo.upright = URL.createObjectURL(body);
    if (onStage === photo) picture.src = photo.upright;
  } catch (problem) {
    blank.textContent = `This browser cannot display the file, and converting it failed: ${problem.message}`;
  }
}

function drawBoxes(size, detections, all) {
  const byArea = detections.toSorted((one, other) => area(other.box) - area(one.box)); // the smallest is on top
  layer.replaceChildren(
    ...byArea.map((one) => {
      const caption = element("span", {}, one.label, element("span", {}, ` ${one.score.toFixed(2)}`));
      const made = element("div", { className: "box", data: { index: all.indexOf(one) } }, caption);
      place(made, one.box, size);
      paint(made, one.label_id);
      return made;
    }),
  );
}

/** Position an element on a box, and its caption where there is room. */
function place(made, [x0, y0, x1, y1], { width, height }) {
  const parts = { left: x0 / width, top: y0 / height, width: (x1 - x0) / width, height: (y1 - y0) / height };
  for (const [name, part] of Object.entries(parts)) made.style[name] = `${100 * part}%`;
  made.classList.toggle("at-top", parts.top < 0.05);
  made.classList.toggle("at-right", parts.left > 0.8);
}

const area = ([x0, y0, x1, y1]) => (x1 - x0) * (y1 - y0);

function timingOf(photo) {
  const { width, height } = photo.answer.image;
  const stages = photo.stages
    .filter(([name]) => name !== "total")
    .map(([name, ms]) => `${name} ${ms < 10 ? ms.toFixed(1) : Math.round(ms)}`);
  const tiles = photo.answer.tiles ? ` · ${photo.answer.tiles} tiles` : "";
  return `${width} × ${height} px${tiles} · answered in ${Math.round(photo.tookMs)} ms (${stages.join(", ")})`;
}
