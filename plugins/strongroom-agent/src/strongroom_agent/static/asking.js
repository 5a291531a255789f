// Asking the agent that the page came from, and nobody else.

import { kept } from "./kept.js";

const KEY = "strongroom.key";

// An answer that is an error.
export class Refusal extends Error {
  constructor(status, content) {
    super(content.message || `The agent has answered with ${status}.`);
    this.status = status;
    this.hint = content.hint || "";
  }
}

// The page's half of the session; the cookie is the other one.
export const setKey = (key) => kept.set(KEY, key);

export async function ask(path, content, signal) {
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
  if (!answer.ok) throw new Refusal(answer.status, document);
  return document;
}

// What the reader is told where a question has failed.
export const reasonOf = (error) => (error instanceof Refusal
  ? [error.message, error.hint].filter(Boolean).join(": ") : "The agent does not answer.");
