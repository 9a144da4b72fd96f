import assert from "node:assert/strict";
import test from "node:test";
import {FakeConnection} from "./fake_connection.mjs";
import {icekit, sdpOf, until} from "./module.mjs";

const {Call, explainFailure, openMedia, pair, readCandidate, readStats, STEPS} = icekit;
const stream = (...kinds) => new MediaStream(kinds.map((kind) => ({kind, enabled: true})));

/** A channel without resume, that keeps what is sent; `hear` is what comes from the others. */
class Wire extends EventTarget {
  sent = [];
  peers = [];
  constructor(name) {
    super();
    this.name = name;
  }
  send(message) {
    this.sent.push(message);
  }
  hear(message) {
    this.dispatchEvent(new CustomEvent("message", {detail: message}));
  }
  of(type) {
    return this.sent.filter((message) => message.type === type);
  }
}

function calls(t, {first = {}, second = {}} = {}) {
  const channels = pair("A", "B");
  const made = channels.map(() => []);
  const [a, b] = channels.map((channel, index) => new Call(channel, {
    openMedia: async () => stream("audio", "video"),
    createConnection: (configuration) => {
      made[index].push(new FakeConnection(configuration));
      return made[index].at(-1);
    },
    ...[first, second][index],
  }));
  t.after(() => [a, b, ...channels].forEach((item) => item.close()));
  return {a, b, made, channels};
}

function alone(t, options = {}, name = "me") {
  const wire = new Wire(name);
  const made = [];
  const call = new Call(wire, {
    createConnection: (configuration) => {
      made.push(new FakeConnection(configuration));
      return made.at(-1);
    },
    ...options,
  });
  t.after(() => call.close());
  return {call, wire, made};
}

test("a call makes the thirteen steps in their order", async (t) => {
  const {a, b, made} = calls(t);
  await a.initiateCall("B");
  await until(() => a.snapshot.state === "connected" && b.snapshot.state === "connected");
  assert.deepEqual(Object.keys(a.snapshot.steps), ["1", "2", "3", "4", "10", "11", "12", "13"]);
  assert.deepEqual(Object.keys(b.snapshot.steps), ["5", "6", "7", "8", "9", "11", "12", "13"]);
  const ofA = [1, 2, 3, 4, 10].map((number) => a.snapshot.began + a.snapshot.steps[number]);
  const ofB = [5, 6, 7, 8, 9].map((number) => b.snapshot.began + b.snapshot.steps[number]);
  assert.deepEqual([...ofA].sort((x, y) => x - y), ofA);
  assert.deepEqual([...ofB].sort((x, y) => x - y), ofB);
  assert.equal(STEPS.length, 13);
  assert.equal(made[1][0].tracks.length, 2);
  assert.equal(b.snapshot.peer, "A");
});

test("both call at once: both end in one call, and the greater name keeps its offer", async (t) => {
  const {a, b, made} = calls(t);
  await Promise.all([a.initiateCall(), b.initiateCall()]);
  await until(() => a.snapshot.state === "connected" && b.snapshot.state === "connected");
  assert.deepEqual([a.snapshot.role, b.snapshot.role], ["B", "A"]);
  assert.deepEqual(made.map((list) => list.length), [1, 1]);
  assert.equal(made[0][0].remoteDescription.type, "offer");
  assert.equal(made[1][0].remoteDescription.type, "answer");
});

test("candidates before the offer wait; the answer waits for the media", async (t) => {
  let open;
  const {call, wire, made} = alone(t, {openMedia: () => new Promise((resolve) => (open = resolve))});
  const early = {candidate: "candidate:1 1 udp 1 192.0.2.9 1 typ host", usernameFragment: "THEM"};
  wire.hear({type: "offer", offer: {type: "offer", sdp: sdpOf("THEM")}, from: "you"});
  wire.hear({type: "candidate", candidate: early, from: "you"});
  await until(() => open);
  assert.deepEqual(wire.of("answer"), []);
  open(stream("audio"));
  await until(() => wire.of("answer").length === 1 && made[0].added.length === 1);
  assert.deepEqual(made[0].added, [early]);
  assert.equal(made[0].tracks.length, 1);
  assert.deepEqual(wire.of("answer")[0].to, "you");
  assert.ok(wire.of("candidate").every(({candidate}) => candidate.usernameFragment === made[0].ufrag));
  assert.deepEqual(wire.of("candidate").at(-1).candidate, {candidate: "", sdpMid: "0", sdpMLineIndex: 0, usernameFragment: made[0].ufrag});
});

