// The parameter tree: add, nest, move with the mouse or Alt+arrows, delete.
import { box, el, icon, remover, select, text, touch, words } from "./dom.js";

const DEEPEST = 10;
const isNest = (node) => node.type === "array" || node.type === "object";
let dragged = null;

// root: {children: […], type: "object" | "array"}; path: "parameters".
export function tree(root, types, redraw) {
  return el(
    "div",
    { class: "tree", role: "group", "aria-label": words.parameters },
    branch(root, "parameters", 1, types, redraw),
    adder(root, redraw, words.addParameter),
  );
}

function branch(parent, path, depth, types, redraw) {
  return el(
    "ul",
    { class: "tree-list" },
    parent.children.map((node, index) => row(parent, node, index, path, depth, types, redraw)),
  );
}

// Sets the paths of all rows anew, by the names as they are typed now: the server names rows by their paths.
export function setPaths(list, path) {
  [...list?.children ?? []].forEach((item, index) => {
    const line = item.querySelector(":scope > .tree-row");
    const name = outName(line.querySelector(":scope > .tree-name")?.value);
    const own = name ? `${path}.${name}` : `${path}[${index}]`;
    line.dataset.path = own;
    setPaths(item.querySelector(":scope > .tree-list"), own);
  });
}

function outName(name) {
  const own = /^\{\{(.*)\}\}$/s.exec(name ?? "");
  return own ? own[1] : name ?? "";
}

function row(parent, node, index, path, depth, types, redraw) {
  const inArray = parent.type === "array";
  const name = inArray ? "" : outName(node.name);
  const own = inArray || !name ? `${path}[${index}]` : `${path}.${name}`;
  const line = el(
    "div",
    { class: "tree-row spot", "data-path": own, draggable: "false" },
    el("button", {
      class: "grip",
      type: "button",
      title: words.move,
      "aria-label": `${words.move}: ${name || index + 1}`,
      onmousedown: () => line.setAttribute("draggable", "true"),
      onmouseup: () => line.setAttribute("draggable", "false"),
      onkeydown: (event) => arrows(event, parent, index, redraw),
    }, icon("grip-vertical")),
    inArray ? el("span", { class: "tree-index" }, String(index + 1)) : text(node, "name", {
      class: "form-control tree-name",
      placeholder: words.name,
      "aria-label": words.name,
      "data-plain": "",
    }),
    select(node, "type", types, () => {
      node.children ??= [];
      if (isNest(node) || node.type === "file") node.value = "";
      redraw();
    }, { class: "form-select tree-type", "aria-label": words.type }),
    isNest(node)
      ? el("span", { class: "tree-nest second" }, `${node.children.length}`)
      : node.type === "file"
      ? el("span", { class: "tree-nest second" }, words.ownFileBelow)
      : text(node, "value", {
        class: "form-control tree-value",
        placeholder: node.type === "recording" ? words.fileName : "<<caller>>",
        "aria-label": words.value,
      }),
    rules(node, redraw),
    remover(parent.children, index, redraw),
  );
  drag(line, parent, index, redraw);
  const item = el("li", { class: "tree-item" }, line, el("div", { class: "spot-errors" }));
  if (isNest(node)) {
    item.append(
      branch(node, own, depth + 1, types, redraw),
      adder(node, redraw, depth < DEEPEST ? words.addInside : null),
    );
  }
  return item;
}

function rules(node, redraw) {
  const marks = [node.mandatory && "*", node.empty && "∅", node.attribute && "@"].filter(Boolean).join("");
  const rule = (key, label) => el("label", { class: "form-check" }, box(node, key, redraw), label);
  return el(
    "details",
    { class: "menu" },
    el(
      "summary",
      { class: "btn btn-icon btn-sm btn-ghost-secondary", title: words.rules, "aria-label": words.rules },
      marks || icon("adjustments"),
    ),
    el(
      "div",
      { class: "menu-list tree-rules" },
      el(
        "label",
        { class: "form-label" },
        words.whenEmpty,
        select(node, "empty", [["", words.emptyDefault], ["null", "null"], ["empty", words.emptyText], [
          "omit",
          words.emptyOmit,
        ]], redraw),
      ),
      rule("mandatory", words.mandatory),
      rule("attribute", words.attribute),
    ),
  );
}

function adder(parent, redraw, label) {
  if (!label) return null;
  const inArray = parent.type === "array";
  return el(
    "button",
    {
      class: "btn btn-sm btn-ghost-secondary tree-add",
      type: "button",
      onclick: (event) => {
        parent.children.push({ name: "", type: "text", value: "", children: [] });
        touch();
        const place = [...document.querySelectorAll(".tree-add")].indexOf(event.currentTarget);
        redraw();
        const again = document.querySelectorAll(".tree-add")[place];
        again?.previousElementSibling?.lastElementChild?.querySelector(inArray ? ".tree-value" : ".tree-name")?.focus();
      },
    },
    icon("plus"),
    label,
  );
}

function arrows(event, parent, index, redraw) {
  const step = { ArrowUp: -1, ArrowDown: 1 }[event.key];
  const target = index + step;
  if (step === undefined || target < 0 || target >= parent.children.length) return;
  event.preventDefault();
  const place = [...document.querySelectorAll(".tree .grip")].indexOf(event.currentTarget);
  move(parent, index, parent, target);
  redraw();
  document.querySelectorAll(".tree .grip")[place + step]?.focus();
}

function move(from, index, to, target) {
  const [node] = from.children.splice(index, 1);
  to.children.splice(target, 0, node);
  touch();
}

const holds = (node, other) => node === other || (node.children ?? []).some((child) => holds(child, other));

// Where a row dropped here goes: the upper part of this one is before it, the lower part after it, the middle of an
// object or an array inside.
function side(event, line, node) {
  const box = line.getBoundingClientRect();
  const height = (event.clientY - box.top) / box.height;
  if (isNest(node) && height > 0.25 && height < 0.75) return "inside";
  return height < 0.5 ? "before" : "after";
}

function drag(line, parent, index, redraw) {
  line.addEventListener("dragstart", (event) => {
    dragged = { parent, index, node: parent.children[index] };
    event.dataTransfer.effectAllowed = "move";
    event.stopPropagation();
  });
  line.addEventListener("dragover", (event) => {
    if (!dragged || holds(dragged.node, parent.children[index])) return;
    event.preventDefault();
    line.dataset.drop = side(event, line, parent.children[index]);
  });
  line.addEventListener("dragleave", () => delete line.dataset.drop);
  line.addEventListener("drop", (event) => {
    event.preventDefault();
    event.stopPropagation();
    const node = parent.children[index];
    if (!dragged || holds(dragged.node, node)) return;
    const { parent: from, index: at } = dragged;
    const where = side(event, line, node);
    from.children.splice(at, 1);
    if (where === "inside") node.children.push(dragged.node);
    else parent.children.splice(parent.children.indexOf(node) + (where === "after" ? 1 : 0), 0, dragged.node);
    dragged = null;
    touch();
    redraw();
  });
}
