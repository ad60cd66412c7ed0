"use strict";
// Puts each new state of the page's part into it. Only what has changed is replaced, and a text that has grown is appended to, so
// that what is selected, focused, unfolded or scrolled stays so. A box that is scrolled to its end stays at its end.
(() => {
  const main = document.querySelector("main");
  const following = document.getElementById("following");
  let source = null;

  const say = (words) => {
    following.value = words;
    following.className = words;
  };

  const isSameThing = (old, next) => old.nodeName === next.nodeName && (old.id ?? "") === (next.id ?? "");

  const isAtEnd = (box) => box.scrollHeight - box.scrollTop - box.clientHeight < 2;

  const putText = (old, next) => {
    if (old.data === next.data) return;
    if (!next.data.startsWith(old.data)) {
      old.data = next.data;
      return;
    }
    const box = old.parentElement;
    const follows = box.nodeName === "PRE" && isAtEnd(box);
    old.appendData(next.data.slice(old.data.length));
    if (follows) box.scrollTop = box.scrollHeight;
  };

  const putAttributes = (old, next) => {
    for (const { name, value } of next.attributes) {
      if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
    for (const name of old.getAttributeNames()) {
      // What the reader has unfolded.
      if (!next.hasAttribute(name) && name !== "open") old.removeAttribute(name);
    }
  };

  const put = (old, next) => {
    if (old.nodeType === Node.TEXT_NODE) return putText(old, next);
    putAttributes(old, next);
    putChildren(old, next);
  };

  const putChildren = (old, next) => {
    const known = new Map(Array.from(old.children, (child) => [child.id, child]));
    let at = old.firstChild;
    for (const child of Array.from(next.childNodes)) {
      const same = child.id ? known.get(child.id) : at;
      if (same && isSameThing(same, child)) {
        if (same !== at) old.insertBefore(same, at);
        put(same, child);
        at = same.nextSibling;
      } else {
        old.insertBefore(child, at);
      }
    }
    while (at) {
      const gone = at;
      at = at.nextSibling;
      gone.remove();
    }
  };

  // A page that nobody sees is not followed: browsers allow few connections to one server.
  const follow = () => {
    if (document.visibilityState === "hidden") {
      source?.close();
      source = null;
      say("paused");
    } else if (!source) {
      connect();
    }
  };

  const finish = (words) => {
    document.removeEventListener("visibilitychange", follow);
    source.close();
    say(words);
  };

  const connect = () => {
    const own = new EventSource("live");
    source = own;
    own.addEventListener("open", () => say("live"));
    own.addEventListener("message", (event) => {
      const next = document.createElement("main");
      next.innerHTML = JSON.parse(event.data);
      putChildren(main, next);
    });
    own.addEventListener("end", () => finish("finished"));
    own.addEventListener("bye", () => finish("the recorder has ended"));
    own.addEventListener("error", () => {
      if (own === source) say(own.readyState === EventSource.CLOSED ? "the recorder has ended" : "connecting again");
    });
  };

  document.addEventListener("visibilitychange", follow);
  follow();
})();
