// The order of the table: drag a row by its grip, or move it with the arrow keys while the grip has the focus.
import { post } from "./requests.js";

const table = document.querySelector("table[data-order]");
const body = table?.tBodies[0];
let dragged = null;

// The rows that move with this one, or stay together when another one passes: a whole set, its heading first.
const together = (row) =>
  row.dataset.set ? [...body.rows].filter((each) => each.dataset.set === row.dataset.set) : [row];
const staysInSet = (row) => row.dataset.set && row.dataset.id;

function move(row, target, before) {
  if (staysInSet(row)) {
    if (target.dataset.set !== row.dataset.set || !target.dataset.id) return;
    target[before ? "before" : "after"](row);
    return;
  }
  const around = together(target);
  if (around.includes(row)) return;
  if (before) around[0].before(...together(row));
  else around.at(-1).after(...together(row));
}

async function save() {
  const form = new FormData();
  for (const row of body.rows) if (row.dataset.id) form.append("id", row.dataset.id);
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
    move(dragged, row, event.clientY < box.top + box.height / 2);
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
    const up = event.key === "ArrowUp";
    const rows = staysInSet(row) ? [row] : together(row);
    const other = up ? rows[0].previousElementSibling : rows.at(-1).nextElementSibling;
    if (!other || other.classList.contains("locked")) return;
    move(row, other, up);
    grip.focus();
    save();
  });
}
