// Single keys on every page: j and k go through the rows of a list, others act on them, ? shows all of them. They can be
// switched off there, for whoever speaks to the browser. Letters are read from the place of the key where the keyboard
// writes another alphabet.
const help = document.getElementById("keys");
const on = help.querySelector("input");
let afterG = -Infinity; // ms since the page began; from 0, the first key on a new page would count as one after g

on.checked = localStorage.getItem("keys") !== "off";
on.addEventListener("change", () => localStorage.setItem("keys", on.checked ? "on" : "off"));
for (const opener of document.querySelectorAll("[data-keys]")) opener.addEventListener("click", () => help.showModal());
help.querySelector("[data-keys-close]").addEventListener("click", () => help.close());
help.addEventListener("click", (event) => event.target === help && help.close()); // beside it

const rows = () =>
  [...document.querySelectorAll("table.rows tbody tr")].filter((row) => row.querySelector(".row-link"));
const current = () =>
  document.querySelector("table.rows tr.open") ?? document.activeElement.closest("table.rows tbody tr");
const shown = (selector) => [...document.querySelectorAll(selector)].find((one) => one.checkVisibility());

function step(by) {
  const inDrawer = document.querySelector(`#drawer[open] [data-${by > 0 ? "after" : "before"}]`);
  if (inDrawer) return inDrawer.click();
  const all = rows();
  const next = all[Math.max(all.indexOf(current()) + by, 0)];
  next?.querySelector(".row-link").focus();
  next?.scrollIntoView({ block: "nearest" });
}

// A menu opens with its first entry in focus; a button is pressed.
function press(key) {
  const control = shown(`[data-when-chosen] [aria-keyshortcuts=${key}]`) ?? shown(`[aria-keyshortcuts=${key}]`);
  control?.click();
  control?.closest("details")?.querySelector(".menu-list button, .menu-list a")?.focus();
}

function find() {
  const field = shown("main form[role=search] input[type=search]");
  field?.focus();
  field?.select();
  field?.scrollIntoView({ block: "nearest" });
}

const acts = {
  j: () => step(1),
  k: () => step(-1),
  o: () => current()?.querySelector(".row-link").click(),
  x: () => current()?.querySelector("input[type=checkbox][name=id]")?.click(),
  e: () => press("e"),
  c: () => press("c"),
  "/": find,
  "?": () => help.showModal(),
};

function letter(event) {
  if (event.key === "?" || event.key === "/" || /^[a-z]$/.test(event.key)) return event.key;
  if (event.shiftKey || /^[ -~]$/.test(event.key)) return "";
  return event.code.startsWith("Key") ? event.code.at(-1).toLowerCase() : "";
}

document.addEventListener("keydown", (event) => {
  if (!on.checked || event.ctrlKey || event.metaKey || event.altKey || event.repeat && !"jk".includes(event.key)) {
    return;
  }
  if (event.target.matches("input:not([type=checkbox], [type=radio]), select, textarea, [contenteditable]")) return;
  if (document.querySelector("dialog:modal")) return;
  const key = letter(event);
  const place = event.timeStamp - afterG < 1500 && document.querySelector(`#side-menu [data-go="${key}"]`);
  afterG = key === "g" ? event.timeStamp : -Infinity;
  const act = place ? () => place.click() : acts[key];
  if (!act) return;
  event.preventDefault();
  act();
});
