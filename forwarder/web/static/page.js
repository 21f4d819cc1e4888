// The page works without this: it keeps itself fresh, tells times in the reader's zone, and shows answers in place.
"use strict";

const DATES = { moment: { dateStyle: "medium", timeStyle: "medium" }, clock: { timeStyle: "short" } };

function tellLocalTimes(root) {
  for (const time of root.querySelectorAll("time[data-local]")) {
    time.textContent = new Date(time.dateTime).toLocaleString(undefined, DATES[time.dataset.local]);
  }
}

// Where somebody is at a control, what is new waits until they leave it.
const waiting = new Map();

function showWaiting(place) {
  const html = waiting.get(place);
  waiting.delete(place);
  showAnew(place, html);
}

function showAnew(place, html) {
  if (place.contains(document.activeElement)) {
    if (!waiting.has(place)) {
      place.addEventListener("focusout", () => requestAnimationFrame(() => showWaiting(place)), { once: true });
    }
    waiting.set(place, html);
    return;
  }
  const open = new Set([...place.querySelectorAll("details[open][id]")].map((each) => each.id));
  place.innerHTML = html;
  for (const id of open) document.getElementById(id)?.setAttribute("open", "");
  tellLocalTimes(place);
  document.title = `${document.querySelector("h1").textContent} · forwarder`;
}

function follow() {
  const places = new Map([...document.querySelectorAll("[data-live]")].map((each) => [each.dataset.live, each]));
  if (!places.size) return;
  const stream = new EventSource("/status/stream");
  stream.onmessage = (message) => {
    for (const [name, html] of Object.entries(JSON.parse(message.data))) {
      if (places.has(name)) showAnew(places.get(name), html);
    }
  };
  stream.onerror = () => {
    if (stream.readyState === EventSource.CLOSED) location.reload(); // refused: the session is over
  };
  window.addEventListener("pagehide", () => stream.close());
}

async function answerInPlace(event) {
  const form = event.target, button = event.submitter;
  const place = button?.dataset.into && document.getElementById(button.dataset.into);
  if (!place) return;
  event.preventDefault();
  button.disabled = true;
  const list = document.createElement("ol");
  list.className = "steps card";
  place.replaceChildren(list);
  try {
    const body = new URLSearchParams(new FormData(form));
    const answer = await fetch(button.formAction, { method: "POST", body, headers: { "X-Steps-Alone": "1" } });
    if (!answer.ok) throw new Error(answer.statusText);
    form.elements["form-token"].value = answer.headers.get("X-Form-Token");
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let rest = "", read; !(read = await reader.read()).done; ) {
      const lines = (rest + read.value).split("\n");
      rest = lines.pop();
      for (const line of lines) list.insertAdjacentHTML("beforeend", line);
      place.scrollIntoView({ block: "nearest" });
    }
  } catch (error) {
    place.textContent = `No answer (${error.message}). Load the page again.`;
  }
  button.disabled = false;
}

tellLocalTimes(document);
follow();
document.addEventListener("submit", answerInPlace);
