// The hook of docs/browser.md with a React that has no screen, in a world with one peer that is a plain one.

import assert from "node:assert/strict";
import {unmount} from "react";
import {FakeConnection} from "./icekit_js/fake_connection.mjs";
import {until} from "./icekit_js/module.mjs";
import {useVoiceCall} from "./hook.mjs";

const sockets = [];
globalThis.WebSocket = class {
  sent = [];
  constructor(url) {
    this.url = url;
    sockets.push(this);
    queueMicrotask(() => this.onopen());
  }
  send(text) {
    this.sent.push(JSON.parse(text));
  }
  close() {
    this.closed = true;
  }
};
globalThis.RTCPeerConnection = FakeConnection;
const stream = new MediaStream([{kind: "audio"}]);
// Newer versions of Node have one of their own.
Object.defineProperty(globalThis, "navigator", {value: {mediaDevices: {getUserMedia: async () => stream}}, configurable: true});

const servers = [];
const render = () => useVoiceCall("ws://host/room", servers);
render();
assert.equal(render().state, "idle");
await render().initiateCall();
await until(() => sockets[0].sent.some(({type}) => type === "candidate"));
assert.equal(render().localStream, stream);
const {offer} = sockets[0].sent.find(({type}) => type === "offer");
sockets[0].onmessage({data: JSON.stringify({type: "answer", answer: {type: "answer", sdp: offer.sdp.replaceAll(/F\d+/g, "THEM")}})});
sockets[0].onmessage({data: JSON.stringify({type: "candidate", candidate: {candidate: "candidate:1 1 udp 1 192.0.2.1 1 typ host", sdpMid: "0"}})});
await until(() => render().state === "connected");
assert.equal(sockets.length, 1);
unmount();
assert.equal(sockets[0].closed, true);
assert.equal(sockets[0].sent.at(-1).type, "bye");
