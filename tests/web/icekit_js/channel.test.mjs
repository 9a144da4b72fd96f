import assert from "node:assert/strict";
import test from "node:test";
import {icekit, until} from "./module.mjs";

const {connect, Delivery, encodeFrame, FrameReader, pair} = icekit;

/** The WebSocket of a browser, without a network: `FakeSocket.made` are those that were opened. */
class FakeSocket {
  static made = [];
  sent = [];
  constructor(url, protocols) {
    Object.assign(this, {url, protocols});
    FakeSocket.made.push(this);
  }
  send(data) {
    this.sent.push(data);
  }
  close(code) {
    this.code = code;
    this.onclose?.();
  }
  hear(...messages) {
    for (const message of messages) this.onmessage({data: typeof message === "string" ? message : JSON.stringify(message)});
  }
  get messages() {
    return this.sent.map((text) => JSON.parse(text));
  }
}

function opened(t, url, options) {
  FakeSocket.made = [];
  globalThis.WebSocket = FakeSocket;
  const channel = connect(url, {name: "me", ...options});
  t.after(() => channel.close());
  const heard = [];
  channel.addEventListener("message", ({detail}) => heard.push(detail));
  return {channel, heard, socket: FakeSocket.made[0]};
}

test("a URL that cannot be is refused in a sentence", () => {
  for (const [url, words] of [["no url", /no URL/], ["wss://host/", /no room/], ["stomp+ws://host/ws", /no topic/], ["mqtt://host/room", /mqtt/]]) {
    assert.throws(() => connect(url), words);
  }
});

test("a room: name, session and token are in the URL; presence is the server's", (t) => {
  const {channel, heard, socket} = opened(t, "wss://host.example:8443/room", {token: "a&b"});
  const url = new URL(socket.url);
  assert.equal(`${url.protocol}//${url.host}${url.pathname}`, "wss://host.example:8443/room");
  assert.deepEqual([url.searchParams.get("name"), url.searchParams.get("token")], ["me", "a&b"]);
  assert.match(url.searchParams.get("session"), /^[0-9a-f]{32}$/);
  channel.send({type: "bye"});
  assert.deepEqual(socket.sent, []);
  socket.onopen();
  assert.deepEqual(socket.messages.map(({type, from}) => [type, from]), [["ack", "me"], ["bye", "me"]]);
  socket.hear({type: "presence", joined: [], left: [], peers: ["you"], to: "me"});
  assert.deepEqual(channel.peers, ["you"]);
  assert.equal(heard.length, 1);
  channel.close();
  assert.equal(socket.code, 1000);
  assert.equal(socket.messages.length, 2);
  assert.throws(() => channel.send({type: "bye"}), /closed/);
});

test("what was not acknowledged is sent again over the next connection; garbage is not heard", async (t) => {
  const {channel, heard, socket} = opened(t, "ws://host/room");
  socket.onopen();
  socket.hear("garbage", {type: "ack", seq: 0, from: "you", id: "s"}, {type: "bye", from: "you", id: "s", seq: 1}, {type: "bye", from: "you", id: "s", seq: 1});
  assert.equal(heard.length, 1);
  channel.send({type: "bye", reason: "lost"});
  socket.onclose();
  assert.equal(channel.state, "reconnecting");
  assert.match(channel.problem, /host/);
  const next = await until(() => FakeSocket.made[1]);
  assert.equal(new URL(next.url).searchParams.get("session"), new URL(socket.url).searchParams.get("session"));
  next.onopen();
  assert.equal(channel.state, "open");
  assert.deepEqual(next.messages.map(({type, seq, of}) => [type, seq, of]), [["ack", 1, "s"], ["ack", 0, undefined]]);
  const id = socket.messages[0].id;
  next.hear({type: "ack", seq: 0, of: id, from: "you", id: "s"});
  await until(() => next.messages.some(({reason, to}) => reason === "lost" && to === "you"));
});

test("a server that refuses for good is not asked again, and says why", async (t) => {
  const {channel, socket} = opened(t, "ws://host/room");
  socket.onopen();
  socket.hear({type: "error", code: "token", text: "this token has expired"});
  socket.onclose();
  assert.equal(channel.state, "closed");
  assert.match(channel.problem, /this token has expired/);
  assert.equal(FakeSocket.made.length, 1);
});

