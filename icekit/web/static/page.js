import {Call, connect, diagnose, entriesOf, findingOf, loadCatalogue, openMedia} from "./icekit.js";
import {byId, element, fill, findingNode, markOf, milliseconds, setStream, stateText, stepNodes, wanted} from "./view.js";

const PEERS = {
  open: "with a public address",
  "endpoint-independent": "behind a usual home router",
  "address-and-port-dependent": "behind a strict (symmetric) NAT",
  "udp-blocked": "where UDP is blocked",
};
const PATHS = {direct: ["ok", "direct"], relay: ["ok", "through the relay"], none: ["error", "none"], maybe: ["info", "not known"]};

const given = new URLSearchParams(location.hash.slice(1));
// Who has a token of a room gets the credentials of the relay as well.
const ticket = given.get("token") ? `/config/${given.get("room")}/${given.get("token")}` : "/config.json";
const [catalogue, config] = await Promise.all([loadCatalogue(), fetch(ticket).then((answer) => answer.json())]).catch((error) => {
  byId("status").textContent = "The server of this page does not answer as it should: load it again, or look into the server's log.";
  throw error;
});
// A server that listens on all addresses has the one that this page came from.
const here = (url) => url.replace(/:(0\.0\.0\.0|\[::\])(?=:|\?|$)/, `:${location.hostname}`);
config.iceServers = config.iceServers.map((server) => ({...server, urls: [server.urls].flat().map(here)}));
let channel = null;
let call = null;
let stream = null;
let shared = null;
let problem = null;

// --- what is chosen ---

const own = {label: "the rooms of this server", url: `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/{room}`};
const choices = [own, ...config.signaling.map((url) => ({label: new URL(url.replace("{room}", "room")).host, url}))];
byId("signaling").append(...choices.map(({label, url}) => element("option", {textContent: label, value: url})));
byId("signaling-field").hidden = choices.length === 1;
byId("room").readOnly = given.has("token");
byId("room").value = given.get("room") ?? `room-${crypto.getRandomValues(new Uint32Array(1))[0].toString(36)}`;
byId("ice-servers").value = JSON.stringify(config.iceServers, null, 2);

function iceServers() {
  const box = byId("ice-servers-problem");
  try {
    const servers = JSON.parse(byId("ice-servers").value);
    const wrong = Array.isArray(servers) ? entriesOf(servers).find(({scheme}) => scheme === null) : null;
    box.textContent = wrong ? `${wrong.url} is no STUN or TURN URL. ${catalogue.codes.ICE018.fix}` : "";
    if (Array.isArray(servers)) return servers;
  } catch {
    // Said below.
  }
  box.textContent = 'This is no list of servers; write [{"urls": "stun:host"}]. The servers of this site are used instead.';
  return config.iceServers;
}

byId("ice-servers").addEventListener("change", iceServers);

// --- the call ---

const problemNode = (message) => findingNode({code: null, severity: "error", message, fix: null, evidence: []});

byId("join").addEventListener("submit", async (event) => {
  event.preventDefault();
  problem = null;
  const button = byId("join-button");
  button.disabled = true;
  try {
    stream = await openMedia(wanted(byId("send")));
    const room = byId("room").value;
    channel = connect(byId("signaling").value.replace("{room}", room), {token: given.get("token")});
    call = new Call(channel, {iceServers: iceServers(), openMedia: async () => shared ?? stream});
    channel.addEventListener("change", show);
    call.subscribe(show);
    given.set("room", room);
    history.replaceState(null, "", `#${given}`);
  } catch (error) {
    problem = error.message;
  }
  button.disabled = false;
  show();
  if (channel) byId("leave-button").focus();
});

function leave() {
  call?.close();
  channel?.close();
  for (const track of [stream, shared].flatMap((item) => item?.getTracks() ?? [])) track.stop();
  channel = call = stream = shared = null;
  byId("lines").replaceChildren();
}

byId("leave-button").addEventListener("click", () => {
  leave();
  show();
  byId("join-button").focus();
});
addEventListener("pagehide", leave);

