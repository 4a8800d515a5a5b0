// Shows what went wrong: the service's own words, and the id by which its log knows the request.

import { element } from "./element.js";

/** Show a problem in an element that is an alert; null hides it. */
export function showProblem(box, problem, onRetry = null) {
  box.hidden = !problem;
  if (!problem) {
    box.replaceChildren();
    return;
  }
  const facts = element("dl");
  if (problem.status) facts.append(element("dt", {}, "Status "), element("dd", {}, String(problem.status)));
  if (problem.requestId) {
    facts.append(element("dt", {}, "Request id "), element("dd", {}, element("code", {}, problem.requestId)));
  }
  box.replaceChildren(
    element("strong", {}, problem.title),
    ...(problem.detail ? [element("p", {}, problem.detail)] : []),
    facts,
    ...(onRetry ? [element("button", { type: "button", onclick: onRetry }, "Try again")] : []),
  );
}
