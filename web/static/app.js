// What Datastar and HTML cannot do alone: times that tick, copy buttons, tabs without a reload,
// filters while typing, forms that are sent once, and the note that the connection is lost.
// Every page works without this file.

const page = document.documentElement;
const one = (selector, within = document) => within.querySelector(selector);
const all = (selector, within = document) => within.querySelectorAll(selector);

page.classList.add("scripted");

// ---- Times: the server writes them out in UTC. Here they become the reader's own, or relative, and
// tick. A time of day names its zone.

// This machine's clock may be wrong; the server's counts.
const clockOffset = Number(one("meta[name=server-time]")?.content || Date.now()) - Date.now();
const now = () => Date.now() + clockOffset;
const day = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric", year: "numeric" });
const ofDay = (parts) => new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23", timeZoneName: "short", ...parts });
const minutes = ofDay({});
const clock = ofDay({ second: "2-digit" });
const exact = ofDay({ year: "numeric", month: "short", day: "numeric", second: "2-digit" });

function ago(seconds, at) {
  if (seconds < 5) return "just now";
  if (seconds < 60) return `${seconds} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ago`;
  if (seconds < 7 * 86400) return `${Math.floor(seconds / 86400)} d ago`;
  return day.format(at);
}

function span(seconds) {
  const [d, h, m, s] = [seconds / 86400, (seconds / 3600) % 24, (seconds / 60) % 60, seconds % 60].map(Math.floor);
  if (d) return `${d}d ${h}h`;
  if (h) return `${h}h ${m}m`;
  return m ? `${m}m ${s}s` : `${s}s`;
}

function left(seconds) {
  if (seconds <= 0) return "0:00";
  if (seconds >= 3600) return span(seconds);
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}

function write(element, text) {
  // Writing the same text again would wake the observer below for ever.
  if (element.textContent !== text) element.textContent = text;
}

function title(element, text) {
  if (element.title !== text) element.title = text;
}

const TITLES = { since: "since ", until: "until ", in: "until " };

function tick() {
  for (const time of all("time")) {
    const at = Date.parse(time.dateTime);
    if (Number.isNaN(at)) continue;
    const { tick } = time.dataset;
    title(time, `${TITLES[tick] ?? ""}${exact.format(at)}`);
    const passed = Math.max(0, Math.floor((now() - at) / 1000));
    const seconds = Math.ceil((at - now()) / 1000);
    if (tick === "clock") write(time, clock.format(at));
    else if (tick === "minutes") write(time, minutes.format(at));
    else if (tick === "ago") write(time, ago(passed, at));
    else if (tick === "since") write(time, span(passed));
    else if (tick === "until") write(time, left(seconds));
    else if (tick === "in") write(time, seconds > 0 ? `in ${left(seconds)}` : "any moment now");
    else write(time, exact.format(at));
  }
  // Where no <time> can be: what a bar of the chart says, and what has its time on hover only.
  for (const element of all("[data-at]")) {
    const at = Date.parse(element.dataset.at);
    if (element instanceof SVGElement) write(element, `${element.dataset.before}${minutes.format(at)}`);
    else title(element, exact.format(at));
  }
}

setInterval(() => document.hidden || tick(), 1000);

// ---- The checkout's total follows the zone that is chosen. The server computed every sum.

function total() {
  for (const form of all("form[data-sums]")) {
    const zone = one("input[name=zone]:checked", form);
    const expected = one("input[name=expected_total_cents]", form);
    if (!zone || !expected) continue;
    write(one("output", form), zone.dataset.sum);
    expected.value = zone.dataset.cents;
    expected.disabled = false;
  }
}
document.addEventListener("change", (event) => {
  if (event.target.closest("form[data-sums]")) total();
});

// A patch writes the server's texts again: they become relative before anything is painted.
new MutationObserver((changes) => {
  tick();
  total();
  for (const change of changes) {
    for (const node of change.addedNodes) {
      if (!(node instanceof HTMLElement)) continue;
      if (node.matches(".news > li")) node.dataset.fresh = "";
      // One that comes back would bring the key along that was used before it went.
      for (const form of node.matches("form") ? [node] : all("form", node)) if (form.method === "post") freshKey(form);
    }
    const watched = change.target.parentElement?.closest("[data-watch]");
    if (change.type === "characterData" && watched) {
      watched.dataset.flash = "";
      setTimeout(() => delete watched.dataset.flash, 900);
    }
  }
}).observe(document.body, { childList: true, characterData: true, subtree: true });
tick();
total();

