// What every page has: theme switch, menus, filters that submit by themselves, selection, copy buttons.
import { copyText } from "./clipboard.js";
import { renewToken, showSignedOut, toast } from "./requests.js";
import "./json.js";

const on = (type, selector, act) =>
  document.addEventListener(type, (event) => {
    const element = event.target.closest?.(selector);
    if (element) act(element, event);
  });

on("click", "[data-theme-switch]", () => {
  const root = document.documentElement;
  const next = root.dataset.bsTheme === "dark" ? "light" : "dark";
  localStorage.setItem("theme", next);
  root.dataset.bsTheme = next;
  document.dispatchEvent(new Event("themechange"));
});

on("click", "[data-toggles]", (button) => {
  const target = document.getElementById(button.dataset.toggles);
  const open = target.classList.toggle("open");
  button.setAttribute("aria-expanded", String(open));
});

// Every request of a simulated call is sent, one after another.
on("click", "[data-plays]", () => document.body.dispatchEvent(new Event("play")));

// A new project begins in the time zone of the browser, and in its country.
for (const form of document.querySelectorAll("form[data-browser-zone]")) {
  const here = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const zone = form.elements.time_zone;
  const found = [...zone.options].find((option) => option.value === here);
  if (!found) continue;
  zone.value = found.dataset.now ?? here;
  form.elements.country.value ||= found.dataset.country ?? "";
}

// Leaves in a page only what contains the words typed.
on("input", "[data-narrows]", (field) => {
  const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const each of document.querySelectorAll(field.dataset.narrows)) {
    each.hidden = !words.every((word) => each.textContent.toLowerCase().includes(word));
  }
});

// One of two ways to say a time: choosing one forgets the other.
on("change", "[data-clears]", (field) => {
  for (const name of field.dataset.clears.split(" ")) {
    for (const other of field.form.querySelectorAll(`[name="${name}"]`)) {
      if (other.type === "radio") other.checked = other.value === "";
      else other.value = "";
    }
  }
});

on("change", "[data-submits]", (field) => field.form.requestSubmit());

on("change", "[data-checks-all]", (box) => {
  for (const other of box.closest("table").querySelectorAll("tbody input[type=checkbox]")) other.checked = box.checked;
  countChosen();
});
on("change", "tbody input[type=checkbox]", () => countChosen());

function countChosen() {
  const count = document.querySelectorAll("tbody input[type=checkbox][name=id]:checked").length;
  for (const place of document.querySelectorAll("[data-chosen]")) place.textContent = String(count);
  for (const bar of document.querySelectorAll("[data-when-chosen]")) bar.hidden = count === 0;
}

on("click", "[data-copies]", async (button) => {
  const source = document.getElementById(button.dataset.copies);
  if (await copyText(source.value ?? source.textContent)) {
    button.focus();
    toast(button.dataset.done || "✓");
    return;
  }
  if (source.select) source.select();
  else getSelection().selectAllChildren(source);
  toast(document.getElementById("toasts").dataset.notCopied, true);
});

on("submit", "form", (form, event) => {
  const question = event.submitter?.dataset.asks ?? form.dataset.asks;
  if (question && !confirm(question)) event.preventDefault();
});

// A menu (<details class="menu">) does not leave its part of the page at the sides. That of a list is placed over the
// page, because a list cuts off what leaves it.
document.addEventListener("toggle", (event) => {
  const menu = event.target;
  if (!menu.matches("details.menu") || !menu.open) return;
  const button = menu.querySelector("summary").getBoundingClientRect();
  const sheet = menu.querySelector(".menu-list");
  if (!menu.closest(".list")) {
    sheet.style.margin = "";
    const { left, right } = sheet.getBoundingClientRect();
    const room = (menu.closest("dialog, .main") ?? document.body).getBoundingClientRect();
    const inside = Math.max(room.left + 8 - left, 0) || Math.min(room.right - 8 - right, 0);
    // by its margins: moved with "translate", it would still count as wide, and a phone would show the page smaller
    sheet.style.margin = `0 ${-inside}px 0 ${inside}px`;
    return;
  }
  sheet.style.position = "fixed";
  sheet.style.right = `${innerWidth - button.right}px`;
  const below = innerHeight - button.bottom - 8;
  const fits = sheet.offsetHeight <= below || below > button.top;
  sheet.style.top = fits ? `${button.bottom + 4}px` : "auto";
  sheet.style.bottom = fits ? "auto" : `${innerHeight - button.top + 4}px`;
  sheet.style.maxHeight = `${fits ? below : button.top - 8}px`;
}, true);
document.addEventListener("scroll", () => {
  for (const menu of document.querySelectorAll(".list details.menu[open]")) menu.open = false;
}, { passive: true });

