// Asks the server that watches a study whether its results have changed, and shows the page anew when they have.
"use strict";
(() => {
  const SECONDS = 3;
  const told = document.getElementById("live");
  let first = null;
  const ask = async () => {
    try {
      const answer = await (await fetch("/version", { cache: "no-store" })).text();
      first ??= answer;
      if (answer !== first) location.reload();
      told.textContent = "This page follows the study while it runs.";
    } catch {
      told.textContent = "The server of this page has ended; what is shown is the last state.";
    }
    setTimeout(ask, SECONDS * 1000);
  };
  ask();
})();
