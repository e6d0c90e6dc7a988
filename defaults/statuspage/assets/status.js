// Keeps the status page up to date: asks for status.json, and when it has
// changed, for the page, whose parts marked data-live replace those shown.
// What is open stays open, and the focus stays where it is.
"use strict";
(() => {
  const live = document.getElementById("live");
  const text = document.getElementById("live-text");
  const picture = document.getElementById("picture");
  const quick = 1000, slow = 5000, most = 60000;
  let last = null, failures = 0, timer = 0;

  function localTimes(root) {
    for (const time of root.querySelectorAll("time[datetime]")) {
      const at = new Date(time.dateTime);
      time.title = time.textContent;
      time.textContent = at.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" });
    }
  }

  function say(words, lost) {
    text.textContent = words;
    live.classList.toggle("lost", lost);
  }

  // How long starts take changes all the time while they last, and says
  // nothing about afterwards.
  function fingerprint(status) {
    return JSON.stringify(status, (key, value) => (key === "startSeconds" && status.phase !== "starting" ? 0 : value));
  }

  function apply(html) {
    const fresh = new DOMParser().parseFromString(html, "text/html");
    const open = new Set([...document.querySelectorAll("details[open]")].map((d) => d.id));
    for (const now of document.querySelectorAll("[data-live]")) {
      const next = fresh.getElementById(now.id);
      if (!next) continue;
      for (const d of next.querySelectorAll("details")) d.open = open.has(d.id);
      localTimes(next);
      if (next.innerHTML === now.innerHTML) continue;
      const focused = now.contains(document.activeElement) ? document.activeElement : null;
      const owner = focused && focused.closest("details[id]");
      const link = focused && focused.getAttribute("href");
      now.innerHTML = next.innerHTML;
      if (owner) {
        const again = document.getElementById(owner.id);
        const target = again && (link ? [...again.querySelectorAll("a")].find((a) => a.getAttribute("href") === link) : again.querySelector("summary"));
        if (target) target.focus({ preventScroll: true });
      }
    }
    const source = picture.getAttribute("src").split("?")[0];
    picture.src = source + "?" + Date.now();
  }

  async function get(url) {
    const answer = await fetch(url, { cache: "no-cache", signal: AbortSignal.timeout(10000) });
    if (!answer.ok) throw new Error(String(answer.status));
    return answer;
  }

  async function refresh() {
    clearTimeout(timer);
    let wait = slow;
    try {
      const status = await (await get(live.dataset.status)).json();
      const now = fingerprint(status);
      if (last !== null && now !== last) apply(await (await get(location.pathname)).text());
      last = now;
      failures = 0;
      if (status.phase !== "started") wait = quick;
      say("Live", false);
    } catch {
      failures++;
      wait = Math.min(quick * 2 ** failures, most);
      say("The backend does not answer", true);
    }
    if (!document.hidden) timer = setTimeout(refresh, wait);
  }

  // A link to what is in a closed part opens it.
  function reveal() {
    const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    const closed = target && target.closest("details:not([open])");
    if (closed) closed.open = true;
  }

  document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
  addEventListener("hashchange", reveal);
  live.hidden = false;
  localTimes(document);
  refresh();
})();
