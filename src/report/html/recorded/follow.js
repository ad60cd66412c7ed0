"use strict";
// Puts each new state of the page's part into it. What the reader has unfolded stays so.
(() => {
  const main = document.querySelector("main");
  const following = document.getElementById("following");
  const source = new EventSource("live");

  source.addEventListener("message", (event) => {
    const open = Array.from(main.querySelectorAll("details[open]"), (details) => details.id);
    main.innerHTML = JSON.parse(event.data);
    for (const id of open) {
      const details = document.getElementById(id);
      if (details) details.open = true;
    }
  });
  source.addEventListener("open", () => {
    following.value = "live";
  });
  source.addEventListener("end", () => {
    source.close();
    following.value = "finished";
  });
  source.addEventListener("error", () => {
    following.value = source.readyState === EventSource.CLOSED ? "the recorder has ended" : "connecting again";
  });
})();