// ---- Copy buttons.

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // The clipboard API needs HTTPS or localhost.
    const area = Object.assign(document.createElement("textarea"), { value: text, readOnly: true, className: "vh" });
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  event.preventDefault();
  const from = button.dataset.copy;
  await copy(from.startsWith("#") ? one(from).textContent : from);
  button.dataset.copied = "";
  write(one("#announce"), "Copied");
  setTimeout(() => delete button.dataset.copied, 1500);
});

// ---- Tabs: links that need no reload.

function showTab(name) {
  for (const link of all(".tabs a[data-tab]")) {
    if (link.dataset.tab === name) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }
  for (const panel of ["input", "output"]) one(`#${panel}`).hidden = panel !== name;
}

document.addEventListener("click", (event) => {
  const link = event.target.closest(".tabs a[data-tab]");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
  event.preventDefault();
  const url = new URL(location.href);
  if (link.dataset.tab === "output") url.searchParams.set("tab", "output");
  else url.searchParams.delete("tab");
  history.pushState(null, "", url);
  showTab(link.dataset.tab);
});
addEventListener("popstate", () => {
  if (one(".tabs")) showTab(new URL(location.href).searchParams.get("tab") === "output" ? "output" : "input");
});

// ---- Filters: the address follows what is typed, and the page's stream follows the address.

let streaming = false;
let typing;

function follow(form) {
  const url = new URL(form.action);
  for (const [name, value] of new FormData(form)) if (value) url.searchParams.append(name, value);
  const tab = new URL(location.href).searchParams.get("tab");
  if (tab) url.searchParams.set("tab", tab);
  history.replaceState(null, "", url);
  const stream = one("#stream");
  const next = stream.cloneNode(false);
  next.dataset.url = `/stream/page?at=${encodeURIComponent(url.pathname + url.search)}`;
  stream.replaceWith(next);
}

const isAsRendered = (field) =>
  field.matches("select")
    ? field.selectedOptions[0] === (one("option[selected]", field) ?? field.options[0])
    : field.value === field.defaultValue;

/** What was typed before there was anybody to hear it counts as well. */
function beginStreaming() {
  if (streaming) return;
  streaming = true;
  for (const form of all("form[data-filter]"))
    if (![...all("input, select", form)].every(isAsRendered)) setTimeout(follow, 0, form);
}

document.addEventListener("input", (event) => {
  const form = event.target.closest("form[data-filter]");
  if (!form || !streaming) return;
  clearTimeout(typing);
  typing = setTimeout(follow, event.target.matches("select") ? 0 : 250, form);
});

// ---- Forms: sent once; the button shows that it works; what is wrong stands next to its field.

const busy = new Map();
// What is wrong at a field, until a form is sent.
let mistake;

/** So many random bytes, in hexadecimal digits. */
const random = (bytes) => Array.from(crypto.getRandomValues(new Uint8Array(bytes)), (byte) => byte.toString(16).padStart(2, "0")).join("");

function freshKey(form) {
  const key = form.elements.namedItem("idempotency_key");
  if (key) key.value = random(12);
}

function forgive(form) {
  for (const each of new Set([form, mistake?.form ?? form])) {
    for (const wrong of all(".wrong", each)) wrong.remove();
    for (const field of all("[aria-invalid]", each)) field.removeAttribute("aria-invalid");
  }
  mistake = undefined;
}

function settle(form) {
  const button = busy.get(form);
  busy.delete(form);
  delete form.dataset.busy;
  button?.removeAttribute("aria-busy");
}

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.matches("[data-filter]")) {
    if (!streaming) return;
    event.preventDefault();
    clearTimeout(typing);
    follow(form);
  } else if (busy.has(form)) {
    event.preventDefault();
    event.stopImmediatePropagation();
  } else if (form.method === "post") {
    // A secret is shown until the next action.
    one("#once")?.replaceChildren();
    forgive(form);
    // Where traces are collected, that of an order begins here: a header that the form sends (W3C Trace Context).
    if ("traced" in page.dataset) form.trace = { traceparent: `00-${random(16)}-${random(8)}-01` };
    const button = event.submitter ?? one("button", form);
    busy.set(form, button);
    form.dataset.busy = "";
    button?.setAttribute("aria-busy", "true");
  }
}, true);

// The second click of a double click is the same wish, also when the first has been answered by then.
document.addEventListener("click", (event) => {
  if (event.detail > 1 && event.target.closest("form[method=post] button:not([type=button])")) event.preventDefault();
}, true);

// Another input is another wish.
document.addEventListener("input", (event) => {
  if (event.target.form?.method === "post") freshKey(event.target.form);
});

addEventListener("pageshow", () => [...busy.keys()].forEach(settle));