test("the same offer again gets the same answer again, word for word; a late answer changes nothing", async (t) => {
  const {wire, made} = alone(t);
  const offer = {type: "offer", offer: {type: "offer", sdp: sdpOf("THEM")}, from: "you"};
  wire.hear(offer);
  wire.hear(offer);
  await until(() => wire.of("answer").length === 2);
  assert.deepEqual(wire.of("answer")[0], wire.of("answer")[1]);
  wire.hear({type: "answer", answer: {type: "answer", sdp: sdpOf("LATE")}, from: "you"});
  await new Promise((resolve) => setTimeout(resolve, 5));
  assert.equal(made.length, 1);
  assert.equal(made[0].remoteDescription.sdp, sdpOf("THEM"));
});

test("without a UDP address, and with all candidates told, there is nothing to wait for", async (t) => {
  const {call, wire, made} = alone(t);
  wire.hear({type: "offer", offer: {type: "offer", sdp: sdpOf("THEM")}, from: "you"});
  made[0].addIceCandidate = async () => {};
  made[0].candidate = "candidate:1 1 tcp 1518280447 192.0.2.1 9 typ host tcptype active";
  await until(() => wire.of("candidate").length === 2);
  const candidate = {candidate: "candidate:1 1 udp 1 198.51.100.9 1 typ srflx raddr 0.0.0.0 rport 0", usernameFragment: "THEM"};
  wire.hear({type: "candidate", candidate, from: "you"});
  await new Promise((resolve) => setTimeout(resolve, 1100));
  assert.equal(call.snapshot.state, "connecting");
  wire.hear({type: "candidate", candidate: {candidate: "", usernameFragment: "THEM"}, from: "you"});
  await until(() => call.snapshot.state === "failed");
  assert.deepEqual(call.snapshot.codes.map(({code}) => code), ["CALL-PATH", "ICE001"]);
  assert.match(call.snapshot.codes[0].evidence.join(), /UDP/);
});

test("a code that the other side hangs up with is explained, any other reason is quoted", async (t) => {
  const {call, wire} = alone(t);
  for (const [reason, ended, codes] of [
    ["CALL-PATH", "The other side hung up.", ["CALL-PATH"]], ["busy", "The other side hung up: busy.", []],
  ]) {
    await call.initiateCall("you");
    wire.hear({type: "bye", reason, from: "you"});
    assert.equal(call.snapshot.ended, ended);
    assert.deepEqual(call.snapshot.codes.map(({code}) => code), codes);
  }
});

const sideReport = (change) => ({type: "report", from: "you", report: {
  schema: "icekit/call-report/1", code: "CALL-PATH", phase: "connecting", reason: "no path within 45 s", local: {host: 2, relay: 1},
  remote: {host: 1}, checks_sent: 9, checks_received: 4, answered: 0, refused: 0, servers: ["turn:t.example: 401"], ...change,
}});

