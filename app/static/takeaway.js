// What can be taken along: files that the service makes of just what is shown, and the command for it.

import { byId, element } from "./element.js";
import { showProblem } from "./problem.js";
import { curlLine, queryOf } from "./selection.js";
import { detect, storedKey } from "./service.js";

const FORMATS = [
  { format: "json", words: "JSON", ending: ".detections.json" },
  { format: "labelme", words: "LabelMe", ending: ".json" }, // LabelMe looks for it beside the photo under this name
  { format: "png", words: "Picture", ending: ".boxes.png" },
];
const problems = byId("download-problem");
const line = byId("curl");
let offered = null;

byId("downloads").append(
  ...FORMATS.map((kind) => {
    const button = element("button", { type: "button", aria: { label: `Download ${kind.words}` } }, kind.words);
    button.addEventListener("click", () => download(kind, button));
    return button;
  }),
);
byId("copy").addEventListener("click", copy);

/** Offer a view of a photo as downloads and as a curl command. */
export function offer(photo, view, classes) {
  const isEmpty = classes.every((name) => view.off.has(name)); // no label in a query means every class
  byId("take-away").hidden = photo.isLive || isEmpty;
  if (offered?.photo !== photo) showProblem(problems, null);
  offered = { photo, view, classes };
  line.textContent = curlLine(photo.file, queryOf(view, classes), { needsKey: storedKey() !== "" });
}

async function download({ format, ending }, button) {
  const { photo, view, classes } = offered;
  button.disabled = true;
  showProblem(problems, null);
  try {
    const { body } = await detect(photo.file, queryOf(view, classes, format));
    save(body, photo.file.name.replace(/\.[^.]*$/, "") + ending);
  } catch (problem) {
    showProblem(problems, problem);
  }
  button.disabled = false;
  button.focus();
}

/** Save a blob as a file, through a link outside the page. */
export function save(blob, name) {
  const href = URL.createObjectURL(blob);
  element("a", { href, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(href), 60_000);
}

async function copy() {
  const button = byId("copy");
  try {
    await navigator.clipboard.writeText(line.textContent);
    button.textContent = "Copied";
  } catch {
    // without HTTPS a browser gives no clipboard
    getSelection().selectAllChildren(line);
    button.textContent = "Selected";
  }
  setTimeout(() => (button.textContent = "Copy"), 2000);
}
