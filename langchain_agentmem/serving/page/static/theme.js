// The theme: that of the system, or the one that the person chose. It is set before the page is drawn.
"use strict";

(() => {
  const NAME = "agentmem-theme";
  const THEMES = ["system", "light", "dark"];

  function stored() {
    try {
      const found = localStorage.getItem(NAME);
      return THEMES.includes(found) ? found : "system";
    } catch {
      return "system"; // the browser keeps no storage for this page
    }
  }

  function apply(theme) {
    document.documentElement.dataset.theme = theme;
  }

  apply(stored());
  document.addEventListener("DOMContentLoaded", () => {
    const select = document.getElementById("theme");
    select.value = stored();
    select.addEventListener("change", () => {
      apply(select.value);
      try {
        localStorage.setItem(NAME, select.value);
      } catch {
        // the theme lasts until the page is closed
      }
    });
  });
})();
