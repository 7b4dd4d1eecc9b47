// The order of the table: drag a row by its grip, or move it with the arrow keys while the grip has the focus.
import { post } from "./requests.js";

const table = document.querySelector("table[data-order]");
const body = table?.tBodies[0];
let dragged = null;

async function save() {
  const form = new FormData();
  for (const row of body.rows) form.append("id", row.dataset.id);
  const response = await post(table.dataset.order, () => form, { "HX-Request": "true" });
  if (response && !response.ok) location.reload();
}

if (table?.dataset.order) {
  body.addEventListener("dragstart", (event) => {
    dragged = event.target.closest("tr");
  });
  body.addEventListener("dragover", (event) => {
    const row = event.target.closest("tr");
    if (!dragged || !row || row === dragged || row.classList.contains("locked")) return;
    event.preventDefault();
    const box = row.getBoundingClientRect();
    row[event.clientY < box.top + box.height / 2 ? "before" : "after"](dragged);
  });
  body.addEventListener("dragend", () => {
    if (dragged) save();
    dragged = null;
  });
  body.addEventListener("keydown", (event) => {
    const grip = event.target.closest("[data-grip]");
    if (!grip || !["ArrowUp", "ArrowDown"].includes(event.key)) return;
    event.preventDefault();
    const row = grip.closest("tr");
    const other = event.key === "ArrowUp" ? row.previousElementSibling : row.nextElementSibling;
    if (!other || other.classList.contains("locked")) return;
    other[event.key === "ArrowUp" ? "before" : "after"](row);
    grip.focus();
    save();
  });
}