function answered(form) {
  const toast = one("#toast");
  const problem = toast.dataset.kind === "problem";
  // What may not have arrived is asked again with the same key.
  if (!("again" in toast.dataset)) freshKey(form);
  if (!problem && "clear" in form.dataset) form.reset();
  const ask = form.closest("details.ask");
  if (!problem && ask?.open) {
    ask.open = false;
    one("summary", ask)?.focus();
  }
  if (!problem || !toast.dataset.field) return;
  mistake = { form, name: toast.dataset.field, detail: toast.dataset.detail };
  pointOut()?.focus();
}

// A page that is painted anew knows nothing of it, so it is said again after each patch.
function pointOut() {
  const field = mistake?.form.isConnected && mistake.form.elements.namedItem(mistake.name);
  if (!field) return;
  const input = field instanceof RadioNodeList ? field[0] : field.matches("fieldset") ? one("input", field) : field;
  if (input.type === "hidden") return;
  const id = `wrong-${mistake.name}`;
  if (!document.getElementById(id)) {
    const message = Object.assign(document.createElement("p"), { className: "wrong", dir: "auto", id, textContent: mistake.detail });
    (input.closest(".choices, .pieces") ?? input).after(message);
  }
  input.setAttribute("aria-invalid", "true");
  input.setAttribute("aria-describedby", id);
  return input;
}

function say(kind, template) {
  const toast = one("#toast");
  toast.dataset.kind = kind;
  delete toast.dataset.closed;
  delete toast.dataset.field;
  toast.replaceChildren(one(template).content.cloneNode(true));
}

// Whoever is on the way to another page is not led elsewhere: a sign-in ends the session of
// before, which the page that is left is told of at once.
let leaving = 0;
addEventListener("beforeunload", () => (leaving = Date.now()));

let hiding;
function afterPatch() {
  const toast = one("#toast");
  const go = toast?.dataset.go;
  if (go) {
    // Once: the answer and the stream both carry it.
    delete toast.dataset.go;
    if (Date.now() - leaving > 5000) location.assign(go);
  }
  clearTimeout(hiding);
  if (toast?.dataset.kind === "done") hiding = setTimeout(() => (toast.dataset.closed = ""), 5000);
}

document.addEventListener("click", (event) => {
  if (event.target.closest("[data-close]")) one("#toast").dataset.closed = "";
  if (event.target.closest("[data-forget]")) one("#once").replaceChildren();
});

// ---- The connection.

let lost;
let broken = false;
function showConnection(well) {
  clearTimeout(lost);
  const banner = one("#offline");
  if (!banner) return;
  // A stream that is opened anew takes a moment: only what lasts is worth a word.
  if (well) banner.hidden = true;
  else lost = setTimeout(() => (banner.hidden = false), navigator.onLine ? 1500 : 0);
}
addEventListener("offline", () => showConnection(false));
// The stream may have survived; a broken one says itself when it is back.
addEventListener("online", () => broken || showConnection(true));

// Datastar paints in a listener of its own, before this one or after it, whichever script ran first.
// A microtask comes after both.
document.addEventListener("datastar-fetch", ({ detail }) => queueMicrotask(() => fetched(detail)));

function fetched({ type, el }) {
  const patched = type.startsWith("datastar-patch");
  if (el.id === "stream") {
    beginStreaming();
    const well = patched || type === "datastar-open";
    if (type === "retrying" || well) {
      broken = !well;
      showConnection(well);
    }
    if (well) page.dataset.live = "";
    if (patched) pointOut();
    if (patched && one("#toast")?.dataset.go) afterPatch();
  } else if (busy.has(el)) {
    if (patched) {
      answered(el);
      afterPatch();
    } else if (type === "retries-failed") {
      say("problem", "#unreachable");
    } else if (type === "finished") {
      settle(el);
    }
  }
}

// ---- Small sheets close like menus, and the drawer gives way to the wide layout.

document.addEventListener("click", (event) => {
  for (const ask of all("details.ask[open]")) if (!ask.contains(event.target)) ask.open = false;
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const ask of all("details.ask[open]")) {
    ask.open = false;
    one("summary", ask).focus();
  }
});
matchMedia("(min-width: 1100px)").addEventListener("change", () => {
  const drawer = one("#aside:popover-open");
  drawer?.hidePopover();
});

// ---- A file becomes the text that its form sends: without this it is pasted.

for (const field of all("[data-scripted]")) field.hidden = false;
document.addEventListener("change", async ({ target }) => {
  const into = target.dataset?.into;
  const file = into && target.files?.[0];
  if (file) one(`#${into}`, target.form).value = await file.text();
});
