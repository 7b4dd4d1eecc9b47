// Making elements, and binding inputs to the state. Text never becomes HTML.

export const words = JSON.parse(document.getElementById("words").textContent);

export function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "value" || name === "checked") element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(
    ...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false),
  );
  return element;
}

const SPRITE = document.querySelector("svg.icon use").getAttribute("href").split("#")[0];

export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `${SPRITE}#${name}`);
  svg.append(use);
  return svg;
}

// The one place that says "something changed": the page previews and remembers that it is not saved.
let changed = () => {};
export function onChange(act) {
  changed = act;
}
export function touch() {
  changed();
}

export function text(object, key, attributes = {}) {
  return el("input", {
    class: "form-control",
    type: "text",
    spellcheck: "false",
    value: object[key] ?? "",
    ...attributes,
    oninput: (event) => {
      object[key] = event.target.value;
      touch();
    },
  });
}

export function area(object, key, attributes = {}) {
  return el("textarea", {
    class: "form-control code-area",
    rows: 6,
    spellcheck: "false",
    ...attributes,
    value: object[key] ?? "",
    oninput: (event) => {
      object[key] = event.target.value;
      touch();
    },
  });
}

export function select(object, key, options, after, attributes = {}) {
  const pairs = options.map((option) => (Array.isArray(option) ? option : [option, words.options[option] ?? option]));
  const field = el("select", {
    class: "form-select",
    ...attributes,
    onchange: (event) => {
      object[key] = event.target.value;
      after?.();
      touch();
    },
  }, pairs.map(([value, name]) => el("option", { value }, name)));
  field.value = object[key] ?? "";
  return field;
}

export function check(object, key, label, after) {
  return el(
    "label",
    { class: "form-check" },
    box(object, key, after),
    el("span", { class: "form-check-label" }, label),
  );
}

// The box itself, without a label beside it.
export function box(object, key, after, attributes = {}) {
  return el("input", {
    class: "form-check-input",
    type: "checkbox",
    checked: object[key],
    onchange: (event) => {
      object[key] = event.target.checked;
      after?.();
      touch();
    },
    ...attributes,
  });
}

let count = 0;
// A labelled field. path: where the server's message about it belongs.
export function labelled(label, input, path, hint) {
  const id = `f${++count}`;
  const control = input.matches("input, select, textarea") ? input : input.querySelector("input, select, textarea");
  control?.setAttribute("id", id);
  control?.setAttribute("aria-describedby", hint ? `${id}-e ${id}-h` : `${id}-e`);
  return el(
    "div",
    { class: "mb-3 spot", "data-path": path },
    el("label", { class: "form-label", for: id }, label),
    input,
    el("div", { class: "spot-errors", id: `${id}-e` }),
    hint && el("div", { class: "form-hint", id: `${id}-h` }, hint),
  );
}

export function button(name, label, act, attributes = {}) {
  return el("button", { class: "btn btn-sm", type: "button", onclick: act, ...attributes }, name && icon(name), label);
}

export function tool(name, label, act, attributes = {}) {
  return el("button", {
    class: "btn btn-icon btn-sm btn-ghost-secondary",
    type: "button",
    title: label,
    "aria-label": label,
    onclick: act,
    ...attributes,
  }, icon(name));
}

// The button that takes an item out of its list.
export function remover(list, index, redraw) {
  return tool("trash", words.remove, () => {
    list.splice(index, 1);
    touch();
    redraw();
  });
}

export function section(title, ...children) {
  return el(
    "section",
    { class: "card part" },
    el("div", { class: "card-header" }, el("h2", { class: "card-title" }, title)),
    el("div", { class: "card-body" }, children),
  );
}