function peerNodes() {
  const names = channel.peers.length ? channel.peers : [null];
  return names.map((name) => {
    const button = element("button", {type: "button", className: "primary", textContent: "Call"});
    button.dataset.peer = name ?? "";
    if (name !== null) button.setAttribute("aria-label", `Call ${name}`);
    return element("li", {}, element("span", {textContent: name ?? "Nobody else is seen here yet."}), button);
  });
}

byId("peers").addEventListener("click", async ({target}) => {
  if (!(target instanceof HTMLButtonElement)) return;
  await call.initiateCall(target.dataset.peer || null);
});

byId("hang-up").addEventListener("click", () => call.hangUp());

function toggle(button, kind) {
  const off = button.getAttribute("aria-pressed") !== "true";
  button.setAttribute("aria-pressed", String(off));
  call.enable(kind, !off);
}

byId("mute").addEventListener("click", ({currentTarget}) => toggle(currentTarget, "audio"));
byId("blind").addEventListener("click", ({currentTarget}) => toggle(currentTarget, "video"));
byId("share").addEventListener("click", async () => {
  problem = null;
  try {
    shared = await openMedia({screen: true});
    await call.replaceStream(new MediaStream([...shared.getTracks(), ...(stream?.getAudioTracks() ?? [])]));
  } catch (error) {
    problem = error.message;
  }
  show();
});

byId("chat").addEventListener("submit", (event) => {
  event.preventDefault();
  const line = byId("line");
  if (!line.value) return;
  try {
    call.sendText(line.value);
    addLine("You", line.value);
    line.value = "";
  } catch (error) {
    addLine("", error.message);
  }
});

function addLine(who, text) {
  byId("lines").append(element("li", {}, element("b", {textContent: who ? `${who}: ` : ""}), text));
  while (byId("lines").children.length > 100) byId("lines").firstChild.remove();
}

let lastText = null;

function statusText() {
  if (channel === null) return "Not in a room.";
  if (channel.problem) return channel.problem;
  if (channel.state !== "open") return "Connecting to the signaling server…";
  const {state, peer, ended} = call.snapshot;
  if (state === "idle") return ended ?? "In the room.";
  if (state === "failed") return `The call with ${peer ?? "the other side"} failed.`;
  return `${peer ?? "The other side"}: ${stateText(state)}.`;
}

function show() {
  byId("status").textContent = statusText();
  const joined = channel !== null;
  byId("join-button").hidden = joined;
  byId("leave-button").hidden = !joined;
  for (const id of ["room", "send", "signaling"]) byId(id).disabled = joined;
  byId("joined").hidden = !joined;
  if (joined) showInvitation();
  const view = call?.snapshot ?? null;
  const active = view !== null && !["idle", "failed", "closed"].includes(view.state);
  byId("peers").hidden = active;
  byId("stage").hidden = !active && !stream?.getVideoTracks().length;
  byId("stage").classList.toggle("alone", !active);
  byId("controls").hidden = !active;
  byId("numbers").hidden = byId("chat").hidden = !["connected", "interrupted"].includes(view?.state);
  byId("steps-box").hidden = view === null || Object.keys(view.steps).length === 0;
  setStream(byId("remote"), view?.remoteStream ?? null);
  setStream(byId("own"), view?.localStream ?? stream);
  showProblems(view);
  if (view === null) return;
  byId("mute").hidden = !view.localStream?.getAudioTracks().length;
  byId("blind").hidden = !view.localStream?.getVideoTracks().length;
  byId("share").hidden = !navigator.mediaDevices?.getDisplayMedia;
  if (view.text !== null && view.text !== lastText) addLine(view.peer ?? "Peer", view.text.value);
  lastText = view.text;
  fill(byId("steps"), ...stepNodes((number) => (view.steps[number] === undefined ? [] : [milliseconds(view.steps[number])])));
  showNumbers(view.stats);
}

function showProblems(view) {
  const nodes = problem ? [problemNode(problem)] : [];
  if (view?.problem?.text) nodes.push(problemNode(view.problem.text));
  nodes.push(...(view?.codes ?? []).map((code) => findingNode(findingOf(code, catalogue))));
  if (view?.codes.length) {
    nodes.push(element("p", {className: "quiet", textContent: "“Check this network” below shows which part of the way is broken."}));
  }
  fill(byId("call-problems"), ...nodes);
}

