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

// A stream whose packets vanish stays open, and reports no error: the forwarder sends an event at least every two seconds.
const STREAM_SILENT_MS = 10000, STREAM_WATCH_MS = 2000;

// A proxy may hold back the events of a stream until it ends. The sections are then requested one time after the other,
// and a stream is opened from time to time. Buffering proxies: https://github.com/cloudflare/cloudflared/issues/1496.
const HELD_BACK_MS = 60000;
let isHeldBack = false, isRequesting = false;

// `stream` is null if the page has none, or is hidden: a browser has six connections to a host for all of its pages.
// `activeAt` is the time when it was opened, or of its last event.
let stream = null, activeAt = 0;

function recordEvent() {
  activeAt = contact.streamAt = Date.now();
  isHeldBack = false;
  recordContact();
}

// The sections as they were received last, by name: a section that has not changed keeps its place.
const received = new Map();

async function applySections(json) {
  await press;
  const sections = JSON.parse(json);
  for (const place of document.querySelectorAll("[data-live]")) {
    const name = place.dataset.live, html = sections[name];
    if (html === undefined || received.get(name) === html) continue;
    received.set(name, html);
    applyUpdate(place, html);
  }
}

async function requestSections() {
  isRequesting = true;
  try {
    const response = await fetch("/status/sections", { redirect: "manual", signal: AbortSignal.timeout(5000) });
    if (response.type === "opaqueredirect") location.reload();
    if (response.ok) {
      const json = await response.text();
      contact.streamAt = Date.now();
      recordContact();
      if (isHeldBack) await applySections(json);
    }
  } catch {
    // No contact: contact.js shows it when it lasts.
  }
  isRequesting = false;
}

function unsubscribe() {
  stream?.close();
  stream = null;
}

function subscribe() {
  unsubscribe();
  if (!document.querySelector("[data-live]") || document.hidden) return;
  const opened = stream = new EventSource("/status/stream");
  activeAt = Date.now();
  contact.streamAt ??= activeAt;
  stream.onmessage = (message) => {
    recordEvent();
    applySections(message.data);
  };
  stream.addEventListener("contact", (message) => {
    clockOffset = Number(message.data) - Date.now();
    countDown();
    recordEvent();
  });
  stream.onerror = () => {
    if (opened.readyState === EventSource.CLOSED) subscribeAgain(opened);
  };
}

// A rejected stream is not repeated by the browser. Without a session, the page that is loaded is the login.
async function subscribeAgain(rejected) {
  const response = await fetch("/status/contact", { redirect: "manual" }).catch(() => null);
  if (response?.type === "opaqueredirect") location.reload();
  else setTimeout(() => { if (stream === rejected) subscribe(); }, 2000);
}

// A hidden page has no stream, and requests its title from time to time: a tab in the background is a monitor too.
const TITLE_MS = 30000;

async function updateTitle() {
  if (!document.hidden || contact.title !== null || !document.querySelector("[data-live=headline]")) return;
  let headline = "No contact";
  try {
    const response = await fetch("/status/headline", { redirect: "manual", signal: AbortSignal.timeout(5000) });
    if (response.ok) headline = await response.text();
    else if (response.type === "opaqueredirect") headline = "Logged out";
  } catch {
    // No contact: the title says so.
  }
  if (document.hidden) document.title = `${headline} · forwarder`;
}

// The first event of the new stream has all sections.
function followVisibility() {
  if (!document.hidden) subscribe();
  else if (stream !== null) {
    unsubscribe();
    updateTitle();
  }
}

function watchStream() {
  if (stream === null) return;
  if (Date.now() - activeAt >= (isHeldBack ? HELD_BACK_MS : STREAM_SILENT_MS)) {
    isHeldBack = true;
    subscribe();
  }
  if (isHeldBack && !isRequesting) requestSections();
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
      place.scrollIntoView({ block: "nearest" });
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
setInterval(watchStream, STREAM_WATCH_MS);
setInterval(updateTitle, TITLE_MS);
document.addEventListener("visibilitychange", followVisibility);
window.addEventListener("pagehide", unsubscribe);
window.addEventListener("pageshow", (event) => { if (event.persisted) subscribe(); });
document.addEventListener("submit", submitInPlace);
