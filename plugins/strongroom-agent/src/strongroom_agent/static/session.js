// The session: it is begun and ended here, and as long as it lasts the agent is asked how things are.

import { Refusal, ask, reasonOf, setKey } from "./asking.js";
import { forgetBoard, show } from "./board.js";
import { announce, at, badge } from "./elements.js";
import { forgetSearch, searchAll } from "./search.js";

const POLL = 5000;
const HIDDEN_POLL = 60000;
const LONGEST_POLL = 60000;
const PATIENCE = 20000;

let timer = 0;
let failures = 0;
let asking = null; // ends the question that is under way

function connected(isThere, reason = "") {
  const lost = at("connection");
  if (lost.hidden === isThere) return;
  lost.hidden = isThere;
  lost.replaceChildren(isThere ? "" : badge(reason, "bad"));
  at("board").classList.toggle("stale", !isThere);
  announce(isThere ? "The connection is back." : `${reason}. What is shown is old.`);
}

async function poll() {
  clearTimeout(timer);
  if (asking) asking.abort();
  const mine = new AbortController();
  asking = mine;
  const limit = setTimeout(() => mine.abort("timeout"), PATIENCE);
  try {
    const span = document.querySelector("input[name=span]:checked").value;
    const overview = await ask(`/dashboard/overview?span=${span}`, undefined, mine.signal);
    if (asking !== mine) return;
    failures = 0;
    connected(true);
    show(overview);
  } catch (error) {
    if (asking !== mine) return; // another question has taken its place
    if (error instanceof Refusal && (error.status === 401 || error.status === 403)) {
      leave("The session has ended.");
      return;
    }
    failures += 1;
    connected(false, error instanceof Refusal ? "The agent cannot answer now" : "Connection lost");
  } finally {
    clearTimeout(limit);
  }
  again();
}

function again() {
  clearTimeout(timer);
  const pause = Math.min(LONGEST_POLL, POLL * 2 ** Math.min(4, failures));
  timer = setTimeout(poll, document.hidden ? Math.max(HIDDEN_POLL, pause) : pause);
}

function enter() {
  at("login").hidden = true;
  for (const id of ["board", "spans", "logout"]) at(id).hidden = false;
  return poll();
}

function leave(reason) {
  clearTimeout(timer);
  if (asking) asking.abort();
  asking = null;
  failures = 0;
  setKey("");
  for (const id of ["board", "spans", "logout", "overall", "connection"]) at(id).hidden = true;
  at("board").classList.remove("stale");
  forgetBoard();
  forgetSearch();
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
    setKey(answer.key);
    announce("You are logged in.");
    await enter();
    at("main").focus({ preventScroll: true });
    scrollTo(0, 0);
    searchAll();
  } catch (error) {
    field.value = "";
    at("login-problem").textContent = reasonOf(error);
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

export function listenToSession() {
  at("login-form").addEventListener("submit", login);
  at("logout").addEventListener("click", logout);
  at("spans").addEventListener("change", poll);
  document.addEventListener("visibilitychange", () => {
    if (at("board").hidden) return;
    if (document.hidden) again();
    else poll();
  });
}

// Goes on with the session that another page of this browser, or this page before it was reloaded, has begun.
export async function resume() {
  try {
    const { caller } = await ask("/dashboard/session");
    if (caller === null) {
      leave("");
      return;
    }
    await enter();
    searchAll();
  } catch (error) {
    leave(error instanceof Refusal ? error.message : "The agent does not answer.");
  }
}
