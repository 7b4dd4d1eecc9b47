// The search of every page: Ctrl K or ⌘K opens it, the arrow keys choose, Enter opens. Without this script the entry of
// the menu leads to the page of the search.
const finder = document.getElementById("finder");
const input = finder.querySelector("input");
const found = document.getElementById("finder-found");
const hits = () => [...found.querySelectorAll(".finder-hit")];

function open() {
  if (finder.open) return;
  finder.showModal();
  input.select();
}

if (/Mac|iPhone|iPad/.test(navigator.platform)) document.querySelector("[data-finder] kbd").textContent = "⌘K";
document.querySelector("[data-finder]").addEventListener("click", (event) => {
  if (event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  open();
});
document.addEventListener("keydown", (event) => {
  if (event.key.toLowerCase() !== "k" || !(event.ctrlKey || event.metaKey) || event.shiftKey || event.altKey) return;
  event.preventDefault();
  open();
});
finder.querySelector("[data-finder-close]").addEventListener("click", () => finder.close());
finder.addEventListener("click", (event) => event.target === finder && finder.close()); // beside it

finder.addEventListener("keydown", (event) => {
  const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!by) return;
  event.preventDefault();
  const all = [input, ...hits()];
  all[(all.indexOf(document.activeElement) + by + all.length) % all.length].focus();
});

// Enter opens the first hit of the very text; while its hits are on their way, the page of the search.
finder.querySelector("form").addEventListener("submit", (event) => {
  event.preventDefault();
  const shown = found.firstElementChild?.dataset.text;
  const first = hits()[0];
  const page = `${event.target.dataset.page}?q=${encodeURIComponent(input.value)}`;
  location.href = first && shown === input.value.trim() ? first.href : page;
});
