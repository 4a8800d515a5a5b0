// What of an answer is shown, and the same said as a query and as a command.

/**
 * @typedef {{threshold: number, off: Set<string>, tiles?: string}} View the score threshold, the classes that are switched off, and
 *   the tiles to look into: `auto`, `off`, a number, or nothing for the service's own setting
 */

/** Return the detections a view shows. As in the service, scores are strictly above the threshold. */
export function shown(detections, view) {
  return detections.filter((one) => one.score > view.threshold && !view.off.has(one.label));
}

/** Return the number of detections above the threshold per class, whether the class is on or off. */
export function countsByClass(detections, threshold) {
  const counts = new Map();
  for (const { label, score } of detections) {
    if (score > threshold) counts.set(label, (counts.get(label) ?? 0) + 1);
  }
  return counts;
}

/** Return the query that selects exactly the objects of a view; it has `format` unless that is JSON. */
export function queryOf(view, classes, format = "json") {
  const query = new URLSearchParams({ score_threshold: String(view.threshold) });
  if (classes.some((name) => view.off.has(name))) {
    for (const name of classes) if (!view.off.has(name)) query.append("labels", name);
  }
  if (view.tiles) query.set("tiles", view.tiles);
  if (format !== "json") query.set("format", format);
  return query;
}

/** Return the shell command that sends a photo with a query. It names the variable of a key, never the key. */
export function curlLine(file, query, { needsKey = false } = {}) {
  // curl ends a file name at ; or , unless it is in double quotes, where " and \ are escaped
  const path = /[",;\\]/.test(file.name) ? `"${file.name.replace(/["\\]/g, "\\$&")}"` : file.name;
  const type = file.type ? `;type=${file.type}` : "";
  const key = needsKey ? ' -H "Authorization: Bearer $KEY"' : "";
  const address = new URL(`detect?${query}`, document.baseURI);
  return `curl${key} -F ${quoted(`image=@${path}${type}`)} ${quoted(String(address))}`;
}

function quoted(text) {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

/** Return "1 object", "2 objects". */
export const countOf = ({ length }) => (length === 1 ? "1 object" : `${length} objects`);

/** Return "3 one, 2 six": how many of each class, in the order of the classes. */
export function inWords(detections, classes) {
  const counts = countsByClass(detections, -1);
  return classes
    .filter((name) => counts.has(name))
    .map((name) => `${counts.get(name)} ${name}`)
    .join(", ");
}
