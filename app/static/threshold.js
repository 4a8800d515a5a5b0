// The slider for the score threshold, over a rug of the scores that there are.

import { paint } from "./colours.js";
import { byId, element } from "./element.js";

const slider = byId("threshold");
const value = byId("threshold-value");
const reset = byId("reset");
const mark = byId("recommended");
const rug = byId("rug");

/** Call back with each chosen threshold: hundredths from the slider, or exactly the recommended one. */
export function onThreshold(choose) {
  slider.addEventListener("input", () => choose(Number(slider.value)));
  reset.addEventListener("click", () => choose(Number(reset.value)));
}

/** Set the slider's limits and the recommended threshold of a model. */
export function limitThreshold(model) {
  slider.min = Math.floor(model.score_floor * 100) / 100;
  reset.value = model.score_threshold;
  mark.style.setProperty("--at", place(model.score_threshold));
  mark.title = `Recommended: ${model.score_threshold}`;
}

/** Show a threshold, and a photo's scores below the slider. */
export function showThreshold(threshold, detections) {
  slider.value = threshold;
  slider.style.setProperty("--at", place(threshold));
  slider.setAttribute("aria-valuetext", String(threshold));
  value.textContent = threshold;
  reset.textContent = `Recommended: ${reset.value}`;
  reset.disabled = Number(reset.value) === threshold;
  rug.replaceChildren(
    ...detections.map(({ score, label_id: labelId }) => {
      const tick = element("i");
      tick.style.setProperty("--at", place(score));
      tick.classList.toggle("below", score <= threshold);
      paint(tick, labelId);
      return tick;
    }),
  );
}

/** Return the position of a score between the slider's ends, 0..1. */
function place(score) {
  const least = Number(slider.min);
  return Math.max(0, (score - least) / (1 - least));
}
