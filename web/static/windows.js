// One stream for all windows of a browser: it opens six connections to a site, and each window
// that is looked at needs a stream. One of them leads: it opens the stream for all, with Datastar's
// own fetch, and hands each its events (/stream/pages wraps them in `datastar-window`). Every
// window then dispatches its own as Datastar would have, so that there is one way to paint.
//
// Locks say who is there: the leader holds one, each window that is looked at another. The browser
// takes them back when a window is closed, crashes or goes elsewhere, however suddenly. A hidden
// window takes no part.
//
// This comes before Datastar and takes the stream out of its hands, but waits with it until all
// scripts have run: what is dispatched before somebody hears it is lost. Where it cannot (an old
// browser, or plain HTTP to another machine, which has no locks), or does not load, each window has
// a stream of its own.

const NAME = "waybill-windows-1"; // another number when the messages change
const MOST = 64; // what a gateway takes
const TOGETHER_MS = 20; // windows that answer a new leader are asked for at once
const GONE_MS = 2000; // whoever leaves often comes back: a page loads
const PATIENCE_MS = 5000; // a leader that says nothing for so long is replaced
const BEAT_MS = 2000; // it says at least that it is there
const LONGEST = 2000; // characters of an address that a gateway takes

const stream = document.querySelector("#stream");
if (stream && navigator.locks && window.BroadcastChannel) share(stream.dataset.init);

