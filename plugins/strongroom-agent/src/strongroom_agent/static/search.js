// The search of the audit trail: what is asked for, what was found, and its pages.

import { ask, reasonOf } from "./asking.js";
import { announce, at, cell, element, head, rows } from "./elements.js";
import { duration, when, whole } from "./formats.js";
import { resultBadge } from "./states.js";

const PAGE = 50;

let shown = null; // what was searched for: its filter, page and newest event
let isWhole = false; // whether the agent has read the trail to its end
let sessions = 0; // how many have ended

function filterOf(form) {
  const given = new FormData(form);
  const moment = (name) => (given.get(name) ? Date.parse(`${given.get(name)}Z`) / 1000 : null);
  const text = (name) => String(given.get(name) || "").trim();
  return {
    principal: text("principal"), name: text("name"), result: text("result"), event: text("event"),
    since: moment("since"), until: moment("until"),
  };
}

async function run(search) {
  const session = sessions;
  at("search-problem").textContent = "";
  try {
    const found = await ask("/dashboard/search", { ...search.filter, page: search.page, size: PAGE, upto: search.upto });
    if (session !== sessions) return; // whoever has asked is not there any more
    shown = { ...search, upto: found.upto, early: !isWhole };
    drawEvents(found);
  } catch (error) {
    if (session === sessions) at("search-problem").textContent = reasonOf(error);
  }
}

function drawEvents({ rows: found, total }) {
  rows(at("events"), found.map((one) => {
    const who = one.on_behalf_of ? `${one.principal} (for ${one.on_behalf_of})` : one.principal;
    const by = [one.source, one.backend].filter((part, index, all) => part && all.indexOf(part) === index).join(", ");
    return element("tr", {}, cell(when(one.time), "time"), cell(who, "who"), cell(one.event), head(one.name),
      cell(resultBadge(one.result)), cell(by || "–"), cell(duration(one.duration), "number"),
      cell([one.rule, one.detail].filter(Boolean).join("; ") || "–", "long"));
  }), "No event is as you have asked.");
  const first = (shown.page - 1) * PAGE;
  const told = found.length ? `${whole.format(first + 1)} to ${whole.format(first + found.length)} of ` +
    `${whole.format(total)} events` : "No events";
  at("found").textContent = told;
  at("previous").disabled = shown.page <= 1;
  at("next").disabled = first + found.length >= total;
  announce(told);
}

async function turn(button, pages) {
  await run({ ...shown, page: shown.page + pages });
  at("events").closest(".scroll").scrollTop = 0;
  // A button that has just been disabled would lose the keyboard's place.
  if (button.disabled) at(pages > 0 ? "previous" : "next").focus();
}

export const searchAll = () => run({ filter: {}, page: 1, upto: null });

// Takes note of how far the agent is with the trail. What was searched for before it had read it was not all there is.
export function trailIsRead(isRead) {
  isWhole = isRead;
  if (shown && shown.early && isRead && shown.page === 1) run({ ...shown, upto: null });
}

export function listenToSearch() {
  at("search").addEventListener("submit", (event) => {
    event.preventDefault();
    run({ filter: filterOf(event.target), page: 1, upto: null });
  });
  at("search").addEventListener("reset", () => {
    if (shown) searchAll();
  });
  at("previous").addEventListener("click", (event) => turn(event.currentTarget, -1));
  at("next").addEventListener("click", (event) => turn(event.currentTarget, 1));
}

export function forgetSearch() {
  sessions += 1;
  shown = null;
  isWhole = false;
  at("search").reset();
  at("found").textContent = "Nothing has been searched for yet.";
}
