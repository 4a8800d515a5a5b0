// The colour of a class, as in pictures that the service draws.

const GOLDEN_RATIO = 0.618034;
const SATURATION = 0.85;
const VALUE = 0.95;

/** Return [red, green, blue], 0..255, of class 1..K: the formula of `class_colour` in rendersight/drawing.py. */
export function classColour(label) {
  const hue = (0.58 + label * GOLDEN_RATIO) % 1;
  return [5, 3, 1].map((offset) => {
    const k = (offset + hue * 6) % 6;
    return Math.round(255 * VALUE * (1 - SATURATION * Math.max(0, Math.min(k, 4 - k, 1))));
  });
}

/** Return "black" or "white", whichever has more contrast on a colour (WCAG 2.2, relative luminance). */
export function inkOn(colour) {
  const [red, green, blue] = colour.map((value) => {
    const part = value / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.179 ? "black" : "white";
}

/** Give an element its class's colours, as the custom properties --class and --on-class. */
export function paint(element, label) {
  const colour = classColour(label);
  element.style.setProperty("--class", `rgb(${colour.join(" ")})`);
  element.style.setProperty("--on-class", inkOn(colour));
}
