// Rotations: what is due when, and what was made.

import { at, badge, cell, drawn, element, head, held, rows, spelt } from "./elements.js";
import { ago, now, time, when } from "./formats.js";
import { kindOf, resultBadge, worded } from "./states.js";

function urgency(one) {
  if (!one.enabled || one.state === "off") return "off";
  if (!one.next) return one.state || "–";
  const left = (Date.parse(one.next) - now()) / 1000;
  if (one.state === "overdue") return `overdue by ${time(Math.max(0, -left))}`;
  const word = worded(one.state);
  if (one.state === "left" || one.state === "running") return word;
  return left > 0 ? `${word ? `${word}, ` : ""}in ${time(left)}` : word || "due";
}

// How far a secret is on its way from its last rotation to the next one; the tick is where the next one is to be.
function timeline(one) {
  const [last, next] = [Date.parse(one.last || ""), Date.parse(one.next || "")];
  if (!(next > last) || !one.enabled) return "–";
  const part = Math.min(1.3, Math.max(0, (now() - last) / (next - last)));
  const end = 142;
  const told = part > 1 ? "past its end" : `${Math.round(part * 100)} % of the way`;
  const svg = drawn("svg", { viewBox: "0 0 190 16", class: "span", role: "img", "aria-label": told },
    drawn("title", {}, told), drawn("rect", { class: "track", x: 0, y: 4, width: end, height: 8, rx: 2 }),
    drawn("rect", { class: "passed", x: 0, y: 4, width: (Math.min(1, part) * end).toFixed(1), height: 8, rx: 2 }));
  if (part > 1) {
    svg.append(drawn("rect", { class: "late", x: end, y: 4, width: ((part - 1) * end).toFixed(1), height: 8 }));
  }
  svg.append(drawn("line", { class: "tick", x1: end, x2: end, y1: 1, y2: 15 }));
  return svg;
}

export function drawRotations({ rotation }) {
  const unseen = rotation.total - rotation.schedules.length;
  at("rotations-note").textContent = !rotation.at ? "It is being found out what is rotated when."
    : `${rotation.problem ? `${spelt(rotation.problem)}. ` : ""}${rotation.total} secrets, ` +
      `${rotation.overdue} overdue, ${rotation.due} due, ${rotation.left} left unfinished. ` +
      `Looked up ${ago(rotation.at)}.${unseen > 0 ? ` ${unseen} more are not shown.` : ""}`;
  rows(at("rotations"), rotation.schedules.map((one) => {
    const kind = kindOf(one.state);
    const told = element("td", {}, badge(urgency(one), kind));
    if (one.problem) told.append(element("div", { class: "note" }, held(one.problem)));
    return element("tr", { class: kind }, head(one.name), told, cell(timeline(one)),
      cell(when(one.last, { seconds: false }), "time"), cell(when(one.next, { seconds: false }), "time"),
      cell(one.rule), cell(one.by));
  }), "No secret is rotated by a rule or a service.");
  rows(at("made"), rotation.made.map((one) => element("tr", {}, cell(when(one.time), "time"), head(one.name),
    cell(resultBadge(one.result)), cell(one.principal, "who"), cell(one.detail, "long"))), "None, as far as is known.");
}