test("what the other side has told of its failure stands beside the code that it hangs up with", async (t) => {
  const {call, wire} = alone(t);
  await call.initiateCall("you");
  wire.hear({...sideReport({code: "CALL-LOST"}), from: "somebody else"});
  wire.hear({type: "report", from: "you", report: {schema: "icekit/trace/1", code: "CALL-LOST"}});
  wire.hear(sideReport());
  assert.deepEqual(call.snapshot.codes, []);
  wire.hear({type: "bye", reason: "CALL-PATH", from: "you"});
  assert.deepEqual(call.snapshot.codes, [{code: "CALL-PATH", evidence: [
    "so says the other side",
    "the other side: no path within 45 s; candidates 2 host, 1 relay, of its peer 1 host; 9 checks sent, 0 answered, 4 received",
    "a server failed there: turn:t.example: 401",
  ]}]);
  // Nothing of it is left in the next call.
  await call.initiateCall("you");
  wire.hear({type: "bye", reason: "CALL-PATH", from: "you"});
  assert.deepEqual(call.snapshot.codes[0].evidence, ["so says the other side"]);
});

test("what the other side tells after a failure here is shown, too, and nothing in it is trusted", async (t) => {
  const {call, wire} = alone(t, {deadlines: {answer: 0.01}});
  for (const [change, codes, last] of [
    [{code: "CALL-BYE"}, ["CALL-ANSWER"], /a server failed there/],
    [{code: "CALL-PATH", servers: []}, ["CALL-ANSWER", "CALL-PATH"], /no path within/],
    [{code: "<b>", reason: {}, phase: 7, local: [], remote: null, checks_sent: "9", servers: "x"}, ["CALL-ANSWER"],
      /^the other side: no reason given; candidates none, of its peer none$/],
    [{code: null, reason: `\u202e${"x".repeat(5000)}`, servers: [1, null]}, ["CALL-ANSWER"], /^the other side: \ufffdx{299};/],
  ]) {
    await call.initiateCall("you");
    await until(() => call.snapshot.state === "failed");
    wire.hear(sideReport(change));
    wire.hear(sideReport({reason: "once is enough"}));
    assert.deepEqual(call.snapshot.codes.map(({code}) => code), codes);
    assert.match(call.snapshot.codes.at(-1).evidence.at(-1), last);
  }
});

test("whoever joins later gets the offer, with its candidates, and an answer comes from one of them", async (t) => {
  const {call, wire, made} = alone(t);
  await call.initiateCall();
  await until(() => wire.of("candidate").length === 2);
  const [first] = wire.of("offer");
  assert.equal(first.to, undefined);
  wire.hear({type: "presence", joined: ["late"], left: [], peers: ["late"]});
  await until(() => wire.of("candidate").length === 4);
  assert.deepEqual(wire.of("offer")[1], {...first, to: "late"});
  wire.hear({type: "answer", answer: {type: "answer", sdp: sdpOf("THEM")}, from: "late"});
  await until(() => call.snapshot.state === "connecting");
  assert.equal(call.snapshot.peer, "late");
  wire.hear({type: "bye", from: "somebody else"});
  assert.equal(call.snapshot.state, "connecting");
  assert.equal(made[0].closed, false);
});

test("no answer within its time ends the call with its code, and tells the other side", async (t) => {
  const {call, wire, made} = alone(t, {deadlines: {answer: 0.01}});
  await call.initiateCall("you");
  await until(() => call.snapshot.state === "failed");
  assert.deepEqual(call.snapshot.codes.map(({code}) => code), ["CALL-ANSWER"]);
  assert.deepEqual(wire.of("bye"), [{type: "bye", reason: "CALL-ANSWER", to: "you"}]);
  assert.equal(made[0].closed, true);
  await call.initiateCall("you");
  assert.equal(call.snapshot.state, "calling");
});

test("hanging up ends it at both sides; a second call works", async (t) => {
  const {a, b, made} = calls(t);
  for (const round of [1, 2]) {
    await a.initiateCall("B");
    await until(() => b.snapshot.state === "connected" && a.snapshot.state === "connected");
    a.hangUp();
    await until(() => b.snapshot.state === "idle");
    assert.deepEqual([a.snapshot.ended, b.snapshot.ended], ["You hung up.", "The other side hung up."]);
    assert.equal(made[0].length, round);
    assert.ok(made.flat().every(({closed}) => closed));
  }
});

