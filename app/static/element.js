// Makes elements; what comes from outside is only ever text in them.

/** Return a new element with properties (`data` sets data-* attributes, `aria` aria-*) and children, nodes or text. */
export function element(tag, { data = {}, aria = {}, ...properties } = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  Object.assign(made.dataset, data);
  for (const [name, value] of Object.entries(aria)) made.setAttribute(`aria-${name}`, value);
  made.append(...children);
  return made;
}

/** Return the element with an id of the page. */
export const byId = (id) => document.getElementById(id);

/**
 * Make a list of buttons one stop of the Tab key, in which the arrow keys, Home and End move.
 *
 * @param {HTMLElement} list holds the buttons, now and later
 * @param {(button: HTMLElement) => void} onMove is called with the button that the keys moved to
 */
export function moveByArrows(list, onMove = () => {}) {
  list.addEventListener("keydown", (event) => {
    const buttons = [...list.querySelectorAll("button")];
    const at = buttons.indexOf(document.activeElement);
    const to = {
      ArrowDown: at + 1,
      ArrowRight: at + 1,
      ArrowUp: at - 1,
      ArrowLeft: at - 1,
      Home: 0,
      End: buttons.length - 1,
    }[event.key];
    if (at < 0 || !buttons[to]) return;
    event.preventDefault();
    buttons[at].tabIndex = -1;
    buttons[to].tabIndex = 0;
    buttons[to].focus();
    onMove(buttons[to]);
  });
}