function share(init) {
  const hex = (length) => Array.from(crypto.getRandomValues(new Uint8Array(length)), (byte) => byte.toString(16).padStart(2, "0")).join("");
  const here = () => document.querySelector("#stream");
  const address = () => new URL(here().dataset.url, location.href).searchParams.get("at");
  const lockOf = (id) => `${NAME}-${id}`;

  const me = { id: hex(8), seed: hex(8), after: null, has: {} };
  let admit; // takes a window in; only while this one leads
  let dethrone; // ends that
  const everybody = new BroadcastChannel(NAME);
  const mine = new BroadcastChannel(lockOf(me.id));
  let leader = null; // whose messages count
  let impatient;
  let attention = null; // aborted when this window is hidden
  stream.removeAttribute("data-init");

  // ---- This window.

  function tell(type, args) {
    document.dispatchEvent(new CustomEvent("datastar-fetch", { detail: { type, el: here(), argsRaw: args } }));
  }

  function expectNews() {
    clearTimeout(impatient);
    if (leader !== me.id) impatient = setTimeout(() => attention && lead(attention.signal, true), PATIENCE_MS);
  }

  function join() {
    expectNews();
    const wish = { ...me, at: address() };
    // A channel does not speak to itself.
    if (admit) admit(wish);
    else everybody.postMessage({ join: wish });
  }

  function hear({ from, type, part, cursor, args }) {
    leader ??= from;
    if (from !== leader) return;
    expectNews();
    if (!type) return; // it is there, that is all
    if (cursor) me.after = cursor;
    if (part) {
      const [index, hash] = part.split("-");
      me.has[index] = hash;
    }
    tell(type, args);
  }

  function follow(id) {
    leader = id;
    if (attention) join();
  }

  mine.onmessage = ({ data }) => hear(data);
  everybody.onmessage = ({ data }) => {
    if (data.beat) {
      // A leader that has not taken this window in has not heard of it.
      if (attention && data.beat === leader && leader !== me.id) data.has.includes(me.id) ? expectNews() : join();
    } else if (data.leads) follow(data.leads);
    else if (data.join) admit?.(data.join);
  };

  // A filter gives the stream another address.
  new MutationObserver((changes) => {
    const moved = changes.some((change) => [...change.addedNodes].some((node) => node.id === "stream"));
    if (moved && attention) join();
  }).observe(document.body, { childList: true });

  // ---- The leader.

  function lead(signal, steal = false) {
    navigator.locks
      .request(NAME, steal ? { steal } : { signal }, () => new Promise((done) => reign(signal, done)))
      .catch(() => {
        // Another window has lost its patience with this one: it waits like all others.
        dethrone?.();
        if (signal.aborted) return;
        // The new one may have said so before this one knew.
        if (leader !== me.id) join();
        lead(signal);
      });
  }

  function reign(signal, done) {
    if (signal.aborted) return done();
    dethrone?.();
    const windows = new Map();
    const ended = new AbortController();
    const beating = setInterval(() => everybody.postMessage({ beat: me.id, has: [...windows.keys()] }), BEAT_MS);
    let element;
    let opening;

    const send = (id, message) => {
      const data = { from: me.id, ...message };
      if (id === me.id) hear(data);
      else windows.get(id)?.channel.postMessage(data);
    };

    const open = () => {
      opening = null;
      const query = new URLSearchParams();
      for (const [id, { at, seed, after, has }] of windows) {
        query.append("window", id);
        query.append("at", at.slice(0, LONGEST));
        query.append("seed", seed);
        if (after) query.append("after", after);
        const shown = Object.values(has).join(",");
        if (shown) query.append("has", shown);
      }
      element?.remove();
      element = Object.assign(document.createElement("div"), { hidden: true });
      element.dataset.url = `/stream/pages?${query}`;
      element.dataset.init = init;
      document.body.append(element);
    };
    const openIn = (ms) => {
      if (opening && opening.at <= performance.now() + ms) return;
      clearTimeout(opening?.timer);
      opening = { at: performance.now() + ms, timer: setTimeout(open, ms) };
    };

    const passOn = ({ detail: { type, el, argsRaw } }) => {
      if (el !== element) return;
      if (type === "datastar-window") {
        const { window: id, type: kind, part, cursor, ...args } = argsRaw;
        const known = windows.get(id);
        if (!known) return;
        if (cursor) known.after = cursor;
        if (part) {
          const [index, hash] = part.split("-");
          known.has[index] = hash;
        }
        send(id, { type: kind, part, cursor, args });
      } else if (type === "retrying") {
        for (const id of windows.keys()) send(id, { type, args: {} });
      }
    };
    document.addEventListener("datastar-fetch", passOn);

    admit = ({ id, at, seed, after, has }) => {
      const known = windows.get(id);
      if (known) {
        // What is on its way to the window it cannot tell of yet: we can.
        known.at = at;
        send(id, {});
        return openIn(0);
      }
      if (windows.size >= MOST) {
        const channel = new BroadcastChannel(lockOf(id));
        channel.postMessage({ from: me.id, type: "retrying", args: {} });
        return channel.close();
      }
      const channel = id === me.id ? null : new BroadcastChannel(lockOf(id));
      windows.set(id, { at, seed, after, has: { ...has }, channel });
      send(id, {});
      openIn(id === me.id ? 0 : TOGETHER_MS);
      if (id === me.id) return;
      // Ours when the window has let go of it, for whatever reason.
      const gone = () => {
        channel.close();
        windows.delete(id);
        openIn(GONE_MS);
      };
      navigator.locks.request(lockOf(id), { mode: "shared", signal: ended.signal }, gone).catch(() => {});
    };

    dethrone = () => {
      dethrone = admit = null;
      clearInterval(beating);
      ended.abort();
      clearTimeout(opening?.timer);
      document.removeEventListener("datastar-fetch", passOn);
      for (const { channel } of windows.values()) channel?.close();
      element?.remove();
      done();
    };
    signal.addEventListener("abort", () => dethrone?.());

    leader = me.id;
    join();
    everybody.postMessage({ leads: me.id });
  }

  // ---- Looked at, or not.

  function look() {
    if (document.visibilityState === "hidden") {
      attention?.abort();
      attention = null;
      clearTimeout(impatient);
    } else if (!attention) {
      attention = new AbortController();
      const { signal } = attention;
      leader = null; // whoever answers
      navigator.locks
        .request(lockOf(me.id), { signal }, async () => {
          if (signal.aborted) return;
          join();
          lead(signal);
          await new Promise((done) => signal.addEventListener("abort", done));
        })
        .catch((error) => {
          // No locks here after all: a stream of its own.
          if (error.name !== "AbortError") here().dataset.init = init;
        });
    }
  }

  // Once every script has run, or has failed to load.
  addEventListener("DOMContentLoaded", () => {
    document.addEventListener("visibilitychange", look);
    look();
  });
  // A page that is kept for the way back must hold nothing.
  addEventListener("pagehide", () => {
    attention?.abort();
    attention = null;
  });
  addEventListener("pageshow", look);
}
