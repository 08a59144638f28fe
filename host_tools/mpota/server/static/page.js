// Keeps the page fresh: the server says when something has changed, and the content is fetched
// anew. Nothing here is needed to use the page.
"use strict";

const main = document.getElementById("main");

document.addEventListener("submit", (event) => {
  const question = event.submitter && event.submitter.dataset.ask;
  if (question && !confirm(question)) event.preventDefault();
});

function isInUse() {
  // What somebody types, or has opened, stays as it is.
  const focused = document.activeElement;
  return main.querySelector("form.card, details[open]") !== null && main.contains(focused) && focused !== main
    || ["INPUT", "SELECT", "TEXTAREA"].includes(focused.tagName);
}

function nameOf(element) {
  return element.getAttribute("href") || element.getAttribute("aria-label") || element.textContent;
}

async function refresh() {
  if (isInUse()) return;
  const reply = await fetch(location.href, { headers: { Accept: "text/html" } });
  if (!reply.ok || reply.redirected) return;
  const fresh = new DOMParser().parseFromString(await reply.text(), "text/html").getElementById("main");
  if (fresh === null || fresh.innerHTML === main.innerHTML || isInUse()) return;
  const focused = document.activeElement;
  const name = main.contains(focused) && focused !== main ? nameOf(focused) : null;
  const before = main.querySelector("h1").textContent;
  main.replaceChildren(...fresh.childNodes);
  if (name !== null) {
    // The same link or button, wherever it is now: the key that is pressed next is meant for it.
    const again = [...main.querySelectorAll("a, button, [tabindex]")].find((one) => nameOf(one) === name);
    if (again) again.focus({ preventScroll: true });
  }
  // The state of a roll-out stands in the heading: a screen reader hears when it is another one.
  const after = main.querySelector("h1").textContent;
  if (after !== before) document.getElementById("live").textContent = after;
}

if ("live" in document.body.dataset) {
  const news = new EventSource("/events");
  news.addEventListener("news", () => refresh().catch(() => {}));
  addEventListener("pagehide", () => news.close());
}
