// The editor of an event: state in, form out; every change asks the server for the exact request.
import { colour } from "./chips.js";
import { install, open } from "./complete.js";
import { el, onChange, touch, words } from "./dom.js";
import { answer, auth, retries, what, when, where } from "./parts.js";
import { complete } from "./state.js";
import { setPaths } from "./tree.js";
import { post, toast } from "../requests.js";

const data = JSON.parse(document.getElementById("data").textContent);
const root = document.getElementById("editor");
const form = document.getElementById("form");
const sample = document.getElementById("sample");
const state = {
  name: data.name,
  set: data.set,
  stage: data.stage,
  enabled: data.enabled,
  spec: complete(data.spec),
  secret: null,
  tls_key: null,
};
let revision = data.revision;
let dirty = false;
let timer = 0;
let asked = 0;
let shown = { errors: [], notes: [] };

function redraw() {
  const top = scrollY;
  form.replaceChildren(
    when(state, data, redraw),
    where(state, data, redraw),
    what(state, data, redraw),
    auth(state, data, redraw),
    answer(state, data, redraw),
    retries(state, data, redraw),
  );
  for (const input of form.querySelectorAll("input[type=text]:not([data-plain]), textarea:not([data-plain])")) {
    helper(input);
  }
  mark();
  scrollTo(0, top);
}

// A small << button at the end of every field that takes parameters, for those who do not know the keys.
function helper(input) {
  const wrap = el("span", { class: "with-helper" });
  input.replaceWith(wrap);
  wrap.append(
    input,
    el("button", {
      class: "insert",
      type: "button",
      tabindex: "-1",
      title: words.insert,
      "aria-label": words.insert,
      onclick: () => open(input, data, state.stage),
    }, "<<"),
  );
  colour(input, wrap, names);
}

const names = new Set(data.parameters.flatMap((item) => [item.name, ...item.aliases]));

const payload = () => ({
  id: data.id,
  copy_of: data.copyOf,
  revision,
  name: state.name,
  set: state.set,
  stage: state.stage,
  enabled: state.enabled,
  spec: state.spec,
  secret: state.secret,
  tls_key: state.tls_key,
  sample: sample.value,
});

async function send(address, quiet = false) {
  const response = await post(address, () => JSON.stringify(payload()), { "Content-Type": "application/json" }, quiet);
  if (!response) throw new Error(words.signedOut);
  const kind = response.headers.get("Content-Type") ?? "";
  if (response.redirected || !kind.includes("json")) throw new Error(`${response.status}`);
  return { status: response.status, ...(await response.json()) };
}

async function preview() {
  const mine = ++asked;
  const place = document.getElementById("preview");
  try {
    const found = await send(root.dataset.preview, true);
    if (mine !== asked) return;
    place.innerHTML = found.html; // escaped by the server
    shown = found;
    mark();
  } catch (error) {
    const why = error.message === words.signedOut ? words.signedOut : words.unreachable;
    place.replaceChildren(el("p", { class: "field-error", role: "alert" }, why));
  }
}

// Puts every message beside the field it is about. The server knows fields by their names as they are typed now.
function mark() {
  setPaths(form.querySelector(".tree > .tree-list"), "parameters");
  for (const line of form.querySelectorAll("[data-list]")) {
    const { list, index } = line.dataset;
    const name = line.querySelector("input").value;
    line.dataset.path = name ? `${list}.${name}` : `${list}[${index}]`;
  }
  for (const place of form.querySelectorAll(".spot-errors")) place.replaceChildren();
  for (const bad of form.querySelectorAll(".is-invalid")) bad.classList.remove("is-invalid");
  for (const { path, message } of shown.notes ?? []) beside(find(path), "field-warning", message);
  for (const { path, message } of shown.errors ?? []) {
    const spot = find(path);
    if (!spot) continue;
    beside(spot, "field-error", message);
    for (const input of spot.querySelectorAll(".form-control, .form-select")) {
      if (/<<|>>/.test(input.value) || input.value === "" || !spot.matches(".tree-row, .line")) {
        input.classList.add("is-invalid");
      }
    }
  }
}