test("a third one is told that we are busy", async (t) => {
  const {call, wire} = alone(t);
  wire.hear({type: "offer", offer: {type: "offer", sdp: sdpOf("THEM")}, from: "you"});
  await until(() => call.snapshot.state === "connecting");
  wire.hear({type: "offer", offer: {type: "offer", sdp: sdpOf("OTHER")}, from: "third"});
  assert.deepEqual(wire.of("bye"), [{type: "bye", reason: "busy", to: "third"}]);
  assert.equal(call.snapshot.peer, "you");
});

test("a peer that begins anew gets a new connection", async (t) => {
  const {call, wire, made} = alone(t);
  wire.hear({type: "offer", offer: {type: "offer", sdp: sdpOf("ONE", "AA:01")}, from: "you"});
  await until(() => call.snapshot.state === "connecting");
  wire.hear({type: "offer", offer: {type: "offer", sdp: sdpOf("RESTART", "AA:01")}, from: "you"});
  await until(() => wire.of("answer").length === 2);
  assert.equal(made.length, 1);
  wire.hear({type: "offer", offer: {type: "offer", sdp: sdpOf("TWO", "BB:02")}, from: "you"});
  await until(() => wire.of("answer").length === 3);
  assert.deepEqual(made.map(({closed}) => closed), [true, false]);
});

test("a lost path is restarted by the caller, with a new offer, and the call goes on", async (t) => {
  const {call, wire, made} = alone(t, {deadlines: {silence: 0.01, restoring: 0.2}});
  await call.initiateCall("you");
  await until(() => wire.of("offer").length === 1);
  wire.hear({type: "answer", answer: {type: "answer", sdp: sdpOf("THEM")}, from: "you"});
  wire.hear({type: "candidate", candidate: {candidate: "candidate:1", usernameFragment: "THEM"}, from: "you"});
  await until(() => call.snapshot.state === "connected");
  made[0].become("disconnected");
  assert.equal(call.snapshot.state, "interrupted");
  await until(() => wire.of("offer").length === 2);
  assert.notDeepEqual(icekit.ufragsOf(wire.of("offer")[1].offer.sdp), icekit.ufragsOf(wire.of("offer")[0].offer.sdp));
  made[0].become("connected");
  assert.equal(call.snapshot.state, "connected");
  made[0].become("failed");
  await until(() => call.snapshot.state === "failed");
  assert.deepEqual(call.snapshot.codes.map(({code}) => code), ["CALL-LOST"]);
});

test("the caller without a camera learns why; the called one answers all the same", async (t) => {
  const openMedia = async () => { throw new Error("no camera"); };
  const {a, b} = calls(t, {first: {openMedia}});
  await a.initiateCall("B");
  assert.equal(a.snapshot.state, "failed");
  assert.equal(a.snapshot.problem.text, "no camera");
  const other = calls(t, {second: {openMedia}});
  await other.a.initiateCall("B");
  await until(() => other.a.snapshot.state === "connected");
});

test("subscribers see every change, until they do not want to; closing is for good", async (t) => {
  const {call} = alone(t);
  let seen = 0;
  const end = call.subscribe(() => (seen += 1));
  const before = call.snapshot;
  await call.initiateCall("you");
  assert.ok(seen > 0);
  assert.notEqual(call.snapshot, before);
  await assert.rejects(call.initiateCall("you"), /hang up first/);
  end();
  const count = seen;
  call.hangUp();
  assert.equal(seen, count);
  call.close();
  assert.equal(call.snapshot.state, "closed");
  await assert.rejects(call.initiateCall("you"), /closed/);
});

test("relay only and servers reach the connection; text goes over the data channel", async (t) => {
  const iceServers = [{urls: "turn:turn.example.org", username: "u", credential: "p"}];
  const {call, made} = alone(t, {iceServers, relayOnly: true});
  assert.throws(() => call.sendText("x"), /no call/);
  await call.initiateCall("you");
  assert.deepEqual(made[0].configuration, {iceServers, iceTransportPolicy: "relay"});
  call.sendText("hello");
  assert.deepEqual(made[0].channel.sent, ["hello"]);
});

