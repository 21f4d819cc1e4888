// The charts: a tooltip by pointer, touch and keyboard, and a way to the events of a bar. Without this, each bar has a
// title, and the tables below the charts have the links.
"use strict";

const tip = document.createElement("div");
tip.className = "tip";
tip.hidden = true;
document.body.append(tip);

let shownBar = null;

const timeOf = (text, options) => new Date(text).toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit", ...options });

function describe(bar) {
  const { from, to, found, sent } = bar.dataset;
  return `${timeOf(from)} – ${timeOf(to, { timeZoneName: "short" })}: ${found} found, ${sent} sent`;
}

// A chart is one tab stop. A slider announces the value that the arrow keys choose.
function prepare(root) {
  for (const plot of root.querySelectorAll("svg.plot")) {
    const bars = [...plot.querySelectorAll("g[data-from]")];
    for (const bar of bars) bar.querySelector("title")?.remove();
    if (!bars.length) continue;
    for (const [name, value] of Object.entries({ role: "slider", tabindex: 0, "aria-valuemin": 1, "aria-valuemax": bars.length })) {
      plot.setAttribute(name, value);
    }
    choose(plot, bars.length - 1);
  }
  if (shownBar && !shownBar.isConnected) hideTip();
}

function choose(plot, index) {
  const bars = [...plot.querySelectorAll("g[data-from]")];
  const chosen = Math.min(bars.length - 1, Math.max(0, index));
  plot.dataset.chosen = chosen;
  plot.setAttribute("aria-valuenow", chosen + 1);
  plot.setAttribute("aria-valuetext", `${describe(bars[chosen])}. Enter shows these events.`);
  return bars[chosen];
}

function showTip(bar) {
  shownBar?.classList.remove("is-shown");
  shownBar = bar;
  bar.classList.add("is-shown");
  tip.textContent = describe(bar);
  tip.hidden = false;
  const area = bar.getBoundingClientRect(), width = document.documentElement.clientWidth;
  const left = Math.min(width - tip.offsetWidth - 8, Math.max(8, area.left + area.width / 2 - tip.offsetWidth / 2));
  tip.style.left = `${left + scrollX}px`;
  tip.style.top = `${area.top + scrollY - tip.offsetHeight - 4}px`;
}

function hideTip() {
  shownBar?.classList.remove("is-shown");
  shownBar = null;
  tip.hidden = true;
}

function openEvents(bar) {
  location.assign(`/events?${new URLSearchParams({ from: bar.dataset.from, to: bar.dataset.to })}`);
}

const barAt = (event) => event.target.closest?.("svg.plot g[data-from]");

document.addEventListener("pointerover", (event) => {
  if (event.pointerType === "touch") return;
  const bar = barAt(event);
  if (bar) showTip(bar);
  else if (shownBar && document.activeElement !== shownBar.closest("svg")) hideTip();
});

// The first touch of a bar shows its numbers, the second one its events.
let touchedBar = null, wasShown = false;
document.addEventListener("pointerdown", (event) => {
  if (event.pointerType !== "touch") return;
  const bar = barAt(event);
  wasShown = bar !== null && bar === shownBar;
  touchedBar = bar;
  if (!bar) hideTip();
});

document.addEventListener("click", (event) => {
  const bar = barAt(event);
  if (!bar) return;
  if (bar === touchedBar && !wasShown) showTip(bar);
  else openEvents(bar);
  touchedBar = null;
});

const STEPS = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -10, PageUp: 10, Home: -Infinity, End: Infinity };

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") hideTip();
  const plot = event.target.closest?.("svg.plot[role=slider]");
  if (!plot) return;
  if (event.key in STEPS) showTip(choose(plot, Number(plot.dataset.chosen) + STEPS[event.key]));
  else if (event.key === "Enter") openEvents(choose(plot, Number(plot.dataset.chosen)));
  else return;
  event.preventDefault();
});

document.addEventListener("focusin", (event) => {
  const plot = event.target.closest?.("svg.plot[role=slider]");
  if (plot?.matches(":focus-visible")) showTip(choose(plot, Number(plot.dataset.chosen)));
});
document.addEventListener("focusout", hideTip);
window.addEventListener("resize", () => shownBar && showTip(shownBar));
document.addEventListener("updated", (event) => prepare(event.target));

prepare(document);