// A menu closes when something else is clicked, or with Escape.
document.addEventListener("click", (event) => {
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    if (!menu.contains(event.target)) menu.open = false;
  }
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    menu.open = false;
    menu.querySelector("summary").focus();
  }
});

// How much needs attention stands in the title, for a tab in the background: [data-counts] of the menu or the page.
const title = document.title;
function countInTitle() {
  const count = document.querySelector("main [data-counts]")?.dataset.counts ??
    document.querySelector("[data-counts]")?.dataset.counts;
  document.title = count && count !== "0" ? `(${count}) ${title}` : title;
}
countInTitle();
document.addEventListener("htmx:afterSettle", countInTitle);

// Rows open with a click anywhere, but for links, buttons and selected text.
on("click", "table.rows tbody tr", (row, event) => {
  if (event.target.closest("a, button, input, label, summary, details") || String(getSelection())) return;
  row.querySelector("a.row-link")?.click();
});

// What renews itself says by its mark what it shows; the server answers 204 while that is so, and nothing moves.
const marks = new Map();
const polls = (place) => place.getAttribute("hx-trigger")?.includes("every");
document.addEventListener("htmx:configRequest", ({ detail }) => {
  if (!polls(detail.elt)) return;
  const first = detail.elt.closest("[data-mark]") ?? detail.elt.querySelector("[data-mark]");
  const mark = marks.get(detail.path) ?? first?.dataset.mark;
  if (mark) detail.headers["If-None-Match"] = mark;
});

// What somebody points at, or has the focus on, stays where it is on the screen for the click to come. So does all that is
// below a part that gets shorter: its room is kept until it changes again while the pointer is above its end.
const CLICKED = "a[href], button, input, summary, label";
let pointer = null; // of a mouse: a finger is nowhere until it touches
const aims = new Map(); // what that is, by the id of a part that is being replaced
document.addEventListener("pointermove", (event) => {
  pointer = event.pointerType === "mouse" ? event : null;
}, { passive: true });
document.documentElement.addEventListener("pointerleave", () => pointer = null);
const nameOf = (control) => [control.href, control.name, control.value, control.textContent.trim()].join(" ");

function aim(place) {
  const under = pointer && document.elementFromPoint(pointer.clientX, pointer.clientY);
  const focused = document.activeElement === document.body ? null : document.activeElement;
  const control = under?.closest(CLICKED) ?? focused ?? under;
  const { bottom, height } = place.getBoundingClientRect();
  return {
    control,
    name: control && place.contains(control) && control.matches(CLICKED) ? nameOf(control) : "",
    focused: control === focused,
    top: control?.getBoundingClientRect().top,
    height: pointer?.clientY < bottom ? 0 : height,
  };
}

function keepStill(place) {
  if (!aims.has(place.id)) return;
  const { control, name, focused, top, height } = aims.get(place.id);
  place.style.minHeight = "";
  if (place.offsetHeight < height) place.style.minHeight = `${height}px`;
  const again = name ? [...place.querySelectorAll(CLICKED)].find((one) => nameOf(one) === name) : control;
  if (!again?.isConnected) return;
  if (name && focused) again.focus({ preventScroll: true });
  const moved = again.getBoundingClientRect().top - top;
  if (moved) (place.closest(".drawer-body") ?? window).scrollBy({ top: moved, behavior: "instant" });
}