test("why a call failed", () => {
  const local = [];
  const server = {urls: "turn:turn.example.org", username: "1:u", credential: "p"};
  const base = {code: "CALL-PATH", iceServers: [], local, errors: [], remote: [], stale: 0};
  const host = readCandidate("candidate:1 1 udp 1 192.168.1.2 1 typ host");
  const codes = (change) => explainFailure({...base, ...change}).map(({code}) => code);
  assert.deepEqual(codes({}), ["CALL-CANDIDATES"]);
  assert.deepEqual(codes({stale: 2}), ["CALL-UFRAG"]);
  assert.deepEqual(codes({remote: [host]}), ["CALL-PATH", "ICE001", "ICE009"]);
  assert.deepEqual(codes({remote: [{...host, type: "relay"}], iceServers: [server]}), ["CALL-PATH"]);
  const errors = [{url: "turn:turn.example.org:3478?transport=udp", errorCode: 401, errorText: "Unauthorized"}];
  assert.deepEqual(codes({remote: [{...host, type: "srflx"}], iceServers: [server], errors}), ["CALL-PATH", "TURN-401"]);
});

test("media that cannot be opened: what to do", async () => {
  const failing = (name) => ({getUserMedia: async () => { throw Object.assign(new Error("x"), {name}); }});
  await assert.rejects(openMedia({camera: true}, failing("NotAllowedError")), /Allow it/);
  await assert.rejects(openMedia({camera: true}, failing("NotFoundError")), /Connect one/);
  await assert.rejects(openMedia({camera: true}, failing("Odd")), /cannot be opened: x/);
  await assert.rejects(openMedia({camera: true}, undefined), /https/);
  assert.equal(await openMedia({}, undefined), null);
  const asked = [];
  const devices = {
    getUserMedia: async (wanted) => { asked.push(wanted); return stream("audio"); },
    getDisplayMedia: async () => stream("video"),
  };
  const both = await openMedia({screen: true, microphone: true}, devices);
  assert.deepEqual(both.getTracks().map(({kind}) => kind), ["audio", "video"]);
  assert.deepEqual(asked, [{audio: true, video: false}]);
  assert.deepEqual((await openMedia({screen: true}, devices)).getTracks().map(({kind}) => kind), ["video"]);
});

test("numbers of a call", () => {
  const stats = (bytes, at) => new Map(Object.entries({
    t: {type: "transport", selectedCandidatePairId: "p", bytesSent: bytes, bytesReceived: 2 * bytes, timestamp: at},
    p: {type: "candidate-pair", localCandidateId: "l", remoteCandidateId: "r", currentRoundTripTime: 0.02},
    l: {type: "local-candidate", candidateType: "relay", address: "192.0.2.1", port: 1, protocol: "udp", relayProtocol: "tls", url: "turns:x"},
    r: {type: "remote-candidate", candidateType: "host", address: "192.0.2.2", port: 2, protocol: "udp"},
    v: {type: "inbound-rtp", kind: "video", framesDecoded: 3, packetsLost: 1, packetsReceived: 9},
    m: {type: "media-source", kind: "audio", totalAudioEnergy: bytes / 4000, totalSamplesDuration: bytes / 1000},
  }));
  const before = readStats(stats(1000, 1000));
  const {rtt, local, remote, inbound, localSound, bitsPerSecond} = readStats(stats(2000, 2000), before);
  assert.equal(rtt, 0.02);
  assert.deepEqual([local.type, local.relayProtocol, remote.type], ["relay", "tls", "host"]);
  assert.equal(inbound.video.framesDecoded, 3);
  assert.equal(localSound.level, 0.5);
  assert.equal(before.localSound.level, null);
  assert.deepEqual(bitsPerSecond, {sent: 8000, received: 16000});
  assert.deepEqual(before.bitsPerSecond, {sent: null, received: null});
  assert.equal(readStats(new Map()).rtt, null);
});
