// The page: photos in, boxes over them. Each photo is sent once, with everything asked for; what is shown of the
// answer is chosen here. Only another choice of tiles sends the photos again.

import { showAccess } from "./access.js";
import { onClass, showClasses } from "./classes.js";
import { byId } from "./element.js";
import { showGallery } from "./gallery.js";
import { onFiles, showExamples } from "./intake.js";
import { offerCamera } from "./camera.js";
import { listObjects } from "./objects.js";
import { Photos } from "./photos.js";
import { showProblem } from "./problem.js";
import { countOf, inWords, shown } from "./selection.js";
import { servedModel } from "./service.js";
import { clearStage, showPhoto } from "./stage.js";
import { offer } from "./takeaway.js";
import { limitThreshold, onThreshold, showThreshold } from "./threshold.js";

const SAY_AFTER_MS = 400; // a moving slider says only where it stops
const view = { threshold: 0.5, off: new Set(), tiles: "" };
const photos = new Photos(show);
const camera = offerCamera(show, take);
const seen = new Set(); // the versions whose classes and thresholds were asked for
const versionOf = ({ name, version }) => `${name}@${version}`;
let model = null;
let saying = 0;

onFiles(take);
onThreshold((threshold) => {
  view.threshold = threshold;
  show();
});
onClass((name, isOn) => {
  if (isOn) view.off.delete(name);
  else view.off.add(name);
  show();
});
byId("tiles").addEventListener("change", ({ target }) => {
  view.tiles = target.value;
  photos.look(view.tiles);
});
byId("clear").addEventListener("click", () => {
  camera.stop();
  photos.clear();
  byId("choose").focus();
});
start();

/** Ask which model is served. Ask again while the service is starting. */
async function start() {
  const trouble = byId("trouble");
  try {
    model = await servedModel();
  } catch (problem) {
    if (showAccess(problem, restart)) return;
    showProblem(trouble, problem, start);
    if (problem.status === 503) setTimeout(start, problem.retryAfterS * 1000);
    return;
  }
  showProblem(trouble, null);
  seen.add(versionOf(model));
  showModel(model);
  view.threshold = model.default_score_threshold;
  limitThreshold(model);
  showExamples(model.name, take, (problem) => showProblem(trouble, problem));
  show();
}

/** Show the model, its engine, and the faster engines that do not run here, with the reasons. */
function showModel({ name, version, engine, device, skipped_engines: skipped = [] }) {
  const line = byId("model");
  line.textContent = `${name} ${version} · ${engine} · ${device}`;
  if (!skipped.length) return;
  line.textContent += ` · without ${skipped.map((item) => item.engine).join(", ")}`;
  line.title = skipped.map((item) => `${item.engine}: ${item.reason}`).join("\n");
}

function restart() {
  start();
  photos.retry(photos.all.filter((photo) => [401, 403].includes(photo.problem?.status)));
}

function take(files) {
  camera.stop();
  photos.add(files);
}

function show() {
  const photo = camera.picture ?? photos.selected;
  document.body.classList.toggle("started", photo !== null);
  byId("work").hidden = photo === null;
  byId("clear").hidden = photo === null;
  showGallery(photos, view);
  if (!photo) {
    clearStage();
    return;
  }
  if (photo.problem) showAccess(photo.problem, restart);
  const all = photo.answer?.detections ?? [];
  const detections = shown(all, view);
  showPhoto(photo, detections);
  showProblem(byId("problem"), photo.problem, mayPass(photo) ? () => photos.retry([photo]) : null);
  byId("progress").textContent = progressOf(photo);
  byId("found").hidden = !photo.answer;
  if (photo.answer && model) showFound(photo, all, detections);
}

function showFound(photo, all, detections) {
  if (!seen.has(versionOf(photo.answer.model))) start(); // a newer release has taken over
  byId("summary").textContent = countOf(detections);
  showThreshold(view.threshold, all);
  showClasses(model.classes, all, view);
  listObjects(detections, all);
  byId("list").hidden = !detections.length;
  byId("nothing").hidden = detections.length > 0;
  byId("nothing").textContent = all.length
    ? `The highest score is ${all[0].score.toFixed(2)} (class ${all[0].label}).`
    : `No object has a score above ${photo.answer.score_threshold}, the lowest threshold.`;
  offer(photo, view, model.classes);
  if (photo.isLive) return;
  say(`${photo.file.name}: ${countOf(detections)} above ${view.threshold}. ${inWords(detections, model.classes)}`);
}

/** Return whether sending the photo again may help: there was no answer, a timeout, or an error in the service. */
function mayPass({ problem, isLive }) {
  return problem !== null && !isLive && (problem.status === 0 || problem.status === 408 || problem.status >= 500);
}

function progressOf(photo) {
  if (photo.busyS) return `The service is busy. Trying again in ${photo.busyS} s.`;
  return { waiting: "Waiting …", asking: "Detecting …" }[photo.state] ?? "";
}

function say(words) {
  clearTimeout(saying);
  saying = setTimeout(() => {
    if (byId("said").textContent !== words) byId("said").textContent = words;
  }, SAY_AFTER_MS);
}
