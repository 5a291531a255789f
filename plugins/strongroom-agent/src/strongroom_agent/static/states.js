// How the words for states look, and what is said where the audit trail is not all there.

import { badge } from "./elements.js";

// A word may be anything that somebody has written to the trail, so nothing is inherited here.
const STATES = {
  __proto__: null,
  up: "good", ready: "good", healthy: "good", ok: "good", sealed: "good",
  queued: "warn", degraded: "warn", recovering: "warn", unsealed: "warn", gap: "warn", due: "warn", "due soon": "warn",
  running: "warn", alert: "warn",
  down: "bad", unhealthy: "bad", broken: "bad", overdue: "bad", left: "bad", denied: "bad", suspicious: "bad",
  blocked: "bad",
  attempt: "mute", off: "mute",
};
const WORDS = { __proto__: null, left: "left unfinished", gap: "has gaps" };

export const worded = (state) => WORDS[state] || state;
export const kindOf = (state, otherwise = "mute") => STATES[state] || otherwise;
export const stated = (word) => badge(worded(word) || "–", kindOf(word, "warn"));
export const resultBadge = (word) => (word === "ok" ? "ok" : stated(word));

// Why the figures of the trail are not all there is, or are not there at all; zero would look like peace.
export const lacking = (trail) => (trail.problem ? "the trail cannot be read"
  : trail.reading ? "the trail is still being read" : "");

export const NOTHING_KNOWN = "Nothing is known: the trail cannot be read.";
