// The drawer of a list: a row opens beside the list, the arrow keys go to its neighbours, and the address keeps which one
// is open. A click with a modifier, and a phone, open the page of the row.
import { post, showSignedOut, toast } from "./requests.js";

const drawer = document.getElementById("drawer");
const body = drawer.querySelector(".drawer-body");
let link = null;

const links = () => [...document.querySelectorAll("table[data-drawer] .row-link")];

async function open(wanted) {
  const response = await fetch(`${wanted.href}?drawer=1`, { headers: { "HX-Request": "true" } });
  if (response.status === 204) return showSignedOut();
  if (!response.ok) return toast(`${response.status} ${response.statusText}`, true);
  link = wanted;
  show(await response.text());
  drawer.querySelector("h2").textContent = wanted.textContent;
  drawer.querySelector("[data-page]").href = wanted.href;
  for (const other of links()) other.closest("tr").classList.toggle("open", other === wanted);
  wanted.scrollIntoView({ block: "nearest" });
  remember(wanted.href.split("/").pop());
  if (!drawer.open) drawer.show();
}

function show(html) {
  body.innerHTML = html; // escaped by the server
  htmx.process(body);
}

// What is done to a delivery here (data-in-drawer: what is said then) is done beside the list: its row tells what became
// of it, without its old reason.
async function send(form, button) {
  const fields = new FormData(form, button);
  const response = await post(form.action, () => fields, { "HX-Request": "true" });
  if (!response) return;
  if (!response.ok) return toast(response.status === 409 ? await response.text() : response.statusText, true);
  show(await response.text());
  showInRow();
  toast(form.dataset.inDrawer);
  body.focus({ preventScroll: true }); // it would move under the head of the drawer
}

function showInRow() {
  const cell = link?.closest("tr").querySelector("[data-outcome]");
  const outcome = body.querySelector("[data-outcome]");
  if (!cell || !outcome || cell.innerText === outcome.innerText) return;
  cell.innerHTML = outcome.innerHTML;
  cell.removeAttribute("title");
}

function close() {
  drawer.close();
  link?.closest("tr").classList.remove("open");
  link?.focus({ preventScroll: true });
  remember("");
}

function step(by) {
  const all = links();
  const next = all[all.indexOf(link) + by];
  if (next) open(next);
}

function remember(id) {
  const address = new URL(location.href);
  if (id) address.searchParams.set("open", id);
  else address.searchParams.delete("open");
  history.replaceState(history.state, "", address);
}

document.addEventListener("click", (event) => {
  const wanted = event.target.closest("table[data-drawer] .row-link");
  if (!wanted || event.ctrlKey || event.metaKey || event.shiftKey || innerWidth < 700) return;
  event.preventDefault();
  open(wanted);
});
body.addEventListener("submit", (event) => {
  if (!event.target.matches("[data-in-drawer]")) return;
  event.preventDefault();
  send(event.target, event.submitter);
});
body.addEventListener("htmx:afterSwap", showInRow);
drawer.querySelector("[data-close]").addEventListener("click", close);
drawer.querySelector("[data-before]").addEventListener("click", () => step(-1));
drawer.querySelector("[data-after]").addEventListener("click", () => step(1));
document.addEventListener("keydown", (event) => {
  if (!drawer.open || event.target.matches("input, select, textarea")) return;
  const act = { Escape: close, ArrowUp: () => step(-1), ArrowDown: () => step(1) }[event.key];
  if (!act || document.querySelector("details.menu[open]")) return;
  event.preventDefault();
  act();
});

const opened = new URLSearchParams(location.search).get("open");
const first = opened && links().find((one) => one.href.endsWith(`/${opened}`));
if (first) open(first);
