import assert from "node:assert/strict";
import test from "node:test";
import {icekit, sdpOf} from "./module.mjs";

const {decode, encode, MessageError, MAX_MESSAGE, OwnMessages, ufragOf, ufragsOf} = icekit;
const offer = {type: "offer", offer: {type: "offer", sdp: sdpOf("AAAA")}};
const candidate = {type: "candidate", candidate: {candidate: "candidate:1 1 udp 1 192.0.2.1 1 typ host ufrag AAAA", sdpMid: "0"}};

test("every message of the wire survives the way there and back", () => {
  for (const message of [
    offer, candidate, {type: "answer", answer: {type: "answer", sdp: "v=0"}, from: "a", to: "b", seq: 1, id: "x"},
    {type: "candidate", candidate: null}, {type: "candidate", candidate: ""}, {type: "bye"}, {type: "bye", reason: "late"},
    {type: "ack", seq: 0}, {type: "ack", seq: 7, of: "x.1"}, {type: "presence", joined: ["a"], left: [], peers: ["a", "b"]},
    {type: "report", report: {}}, {type: "error", code: "token", text: "no"},
  ]) assert.deepEqual(decode(encode(message)), message);
});

test("a browser's own objects are read", () => {
  assert.deepEqual(decode("null"), {type: "candidate", candidate: null});
  assert.deepEqual(decode(JSON.stringify(offer.offer)), offer);
  assert.deepEqual(decode(JSON.stringify(candidate.candidate)), candidate);
});

test("an error names the field", () => {
  for (const [value, field] of [
    [7, "message"], [{}, "type"], [{type: "toString"}, "type"], [{type: "offer"}, "offer"], [{type: "offer", offer: {type: "answer", sdp: ""}}, "offer.type"],
    [{type: "offer", offer: {type: "offer"}}, "offer.sdp"], [{type: "candidate"}, "candidate"],
    [{type: "candidate", candidate: {candidate: "x", sdpMLineIndex: "0"}}, "candidate.sdpMLineIndex"],
    [{type: "bye", from: 7}, "from"], [{type: "bye", seq: -1}, "seq"], [{type: "ack", seq: 1.5}, "seq"],
    [{type: "presence", peers: [1]}, "peers"], [{type: "error", code: "x"}, "text"],
  ]) assert.throws(() => decode(JSON.stringify(value)), (error) => error instanceof MessageError && error.field === field, JSON.stringify(value));
  assert.throws(() => decode("{"), MessageError);
  assert.throws(() => decode(" ".repeat(MAX_MESSAGE + 1)), /longer/);
  assert.throws(() => encode({type: "bye", reason: "x".repeat(MAX_MESSAGE)}), /longer/);
});

test("user name fragments are found", () => {
  assert.deepEqual(ufragsOf(sdpOf("AAAA") + sdpOf("BBBB")), new Set(["AAAA", "BBBB"]));
  assert.equal(ufragOf(candidate.candidate), "AAAA");
  assert.equal(ufragOf({candidate: "candidate:…", usernameFragment: "CCCC"}), "CCCC");
  assert.equal(ufragOf({candidate: "candidate:…"}), null);
});

test("a topic's echo is known by its sender, by the fragment, or by its content", () => {
  const own = new OwnMessages("me");
  assert.equal(own.recognises({type: "bye", from: "me"}, 0), true);
  assert.equal(own.recognises({type: "bye", from: "you"}, 0), false);
  own.remember(offer, 0);
  assert.equal(own.recognises(offer, 1), true);
  assert.equal(own.recognises(candidate, 1), true);
  assert.equal(own.recognises({type: "offer", offer: {type: "offer", sdp: sdpOf("BBBB")}}, 1), false);
});

test("the other side's bye is not taken for ours where nothing is echoed", () => {
  const own = new OwnMessages("me");
  own.remember({type: "bye"}, 0);
  assert.equal(own.recognises({type: "bye"}, 1), false);
});

test("where messages are echoed each of ours is expected once, and for a minute", () => {
  const own = new OwnMessages("me");
  own.remember(offer, 0);
  assert.equal(own.recognises(offer, 0), true);
  own.remember({type: "bye"}, 0);
  assert.equal(own.recognises({type: "bye"}, 1), true);
  assert.equal(own.recognises({type: "bye"}, 1), false);
  own.remember({type: "report", report: {b: 1, a: 2}}, 2);
  assert.equal(own.recognises({report: {a: 2, b: 1}, type: "report"}, 63), false);
});
