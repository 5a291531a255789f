// The audit trail: the alerts in it, and whether it is whole.

import { announce, at, cell, choices, element, head, rows, spelt } from "./elements.js";
import { ago, duration, when, whole } from "./formats.js";
import { NOTHING_KNOWN, stated } from "./states.js";

let newestAlert = null; // the number of the newest alert that was shown

export function drawAlerts({ alerts, trail }) {
  rows(at("alerts"), alerts.map((one) => element("tr", {}, cell(when(one.time), "time"),
    cell(stated(one.result)), cell(one.rule), cell(one.principal, "who"), head(one.name),
    cell(one.detail, "long"))),
  trail.problem ? NOTHING_KNOWN : "No detector has found anything odd.");
  const newest = alerts.length ? alerts[0].number : 0;
  if (newestAlert !== null && newest > newestAlert) {
    announce(`New alert: ${alerts[0].principal || ""}: ${alerts[0].detail || alerts[0].rule || ""}`);
  }
  // What comes while the trail is being read is not new.
  newestAlert = trail.reading ? null : newest;
}

// Whoever logs in next is told of no alert as if it were new.
export function forgetAlerts() {
  newestAlert = null;
}

export function drawTrail({ trail }) {
  at("verifications").replaceChildren(...trail.verifications.map((one) => {
    const told = one.problem || `${whole.format(one.events)} events in the trail, verified ${ago(one.at)} ` +
      `in ${duration(one.seconds)}.`;
    const made = element("div", { class: "verification" }, stated(one.state), ` ${one.sink}: ${told}`);
    if (one.findings.length) {
      const shown = one.findings.map(({ kind, place, detail }) => element("li", {}, `${kind} at ${place}: ${detail}`));
      if (one.found > one.findings.length) shown.push(element("li", {}, `${one.found - one.findings.length} more`));
      made.append(element("ul", { tabindex: "0", "aria-label": "What the verification found" }, ...shown));
    }
    return made;
  }));
  const oldest = trail.oldest ? `, back to ${trail.oldest.slice(0, 19).replace("T", " ")}` : "";
  const told = trail.problem && !trail.verifications.some((one) => one.problem === trail.problem);
  at("trail-note").textContent = trail.problem ? (told ? `${spelt(trail.problem)}.` : "")
    : `${trail.reading ? "The trail is being read. " : ""}The newest ${whole.format(trail.kept)} of ` +
      `${whole.format(trail.read)} events can be searched here${oldest}.`;
  choices(at("s-result"), [["", "Any"], ["failed", "Anything but ok"], ...trail.results.map((one) => [one, one])]);
  choices(at("s-event"), [["", "Any"], ...trail.events.map((one) => [one, one])]);
}
