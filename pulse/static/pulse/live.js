// Keeps a page as the server has it: asks for the page itself again, by its tag, and puts into it
// what differs. The server alone writes pages; without this module they are the same, only still.

const main = document.getElementById("content");
const panel = document.querySelector("[data-live]");
const state = panel?.querySelector("[data-live-state]");
const toggle = panel?.querySelector("[data-live-toggle]");

const TIMEOUT_MS = 20_000;
const SLOWEST_MS = 60_000;
/** What people changed on the page is theirs: typed values and opened details stay. */
const THEIRS = new Set(["open", "checked", "selected"]);

let etag = "";
let timer = 0;
let failures = 0;
let isPaused = false;
let isAsking = false;
let lastGood = new Date();
/** Buttons that say for a moment what they did. */
const saying = new WeakSet();

/** Make an element what another one is, in place, so that focus, scroll and hover stay. */
export function morph(old, fresh) {
  if (saying.has(old)) return;
  for (const { name } of [...old.attributes]) {
    if (!fresh.hasAttribute(name) && !THEIRS.has(name)) old.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes) {
    if (THEIRS.has(name) || old.getAttribute(name) === value) continue;
    if (name === "hidden" && old.dataset.copy) continue;
    old.setAttribute(name, value);
  }
  morphChildren(old, fresh);
}

function morphChildren(old, fresh) {
  const named = new Map();
  for (const child of old.children) if (child.id) named.set(child.id, child);
  const wanted = new Set([...fresh.children].map((child) => child.id).filter(Boolean));
  for (const [id, child] of named) if (!wanted.has(id)) child.remove();
  let here = old.firstChild;
  for (const next of [...fresh.childNodes]) {
    const twin = next.id && named.get(next.id);
    if (twin) {
      // A row that is there stays where it is: nothing moves under the pointer.
      if (!twin.isEqualNode(next)) morph(twin, next);
      if (twin === here) here = here.nextSibling;
      continue;
    }
    while (here && here.id && named.has(here.id) && isBefore(here, next)) here = here.nextSibling;
    if (here && !next.id && !here.id && isAlike(here, next)) {
      if (next.nodeType !== Node.ELEMENT_NODE) {
        if (here.data !== next.data) here.data = next.data;
      } else if (!here.isEqualNode(next)) {
        morph(here, next);
      }
      here = here.nextSibling;
    } else {
      old.insertBefore(document.importNode(next, true), here);
    }
  }
  while (here) {
    const gone = here;
    here = here.nextSibling;
    if (!(gone.id && wanted.has(gone.id))) gone.remove();
  }
}

const isAlike = (one, other) => one.nodeType === other.nodeType && one.nodeName === other.nodeName;

/** Whether a kept element stands before the place of a new one that has no name. */
function isBefore(kept, next) {
  const twin = next.parentNode.querySelector(`:scope > [id="${CSS.escape(kept.id)}"]`);
  return twin && (twin.compareDocumentPosition(next) & Node.DOCUMENT_POSITION_FOLLOWING) !== 0;
}

function take(page) {
  const fresh = page.querySelector("main#content[data-poll]");
  // A login page, whose parts may be named alike, is not what was asked for.
  if (!fresh) return false;
  morph(main, fresh);
  if (document.title !== page.title) document.title = page.title;
  const icon = document.querySelector("link[rel=icon]");
  const newIcon = page.querySelector("link[rel=icon]");
  if (icon && newIcon && icon.getAttribute("href") !== newIcon.getAttribute("href")) {
    icon.setAttribute("href", newIcon.getAttribute("href"));
  }
  prepare();
  return true;
}

function ask() {
  if (isAsking || isPaused || document.hidden) return;
  isAsking = true;
  // Parses what comes as a document in which no script runs; needs no innerHTML.
  const request = new XMLHttpRequest();
  request.open("GET", location.href);
  request.responseType = "document";
  request.timeout = TIMEOUT_MS;
  request.setRequestHeader("Accept", "text/html");
  if (etag) request.setRequestHeader("If-None-Match", etag);
  request.onloadend = () => {
    isAsking = false;
    const isSame = request.status === 304;
    const isNew = request.status === 200 && request.response && take(request.response);
    if (isNew) etag = request.getResponseHeader("ETag") ?? "";
    if (isSame || isNew) {
      failures = 0;
      lastGood = new Date();
    } else {
      failures += 1;
    }
    say();
    plan();
  };
  request.send();
}

function plan() {
  clearTimeout(timer);
  const every = Number(main.dataset.poll);
  if (!every || isPaused || document.hidden) return;
  timer = setTimeout(ask, Math.min(every * 2 ** failures, Math.max(SLOWEST_MS, every)));
}

/** Write a time as the page does: in its zone, of 24 hours. */
function timeOf(moment) {
  try {
    return moment.toLocaleTimeString("sv", { timeZone: panel.dataset.zone });
  } catch {
    return moment.toLocaleTimeString("sv"); // A zone that the browser does not know.
  }
}

/** Say how live the page is: only what changes is said, as it is read aloud. */
function say() {
  document.body.classList.toggle("stale", failures > 0);
  if (!panel) return;
  panel.hidden = !Number(main.dataset.poll);
  const { on, off, stale, pause, resume } = panel.dataset;
  const text = isPaused ? off : failures ? `${stale} ${timeOf(lastGood)}` : on;
  if (state.textContent !== text) state.textContent = text;
  panel.dataset.now = isPaused ? "paused" : failures ? "stale" : "on";
  toggle.textContent = isPaused ? resume : pause;
}

/** Make ready what works with script alone. */
function prepare() {
  for (const button of document.querySelectorAll("[data-copy][hidden]")) {
    button.hidden = !navigator.clipboard;
  }
}

async function copy(button) {
  const source = document.getElementById(button.dataset.copy);
  if (!source || saying.has(button)) return;
  try {
    await navigator.clipboard.writeText(source.textContent);
  } catch {
    // Refused, as in a window without focus: it is one key away.
    getSelection().selectAllChildren(source);
    return;
  }
  const before = button.textContent;
  saying.add(button);
  button.textContent = button.dataset.done;
  setTimeout(() => {
    saying.delete(button);
    button.textContent = before;
  }, 2000);
}

document.addEventListener("click", (event) => {
  const button = event.target.closest?.("[data-copy]");
  if (button) copy(button);
});
toggle?.addEventListener("click", () => {
  isPaused = !isPaused;
  say();
  if (!isPaused) ask();
});
document.addEventListener("visibilitychange", () => {
  if (document.hidden) clearTimeout(timer);
  else if (Number(main.dataset.poll)) ask();
});

prepare();
say();
plan();
