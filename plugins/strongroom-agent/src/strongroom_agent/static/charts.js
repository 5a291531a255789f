// Charts, drawn as SVG, each with a title and a summary for those who hear it.

import { drawn, element } from "./elements.js";
import { clock, duration, whole } from "./formats.js";

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
export function bars(figure, { title, summary, series, start, step }) {
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

export function line(figure, { title, summary, values, label, start, step }) {
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
