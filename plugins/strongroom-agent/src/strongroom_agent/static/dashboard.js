// The dashboard's script. It asks the agent it came from, and nobody else, and writes text only as text.
"use strict";

(() => {
  const POLL = 5000;
  const HIDDEN_POLL = 60000;
  const LONGEST_POLL = 60000;
  const PAGE = 50;
  const SVG = "http://www.w3.org/2000/svg";
  const KEY = "strongroom.key";
  const THEME = "strongroom.theme";
  const SPAN = "strongroom.span";

  const at = (id) => document.getElementById(id);
  const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

  const state = {
    overview: null, // what was shown last
    shown: new Map(), // by part: what it was drawn from, so that only what has changed is drawn
    timer: 0,
    failures: 0,
    asking: null, // ends the question that is under way
    search: null, // what is searched for: its filter, page and newest event
    newestAlert: null,
    ahead: 0, // how far the agent's clock is ahead of this one, in milliseconds
  };

  // ---- what outlives the page -------------------------------------------------------------------

  const kept = {
    get(name) {
      try {
        return localStorage.getItem(name) || "";
      } catch {
        return ""; // this browser keeps nothing
      }
    },
    set(name, text) {
      try {
        if (text) localStorage.setItem(name, text);
        else localStorage.removeItem(name);
      } catch {
        // It lasts as long as the page, then.
      }
      memory.set(name, text);
    },
    // Another page of this browser may have logged in anew, so what all of them share comes first.
    now(name) {
      return kept.get(name) || memory.get(name) || "";
    },
  };
  const memory = new Map();

  // ---- text -------------------------------------------------------------------------------------

  // What cannot be seen, or turns the text around it, is spelt out: a name must not look like another one.
  const UNSEEN = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Zl}\p{Zp}\u115f\u1160\u3164\uffa0\ufe0f]/gu;
  const spelt = (text) => String(text).replace(UNSEEN, (one) => `\\u{${one.codePointAt(0).toString(16)}}`);
  const plain = (content) => (content instanceof Node ? content : spelt(content));
  const short = (text) => (text.length > 40 ? `${text.slice(0, 39)}…` : text);

  // ---- elements ---------------------------------------------------------------------------------

  function element(tag, attributes = {}, ...content) {
    const made = document.createElement(tag);
    for (const [name, text] of Object.entries(attributes)) {
      if (text !== null && text !== undefined && text !== false) made.setAttribute(name, text === true ? "" : text);
    }
    made.append(...content.filter((one) => one !== null && one !== undefined && one !== "").map(plain));
    return made;
  }

  function drawn(tag, attributes = {}, ...content) {
    const made = document.createElementNS(SVG, tag);
    for (const [name, text] of Object.entries(attributes)) made.setAttribute(name, text);
    made.append(...content.map(plain));
    return made;
  }

  // A long text takes no more than a few lines, in which it is scrolled.
  const held = (content) => (typeof content === "string" && content.length > 80
    ? element("div", { class: "held", tabindex: "0" }, content) : content ?? "–");
  const cell = (content, kind = "") => element("td", { class: kind || null }, held(content));
  const head = (content, kind = "name") => element("th", { scope: "row", class: kind }, held(content));

  function rows(body, made, nothing) {
    const columns = body.closest("table").querySelectorAll("thead th").length;
    const empty = element("tr", {}, element("td", { colspan: columns, class: "none" }, nothing));
    body.replaceChildren(...(made.length ? made : [empty]));
  }

  const MARKS = { good: "●", warn: "◆", bad: "▲", mute: "○" };

  function badge(text, kind) {
    const mark = element("span", { "aria-hidden": "true" }, `${MARKS[kind] || MARKS.mute} `);
    return element("span", { class: `badge ${kind}` }, mark, short(text));
  }

  // ---- figures and times as they are read ---------------------------------------------------------

  const percent = (part) => (part === null ? "–" : `${(part * 100).toFixed(part > 0.999 && part < 1 ? 2 : 1)} %`);

  function duration(seconds) {
    if (seconds === null || seconds === undefined) return "–";
    if (seconds < 0.001) return `${Math.max(1, Math.round(seconds * 1e6))} µs`;
    if (seconds < 0.01) return `${(seconds * 1e3).toFixed(1)} ms`;
    if (seconds < 1) return `${Math.round(seconds * 1e3)} ms`;
    if (seconds < 10) return `${seconds.toFixed(1)} s`;
    return time(seconds);
  }

  // How long something is, in the two units that suit it.
  function time(seconds) {
    const units = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
    const first = units.findIndex(([, size]) => seconds >= size);
    if (first < 0) return "0 s";
    const [unit, size] = units[first];
    const number = Math.floor(seconds / size);
    const rest = units[first + 1];
    const more = rest && number < 10 ? Math.floor((seconds - number * size) / rest[1]) : 0;
    return more ? `${number} ${unit} ${more} ${rest[0]}` : `${number} ${unit}`;
  }

  function when(iso, { seconds = true } = {}) {
    if (!iso) return "–";
    const text = iso.slice(0, seconds ? 19 : 16).replace("T", " ");
    return element("time", { datetime: iso }, text);
  }

  // The agent's time: the clock of the machine that the browser runs on may be wrong.
  const now = () => Date.now() + state.ahead;
  const clock = (milliseconds) => new Date(milliseconds).toISOString().slice(11, 16);
  const ago = (iso) => `${time(Math.max(0, (now() - Date.parse(iso)) / 1000))} ago`;

  function announce(text) {
    at("news").textContent = spelt(text);
  }

  // ---- charts -----------------------------------------------------------------------------------

  // Return the next round number that is not below another one.
  function ceiling(number) {
    if (!(number > 0)) return 1;
    const power = 10 ** Math.floor(Math.log10(number));
    return [1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10].map((factor) => factor * power).find((one) => one >= number - power * 1e-9);
  }

  let charts = 0;

  function frame(figure, { title, summary, slots, start, step, top, unit, height = 118 }) {
    charts += 1;
    const width = Math.max(260, Math.round(figure.clientWidth || 600));
    const box = { left: 46, right: width - 4, top: 8, bottom: height - 18 };
    const svg = drawn(
      "svg",
      { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-labelledby": `chart-${charts}-t chart-${charts}-d` },
      drawn("title", { id: `chart-${charts}-t` }, title),
      drawn("desc", { id: `chart-${charts}-d` }, summary),
    );
    const y = (number) => box.bottom - (box.bottom - box.top) * (number / top);
    for (const part of [0, 0.5, 1]) {
      const height = Math.round(y(top * part)) + 0.5;
      svg.append(drawn("line", { class: "axis", x1: box.left, x2: box.right, y1: height, y2: height }));
      if (unit || Number.isInteger(top * part)) {
        const label = unit ? unit(top * part) : whole.format(top * part);
        svg.append(drawn("text", { x: box.left - 6, y: height + 4, "text-anchor": "end" }, part === 0 ? "0" : label));
      }
    }
    const from = Date.parse(start);
    for (const [index, anchor] of [[0, "start"], [Math.floor(slots / 2), "middle"], [slots, "end"]]) {
      const x = box.left + ((box.right - box.left) * index) / slots;
      const label = index === slots ? "now" : clock(from + index * step * 1000);
      svg.append(drawn("text", { x, y: height - 4, "text-anchor": anchor }, label));
    }
    return { svg, box, y, slot: (box.right - box.left) / slots };
  }

  function legend(entries) {
    return element("figcaption", {}, ...entries.map(([kind, text]) => {
      const swatch = drawn("svg", { viewBox: "0 0 12 12", "aria-hidden": "true" });
      const shape = { x: 1.5, y: 1.5, width: 9, height: 9, rx: 1.5, class: kind };
      swatch.append(kind === "line" ? drawn("path", { d: "M1 8 L5 5 L11 7", class: kind }) : drawn("rect", shape));
      return element("span", { class: "key" }, swatch, text);
    }));
  }

  // Bars that stand on each other, the first at the bottom.
  function bars(figure, { title, summary, series, start, step }) {
    const slots = series[0].values.length;
    const sums = Array.from({ length: slots }, (_, slot) => series.reduce((sum, one) => sum + one.values[slot], 0));
    const top = ceiling(Math.max(1, ...sums));
    const { svg, box, y, slot } = frame(figure, { title, summary, slots, start, step, top });
    const gap = slot > 5 ? 1.5 : 0.5;
    sums.forEach((sum, index) => {
      if (!sum) return;
      const from = clock(Date.parse(start) + index * step * 1000);
      const told = series.map((one) => `${whole.format(one.values[index])} ${one.name}`).join(", ");
      const bar = drawn("g", {}, drawn("title", {}, `${from}: ${told}`));
      let below = 0;
      for (const { values, kind } of series) {
        const lower = y(below);
        const upper = y(below + values[index]);
        below += values[index];
        if (!values[index]) continue;
        const inset = kind === "failed" ? 0.75 : 0;
        bar.append(drawn("rect", {
          class: kind,
          x: (box.left + index * slot + gap / 2 + inset).toFixed(2),
          y: (upper + inset).toFixed(2),
          width: Math.max(0.5, slot - gap - 2 * inset).toFixed(2),
          height: Math.max(0.5, lower - upper - 2 * inset).toFixed(2),
        }));
      }
      svg.append(bar);
    });
    figure.replaceChildren(legend(series.map((one) => [one.kind, one.label])), svg);
  }

  function line(figure, { title, summary, values, label, start, step }) {
    const top = ceiling(Math.max(0.001, ...values.map((one) => one ?? 0)));
    const { svg, box, y, slot } = frame(figure, {
      title, summary, slots: values.length, start, step, top, unit: duration, height: 104,
    });
    let path = "";
    values.forEach((value, index) => {
      if (value === null) return;
      const x = (box.left + (index + 0.5) * slot).toFixed(1);
      const alone = (values[index - 1] ?? null) === null;
      path += `${alone ? "M" : "L"}${x} ${y(value).toFixed(1)}`;
      // A point without neighbours is no line.
      if (alone && (values[index + 1] ?? null) === null) {
        svg.append(drawn("circle", { class: "dot", cx: x, cy: y(value).toFixed(1), r: 2.25 }));
      }
    });
    if (path) svg.append(drawn("path", { class: "line", d: path }));
    figure.replaceChildren(legend([["line", label]]), svg);
  }

  // ---- the parts of the page ----------------------------------------------------------------------

  const STATES = { up: "good", ready: "good", healthy: "good", ok: "good", sealed: "good", queued: "warn",
    degraded: "warn", recovering: "warn", unsealed: "warn", gap: "warn", due: "warn", "due soon": "warn",
    running: "warn", alert: "warn", down: "bad", unhealthy: "bad", broken: "bad", overdue: "bad", left: "bad",
    denied: "bad", suspicious: "bad", blocked: "bad", attempt: "mute", off: "mute" };
  const WORDS = { left: "left unfinished", broken: "broken", gap: "has gaps" };

  const stated = (word, otherwise = "warn") => badge(WORDS[word] || word || "–", STATES[word] || otherwise);
  const resultBadge = (word) => (word === "ok" ? "ok" : stated(word));

  function tile(label, figure, note, kind = "") {
    return element("div", { class: `tile ${kind}` }, element("dt", {}, label),
      element("dd", {}, element("div", { class: "figure" }, figure), element("div", { class: "note" }, note)));
  }

  function worst(latencies) {
    return latencies.reduce((most, one) => (one.p99 !== null && (!most || one.p99 > most.p99) ? one : most), null);
  }

  // Why the figures of the trail are not all there is, or are not there at all; zero would look like peace.
  const lacking = (trail) => (trail.problem ? "the trail cannot be read"
    : trail.reading ? "the trail is still being read" : "");

  function trailTile(trail) {
    const order = ["broken", "unknown", "gap", "unsealed", "sealed"];
    const found = trail.verifications.map((one) => one.state).sort((a, b) => order.indexOf(a) - order.indexOf(b))[0];
    if (!found) return tile("Audit trail", "–", trail.problem ? "cannot be read" : "not verified yet");
    const kind = found === "broken" ? "bad" : found === "sealed" ? "" : "warn";
    const made = found === "unknown" ? "not verified, see below" : `verified ${ago(trail.verifications[0].at)}`;
    return tile("Audit trail", WORDS[found] || found, made, kind);
  }

  function drawTiles({ figures, rotation, trail, health }) {
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

  function drawReads({ figures, span, trail }) {
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

  function drawLatency({ figures, trail }) {
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
    trail.problem ? "Nothing is known: the trail cannot be read." : "No backend was read.");
  }

  function drawPrincipals({ figures, trail }) {
    const most = Math.max(1, ...figures.principals.map((one) => one.operations));
    rows(at("principals"), figures.principals.map((one) => {
      const share = drawn("svg", { viewBox: "0 0 90 10", class: "share", "aria-hidden": "true" },
        drawn("rect", { class: "first", width: Math.max(1, (90 * one.operations) / most).toFixed(1), height: 10, rx: 2 }));
      const warned = (number) => (number ? badge(whole.format(number), "warn") : "0");
      return element("tr", {}, head(one.principal), cell(whole.format(one.operations), "number"),
        element("td", {}, share), cell(warned(one.denied), "number"), cell(warned(one.failed), "number"));
    }), trail.problem ? "Nothing is known: the trail cannot be read." : "Nobody has done anything.");
    const names = figures.principals.map((one) => element("option", { value: one.principal }));
    at("principal-names").replaceChildren(...names);
  }

  function urgency(one) {
    if (!one.enabled || one.state === "off") return "off";
    if (!one.next) return one.state || "–";
    const left = (Date.parse(one.next) - now()) / 1000;
    if (one.state === "overdue") return `overdue by ${time(Math.max(0, -left))}`;
    const word = WORDS[one.state] || one.state;
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

  function drawRotations({ rotation }) {
    const unseen = rotation.total - rotation.schedules.length;
    at("rotations-note").textContent = !rotation.at ? "It is being found out what is rotated when."
      : `${rotation.problem ? `${spelt(rotation.problem)}. ` : ""}${rotation.total} secrets, ${rotation.overdue} overdue, ` +
        `${rotation.due} due, ${rotation.left} left unfinished. Looked up ${ago(rotation.at)}.${unseen > 0 ? ` ${unseen} more are not shown.` : ""}`;
    rows(at("rotations"), rotation.schedules.map((one) => {
      const kind = STATES[one.state] || "mute";
      const told = element("td", {}, badge(urgency(one), kind));
      if (one.problem) told.append(element("div", { class: "note" }, held(one.problem)));
      return element("tr", { class: kind }, head(one.name), told, cell(timeline(one)),
        cell(when(one.last, { seconds: false }), "time"), cell(when(one.next, { seconds: false }), "time"),
        cell(one.rule), cell(one.by));
    }), "No secret is rotated by a rule or a service.");
    rows(at("made"), rotation.made.map((one) => element("tr", {}, cell(when(one.time), "time"), head(one.name),
      cell(resultBadge(one.result)), cell(one.principal, "who"), cell(one.detail, "long"))), "None, as far as is known.");
  }

  function drawAlerts({ alerts, trail }) {
    rows(at("alerts"), alerts.map((one) => element("tr", {}, cell(when(one.time), "time"),
      cell(stated(one.result)), cell(one.rule), cell(one.principal, "who"), head(one.name),
      cell(one.detail, "long"))),
    trail.problem ? "Nothing is known: the trail cannot be read." : "No detector has found anything odd.");
    const newest = alerts.length ? alerts[0].number : 0;
    if (state.newestAlert !== null && newest > state.newestAlert) {
      announce(`New alert: ${alerts[0].principal || ""}: ${alerts[0].detail || alerts[0].rule || ""}`);
    }
    // What comes while the trail is being read is not new.
    state.newestAlert = trail.reading ? null : newest;
  }

  function drawHealth({ health }) {
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

  function drawAgent({ cache, started, health, figures }) {
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

  function drawTrail({ trail }) {
    at("verifications").replaceChildren(...trail.verifications.map((one) => {
      const told = one.problem || `${whole.format(one.events)} events in the trail, verified ${ago(one.at)} ` +
        `in ${duration(one.seconds)}.`;
      const made = element("div", { class: "verification" }, stated(one.state), ` ${one.sink}: ${told}`);
      if (one.findings.length) {
        const shown = one.findings.map((finding) => element("li", {}, `${finding.kind} at ${finding.place}: ${finding.detail}`));
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

  function choices(select, wanted) {
    const chosen = select.value;
    const known = [...select.options].map((one) => one.value);
    if (known.length === wanted.length && wanted.every(([value], index) => value === known[index])) return;
    select.replaceChildren(...wanted.map(([value, text]) => element("option", { value }, short(text))));
    select.value = wanted.some(([value]) => value === chosen) ? chosen : "";
  }

  // Each part with what it is drawn from. What tells how long ago something was is drawn each time.
  const PARTS = [
    ["tiles", drawTiles, null],
    ["reads", drawReads, (seen) => [seen.figures, seen.span, lacking(seen.trail)]],
    ["latency", drawLatency, (seen) => [seen.figures, seen.trail.problem]],
    ["principals", drawPrincipals, (seen) => [seen.figures.principals, seen.trail.problem]],
    ["rotations", drawRotations, null],
    ["alerts", drawAlerts, (seen) => [seen.alerts, lacking(seen.trail)]],
    ["health", drawHealth, null],
    ["agent", drawAgent, null],
    ["trail", drawTrail, null],
  ];

  function show(overview) {
    const before = state.overview;
    state.overview = overview;
    state.ahead = Date.parse(overview.now) - Date.now();
    for (const [name, draw, from] of PARTS) {
      const source = from ? JSON.stringify(from(overview)) : null;
      if (source !== null && state.shown.get(name) === source) continue;
      state.shown.set(name, source);
      draw(overview);
    }
    const [old, now] = [before && before.health && before.health.state, overview.health && overview.health.state];
    // What was searched for while the trail was being read for the first time was not all there is.
    if (state.search && state.search.early && !overview.trail.reading && state.search.page === 1) {
      runSearch({ ...state.search, upto: null });
    }
    if (before && old !== now) announce(`The agent is ${now || "in an unknown state"}.`);
  }

  // ---- talking to the agent -----------------------------------------------------------------------

  class Answer extends Error {
    constructor(status, content) {
      super(content.message || `The agent has answered with ${status}.`);
      this.status = status;
      this.hint = content.hint || "";
    }
  }

  async function ask(path, content, signal) {
    const headers = { "X-Strongroom-Request": "true", "X-Strongroom-Key": kept.now(KEY) };
    if (content !== undefined) headers["Content-Type"] = "application/json";
    const answer = await fetch(path, {
      method: content === undefined ? "GET" : "POST",
      headers,
      body: content === undefined ? undefined : JSON.stringify(content),
      credentials: "same-origin",
      cache: "no-store",
      redirect: "error",
      signal,
    });
    let document = {};
    try {
      document = await answer.json();
    } catch {
      // What is no JSON has no reason in it.
    }
    if (!answer.ok) throw new Answer(answer.status, document);
    return document;
  }

  function connected(isThere, reason = "") {
    const lost = at("connection");
    if (lost.hidden === isThere) return;
    lost.hidden = isThere;
    lost.replaceChildren(isThere ? "" : badge(reason, "bad"));
    at("board").classList.toggle("stale", !isThere);
    announce(isThere ? "The connection is back." : `${reason}. What is shown is old.`);
  }

  async function poll() {
    clearTimeout(state.timer);
    if (state.asking) state.asking.abort();
    const asking = new AbortController();
    state.asking = asking;
    const limit = setTimeout(() => asking.abort("timeout"), 20000);
    try {
      const span = document.querySelector("input[name=span]:checked").value;
      const overview = await ask(`/dashboard/overview?span=${span}`, undefined, asking.signal);
      if (state.asking !== asking) return;
      state.failures = 0;
      connected(true);
      show(overview);
    } catch (error) {
      if (state.asking !== asking) return; // another question has taken its place
      if (error instanceof Answer && (error.status === 401 || error.status === 403)) {
        leave("The session has ended.");
        return;
      }
      state.failures += 1;
      connected(false, error instanceof Answer ? "The agent cannot answer now" : "Connection lost");
    } finally {
      clearTimeout(limit);
    }
    again();
  }

  function again() {
    clearTimeout(state.timer);
    const pause = Math.min(LONGEST_POLL, POLL * 2 ** Math.min(4, state.failures));
    state.timer = setTimeout(poll, document.hidden ? Math.max(HIDDEN_POLL, pause) : pause);
  }

  // ---- logging in and out -------------------------------------------------------------------------

  function enter() {
    at("login").hidden = true;
    for (const id of ["board", "spans", "logout"]) at(id).hidden = false;
    state.shown.clear();
    return poll();
  }

  function leave(reason) {
    clearTimeout(state.timer);
    if (state.asking) state.asking.abort();
    Object.assign(state, { asking: null, overview: null, search: null, newestAlert: null, failures: 0 });
    kept.set(KEY, "");
    for (const id of ["board", "spans", "logout", "overall", "connection"]) at(id).hidden = true;
    at("board").classList.remove("stale");
    // Nothing of what was shown is left for whoever comes next.
    for (const body of document.querySelectorAll("tbody, #tiles, #agent, .chart, #verifications, datalist")) {
      body.replaceChildren();
    }
    at("search").reset();
    at("found").textContent = "Nothing has been searched for yet.";
    at("login").hidden = false;
    at("login-problem").textContent = reason;
    at("token").focus();
  }

  async function login(event) {
    event.preventDefault();
    const field = at("token");
    at("login-problem").textContent = "";
    try {
      const answer = await ask("/dashboard/login", { token: field.value });
      field.value = "";
      kept.set(KEY, answer.key);
      announce("You are logged in.");
      await enter();
      at("main").focus({ preventScroll: true });
      scrollTo(0, 0);
      runSearch({ filter: {}, page: 1, upto: null });
    } catch (error) {
      field.value = "";
      at("login-problem").textContent = error instanceof Answer
        ? [error.message, error.hint].filter(Boolean).join(": ") : "The agent does not answer.";
      field.focus();
    }
  }

  async function logout() {
    try {
      await ask("/dashboard/logout", {});
    } catch {
      // It ends by itself.
    }
    leave("");
    announce("You are logged out.");
  }

  // ---- the search -----------------------------------------------------------------------------------

  function filterOf(form) {
    const given = new FormData(form);
    const moment = (name) => (given.get(name) ? Date.parse(`${given.get(name)}Z`) / 1000 : null);
    const text = (name) => String(given.get(name) || "").trim();
    return {
      principal: text("principal"), name: text("name"), result: text("result"), event: text("event"),
      since: moment("since"), until: moment("until"),
    };
  }

  async function runSearch(search) {
    at("search-problem").textContent = "";
    try {
      const found = await ask("/dashboard/search", {
        ...search.filter, page: search.page, size: PAGE, upto: search.upto,
      });
      state.search = { ...search, upto: found.upto, early: !state.overview || state.overview.trail.reading };
      drawEvents(found);
    } catch (error) {
      at("search-problem").textContent = error instanceof Answer
        ? [error.message, error.hint].filter(Boolean).join(": ") : "The agent does not answer.";
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
    const first = (state.search.page - 1) * PAGE;
    const told = found.length ? `${whole.format(first + 1)} to ${whole.format(first + found.length)} of ` +
      `${whole.format(total)} events` : "No events";
    at("found").textContent = told;
    at("previous").disabled = state.search.page <= 1;
    at("next").disabled = first + found.length >= total;
    announce(told);
  }

  async function turn(button, pages) {
    await runSearch({ ...state.search, page: state.search.page + pages });
    at("events").closest(".scroll").scrollTop = 0;
    // A button that has just been disabled would lose the keyboard's place.
    if (button.disabled) at(pages > 0 ? "previous" : "next").focus();
  }

  // ---- colours ----------------------------------------------------------------------------------------

  function paint(theme) {
    if (theme) document.documentElement.dataset.theme = theme;
    else delete document.documentElement.dataset.theme;
  }

  // ---- beginning --------------------------------------------------------------------------------------

  async function begin() {
    const theme = kept.get(THEME);
    at("theme").value = ["light", "dark"].includes(theme) ? theme : "";
    paint(at("theme").value);
    at("theme").addEventListener("change", (event) => {
      kept.set(THEME, event.target.value);
      paint(event.target.value);
    });
    const span = document.querySelector(`input[name=span][value="${kept.get(SPAN) === "24h" ? "24h" : "1h"}"]`);
    span.checked = true;
    at("spans").addEventListener("change", (event) => {
      kept.set(SPAN, event.target.value);
      poll();
    });
    at("login-form").addEventListener("submit", login);
    at("logout").addEventListener("click", logout);
    at("search").addEventListener("submit", (event) => {
      event.preventDefault();
      runSearch({ filter: filterOf(event.target), page: 1, upto: null });
    });
    at("search").addEventListener("reset", () => {
      if (state.search) runSearch({ filter: {}, page: 1, upto: null });
    });
    at("previous").addEventListener("click", (event) => turn(event.currentTarget, -1));
    at("next").addEventListener("click", (event) => turn(event.currentTarget, 1));
    document.addEventListener("visibilitychange", () => {
      if (at("board").hidden) return;
      if (document.hidden) again();
      else poll();
    });
    let width = window.innerWidth;
    window.addEventListener("resize", () => {
      if (window.innerWidth === width || !state.overview) return;
      width = window.innerWidth;
      drawReads(state.overview);
      drawLatency(state.overview);
    });
    try {
      const { caller } = await ask("/dashboard/session");
      if (caller !== null) {
        await enter();
        runSearch({ filter: {}, page: 1, upto: null });
        return;
      }
      leave("");
    } catch (error) {
      leave(error instanceof Answer ? error.message : "The agent does not answer.");
    }
  }

  begin();
})();
