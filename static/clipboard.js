// Whether the text is in the clipboard now. Browsers give it only to pages behind TLS and on this machine, and may
// refuse there too; the old way works on most others.
export async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyTheOldWay(text);
  }
}

function copyTheOldWay(text) {
  const place = document.createElement("textarea");
  place.value = text;
  place.className = "visually-hidden";
  (document.querySelector("dialog:modal") ?? document.body).append(place);
  place.select();
  try {
    return document.execCommand("copy");
  } catch {
    return false;
  } finally {
    place.remove();
  }
}
