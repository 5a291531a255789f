// What the agent says of its backends and audit sinks, and of itself.

import { at, cell, element, head, held, rows, spelt } from "./elements.js";
import { ago, now, percent, time, when, whole } from "./formats.js";
import { stated } from "./states.js";

export function drawHealth({ health }) {
  const word = health ? health.state : "unknown";
  const told = { ready: "Ready", degraded: "Degraded", unhealthy: "Unhealthy", unknown: "State unknown" };
  at("overall").replaceChildren(stated(word));
  at("overall").firstChild.lastChild.textContent = told[word] || word;
  at("overall").hidden = false;
  at("parts-note").textContent = !health ? "Nothing is known yet, or nothing any more."
    : `${health.problem ? `${spelt(health.problem)}. ` : ""}Asked ${ago(health.at)}.`;
  rows(at("parts"), (health ? health.parts : []).map((one) => {
    const why = cell(one.reason || "–", "long");
    if (one.hint) why.append(element("div", { class: "note" }, held(one.hint)));
    return element("tr", {}, head(one.name), cell(one.kind === "audit" ? "audit sink" : one.kind),
      cell(stated(one.state)), cell(one.breaker ? stated(one.breaker) : "–"), cell(when(one.since), "time"), why);
  }), "Nothing is known.");
}

export function drawAgent({ cache, started, health, figures }) {
  const journal = health && health.journal;
  const facts = [
    ["Running since", element("span", {}, when(started), ` (${time((now() - Date.parse(started)) / 1000)})`)],
    ["Cache hit rate", `${percent(cache.hit_rate)} of ${whole.format(cache.reads)} reads through this agent`],
    ["Cache entries", `${whole.format(cache.size)} of ${whole.format(cache.max_entries)}`],
    ["Hits", `${whole.format(cache.hits)}, and ${whole.format(cache.negative_hits)} of what is not there`],
    ["Misses", whole.format(cache.misses)],
    ["In outages", `${whole.format(cache.stale_hits)} stale, ${whole.format(cache.fallback_hits)} from the fallback`],
    ["Left the cache", `${whole.format(cache.evictions)} evicted, ${whole.format(cache.expirations)} expired`],
    ["Refreshes", `${whole.format(cache.refreshes)}, ${whole.format(cache.failed_refreshes)} failed`],
    ["Journal", !journal ? "no fallback store" : `${whole.format(journal.waiting)} waiting, ` +
      `${whole.format(journal.set_aside)} set aside${journal.oldest ? `, oldest ${time(journal.oldest)}` : ""}`],
    ["Rotations made", `${whole.format(figures.total.rotations)} in this span`],
  ];
  at("agent").replaceChildren(...facts.flatMap(([name, text]) => [element("dt", {}, name), element("dd", {}, text)]));
}
