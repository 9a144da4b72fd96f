import {Call, findingOf, loadCatalogue, openMedia, pair} from "./icekit.js";
import {byId, fill, findingNode, milliseconds, setStream, stateText, stepNodes, wanted} from "./view.js";

const [a, b] = pair("A", "B");
let stream = null;
let copy = null;
let problem = null;

const calls = {
  a: new Call(a, {openMedia: async () => stream}),
  b: new Call(b, {openMedia: async () => copy}),
};

function timesOf(number) {
  // Both on the clock of A, who begins.
  return Object.values(calls).map(({snapshot}) => snapshot).filter(({steps}) => steps[number] !== undefined)
    .map(({began, steps}) => milliseconds(began + steps[number] - calls.a.snapshot.began));
}

async function show() {
  const [first, second] = [calls.a.snapshot, calls.b.snapshot];
  for (const [name, {snapshot}] of Object.entries(calls)) {
    setStream(byId(`${name}-remote`), snapshot.remoteStream);
    setStream(byId(`${name}-own`), name === "a" ? stream : copy);
    byId(`${name}-state`).textContent = stateText(snapshot.state);
  }
  const busy = first.state !== "idle" && first.state !== "failed";
  const started = stream !== null || byId("start").disabled;
  byId("start").disabled = started;
  byId("send").disabled = started;
  byId("call").disabled = busy || !started;
  byId("hang-up").disabled = !busy;
  const connected = first.state === "connected" && second.state === "connected";
  if (busy || first.ended) byId("status").textContent = connected ? "Connected." : first.ended ?? `A: ${stateText(first.state)}.`;
  fill(byId("steps"), ...stepNodes(timesOf));
  const found = problem ? [{code: null, severity: "error", message: problem, fix: null, evidence: []}]
    : first.codes.length ? first.codes.map((code) => findingOf(code, catalogue)) : [];
  fill(byId("problems"), ...found.map(findingNode));
}

for (const call of Object.values(calls)) call.subscribe(show);

byId("start").addEventListener("click", async () => {
  problem = null;
  try {
    stream = await openMedia(wanted(byId("send")));
    copy = stream?.clone() ?? null;
    byId("start").disabled = true;
    byId("status").textContent = "Ready. Call begins with step 1.";
  } catch (error) {
    problem = error.message;
  }
  show();
  if (problem === null) byId("call").focus();
});

byId("call").addEventListener("click", async () => {
  await calls.a.initiateCall("B");
});

byId("hang-up").addEventListener("click", () => {
  calls.a.hangUp();
  for (const track of [stream, copy].flatMap((item) => item?.getTracks() ?? [])) track.stop();
  stream = copy = null;
  byId("start").disabled = false;
  show();
  byId("start").focus();
});

const catalogue = await loadCatalogue();
show();
document.documentElement.dataset.ready = "true";
