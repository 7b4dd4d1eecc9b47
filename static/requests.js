// Requests by script, and what is said when they fail.

export function toast(text, bad = false) {
  const note = document.createElement("div");
  note.className = bad ? "toast-note bad" : "toast-note";
  note.textContent = text;
  document.getElementById("toasts").append(note);
  setTimeout(() => note.remove(), 4000);
}

// Sends a form by script. A page of an earlier session gets the token of the new one and goes on; without a session
// nothing is lost: a dialog offers to sign in beside this page (not for what nobody has pressed: quiet). Answers with the
// response, or null without a session.
export async function post(address, body, headers = {}, quiet = false) {
  const send = () => fetch(address, { method: "POST", body: body(), headers: { ...headers, "X-CSRFToken": token() } });
  let response = await send();
  if (response.headers.has("X-Old-Token") && (await renewToken())) response = await send();
  if (response.status === 401 && !quiet) showSignedOut();
  return response.status === 401 ? null : response;
}

const token = () => document.querySelector("meta[name=csrf-token]").content;

export async function renewToken() {
  const response = await fetch(document.body.dataset.token, { headers: { Accept: "application/json" } });
  if (!response.ok || response.redirected) return false;
  const fresh = (await response.json()).token;
  document.querySelector("meta[name=csrf-token]").content = fresh;
  document.body.setAttribute("hx-headers", JSON.stringify({ "X-CSRFToken": fresh }));
  for (const field of document.querySelectorAll("input[name=csrf_token]")) field.value = fresh;
  return true;
}

export function showSignedOut() {
  const dialog = document.getElementById("signed-out");
  if (!dialog.open) dialog.showModal();
}
