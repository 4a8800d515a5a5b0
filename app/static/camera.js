// The camera, looked through as fast as the service answers: one frame is on its way at a time.

import { byId } from "./element.js";
import { newPhoto } from "./photos.js";
import { detectEverything } from "./service.js";
import { fit } from "./stage.js";

const LONGEST_SIDE_PX = 1280;
const video = byId("video");

/**
 * Offer the live camera if the browser has one (it needs HTTPS or this machine's own address).
 *
 * @param {() => void} onChange is called after each answer
 * @param {(files: File[]) => void} keep is called with a picture to keep
 * @returns {{picture: object|null, stop: () => void}} the latest answered picture while the camera runs
 */
export function offerCamera(onChange, keep) {
  const camera = { picture: null, stop };
  byId("live").hidden = !navigator.mediaDevices?.getUserMedia;
  byId("live").addEventListener("click", start);
  byId("stop").addEventListener("click", stop);
  byId("keep").addEventListener("click", async () => {
    if (!video.videoWidth) return; // nothing to be seen yet
    const file = await frame();
    stop();
    keep([file]);
  });
  return camera;

  async function start() {
    if (camera.picture) return;
    const picture = { ...newPhoto(new File([], "Camera")), isLive: true, state: "asking" };
    camera.picture = picture;
    toggle(true);
    try {
      video.srcObject = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
      await video.play();
      fit(video.videoWidth, video.videoHeight);
      byId("keep").focus();
    } catch (error) {
      Object.assign(picture, { state: "failed", problem: { title: "No camera", detail: error.message } });
    }
    while (camera.picture === picture && !picture.problem) await look(picture);
    onChange();
  }

  async function look(picture) {
    try {
      Object.assign(picture, await detectEverything(await frame()), { state: "done" });
    } catch (problem) {
      Object.assign(picture, { problem, state: "failed" });
    }
    if (camera.picture === picture) onChange();
  }

  function stop() {
    if (!camera.picture) return;
    camera.picture = null;
    for (const track of video.srcObject?.getTracks() ?? []) track.stop();
    video.srcObject = null;
    toggle(false);
  }

  function toggle(isOn) {
    video.hidden = byId("live-controls").hidden = !isOn;
    byId("live").disabled = isOn;
    onChange();
  }
}

/** Return the camera's current picture as a JPEG file. */
async function frame() {
  const part = Math.min(1, LONGEST_SIDE_PX / Math.max(video.videoWidth, video.videoHeight));
  const canvas = document.createElement("canvas");
  canvas.width = Math.round(video.videoWidth * part);
  canvas.height = Math.round(video.videoHeight * part);
  canvas.getContext("2d").drawImage(video, 0, 0, canvas.width, canvas.height);
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.9));
  const now = new Date().toISOString().slice(0, 19).replaceAll(":", "-");
  return new File([blob], `camera-${now}.jpg`, { type: blob.type });
}
