// The settings page works without this: it adds checks on load, the choice of workflows, and a question before leaving.
"use strict";

const form = document.getElementById("settings");
const summary = document.getElementById("checklist-summary");
const field = document.getElementById("source.workflows");

// Items of the checklist arrive one a line, and replace those with the same id.

function replaceItem(line) {
  const template = document.createElement("template");
  template.innerHTML = line;
  const item = template.content.firstElementChild, before = item && document.getElementById(item.id);
  if (!before) return;
  for (const each of before.querySelectorAll("details[open][id]")) {
    template.content.getElementById(each.id)?.setAttribute("open", "");
  }
  const focused = before.contains(document.activeElement) ? document.activeElement.localName : null;
  before.replaceWith(item);
  showCopyButtons(item);
  if (focused) item.querySelector(focused)?.focus();
}

async function updateChecklist(method) {
  const list = document.querySelector(".checklist");
  const before = summary.textContent;
  list.setAttribute("aria-busy", "true");
  summary.textContent = "checking …";
  try {
    const response = await fetch("/settings/checklist", { method });
    if (!response.ok || response.redirected) throw new Error(response.statusText);
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let rest = "", read; !(read = await reader.read()).done; ) {
      const lines = (rest + read.value).split("\n");
      rest = lines.pop();
      await press;
      lines.forEach(replaceItem);
    }
    const count = list.querySelectorAll(".needs-attention").length;
    summary.textContent = count ? `${count} of ${list.children.length} need attention` : "nothing is missing";
    document.getElementById("checklist-announcement").textContent = `Checklist: ${summary.textContent}`;
  } catch {
    summary.textContent = before; // a check is advice: the page shows the states that it has
  } finally {
    list.removeAttribute("aria-busy");
  }
}

// A checked workflow is a line of the field. Lines with a user are left as they are.

const lines = () => field.value.split("\n").map((line) => line.trim()).filter(Boolean);

function showChosen() {
  const chosen = new Set(lines());
  for (const box of document.querySelectorAll("[data-workflow]")) box.checked = chosen.has(box.dataset.workflow);
}

function choose(box) {
  const id = box.dataset.workflow, others = lines().filter((line) => line !== id);
  field.value = (box.checked ? [...others, id] : others).join("\n");
}

async function showPart(event) {
  const button = event.submitter, place = button?.dataset.part && document.getElementById(button.dataset.part);
  if (!place) return;
  event.preventDefault();
  button.disabled = true;
  place.textContent = "Listing …";
  try {
    const body = new URLSearchParams(new FormData(form));
    const response = await fetch(button.formAction, { method: "POST", body, headers: { "X-Part-Only": "1" } });
    if (!response.ok) throw new Error(response.statusText);
    const part = await response.text();
    await press;
    place.innerHTML = part;
    showChosen();
  } catch (error) {
    place.textContent = `No response (${error.message}). Load the page again.`;
  }
  button.disabled = false;
  (place.querySelector("input") ?? button).focus();
}

// Unsaved changes are compared with the form as it was loaded. A refused form differs from the file already.

const content = () => new URLSearchParams(new FormData(form)).toString();
const isRefused = form.querySelector("[aria-invalid]") !== null;
const loaded = content();
let isLeaving = false;

function confirmLeaving(event) {
  if (!isLeaving && (isRefused || content() !== loaded)) event.preventDefault();
}

function showCopyButtons(root) {
  for (const button of root.querySelectorAll("[data-copy]")) button.hidden = !navigator.clipboard;
}

async function copy(button) {
  await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
  button.textContent = "Copied";
}

// The target of a link may be in a closed part of the page.
function openTarget() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  target?.closest("details")?.setAttribute("open", "");
  target?.focus();
}

form.addEventListener("submit", (event) => {
  isLeaving = !event.submitter?.hasAttribute("formaction");
  showPart(event);
});
document.getElementById("switching").addEventListener("submit", () => { isLeaving = content() === loaded; });
form.addEventListener("change", (event) => { if (event.target.dataset.workflow) choose(event.target); });
field.addEventListener("input", showChosen);
document.addEventListener("click", (event) => { if (event.target.dataset.copy) copy(event.target); });
document.addEventListener("steps-shown", () => updateChecklist("GET"));
window.addEventListener("beforeunload", confirmLeaving);
window.addEventListener("hashchange", openTarget);

showCopyButtons(document);
showChosen();
openTarget();
form.querySelector("[aria-invalid]")?.focus();
if (document.querySelector("[data-check-on-load]")) updateChecklist("POST");
