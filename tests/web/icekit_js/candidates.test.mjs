import assert from "node:assert/strict";
import test from "node:test";
import {icekit, sdpOf} from "./module.mjs";

const {EarlyCandidates, isPublic, readCandidate} = icekit;
const of = (usernameFragment, candidate = `candidate:${usernameFragment}`) => ({candidate, usernameFragment});

test("candidates wait for their description, in order", () => {
  const early = new EarlyCandidates();
  const plain = {candidate: "candidate:plain"};
  assert.equal(early.received(of("AAAA", "1")), "kept");
  assert.equal(early.received(of("BBBB")), "kept");
  assert.equal(early.received(plain), "kept");
  assert.deepEqual(early.described(sdpOf("AAAA")), [of("AAAA", "1"), plain]);
  assert.equal(early.received(of("AAAA", "2")), "add");
  assert.equal(early.received(plain), "add");
  assert.deepEqual(early.described(sdpOf("BBBB")), [of("BBBB")]);
});

test("those of an earlier generation are stale, until the other side goes back to it", () => {
  const early = new EarlyCandidates();
  early.described(sdpOf("AAAA"));
  early.described(sdpOf("BBBB"));
  assert.equal(early.received(of("AAAA")), "stale");
  early.described(sdpOf("AAAA"));
  assert.equal(early.received(of("AAAA")), "add");
});

test("those of an offer that was refused are stale, those in use are not", () => {
  const early = new EarlyCandidates();
  early.described(sdpOf("AAAA"));
  early.received(of("BBBB"));
  early.refused(sdpOf("BBBB") + sdpOf("AAAA"));
  assert.equal(early.received(of("BBBB")), "stale");
  assert.equal(early.received(of("AAAA")), "add");
  assert.deepEqual(early.described(sdpOf("CCCC")), []);
});

test("only so many wait", () => {
  const early = new EarlyCandidates();
  const answers = Array.from({length: 300}, (_, index) => early.received(of("AAAA", `${index}`)));
  assert.equal(answers.filter((answer) => answer === "kept").length, 256);
});

test("a line is read", () => {
  assert.deepEqual(readCandidate("candidate:842163049 1 udp 1677729535 192.168.1.2 56132 typ srflx raddr 192.168.1.2 rport 56132"), {
    foundation: "842163049", component: 1, transport: "udp", priority: 1677729535, address: "192.168.1.2", port: 56132, type: "srflx",
    relatedAddress: "192.168.1.2", relatedPort: 56132, tcpType: null,
  });
  assert.equal(readCandidate("a=candidate:1 1 TCP 1 fd00::1 9 typ host tcptype active").tcpType, "active");
  for (const line of ["", null, undefined, "candidate:", "v=0"]) assert.equal(readCandidate(line), null);
});

test("addresses that everybody can reach", () => {
  for (const address of ["198.51.100.1", "2001:db8::1", "100.63.0.1", "100.128.0.1", "172.32.0.1"]) assert.ok(isPublic(address), address);
  for (const address of ["10.0.0.1", "192.168.1.1", "172.16.0.1", "172.31.0.1", "100.64.0.1", "127.0.0.1", "169.254.1.1", "0.0.0.0", "::1",
    "::", "fe80::1", "fd00::1", "a-b.local"]) assert.ok(!isPublic(address), address);
});