test("a server that restarts is asked again", async (t) => {
  const {channel, socket} = opened(t, "ws://host/room");
  socket.onopen();
  socket.hear({type: "error", code: "restarting", text: "this server stops"});
  socket.onclose();
  assert.equal(channel.state, "reconnecting");
  await until(() => FakeSocket.made[1]);
});

test("STOMP: connect, subscribe, and send only when the subscription is confirmed", (t) => {
  const {channel, heard, socket} = opened(t, "stomp+wss://us%2Fer:pass@host:15674/ws?topic=room");
  const frames = () => socket.sent.flatMap((text) => new FrameReader().push(text));
  assert.deepEqual([socket.url, socket.protocols], ["wss://host:15674/ws", ["v12.stomp"]]);
  socket.onopen();
  const [first] = frames();
  assert.deepEqual([first.command, first.headers.login, first.headers.passcode, first.headers.host], ["CONNECT", "us/er", "pass", "/"]);
  socket.hear(encodeFrame("CONNECTED", {version: "1.2", "heart-beat": "0,0"}));
  const {headers} = frames()[1];
  assert.equal(headers.destination, "/topic/room");
  channel.send({type: "bye"});
  assert.equal(frames().length, 2);
  socket.hear(encodeFrame("RECEIPT", {"receipt-id": headers.receipt}));
  assert.equal(channel.state, "open");
  const sent = frames().slice(2);
  assert.deepEqual(sent.map(({command, body}) => [command, JSON.parse(body).type]), [["SEND", "ack"], ["SEND", "bye"]]);
  const message = (body) => encodeFrame("MESSAGE", {destination: "/topic/room", subscription: 0, "message-id": 1}, body);
  socket.hear(message(sent[1].body), message('{"type":"bye","reason":"theirs","from":"you"}'), message("garbage"));
  assert.deepEqual(heard.map(({reason}) => reason), ["theirs"]);
  channel.close();
  assert.deepEqual(JSON.parse(frames().at(-1).body).left, ["me"]);
});

test("STOMP: a broker that refuses at once is not asked again; one that fails later is", async (t) => {
  const {channel, socket} = opened(t, "stomp+ws://host/ws?topic=/exchange/x");
  socket.onopen();
  socket.hear(encodeFrame("ERROR", {message: "Bad CONNECT"}));
  assert.equal(channel.state, "closed");
  assert.match(channel.problem, /Bad CONNECT/);
  const later = opened(t, "stomp+ws://host/ws?topic=/exchange/x");
  later.socket.onopen();
  later.socket.hear(encodeFrame("CONNECTED", {}), encodeFrame("RECEIPT", {"receipt-id": "subscribed"}), encodeFrame("ERROR", {message: "shutdown"}));
  assert.equal(later.channel.state, "reconnecting");
  await until(() => FakeSocket.made[1]);
});

test("two channels in one page", async () => {
  const [a, b] = pair();
  const heard = [];
  b.addEventListener("message", ({detail}) => heard.push(detail));
  a.send({type: "bye", reason: "x"});
  await until(() => heard.some(({reason}) => reason === "x"));
  await until(() => a.peers.includes("B"));
  a.close();
  b.close();
});

test("delivery: messages that come in any order leave in theirs, once; a gap is given up", () => {
  const reader = new Delivery("reader", "r");
  reader.connected(0);
  const message = (seq) => ({type: "bye", from: "w", id: "s", seq});
  for (const seq of [3, 1, 1, 2, 5]) reader.receive(message(seq), 0);
  const seen = () => reader.receivedMessages().filter(({type}) => type === "bye").map(({seq}) => seq);
  assert.deepEqual(seen(), [1, 2, 3]);
  reader.handleTimer(4.9);
  assert.deepEqual(seen(), []);
  reader.handleTimer(5.1);
  assert.deepEqual(seen(), [5]);
});

