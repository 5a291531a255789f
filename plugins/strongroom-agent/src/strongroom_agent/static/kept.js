// What outlives the page: the browser's own store, or memory where the browser keeps nothing.

const memory = new Map();

export const kept = {
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
