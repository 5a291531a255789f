// The figures: those at a glance, reads, latencies, and who did how much.

import { bars, line } from "./charts.js";
import { at, badge, cell, drawn, element, head, rows } from "./elements.js";
import { ago, duration, percent, whole } from "./formats.js";
import { NOTHING_KNOWN, lacking, worded } from "./states.js";

function tile(label, figure, note, kind = "") {
  return element("div", { class: `tile ${kind}` }, element("dt", {}, label),
    element("dd", {}, element("div", { class: "figure" }, figure), element("div", { class: "note" }, note)));
}

function worst(latencies) {
  return latencies.reduce((most, one) => (one.p99 !== null && (!most || one.p99 > most.p99) ? one : most), null);
}

function trailTile(trail) {
  const order = ["broken", "unknown", "gap", "unsealed", "sealed"];
  const found = trail.verifications.map((one) => one.state).sort((a, b) => order.indexOf(a) - order.indexOf(b))[0];
  if (!found) return tile("Audit trail", "–", trail.problem ? "cannot be read" : "not verified yet");
  const kind = found === "broken" ? "bad" : found === "sealed" ? "" : "warn";
  const made = found === "unknown" ? "not verified, see below" : `verified ${ago(trail.verifications[0].at)}`;
  return tile("Audit trail", worded(found), made, kind);
}

export function drawTiles({ figures, rotation, trail, health }) {
  const { total } = figures;
  const slowest = worst(figures.latencies);
  const journal = health && health.journal;
  const lack = lacking(trail);
  const counted = (label, figure, note, kind) => tile(label, trail.problem ? "–" : figure, lack || note, kind);
  const number = (label, count, note) => counted(label, whole.format(count), note, count || lack ? "warn" : "");
  at("tiles").replaceChildren(
    counted("Cache hit rate", percent(figures.hit_rate), `of ${whole.format(total.reads)} reads`),
    counted("Backend p99", duration(slowest ? slowest.p99 : null), slowest ? slowest.backend : "no backend was read"),
    number("Denied", total.denied, `of ${whole.format(total.operations)} operations`),
    number("Failed", total.failed, "other than denied or missing"),
    number("Alerts", total.alerts, total.alerts ? "see the reasons below" : "none"),
    tile("Rotations overdue", rotation.at ? whole.format(rotation.overdue) : "–",
      rotation.at ? `${rotation.due} due, ${rotation.left} left unfinished, of ${rotation.total}` : "being looked up",
      rotation.overdue || rotation.left ? "bad" : ""),
    tile("Journal", journal ? whole.format(journal.waiting) : "–",
      journal ? `waiting, ${journal.set_aside} set aside` : "no fallback store",
      journal && journal.set_aside ? "bad" : journal && journal.waiting ? "warn" : ""),
    trailTile(trail),
  );
}

export function drawReads({ figures, span, trail }) {
  const { charts: counted, total, start, step } = figures;
  const each = step === 60 ? "a minute" : `${step / 60} minutes`;
  const backend = counted.reads.map((reads, slot) => reads - counted.hits[slot]);
  at("reads-note").textContent = `${whole.format(total.reads)} reads in ${span === "1h" ? "the last hour" :
    "the last 24 hours"}${total.reads ? `, ${percent(figures.hit_rate)} of them from the cache` : ""}. ` +
    `A bar is ${each}.${lacking(trail) ? ` Not all is shown: ${lacking(trail)}.` : ""}`;
  bars(at("reads"), {
    title: "Reads by what answered them",
    summary: `${whole.format(total.reads)} reads, ${whole.format(total.hits)} of them from the cache; at most ` +
      `${whole.format(Math.max(...counted.reads))} in ${each}.`,
    series: [
      { name: "from the cache", label: "From the cache", kind: "first", values: counted.hits },
      { name: "from elsewhere", label: "From a backend or elsewhere", kind: "second", values: backend },
    ],
    start, step,
  });
  bars(at("refusals"), {
    title: "Operations that were denied or failed",
    summary: `${whole.format(total.denied)} denied, ${whole.format(total.failed)} failed.`,
    series: [
      { name: "denied", label: "Denied", kind: "denied", values: counted.denied },
      { name: "failed", label: "Failed", kind: "failed", values: counted.failed },
    ],
    start, step,
  });
}

export function drawLatency({ figures, trail }) {
  const slowest = worst(figures.latencies);
  line(at("latency"), {
    title: "99th percentile of backend reads",
    summary: slowest ? `The slowest backend is ${slowest.backend} with ${duration(slowest.p99)}.` : "No read.",
    values: figures.p99,
    label: "p99 of all backends",
    start: figures.start,
    step: figures.step,
  });
  rows(at("latencies"), figures.latencies.map((one) => element("tr", {}, head(one.backend || "–"),
    cell(whole.format(one.reads), "number"), cell(duration(one.p50), "number"), cell(duration(one.p90), "number"),
    cell(duration(one.p99), "number"))),
  trail.problem ? NOTHING_KNOWN : "No backend was read.");
}

export function drawPrincipals({ figures, trail }) {
  const most = Math.max(1, ...figures.principals.map((one) => one.operations));
  rows(at("principals"), figures.principals.map((one) => {
    const share = drawn("svg", { viewBox: "0 0 90 10", class: "share", "aria-hidden": "true" },
      drawn("rect", { class: "first", width: Math.max(1, (90 * one.operations) / most).toFixed(1), height: 10, rx: 2 }));
    const warned = (number) => (number ? badge(whole.format(number), "warn") : "0");
    return element("tr", {}, head(one.principal), cell(whole.format(one.operations), "number"),
      element("td", {}, share), cell(warned(one.denied), "number"), cell(warned(one.failed), "number"));
  }), trail.problem ? NOTHING_KNOWN : "Nobody has done anything.");
  const names = figures.principals.map((one) => element("option", { value: one.principal }));
  at("principal-names").replaceChildren(...names);
}
