import assert from "node:assert/strict";
import test from "node:test";
import {icekit} from "./module.mjs";

const {encodeFrame, FrameReader, MAX_MESSAGE} = icekit;

test("what is written can be read, with every escape", () => {
  const headers = {destination: "/topic/a:b\\c\nd\re", "x:y": "ä"};
  const [frame] = new FrameReader().push(encodeFrame("SEND", headers, "hällo\n"));
  assert.deepEqual(frame, {command: "SEND", headers, body: "hällo\n"});
});

test("CONNECT has no escapes", () => {
  assert.equal(encodeFrame("CONNECT", {passcode: "a:b\\n"}), "CONNECT\npasscode:a:b\\n\n\n\0");
});

test("frames come whole, in pieces, several at once, with heart-beats between and CRLF", () => {
  const bytes = new TextEncoder().encode(
    "\n\nMESSAGE\r\ndestination:/topic/x\r\n\r\none\0\n\nMESSAGE\ncontent-length:4\n\na\0bü".replace("bü", "ü") + "\0\nRECEIPT\nreceipt-id:1\n\n\0");
  const expected = [["MESSAGE", "one"], ["MESSAGE", "a\0ü"], ["RECEIPT", ""]];
  for (const size of [1, 2, 3, 7, 1000]) {
    const reader = new FrameReader();
    const frames = [];
    for (let at = 0; at < bytes.length; at += size) frames.push(...reader.push(bytes.slice(at, at + size)));
    assert.deepEqual(frames.map(({command, body}) => [command, body]), expected, `pieces of ${size}`);
  }
});

test("of a header that is there twice the first one counts, and none reaches the prototype", () => {
  const [{headers}] = new FrameReader().push("MESSAGE\na:1\na:2\nconstructor:x\n\n\0");
  assert.equal(headers.a, "1");
  assert.equal(headers.constructor, "x");
});

test("what is no STOMP is refused, and nothing grows without a bound", () => {
  assert.throws(() => new FrameReader().push("MESSAGE\nno colon\n\n\0"), /colon/);
  assert.throws(() => new FrameReader().push("x".repeat(20_000)), /headers/);
  assert.throws(() => new FrameReader().push("MESSAGE\ncontent-length:-1\n\n\0"), /length/);
  assert.throws(() => new FrameReader().push("MESSAGE\ncontent-length:1\n\nab\0"), /end/);
  assert.throws(() => new FrameReader().push(`MESSAGE\n\n${"x".repeat(4 * MAX_MESSAGE)}`), /long/);
});