/** A Delivery that is connected, and what it has to send so far is taken. */
function delivering() {
  const delivery = new Delivery("me", "m");
  delivery.connected(0);
  delivery.messagesToSend();
  return delivery;
}
const greeting = {type: "ack", seq: 0, from: "you", id: "y"};
const bye = (seq) => ({type: "bye", from: "you", id: "y", seq});
const sent = (delivery, type) => delivery.messagesToSend().filter((message) => message.type === type);

test("the same number again asks once for what follows it; a greeting lets it ask anew", () => {
  const delivery = delivering();
  delivery.receive(greeting, 0);
  delivery.send({type: "bye"}, 0);
  delivery.messagesToSend();
  const ask = (now) => {
    delivery.receive({...greeting, of: "m"}, now);
    delivery.handleTimer(now + 0.06);
    return sent(delivery, "bye").length;
  };
  assert.deepEqual([ask(0.1), ask(0.2), ask(0.3)], [1, 0, 0]);
  delivery.receive(greeting, 0.4);
  delivery.messagesToSend();
  assert.equal(ask(0.5), 1);
});

test("what does not fit into one window follows as soon as that is read", () => {
  const delivery = delivering();
  delivery.receive(greeting, 0);
  for (let count = 0; count < 100; count += 1) delivery.send({type: "bye"}, 0);
  delivery.messagesToSend();
  delivery.handleTimer(1);
  assert.deepEqual(sent(delivery, "bye").map(({seq}) => seq), Array.from({length: 64}, (_, index) => index + 1));
  delivery.receive({...greeting, of: "m", seq: 64}, 1.1);
  delivery.handleTimer(1.1);
  assert.deepEqual(sent(delivery, "bye").map(({seq}) => seq), Array.from({length: 36}, (_, index) => index + 65));
});

test("nothing is repeated while something waits to be sent", () => {
  const delivery = delivering();
  delivery.receive(greeting, 0);
  delivery.send({type: "bye"}, 0);
  delivery.handleTimer(1);
  assert.equal(sent(delivery, "bye").length, 1);
  delivery.handleTimer(1.06);
  assert.equal(sent(delivery, "bye").length, 1);
});

test("duplicates are acknowledged together, a little later", () => {
  const delivery = delivering();
  delivery.receive(bye(1), 0);
  delivery.handleTimer(0.1);
  delivery.messagesToSend();
  for (const now of [1, 1.01, 1.02]) {
    delivery.receive(bye(1), now);
    delivery.handleTimer(now);
    assert.deepEqual(delivery.messagesToSend(), []);
  }
  delivery.handleTimer(1.06);
  assert.deepEqual(sent(delivery, "ack").map(({seq, of}) => [seq, of]), [[1, "y"]]);
});

test("a gap is waited for as long as the one who acknowledges talks, otherwise for five seconds", () => {
  for (const [first, end] of [[greeting, 30], [bye(1), 5]]) {
    const delivery = delivering();
    delivery.receive(first, 0);
    delivery.receive(bye(3), 0);
    delivery.receivedMessages();
    delivery.handleTimer(0);
    assert.equal(delivery.getTimer(), end);
    delivery.handleTimer(end - 0.1);
    assert.deepEqual(delivery.receivedMessages(), []);
    delivery.handleTimer(end);
    assert.deepEqual(delivery.receivedMessages().map(({seq}) => seq), [3]);
  }
});

test("who greets is told how far it was read", () => {
  const delivery = delivering();
  delivery.receive(bye(1), 0);
  delivery.handleTimer(0.1);
  delivery.messagesToSend();
  delivery.receive(greeting, 1);
  assert.deepEqual(sent(delivery, "ack").map(({seq, of}) => [seq, of]), [[0, "m"], [1, "y"]]);
});

test("who numbers and never acknowledges is sent nothing twice", () => {
  const delivery = delivering();
  delivery.receive(bye(1), 0);
  delivery.send({type: "bye"}, 0);
  assert.equal(sent(delivery, "bye").length, 1);
  for (const now of [1, 2, 4, 60]) delivery.handleTimer(now);
  assert.deepEqual(sent(delivery, "bye"), []);
  assert.deepEqual(delivery.peers, ["you"]);
});
