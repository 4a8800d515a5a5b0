// Talks to the service that this page came from. Addresses are relative, so that it also works below a proxy's path.

const KEY = "rendersight-key";
const MOST_TRIES = 6;
const LONGEST_WAIT_S = 30;

/** A failed request, described by the service's problem document (RFC 9457) if it sent one. */
export class Problem extends Error {
  constructor({ title, detail = "", status = 0, requestId = "", retryAfterS = 1 }) {
    super(detail || title);
    Object.assign(this, { title, detail, status, requestId, retryAfterS });
  }
}

export const storedKey = () => sessionStorage.getItem(KEY) ?? "";
export const storeKey = (key) => sessionStorage.setItem(KEY, key);

async function problemOf(response) {
  const said = await response.json().catch(() => ({}));
  return new Problem({
    title: said.title ?? `HTTP ${response.status} ${response.statusText}`,
    detail: said.detail ?? "The answer did not come from the service. A proxy may have sent it.",
    status: response.status,
    requestId: said.request_id ?? response.headers.get("X-Request-ID") ?? "",
    retryAfterS: Number(response.headers.get("Retry-After")) || 1,
  });
}

async function ask(address, options = {}) {
  const key = storedKey();
  const headers = key ? { Authorization: `Bearer ${key}` } : {};
  let response;
  try {
    response = await fetch(address, { ...options, headers });
  } catch {
    const detail = "The service cannot be reached, or the browser cannot read the file.";
    throw new Problem({ title: "No answer", detail });
  }
  if (!response.ok) throw await problemOf(response);
  return response;
}

/** Return the model that is served, as in `GET /models`. */
export async function servedModel() {
  return (await (await ask("models")).json()).models[0];
}

/** Return the addresses of the example pictures for a model; none if it has none. */
export async function examplesFor(modelName) {
  const { photos } = await (await ask("examples")).json();
  return photos.filter((name) => name.startsWith(`${modelName}-`)).map((name) => `examples/${name}`);
}

/** Fetch an example picture as a file. */
export async function fileAt(address) {
  const blob = await (await ask(address)).blob();
  return new File([blob], address.split("/").pop(), { type: blob.type });
}

/**
 * Send one photo to `POST /detect`.
 *
 * If the service is busy (503), try again after the time that it names, a limited number of times.
 *
 * @param {File} file the photo
 * @param {URLSearchParams} query the query parameters
 * @param {{onWait?: (seconds: number) => void}} options
 * @returns {Promise<{body: Blob, tookMs: number, stages: [string, number][], requestId: string}>} the answer, how long
 *   it took here, and the service's own stages in ms
 * @throws {Problem}
 */
export async function detect(file, query, { onWait = () => {} } = {}) {
  for (let tries = 1; ; tries += 1) {
    const form = new FormData();
    form.append("image", file, file.name);
    const beganMs = performance.now();
    try {
      const response = await ask(`detect?${query}`, { method: "POST", body: form });
      const body = await response.blob();
      return {
        body,
        tookMs: performance.now() - beganMs,
        stages: stagesOf(response.headers.get("Server-Timing") ?? ""),
        requestId: response.headers.get("X-Request-ID") ?? "",
      };
    } catch (problem) {
      if (problem.status !== 503 || tries === MOST_TRIES) throw problem;
      const seconds = Math.min(problem.retryAfterS, LONGEST_WAIT_S);
      onWait(seconds);
      await new Promise((resume) => setTimeout(resume, seconds * 1000));
    }
  }
}

/**
 * Detect everything in one photo, down to the network's score floor, so that changing the view needs no more requests.
 *
 * @param {File} file the photo
 * @param {{onWait?: (seconds: number) => void, tiles?: string}} options `tiles` as in the query of `POST /detect`
 * @returns {Promise<{answer: object, tookMs: number, stages: [string, number][], requestId: string}>}
 * @throws {Problem}
 */
export async function detectEverything(file, { tiles = "", ...options } = {}) {
  const query = new URLSearchParams({ score_threshold: "0", ...(tiles && { tiles }) });
  const { body, ...measured } = await detect(file, query, options);
  try {
    return { ...measured, answer: JSON.parse(await body.text()) };
  } catch (error) {
    throw new Problem({ title: "Unreadable answer", detail: error.message, requestId: measured.requestId });
  }
}

/** Read `decode;dur=3.1, total;dur=52.0` as pairs of name and ms. */
function stagesOf(header) {
  return [...header.matchAll(/([\w-]+);dur=([\d.]+)/g)].map(([, name, ms]) => [name, Number(ms)]);
}
