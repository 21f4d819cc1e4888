// The page works without this: it updates itself, shows times in the reader's time zone, and shows responses in place.
"use strict";

// A browser reports a click only if the button is pressed and released over the same element. So no element moves or is
// replaced in between: each change of the page waits for `press`. The end of a press may be lost, outside the window.
const MAX_PRESS_MS = 5000;

// It is resolved unless a pointer is pressed.
let press = Promise.resolve(), endPress = () => {};

document.addEventListener("pointerdown", () => {
  endPress();
  press = new Promise((resolve) => { endPress = resolve; });
  setTimeout(endPress, MAX_PRESS_MS);
});
for (const end of ["pointerup", "pointercancel"]) {
  document.addEventListener(end, () => setTimeout(endPress, 100)); // the click follows the release
}

// A time is relative in a text, with the absolute time in its title. An absolute time has its zone.
const CLOCK = { hour: "2-digit", minute: "2-digit", timeZoneName: "short" };
const DATE = { day: "numeric", month: "short", year: "numeric" };
const FORMATS = { clock: CLOCK, minute: { ...DATE, ...CLOCK }, moment: { ...DATE, ...CLOCK, second: "2-digit" } };

function showLocalTimes(root) {
  for (const time of root.querySelectorAll("time[data-local]")) {
    const form = time.dataset.local, isTitle = form === "title";
    time[isTitle ? "title" : "textContent"] = new Date(time.dateTime).toLocaleString(undefined, FORMATS[isTitle ? "moment" : form]);
  }
}

// The difference between the forwarder's clock and the reader's.
let clockOffset = 0;

function countDown() {
  for (const time of document.querySelectorAll("time[data-countdown]")) {
    const seconds = Math.ceil((new Date(time.dateTime) - Date.now() - clockOffset) / 1000);
    const text = seconds <= 0 ? "now" : seconds < 120 ? `in ${seconds} s` : `in ${Math.round(seconds / 60)} min`;
    if (time.textContent !== text) time.textContent = text;
  }
}

// An update of a place that has the focus waits until it is left.
const pendingUpdates = new Map();

function applyPendingUpdate(place) {
  const html = pendingUpdates.get(place);
  pendingUpdates.delete(place);
  applyUpdate(place, html);
}

function applyUpdate(place, html) {
  if (place.contains(document.activeElement)) {
    if (!pendingUpdates.has(place)) {
      place.addEventListener("focusout", async () => {
        await press; // the press that moves the focus
        requestAnimationFrame(() => applyPendingUpdate(place));
      }, { once: true });
    }
    pendingUpdates.set(place, html);
    return;
  }
  const open = new Set([...place.querySelectorAll("details[open][id]")].map((each) => each.id));
  place.innerHTML = html;
  for (const id of open) document.getElementById(id)?.setAttribute("open", "");
  showLocalTimes(place);
  countDown();
  document.title = `${document.querySelector("h1").textContent} · forwarder`;
  place.dispatchEvent(new Event("updated", { bubbles: true }));
}

function subscribe() {
  const places = new Map([...document.querySelectorAll("[data-live]")].map((each) => [each.dataset.live, each]));
  if (!places.size) return;
  const stream = new EventSource("/status/stream");
  stream.onmessage = async (message) => {
    recordContact();
    await press;
    for (const [name, html] of Object.entries(JSON.parse(message.data))) {
      if (places.has(name)) applyUpdate(places.get(name), html);
    }
  };
  stream.addEventListener("contact", (message) => {
    clockOffset = Number(message.data) - Date.now();
    countDown();
    recordContact();
  });
  stream.onerror = () => {
    if (stream.readyState === EventSource.CLOSED) subscribeAgain();
  };
  window.addEventListener("pagehide", () => stream.close());
}

// A rejected stream is not repeated by the browser. Without a session, the page that is loaded is the login.
async function subscribeAgain() {
  const response = await fetch("/status/contact", { redirect: "manual" }).catch(() => null);
  if (response?.type === "opaqueredirect") location.reload();
  else setTimeout(subscribe, 2000);
}

async function submitInPlace(event) {
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
    const response = await fetch(button.formAction, { method: "POST", body, headers: { "X-Steps-Only": "1" } });
    if (!response.ok) throw new Error(response.statusText);
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let rest = "", read; !(read = await reader.read()).done; ) {
      const lines = (rest + read.value).split("\n");
      rest = lines.pop();
      await press;
      for (const line of lines) list.insertAdjacentHTML("beforeend", line);
      place.scrollIntoView({ block: "nearest", behavior: "instant" }); // a smooth one moves the buttons for a second
    }
  } catch (error) {
    place.textContent = `No response (${error.message}). Load the page again.`;
  }
  button.disabled = false;
  place.dispatchEvent(new Event("steps-shown", { bubbles: true }));
}

showLocalTimes(document);
countDown();
setInterval(countDown, 1000);
subscribe();
document.addEventListener("submit", submitInPlace);
