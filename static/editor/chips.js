// Colours <<placeholders>> behind the text of a field. A browser draws no colours inside a field, so a copy of the text
// lies under it, in which only the backgrounds of the placeholders can be seen.
import { el } from "./dom.js";

const PLACEHOLDER = /(<<[^<>]*>>)/;

// wrap: the element around the field. names: of the parameters; another one, if it is nobody's own, is marked.
export function colour(input, wrap, names) {
  const copy = el("span", { class: "chips", "aria-hidden": "true" });
  copy.classList.toggle("chips-lines", input.matches("textarea"));
  wrap.prepend(copy);
  const draw = () => {
    const { font, padding, letterSpacing } = getComputedStyle(input); // other on a phone, and where << has its button
    Object.assign(copy.style, { font, padding, letterSpacing });
    copy.replaceChildren(...input.value.split(PLACEHOLDER).filter(Boolean).map((part) => chip(part, names)), "\u200b");
    follow();
  };
  const follow = () => {
    copy.scrollLeft = input.scrollLeft;
    copy.scrollTop = input.scrollTop;
  };
  input.addEventListener("input", draw);
  input.addEventListener("change", draw);
  input.addEventListener("scroll", follow);
  input.addEventListener("focus", draw);
  draw();
}

function chip(part, names) {
  if (!PLACEHOLDER.test(part)) return part;
  const name = part.slice(2, -2).split(/[|.[]/, 1)[0].trim();
  const known = names.has(name) || part.includes("."); // attr.x and webhook.x are one's own
  return el("mark", { class: known ? "chip-known" : "chip-unknown" }, part);
}