// Of a grid ([data-still]), a poll waits while somebody is in it and others come or go: they would pass under the pointer.
function wouldPassUnder(place, html) {
  const grid = place.querySelector("[data-still]:hover, [data-still]:focus-within");
  const links = (from) => [...from.querySelectorAll("[data-still] a")].map((link) => link.getAttribute("href")).join();
  return grid && links(place) !== links(new DOMParser().parseFromString(html, "text/html"));
}

// It leaves alone what somebody listens to or types into, and keeps open what was opened: folds, and a chosen tab.
// What ends while one looks at the page ([data-tells]) is also said aloud, once.
let folds = new Map();
let tab = null;
let told = new Set();
document.addEventListener("htmx:beforeSwap", ({ detail }) => {
  const place = detail.target;
  const plays = [...place.querySelectorAll("audio")].some((sound) => !sound.paused);
  const types = place.contains(document.activeElement) &&
    document.activeElement.matches("input:not([type=radio]), select, textarea");
  if (plays || types || wouldPassUnder(place, detail.serverResponse)) detail.shouldSwap = false;
  if (!detail.shouldSwap) return;
  aims.delete(place.id);
  if (polls(detail.requestConfig.elt)) aims.set(place.id, aim(place));
  marks.set(detail.requestConfig.path, detail.xhr.getResponseHeader("ETag"));
  folds = new Map([...place.querySelectorAll("details")].map((fold) => [foldName(fold), fold.open]));
  told = new Set(tellers(place).map((one) => one.id));
  const chosen = place.querySelector("[data-chosen-tab]");
  tab = chosen && { shows: chosen.dataset.shows, focused: chosen === document.activeElement };
});
document.addEventListener("htmx:afterSwap", (event) => {
  const place = document.getElementById(event.detail.target.id);
  for (const fold of place?.querySelectorAll("details") ?? []) fold.open = folds.get(foldName(fold)) ?? fold.open;
  for (const one of place ? tellers(place) : []) {
    if (!told.has(one.id)) toast(one.dataset.tells || one.querySelector("strong").innerText, one.matches(".bad"));
  }
  const again = tab && place?.querySelector(`[data-shows="${tab.shows}"]`);
  if (again) {
    again.checked = true;
    showTab(again);
    if (tab.focused) again.focus({ preventScroll: true });
  }
  if (place) keepStill(place);
});
// htmx gives a part its own attributes only then, without the room that was kept.
document.addEventListener("htmx:afterSettle", ({ detail }) => {
  const place = document.getElementById(detail.target?.id);
  if (place) keepStill(place);
});
const tellers = (place) => [place, ...place.querySelectorAll("[data-tells]")].filter((one) => "tells" in one.dataset);
const foldName = (fold) => [fold.closest("[id]")?.id, fold.querySelector("summary")?.textContent].join(" ");

on("click", "#signed-out [data-closes]", (button) => button.closest("dialog").close());

document.addEventListener("htmx:responseError", async (event) => {
  if (event.detail.xhr.status === 401) {
    showSignedOut();
    return;
  }
  if (event.detail.xhr.getResponseHeader("X-Old-Token") && (await renewToken())) {
    toast(document.getElementById("toasts").dataset.again);
    return;
  }
  if (event.detail.requestConfig.triggeringEvent) {
    toast(`${event.detail.xhr.status} ${event.detail.xhr.statusText}`, true);
  }
});
document.addEventListener("htmx:sendError", () => document.body.classList.add("offline"));
document.addEventListener("htmx:afterRequest", (event) => {
  if (event.detail.successful) document.body.classList.remove("offline");
});

// Polls rest while nobody looks at the page.
document.addEventListener("htmx:beforeRequest", (event) => {
  if (document.hidden && !event.detail.requestConfig.triggeringEvent) event.preventDefault();
});

on("change", "[data-shows]", (tab) => showTab(tab));

function showTab(chosen) {
  for (const other of document.querySelectorAll(`[name="${chosen.name}"][data-shows]`)) {
    other.toggleAttribute("data-chosen-tab", other === chosen);
    document.getElementById(other.dataset.shows).hidden = other !== chosen;
  }
}
