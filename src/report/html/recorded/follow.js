"use strict";
// Puts each new state of the page's part into it. What has not changed stays, with what is selected and how far it is scrolled;
// what the reader has unfolded stays so.
(() => {
  const main = document.querySelector("main");
  const following = document.getElementById("following");
  const source = new EventSource("live");

  const say = (words) => {
    following.value = words;
    following.className = words;
  };

  source.addEventListener("message", (event) => {
    const unfolded = Array.from(main.querySelectorAll("details[open]"), (details) => details.id);
    const next = document.createElement("main");
    next.innerHTML = JSON.parse(event.data);
    const children = Array.from(next.children);
    children.forEach((child, nth) => {
      const old = main.children[nth];
      if (!old) main.append(child);
      else if (!old.isEqualNode(child)) old.replaceWith(child);
    });
    while (main.children.length > children.length) main.lastElementChild.remove();
    for (const id of unfolded) {
      const details = document.getElementById(id);
      if (details) details.open = true;
    }
  });
  source.addEventListener("open", () => say("live"));
  source.addEventListener("end", () => {
    source.close();
    say("finished");
  });
  source.addEventListener("error", () => {
    say(source.readyState === EventSource.CLOSED ? "the recorder has ended" : "connecting again");
  });
})();
