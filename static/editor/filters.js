// The conditions of an event: lines, and groups of lines of which all or any must hold.
import { button, el, select, text, tool, touch, words } from "./dom.js";

const WITHOUT_VALUE = ["working_time", "not_working_time"];
const TIMES = ["on_days", "between", ...WITHOUT_VALUE];
const GROUPS = ["any", "all"];
const DAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun", "holiday"];
const DEEPEST = 3;

export function filters(list, stage, data, redraw) {
  const kept = list.map((item) => JSON.stringify(item));
  const presets = data.presets.filter(({ stages }) => stages.includes(stage)).map(({ name, filters }) =>
    button(null, words.presets[name] ?? name, () => {
      list.push(...structuredClone(filters).filter((item) => !kept.includes(JSON.stringify(item))));
      touch();
      redraw();
    }, { class: "btn btn-sm btn-ghost-secondary" })
  );
  return [
    el(
      "datalist",
      { id: "names" },
      data.parameters.map((entry) => el("option", { value: entry.name }, entry.meaning)),
    ),
    lines(list, "filters", 0, data, redraw),
    !list.length && el("p", { class: "second" }, words.noFilters),
    el("div", { class: "btn-list mb-3" }, adding(list, 0, redraw), presets),
  ];
}

function lines(list, path, depth, data, redraw) {
  return list.map((item, index) => {
    const own = `${path}[${index}]`;
    const remove = () => {
      list.splice(index, 1);
      touch();
      redraw();
    };
    return GROUPS.includes(item.operator)
      ? group(item, own, depth + 1, data, redraw, remove)
      : condition(item, own, data, redraw, remove);
  });
}

function adding(list, depth, redraw) {
  const add = (item) => () => {
    list.push(item());
    touch();
    redraw();
  };
  return [
    button("plus", words.addFilter, add(fresh)),
    depth < DEEPEST && button("plus", words.addGroup, add(freshGroup)),
  ];
}

const fresh = () => ({ parameter: "disposition", operator: "equals", value: "", values: [], filters: [] });
const freshGroup = () => ({ parameter: "", operator: "any", value: "", values: [], filters: [fresh(), fresh()] });

function group(item, path, depth, data, redraw, remove) {
  return el(
    "fieldset",
    { class: "filter-group" },
    el(
      "div",
      { class: "line spot", "data-path": path },
      select(item, "operator", GROUPS.map((name) => [name, words.groups[name]]), redraw, { "aria-label": words.group }),
      tool("trash", words.removeGroup, remove),
    ),
    el("div", { class: "spot-errors" }),
    lines(item.filters, `${path}.filters`, depth, data, redraw),
    el("div", { class: "btn-list" }, adding(item.filters, depth, redraw)),
  );
}

function condition(item, path, data, redraw, remove) {
  const kind = data.parameters.find((entry) => [entry.name, ...entry.aliases].includes(item.parameter))?.type;
  const isTime = TIMES.includes(item.operator);
  const operators = data.choices.operator.filter((name) =>
    !GROUPS.includes(name) && (kind === "datetime" || isTime || !TIMES.includes(name))
  );
  return el(
    "div",
    {},
    el(
      "div",
      { class: "line spot", "data-path": path },
      text(item, "parameter", {
        list: "names",
        "aria-label": words.parameter,
        "data-plain": "",
        onchange: () => redraw(),
      }),
      select(item, "operator", operators, () => {
        if (["in", "not_in", "on_days"].includes(item.operator)) item.value = "";
        else item.values = [];
        if (WITHOUT_VALUE.includes(item.operator)) item.value = "";
        redraw();
      }, { "aria-label": words.operator, class: isTime ? "form-select wide" : "form-select" }),
      !["on_days", ...WITHOUT_VALUE].includes(item.operator) && operand(item),
      tool("trash", words.remove, remove),
    ),
    item.operator === "on_days" && days(item),
    el("div", { class: "spot-errors" }),
  );
}

function operand(item) {
  if (!["in", "not_in"].includes(item.operator)) {
    const example = { between: "09:00-18:00", matches: "^[+]49", not_matches: "^[+]49" }[item.operator];
    return text(item, "value", { "aria-label": words.value, placeholder: example, "data-plain": "" });
  }
  const list = {
    get text() {
      return item.values.join(", ");
    },
    set text(value) {
      item.values = value.split(",").map((one) => one.trim()).filter(Boolean);
    },
  };
  return text(list, "text", { "aria-label": words.values, placeholder: words.listExample, "data-plain": "" });
}

// What is no day stays, so that the server can say what is wrong with it.
function days(item) {
  return el(
    "div",
    { class: "days", role: "group", "aria-label": words.values },
    DAYS.map((day) =>
      el(
        "label",
        { class: "form-check" },
        el("input", {
          class: "form-check-input",
          type: "checkbox",
          checked: item.values.includes(day),
          onchange: (event) => {
            const others = item.values.filter((one) => one !== day);
            const all = event.target.checked ? [...others, day] : others;
            item.values = [...DAYS.filter((one) => all.includes(one)), ...all.filter((one) => !DAYS.includes(one))];
            touch();
          },
        }),
        el("span", { class: "form-check-label" }, words.days[day]),
      )
    ),
  );
}
