// What both pages show in the same way.

import {STEPS} from "./icekit.js";

export const byId = (id) => document.getElementById(id);

export function element(name, properties = {}, ...children) {
  const node = Object.assign(document.createElement(name), properties);
  node.append(...children.filter((child) => child !== null));
  return node;
}

/** Replace the children of a node only when they differ, so that nobody loses the focus. */
export function fill(node, ...children) {
  const next = element(node.tagName, {}, ...children);
  if (next.innerHTML !== node.innerHTML) node.replaceChildren(...next.childNodes);
}

export function setStream(video, stream) {
  if (video.srcObject !== stream) video.srcObject = stream;
}

const MARKS = {ok: "✓", info: "i", warning: "!", error: "✗"};

export function markOf(severity) {
  const node = element("span", {className: "mark", textContent: MARKS[severity] ?? "–"});
  node.setAttribute("aria-label", severity);
  node.setAttribute("role", "img");
  return node;
}

const NOTHING_TO_DO = "None needed.";

/** A finding: what is wrong, what to do, and what shows it. */
export function findingNode({code, severity, message, fix, evidence}) {
  const node = element("article", {className: "notice"},
    element("p", {}, markOf(severity), element("span", {className: "message", textContent: message}),
      code ? element("span", {className: "code", textContent: code}) : null),
    fix && fix !== NOTHING_TO_DO ? element("p", {className: "fix"}, element("b", {textContent: "What to do: "}), fix) : null,
    evidence.length ? element("p", {className: "quiet evidence", textContent: evidence.join(" · ")}) : null);
  node.dataset.severity = severity;
  return node;
}

/** The steps with their times; `times` gives for a number the texts of those that are done, by who did it. */
export function stepNodes(times) {
  return STEPS.map(({number, who, what}) => {
    const done = times(number);
    const all = who === "both" ? 2 : 1;
    const item = element("li", {},
      done.length >= all ? markOf("ok") : element("span"),
      element("span", {className: "who", textContent: who === "both" ? "A, B" : who}),
      element("span", {className: "what", textContent: what}),
      element("span", {className: "when", textContent: done.join(" · ")}));
    item.dataset.state = done.length >= all ? "done" : done.length ? "half" : "open";
    return item;
  });
}

export const milliseconds = (value) => (value === null ? "–" : `${Math.round(value)} ms`);

const STATES = {
  idle: "idle",
  calling: "calling: waiting for an answer",
  answering: "answering",
  connecting: "looking for a path",
  connected: "connected",
  interrupted: "the path is lost: looking for another",
  failed: "failed",
  closed: "closed",
};

export const stateText = (state) => STATES[state];

/** What to open for a choice of the select element "Send". */
export function wanted(select) {
  return Object.fromEntries(select.value.split(" ").filter(Boolean).map((kind) => [kind, true]));
}
