// The ways in: drop, paste, choose, take, or one of the examples.

import { byId, element } from "./element.js";
import { examplesFor, fileAt } from "./service.js";

/** Call back with the files that the visitor drops, pastes or chooses. */
export function onFiles(takeSome) {
  const take = (files) => files.length && takeSome([...files]);
  for (const id of ["choose", "photograph"]) {
    byId(id).addEventListener("change", (event) => {
      take(event.target.files);
      event.target.value = ""; // so that the same file can be chosen again
    });
  }
  document.addEventListener("paste", (event) => {
    take(event.clipboardData.files);
  });
  const over = (isOver) => document.body.classList.toggle("dropping", isOver);
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    over(event.dataTransfer.types.includes("Files"));
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) over(false);
  });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    over(false);
    take(event.dataTransfer.files);
  });
}

/** Show the example pictures of a model, and call back with the one that is clicked. */
export async function showExamples(modelName, take, fail) {
  const addresses = await examplesFor(modelName).catch(() => []);
  byId("examples").hidden = byId("credit").hidden = !addresses.length;
  byId("examples")
    .querySelector("ul")
    .replaceChildren(
      ...addresses.map((src, index) => {
        const picture = element("img", { src, alt: `Example ${index + 1}`, width: 96, height: 96 });
        const onclick = () => fileAt(src).then((file) => take([file]), fail);
        return element("li", {}, element("button", { type: "button", onclick }, picture));
      }),
    );
}