function beside(spot, kind, message) {
  const place = spot?.querySelector(".spot-errors") ?? spot?.nextElementSibling;
  place?.append(el("div", { class: kind }, message));
}

function find(path) {
  for (let rest = path; rest; rest = rest.replace(/(\.[^.[]*|\[[^\]]*\])$/, "")) {
    const spot = form.querySelector(`[data-path="${CSS.escape(rest)}"]`);
    if (spot) return spot;
    if (!/[.[]/.test(rest)) return null;
  }
  return null;
}

// staying: on this page, where a test follows; otherwise the list of webhooks is next.
async function save(staying = false) {
  const buttons = document.querySelectorAll(".savebar .btn");
  for (const button of buttons) button.disabled = true;
  try {
    const found = await send(root.dataset.save);
    if (found.url) {
      dirty = false;
      if (!staying) {
        location.assign(found.url);
        return;
      }
      saved(found);
      return;
    }
    if (found.status === 409) conflict(found);
    else {
      shown = found;
      mark();
      firstError(found.errors);
    }
  } catch (error) {
    toast(`${words.notSaved} (${error.message})`, true);
  } finally {
    for (const button of buttons) button.disabled = false;
  }
}

// The page goes on as the editor of what was saved: a new webhook has its own address from now on.
function saved(found) {
  if (!data.id) {
    location.replace(`${found.edit}#test`);
    return;
  }
  revision = found.revision;
  state.secret = state.tls_key = null;
  document.getElementById("save-state").textContent = words.saved;
  test();
}

function firstError(errors = []) {
  const spot = errors.map((error) => find(error.path)).find(Boolean);
  toast(
    errors.length
      ? `${words.notSaved} ${errors[0].path ? `${errors[0].path}: ` : ""}${errors[0].message}`
      : words.notSaved,
    true,
  );
  spot?.scrollIntoView({ block: "center" });
  spot?.querySelector("input, select, textarea")?.focus();
}

function conflict(found) {
  const place = document.getElementById("conflict");
  place.innerHTML = found.html; // escaped by the server
  place.scrollIntoView();
  place.querySelector("[data-reload]").addEventListener("click", () => {
    dirty = false;
    location.reload();
  });
  place.querySelector("[data-overwrite]").addEventListener("click", () => {
    revision = found.revision;
    place.replaceChildren();
    save();
  });
}

async function test() {
  const button = document.getElementById("send-test");
  const place = document.getElementById("tried");
  button.disabled = true;
  place.replaceChildren(el("p", { class: "loading-line" }, words.sending));
  try {
    const found = await send(root.dataset.test);
    place.innerHTML = found.html; // escaped by the server
  } catch (error) {
    const why = error.message === words.signedOut ? words.signedOut : words.unreachable;
    place.replaceChildren(el("p", { class: "field-error" }, why));
  } finally {
    button.disabled = false;
  }
}

const options = (list) => list.map(({ value, name }) => el("option", { value }, name));
sample.append(el("optgroup", { label: words.samples }, options(data.samples)));
if (data.calls.length) sample.append(el("optgroup", { label: words.recentCalls }, options(data.calls)));
if (data.sample) sample.value = data.sample;
sample.addEventListener("change", preview);
document.getElementById("save").addEventListener("click", () => save());
document.getElementById("save-and-test").addEventListener("click", () => save(true));
const enabled = document.getElementById("enabled");
enabled.checked = state.enabled;
enabled.addEventListener("change", () => {
  state.enabled = enabled.checked;
  touch();
});
document.getElementById("send-test").addEventListener("click", test);
form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("keydown", (event) => {
  if ((event.ctrlKey || event.metaKey) && event.key === "s") {
    event.preventDefault();
    save();
  }
});
addEventListener("beforeunload", (event) => {
  if (dirty) event.preventDefault();
});
install(form, data, () => state.stage);
redraw();
onChange(() => {
  dirty = true;
  document.getElementById("save-state").textContent = words.unsaved;
  clearTimeout(timer);
  timer = setTimeout(preview, 250);
});
preview();
if (location.hash === "#test") {
  history.replaceState(null, "", location.pathname);
  document.getElementById("save-state").textContent = words.saved;
  test();
}
