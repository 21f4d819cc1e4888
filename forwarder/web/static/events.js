// The page of an event works without this: each text can be selected and copied by hand.
"use strict";

const FEEDBACK_MILLISECONDS = 5000;

function select(element) {
  const selection = getSelection();
  selection.removeAllRanges();
  selection.selectAllChildren(element);
}

function report(status, text) {
  status.textContent = text;
  clearTimeout(status.timer);
  status.timer = setTimeout(() => { status.textContent = ""; }, FEEDBACK_MILLISECONDS);
}

async function copy(button) {
  const text = document.getElementById(button.dataset.copy);
  const status = button.parentElement.querySelector("[role=status]");
  try {
    await navigator.clipboard.writeText(text.textContent);
    report(status, "Copied.");
  } catch {
    select(text); // without TLS, a browser offers no clipboard
    report(status, "It is selected: copy it with the keyboard.");
  }
}

for (const button of document.querySelectorAll("[data-copy]")) {
  button.hidden = false;
  button.addEventListener("click", () => copy(button));
}
