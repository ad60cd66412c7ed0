"use strict";
// Filters the exchanges by verdict and by words, and opens the one that a link leads to.
(() => {
  const exchanges = Array.from(document.querySelectorAll("#list > details"));
  const [verdict, search, shown] = ["verdict", "search", "shown"].map((id) => document.getElementById(id));
  const texts = new Map();

  const textOf = (exchange) => {
    if (!texts.has(exchange)) texts.set(exchange, exchange.textContent.toLowerCase());
    return texts.get(exchange);
  };

  const filter = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    for (const exchange of exchanges) {
      const fits = !verdict.value || exchange.dataset.status === verdict.value;
      exchange.hidden = !(fits && words.every((word) => textOf(exchange).includes(word)));
      count += exchange.hidden ? 0 : 1;
    }
    shown.value = `${count} of ${exchanges.length} exchanges`;
  };

  const openTarget = () => {
    const target = document.getElementById(location.hash.slice(1));
    if (!exchanges.includes(target)) return;
    if (target.hidden) {
      verdict.value = search.value = "";
      filter();
    }
    target.open = true;
    target.scrollIntoView();
    target.querySelector("summary").focus();
  };

  const openAll = (open) => {
    for (const exchange of exchanges) if (!exchange.hidden) exchange.open = open;
  };

  verdict.addEventListener("change", filter);
  search.addEventListener("input", filter);
  search.form.addEventListener("submit", (event) => event.preventDefault());
  document.getElementById("unfold").addEventListener("click", () => openAll(true));
  document.getElementById("fold").addEventListener("click", () => openAll(false));
  window.addEventListener("hashchange", openTarget);
  openTarget();
})();
