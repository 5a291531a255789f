// Elements of the page. What comes from the agent is written as text, and never read as markup.

const SVG = "http://www.w3.org/2000/svg";
const MARKS = { good: "●", warn: "◆", bad: "▲", mute: "○" };

export const at = (id) => document.getElementById(id);

// What cannot be seen, or turns the text around it, is spelt out: a name must not look like another one.
const UNSEEN = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Zl}\p{Zp}\u115f\u1160\u3164\uffa0\ufe0f]/gu;
export const spelt = (text) => String(text).replace(UNSEEN, (one) => `\\u{${one.codePointAt(0).toString(16)}}`);
const plain = (content) => (content instanceof Node ? content : spelt(content));
const short = (text) => (text.length > 40 ? `${text.slice(0, 39)}…` : text);

export function element(tag, attributes = {}, ...content) {
  const made = document.createElement(tag);
  for (const [name, text] of Object.entries(attributes)) {
    if (text !== null && text !== undefined && text !== false) made.setAttribute(name, text === true ? "" : text);
  }
  made.append(...content.filter((one) => one !== null && one !== undefined && one !== "").map(plain));
  return made;
}

export function drawn(tag, attributes = {}, ...content) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, text] of Object.entries(attributes)) made.setAttribute(name, text);
  made.append(...content.map(plain));
  return made;
}

// A long text takes no more than a few lines, in which it is scrolled.
export const held = (content) => (typeof content === "string" && content.length > 80
  ? element("div", { class: "held", tabindex: "0" }, content) : content ?? "–");
export const cell = (content, kind = "") => element("td", { class: kind || null }, held(content));
export const head = (content, kind = "name") => element("th", { scope: "row", class: kind }, held(content));

export function rows(body, made, nothing) {
  const columns = body.closest("table").querySelectorAll("thead th").length;
  const empty = element("tr", {}, element("td", { colspan: columns, class: "none" }, nothing));
  body.replaceChildren(...(made.length ? made : [empty]));
}

export function badge(text, kind) {
  const mark = element("span", { "aria-hidden": "true" }, `${MARKS[kind] || MARKS.mute} `);
  return element("span", { class: `badge ${kind}` }, mark, short(text));
}

// Says it to those who hear the page.
export function announce(text) {
  at("news").textContent = spelt(text);
}

// Has a list offer these values, and keeps what was chosen if it is among them.
export function choices(select, wanted) {
  const chosen = select.value;
  const known = [...select.options].map((one) => one.value);
  if (known.length === wanted.length && wanted.every(([value], index) => value === known[index])) return;
  select.replaceChildren(...wanted.map(([value, text]) => element("option", { value }, short(text))));
  select.value = wanted.some(([value]) => value === chosen) ? chosen : "";
}
