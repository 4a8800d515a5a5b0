// The API key, where the service asks for one: kept in this tab, sent as a header, in no address.

import { byId } from "./element.js";
import { storeKey } from "./service.js";

const form = byId("access");
let onKey = () => {};

form.addEventListener("submit", (event) => {
  event.preventDefault();
  storeKey(byId("key").value.trim());
  byId("key").value = "";
  form.hidden = true;
  onKey();
});

/** If a problem is a missing key, ask for one and call back with it. Return whether that was the problem. */
export function showAccess(problem, then) {
  if (![401, 403].includes(problem.status)) return false;
  onKey = then;
  byId("key-words").textContent = `${problem.title}: ${problem.detail}`;
  if (form.hidden) {
    form.hidden = false;
    byId("key").focus();
  }
  return true;
}
