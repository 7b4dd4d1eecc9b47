// Completion of << in every text field of the editor: names of the catalogue, and filters after a bar.
import { el, words } from "./dom.js";

const list = el("ul", { class: "completion", role: "listbox", id: "completion", hidden: true });
let field = null;
let options = [];
let active = 0;

export function install(form, data, stage) {
  document.body.append(list);
  form.addEventListener("input", (event) => look(event.target, data, stage()));
  form.addEventListener("keydown", keys);
  // only the list of the field that was left: the next one may have opened its own by then
  form.addEventListener("focusout", () => setTimeout(() => document.activeElement === field || hide(), 150));
  list.addEventListener("mousedown", (event) => {
    const row = event.target.closest("li");
    if (row) {
      event.preventDefault();
      take(Number(row.dataset.index));
    }
  });
}

// Opens the list in a field as if << had been typed there.
export function open(input, data, stage) {
  const at = input.selectionStart ?? input.value.length;
  input.focus();
  input.setRangeText("<<", at, input.selectionEnd ?? at, "end");
  input.dispatchEvent(new Event("input", { bubbles: true }));
  look(input, data, stage);
}

function look(input, data, stage) {
  if (!input.matches("input[type=text], textarea") || input.dataset.plain !== undefined) return;
  const before = input.value.slice(0, input.selectionStart);
  const start = before.lastIndexOf("<<");
  const typed = before.slice(start + 2);
  if (start < 0 || typed.includes(">") || typed.includes("\n")) return hide();
  const bar = typed.lastIndexOf("|");
  options = bar < 0 ? names(data, stage, typed.trim()) : filters(data, typed.slice(bar + 1));
  if (!options.length) return hide();
  field = input;
  active = 0;
  show(input);
}

function names(data, stage, typed) {
  const wanted = typed.toLowerCase();
  return data.parameters
    .filter((item) => [item.name, ...item.aliases].some((name) => name.toLowerCase().includes(wanted)))
    .map((item) => ({
      item,
      here: stage === "chain" || item.stages.includes(stage),
      first: item.name.toLowerCase().startsWith(wanted),
    }))
    .sort((a, b) => b.here - a.here || b.first - a.first)
    .slice(0, 40)
    .map(({ item, here }) => ({
      insert: item.name,
      from: typed.length,
      close: true,
      name: item.name,
      meaning: item.meaning,
      example: here ? item.example : words.notHere,
      faint: !here,
    }));
}

function filters(data, typed) {
  return data.filters.filter((item) => item.name.startsWith(typed.trim()))
    .map((item) => ({
      insert: item.argument ? `${item.name}:` : item.name,
      from: typed.length,
      close: !item.argument,
      name: `|${item.name}`,
      meaning: item.argument ? `${item.name}:${item.argument}` : "",
      example: "",
    }));
}

function show(input) {
  list.replaceChildren(
    ...options.map((option, index) =>
      el(
        "li",
        {
          role: "option",
          id: `completion-${index}`,
          "data-index": index,
          class: option.faint ? "faint" : "",
          "aria-selected": String(index === active),
        },
        el("code", {}, option.name),
        el("span", {}, option.meaning),
        el("small", {}, String(option.example).slice(0, 40)),
      )
    ),
  );
  const box = input.getBoundingClientRect();
  list.hidden = false;
  const below = innerHeight - box.bottom > 260 || box.top < 260;
  const sheet = list.style; // set from script, which the policy allows
  sheet.left = `${Math.max(8, Math.min(box.left, innerWidth - 440)) + scrollX}px`;
  sheet.top = below ? `${box.bottom + scrollY + 4}px` : `${box.top + scrollY - list.offsetHeight - 4}px`;
  input.setAttribute("aria-controls", "completion");
  input.setAttribute("aria-activedescendant", `completion-${active}`);
}

function hide() {
  list.hidden = true;
  field?.removeAttribute("aria-activedescendant");
  field?.removeAttribute("aria-controls");
  field = null;
}

function keys(event) {
  if (!field || list.hidden) return;
  if (event.key === "ArrowDown" || event.key === "ArrowUp") {
    active = (active + (event.key === "ArrowDown" ? 1 : options.length - 1)) % options.length;
    [...list.children].forEach((row, index) => row.setAttribute("aria-selected", String(index === active)));
    list.children[active].scrollIntoView({ block: "nearest" });
    field.setAttribute("aria-activedescendant", `completion-${active}`);
  } else if (event.key === "Enter" || event.key === "Tab") take(active);
  else if (event.key === "Escape") hide();
  else return;
  event.preventDefault();
  event.stopPropagation();
}

function take(index) {
  const option = options[index];
  const input = field;
  const at = input.selectionStart;
  const rest = input.value.slice(at);
  const tail = option.close && !rest.startsWith(">>") ? ">>" : "";
  input.setRangeText(option.insert + tail, at - option.from, at, "end");
  if (option.close && !tail) input.selectionStart = input.selectionEnd = input.selectionStart + 2;
  hide();
  input.focus();
  input.dispatchEvent(new Event("input", { bubbles: true }));
}