function showInvitation() {
  const address = new URL(location.href);
  address.hash = `room=${byId("room").value}`;
  Object.assign(byId("link"), {href: address.href, textContent: address.href});
  byId("command").textContent = `icekit call ${byId("signaling").value.replace("{room}", byId("room").value).replace(/\/\/.*@/, "//USER:PASSWORD@")}`;
  fill(byId("peers"), ...peerNodes());
}

function showNumbers(stats) {
  if (stats === null) return;
  const {local, remote, rtt, inbound, bitsPerSecond} = stats;
  const relay = local?.type === "relay" ? `through your relay (${local.relayProtocol ?? "udp"})`
    : remote?.type === "relay" ? "through the other side's relay" : "direct";
  byId("path").textContent = local && remote ? `${relay}, ${local.type} to ${remote.type} over ${local.protocol}` : "–";
  byId("rtt").textContent = rtt === null ? "–" : milliseconds(1000 * rtt);
  byId("received").textContent = bitsPerSecond.received === null ? "–" : `${(bitsPerSecond.received / 1e6).toFixed(2)} Mbit/s`;
  const streams = Object.values(inbound);
  const [lost, got] = ["packetsLost", "packetsReceived"].map((name) => streams.reduce((sum, item) => sum + item[name], 0));
  byId("lost").textContent = lost + got === 0 ? "–" : `${((100 * Math.max(0, lost)) / (lost + got)).toFixed(1)} %`;
  byId("level-own").value = stats.localSound.level ?? 0;
  byId("level-remote").value = inbound.audio?.sound.level ?? 0;
}

// --- the network ---

byId("check").addEventListener("click", async ({currentTarget}) => {
  currentTarget.disabled = true;
  byId("report").hidden = true;
  try {
    const progress = (text) => {
      byId("check-status").textContent = `${text[0].toUpperCase()}${text.slice(1)}… silent servers take up to 12 seconds.`;
    };
    const report = await diagnose(iceServers(), {catalogue, progress});
    byId("check-status").textContent = "Done.";
    showReport(report);
    // For those who want to keep it, and for tests.
    globalThis.icekitReport = report;
  } catch (error) {
    byId("check-status").textContent = `The check failed: ${error.message}`;
  }
  currentTarget.disabled = false;
});

function showReport({verdict, outlook, findings, servers, candidates}) {
  byId("verdict").dataset.severity = verdict.severity;
  fill(byId("verdict"), markOf(verdict.severity), element("span", {textContent: verdict.summary}),
    element("span", {className: "code", textContent: verdict.code}));
  fill(byId("findings"), ...findings.map(findingNode));
  fill(byId("outlook"), ...outlook.map(({peer, path, why}) => {
    const [severity, text] = PATHS[path];
    return element("tr", {}, element("th", {scope: "row", textContent: PEERS[peer]}),
      element("td", {className: "path"}, markOf(severity), text), element("td", {className: "quiet", textContent: why}));
  }));
  fill(byId("servers"), ...servers.map(serverRow));
  fill(byId("candidates"), ...candidates.map(({type, transport, address, port, server, milliseconds: time}) =>
    element("tr", {}, element("td", {textContent: `${type} ${transport}`}), element("td", {textContent: `${address} ${port}`}),
      element("td", {textContent: server}), element("td", {className: "number", textContent: milliseconds(time)}))));
  byId("report").hidden = false;
}

function serverRow({entry, ok, candidates, unmapped, errors, seconds, rtt}) {
  const told = errors[0] ? `${errors[0].errorCode || ""} ${errors[0].errorText}`.trim() : "no answer";
  const seen = candidates[0] ? `${candidates[0].address} ${candidates[0].port}` : unmapped ? "saw your own address" : told;
  const proof = rtt === null ? "" : `, data came back in ${milliseconds(1000 * rtt)}`;
  return element("tr", {}, element("th", {scope: "row", textContent: entry.url}),
    element("td", {}, markOf(ok ? "ok" : "error"), `${seen}${proof}`),
    element("td", {className: "number", textContent: seconds === null ? "–" : milliseconds(1000 * seconds)}));
}

show();
document.documentElement.dataset.ready = "true";
