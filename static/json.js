// <json-view>: JSON in colours, folded line by line, with the path of the chosen line and its value to copy.
// It works on the lines that the server wrote, and never on parsed numbers: 9007199254740993 stays what it is.
import { copyText } from "./clipboard.js";
import { toast } from "./requests.js";

const MOST_LINES = 3000;
const LINE = /^(\s*)(?:("(?:[^"\\]|\\.)*"): )?(.*)$/;

class JsonView extends HTMLElement {
  connectedCallback() {
    const pre = this.querySelector("pre");
    const text = pre?.textContent ?? "";
    if (!/^[[{]\n/.test(text)) return;
    const lines = read(text);
    if (lines.length > MOST_LINES) return;
    this.lines = lines.map((line) => ({ ...line, row: drawn(line) }));
    this.place = pre.cloneNode(false);
    this.place.setAttribute("role", "tree");
    this.place.setAttribute("aria-label", this.dataset.label);
    this.place.append(...this.lines.map((line) => line.row));
    this.tools = this.toolbar();
    pre.replaceWith(this.place);
    this.append(this.tools);
    this.place.addEventListener("click", (event) => this.clicked(event));
    this.place.addEventListener("keydown", (event) => this.pressed(event));
    this.choose(this.lines[0]);
  }

  toolbar() {
    const bar = document.createElement("div");
    bar.className = "json-tools";
    const path = document.createElement("code");
    path.className = "text-truncate";
    const copy = (label, of) => {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "btn btn-sm";
      button.textContent = label;
      button.addEventListener("click", async () => {
        const copied = await copyText(of(this.chosen));
        toast(copied ? this.dataset.copied : document.getElementById("toasts").dataset.notCopied, !copied);
      });
      return button;
    };
    bar.append(
      path,
      copy(this.dataset.copyPath, (line) => line.path),
      copy(this.dataset.copyValue, (line) => this.value(line)),
    );
    return bar;
  }

  // The value of a line as JSON, moved to the left; a text without its quotes.
  value(line) {
    const last = line.end ?? line.index;
    const lines = this.lines.slice(line.index, last + 1).map((each) => each.text);
    lines[0] = line.value;
    if (lines.length > 1) {
      return lines.map((each, at) => (at ? each.slice(line.depth) : each)).join("\n").replace(/,$/, "");
    }
    const alone = line.value.replace(/,$/, "");
    return alone.startsWith('"') ? JSON.parse(alone) : alone;
  }

  choose(line) {
    this.chosen?.row.classList.remove("chosen");
    this.chosen?.row.removeAttribute("aria-selected");
    this.chosen = line;
    line.row.classList.add("chosen");
    line.row.setAttribute("aria-selected", "true");
    this.place.setAttribute("aria-activedescendant", line.row.id);
    this.tools.firstChild.textContent = line.path || "$";
  }

  clicked(event) {
    const line = this.lines.find(({ row }) => row === event.target.closest(".json-line"));
    if (!line || String(getSelection())) return;
    this.choose(line);
    if (event.target.closest(".json-fold")) this.fold(line);
  }

  pressed(event) {
    const seen = this.lines.filter(({ row, closing }) => !row.hidden && !closing);
    const at = seen.indexOf(this.chosen);
    const act = {
      ArrowDown: () => this.choose(seen[at + 1] ?? this.chosen),
      ArrowUp: () => this.choose(seen[at - 1] ?? this.chosen),
      ArrowLeft: () => this.fold(this.chosen, true),
      ArrowRight: () => this.fold(this.chosen, false),
      Enter: () => this.fold(this.chosen),
    }[event.key];
    if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation(); // the arrow keys of a drawer go to the next row of its list
    act();
    this.chosen.row.scrollIntoView({ block: "nearest" });
  }

  fold(line, folded = !line.folded) {
    if (line.end === undefined || Boolean(line.folded) === folded) return;
    line.folded = folded;
    line.row.setAttribute("aria-expanded", String(!folded));
    const inside = this.lines.slice(line.index + 1, line.end + 1);
    for (let at = 0; at < inside.length; at++) {
      inside[at].row.hidden = folded;
      if (!folded && inside[at].folded) at = inside[at].end - line.index - 1; // what was folded inside stays folded
    }
  }
}

// The lines with depth, path, and, where something opens, the index of the line that closes it.
function read(text) {
  const open = [];
  return text.split("\n").map((line, index, all) => {
    const [, indent, key, value] = LINE.exec(line);
    const closing = /^[\]}]/.test(value);
    const found = { index, text: line, depth: indent.length, key, value, closing };
    if (closing) {
      const begun = open.pop();
      begun.end = index;
      found.path = begun.path;
      return found;
    }
    found.path = pathOf(open.at(-1), key);
    if (/^[[{]$/.test(value) && index + 1 < all.length) open.push(Object.assign(found, { count: 0 }));
    return found;
  });
}

function pathOf(parent, key) {
  if (!parent) return "";
  if (!key) return `${parent.path}[${parent.count++}]`;
  const name = JSON.parse(key);
  if (!/^[\p{L}_$][\p{L}\p{N}_$]*$/u.test(name)) return `${parent.path}[${key}]`;
  return parent.path ? `${parent.path}.${name}` : name;
}

let count = 0;

function drawn(line) {
  const row = document.createElement("div");
  row.className = "json-line";
  row.id = `json-${++count}`;
  row.setAttribute("role", line.closing ? "none" : "treeitem");
  row.setAttribute("aria-level", String(line.depth / 2 + 1));
  if (line.closing) row.removeAttribute("aria-level");
  if (line.end !== undefined) {
    row.setAttribute("aria-expanded", "true");
    row.append(span("json-fold", ""));
  }
  row.append(" ".repeat(line.depth));
  if (line.key) row.append(span("json-key", line.key), ": ");
  const [, value, comma] = /^(.*?)(,?)$/.exec(line.value);
  row.append(span(kindOf(value), value), comma, "\n");
  return row;
}

function kindOf(value) {
  if (value.startsWith('"')) return "json-text";
  if (/^(true|false|null)$/.test(value)) return "json-word";
  return /^-?\d/.test(value) ? "json-number" : "json-bracket";
}

function span(kind, text) {
  const made = document.createElement("span");
  made.className = kind;
  made.textContent = text;
  return made;
}

customElements.define("json-view", JsonView);
