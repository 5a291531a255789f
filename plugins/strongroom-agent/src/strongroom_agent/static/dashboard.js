// The dashboard's script begins here: what the reader has chosen, what the page listens to, and the session.

import { redrawCharts } from "./board.js";
import { at } from "./elements.js";
import { kept } from "./kept.js";
import { listenToSearch } from "./search.js";
import { listenToSession, resume } from "./session.js";

const THEME = "strongroom.theme";
const SPAN = "strongroom.span";

function paint(theme) {
  if (theme) document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
}

function recallTheme() {
  const theme = kept.get(THEME);
  at("theme").value = ["light", "dark"].includes(theme) ? theme : "";
  paint(at("theme").value);
  at("theme").addEventListener("change", (event) => {
    kept.set(THEME, event.target.value);
    paint(event.target.value);
  });
}

function recallSpan() {
  const span = kept.get(SPAN) === "24h" ? "24h" : "1h";
  document.querySelector(`input[name=span][value="${span}"]`).checked = true;
  at("spans").addEventListener("change", (event) => kept.set(SPAN, event.target.value));
}

function listenToWidth() {
  let width = window.innerWidth;
  window.addEventListener("resize", () => {
    if (window.innerWidth === width) return;
    width = window.innerWidth;
    redrawCharts();
  });
}

recallTheme();
recallSpan();
listenToSession();
listenToSearch();
listenToWidth();
resume();
