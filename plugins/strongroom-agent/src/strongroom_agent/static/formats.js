// Figures and times as they are read, by the agent's clock.

import { element } from "./elements.js";

export const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

export const percent = (part) => (part === null ? "–" : `${(part * 100).toFixed(part > 0.999 && part < 1 ? 2 : 1)} %`);

export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 0.001) return `${Math.max(1, Math.round(seconds * 1e6))} µs`;
  if (seconds < 0.01) return `${(seconds * 1e3).toFixed(1)} ms`;
  if (seconds < 1) return `${Math.round(seconds * 1e3)} ms`;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  return time(seconds);
}

// How long something is, in the two units that suit it.
export function time(seconds) {
  const units = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
  const first = units.findIndex(([, size]) => seconds >= size);
  if (first < 0) return "0 s";
  const [unit, size] = units[first];
  const number = Math.floor(seconds / size);
  const rest = units[first + 1];
  const more = rest && number < 10 ? Math.floor((seconds - number * size) / rest[1]) : 0;
  return more ? `${number} ${unit} ${more} ${rest[0]}` : `${number} ${unit}`;
}

export function when(iso, { seconds = true } = {}) {
  if (!iso) return "–";
  const text = iso.slice(0, seconds ? 19 : 16).replace("T", " ");
  return element("time", { datetime: iso }, text);
}

// How far the agent's clock is ahead of this machine's, in milliseconds: the one here may be wrong.
let ahead = 0;

export function setClock(iso) {
  ahead = Date.parse(iso) - Date.now();
}

export const now = () => Date.now() + ahead;
export const clock = (milliseconds) => new Date(milliseconds).toISOString().slice(11, 16);
export const ago = (iso) => `${time(Math.max(0, (now() - Date.parse(iso)) / 1000))} ago`;
