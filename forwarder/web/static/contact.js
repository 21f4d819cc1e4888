// Shows when the forwarder does not respond any more: a page that is not updated must not pass for a current one.
"use strict";

const SILENT_MS = 2500, LOST_MS = 4000, PROBE_MS = 1500, TICK_MS = 500;

// A stream that was silent for this time was opened again, without success: other requests are no contact then.
const STREAM_LOST_MS = 20000;

// `title` is the title to return to, or null while there is contact. `streamAt` is the time of the last event of the
// stream of updates, or null if the page has no stream.
const contact = {
  at: Date.now(), streamAt: null, watchedSince: Date.now(), tickedAt: Date.now(), isProbing: false, title: null, focused: null,
};

const notice = document.createElement("p");
notice.className = "notice bad contact";
notice.setAttribute("role", "alert");

function lose() {
  const at = Math.min(contact.at, contact.streamAt ?? contact.at);
  const message = `No contact since ${new Date(at).toLocaleTimeString()}`;
  notice.textContent = `${message}. This page may be out of date, and nothing can be changed. It recovers when the forwarder responds.`;
  document.querySelector("main").before(notice);
  contact.title = document.title;
  document.title = `${message} · forwarder`;
  document.body.classList.add("no-contact");
  contact.focused = document.activeElement;
  for (const button of document.querySelectorAll("button:not([disabled])")) {
    button.disabled = true;
    button.dataset.noContact = "";
  }
}

function recover() {
  notice.remove();
  document.title = contact.title;
  contact.title = null;
  document.body.classList.remove("no-contact");
  for (const button of document.querySelectorAll("button[data-no-contact]")) {
    button.disabled = false;
    delete button.dataset.noContact;
  }
  if (document.activeElement === document.body && contact.focused?.isConnected) contact.focused.focus();
}

function recordContact() {
  contact.at = Date.now();
  if (contact.title !== null) recover();
  document.dispatchEvent(new Event("contact"));
}

function isStreamLost() {
  return contact.streamAt !== null && Date.now() - Math.max(contact.streamAt, contact.watchedSince) >= STREAM_LOST_MS;
}

async function probe() {
  contact.isProbing = true;
  try {
    const response = await fetch("/status/contact", { redirect: "manual", signal: AbortSignal.timeout(PROBE_MS) });
    // A proxy responds with 502 for a daemon that does not run. A redirect leads to the login.
    if (response.type === "opaqueredirect" || (response.status === 204 && !isStreamLost())) recordContact();
  } catch {
    // No contact: `tick` shows it when it lasts.
  }
  contact.isProbing = false;
}

function tick() {
  const now = Date.now();
  // A browser slows the timers of hidden pages, and stops those of a sleeping machine. Nobody was watching then.
  if (document.hidden || now - contact.tickedAt > 4 * TICK_MS) contact.watchedSince = now;
  contact.tickedAt = now;
  const isWatched = now - contact.watchedSince >= 2 * PROBE_MS || contact.watchedSince <= contact.at;
  if (now - contact.at >= SILENT_MS && !contact.isProbing && !document.hidden) probe();
  if (now - contact.at >= LOST_MS && isWatched && contact.title === null) lose();
}

setInterval(tick, TICK_MS);
document.addEventListener("visibilitychange", tick);
