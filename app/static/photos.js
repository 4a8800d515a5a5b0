// The photos of this tab, and the queue that sends each of them, once for each choice of tiles.

import { detectEverything } from "./service.js";

const AT_A_TIME = 2;

/**
 * @typedef {{file: File, url: string, state: "waiting"|"asking"|"done"|"failed", busyS: number, answer: object|null,
 *   problem: object|null, tookMs: number, stages: [string, number][], requestId: string}} Photo
 */

export class Photos {
  #onChange;
  #asking = 0;

  /** @param {() => void} onChange is called when a photo or the selection has changed */
  constructor(onChange) {
    this.#onChange = onChange;
    /** @type {Photo[]} */
    this.all = [];
    /** @type {Photo|null} */
    this.selected = null;
    this.tiles = "";
  }

  /** Choose the tiles to look into, as in the query of `POST /detect`, and send all photos again. */
  look(tiles) {
    this.tiles = tiles;
    this.retry(this.all.filter((photo) => photo.state !== "asking"));
  }

  /** Add files and select the first of them. */
  add(files) {
    const added = [...files].map((file) => newPhoto(file));
    if (!added.length) return;
    this.all.push(...added);
    this.selected = added[0];
    this.#onChange();
    this.#askNext();
  }

  select(photo) {
    this.selected = photo;
    this.#onChange();
  }

  clear() {
    for (const photo of this.all) {
      URL.revokeObjectURL(photo.url);
      if (photo.upright) URL.revokeObjectURL(photo.upright);
    }
    this.all = [];
    this.selected = null;
    this.#onChange();
  }

  /** Send photos again that were not answered. */
  retry(which = this.all.filter((photo) => photo.state === "failed")) {
    for (const photo of which) Object.assign(photo, { state: "waiting", problem: null });
    this.#onChange();
    this.#askNext();
  }

  #askNext() {
    while (this.#asking < AT_A_TIME) {
      const next = this.all.find((photo) => photo.state === "waiting");
      if (!next) return;
      this.#asking += 1;
      this.#ask(next).finally(() => {
        this.#asking -= 1;
        this.#onChange();
        this.#askNext();
      });
    }
  }

  async #ask(photo) {
    photo.state = "asking";
    const { tiles } = this;
    this.#onChange();
    const onWait = (seconds) => {
      photo.busyS = seconds;
      this.#onChange();
    };
    try {
      Object.assign(photo, await detectEverything(photo.file, { onWait, tiles }), { state: "done" });
    } catch (problem) {
      Object.assign(photo, { problem, state: "failed" });
    }
    photo.busyS = 0;
    if (tiles !== this.tiles) Object.assign(photo, { problem: null, state: "waiting" }); // chosen meanwhile
  }
}

/** Return a photo that has not been sent. */
export function newPhoto(file) {
  return {
    file,
    url: URL.createObjectURL(file),
    state: "waiting",
    busyS: 0,
    answer: null,
    problem: null,
    tookMs: 0,
    stages: [],
    requestId: "",
  };
}
