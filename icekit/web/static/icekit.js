/**
 * icekit.js: calls between two peers over any signaling, and why they connect or do not. No dependency, one file.
 *
 *   import {Call, connect} from "./icekit.js";
 *   const call = new Call(connect("wss://example.org/room"), {iceServers, openMedia: () => openMedia({camera: true})});
 *   call.subscribe(() => show(call.snapshot));      // {state, peer, localStream, remoteStream, …}
 *   await call.initiateCall();                      // offers of others are answered by themselves
 *
 * In this order: messages, own echoes, loss-free order, transports, the channel, candidates, the call, media, diagnosis.
 * What needs no browser is a function or class of its own, and runs in Node as well.
 */

// --- messages --------------------------------------------------------------------------------------------------------

/** The longest message that is sent or read, in characters. */
export const MAX_MESSAGE = 2 ** 21;

/** What is wrong with a message; `field` names the place. */
export class MessageError extends Error {
  constructor(field, problem) {
    super(`${field}: ${problem}`);
    this.name = "MessageError";
    this.field = field;
  }
}

const isText = (value) => typeof value === "string";
const isCount = (value) => Number.isSafeInteger(value) && value >= 0;
const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
const isTexts = (value) => Array.isArray(value) && value.every(isText);

function expect(condition, field, problem) {
  if (!condition) throw new MessageError(field, problem);
}

function optional(value, check) {
  return value === undefined || value === null || check(value);
}

const CHECKS = {
  offer: checkDescription,
  answer: checkDescription,
  candidate({candidate}) {
    if (candidate === null || candidate === "") return;
    expect(isObject(candidate), "candidate", "is no object");
    expect(isText(candidate.candidate), "candidate.candidate", "is no text");
    expect(optional(candidate.sdpMid, isText), "candidate.sdpMid", "is no text");
    expect(optional(candidate.sdpMLineIndex, isCount), "candidate.sdpMLineIndex", "is no number from 0 on");
    expect(optional(candidate.usernameFragment, isText), "candidate.usernameFragment", "is no text");
  },
  bye({reason}) {
    expect(optional(reason, isText), "reason", "is no text");
  },
  ack({seq}) {
    expect(isCount(seq), "seq", "is no number from 0 on");
  },
  presence(message) {
    for (const field of ["joined", "left", "peers"]) {
      expect(optional(message[field], isTexts), field, "is no list of texts");
    }
  },
  report({report}) {
    expect(isObject(report), "report", "is no object");
  },
  error({code, text}) {
    expect(isText(code), "code", "is no text");
    expect(isText(text), "text", "is no text");
  },
};

// A browser's own objects, without what says which of them it is.
function wrapped(value) {
  if (value === null) return {type: "candidate", candidate: null};
  if (isObject(value) && value.type === undefined && "candidate" in value) return {type: "candidate", candidate: value};
  if (isObject(value) && isText(value.sdp) && value[value.type] === undefined) {
    const {type, sdp, ...envelope} = value;
    return {type, [type]: {type, sdp}, ...envelope};
  }
  return value;
}

function checkDescription(message) {
  const description = message[message.type];
  expect(isObject(description), message.type, "is no object with type and sdp");
  expect(description.type === message.type, `${message.type}.type`, `is not "${message.type}"`);
  expect(isText(description.sdp), `${message.type}.sdp`, "is no text");
}

/** A message from its text; MessageError for what is none. A browser's bare descriptions and candidates are read, too. */
export function decode(text, limit = MAX_MESSAGE) {
  expect(isText(text), "message", "is no text");
  expect(text.length <= limit, "message", `is longer than ${limit} characters`);
  let message;
  try {
    message = wrapped(JSON.parse(text));
  } catch {
    throw new MessageError("message", "is no JSON");
  }
  expect(isObject(message), "message", "is no object");
  expect(isText(message.type) && Object.hasOwn(CHECKS, message.type), "type", "is none that is known");
  CHECKS[message.type](message);
  for (const field of ["from", "to", "id"]) expect(optional(message[field], isText), field, "is no text");
  expect(optional(message.seq, isCount), "seq", "is no number from 0 on");
  return message;
}

/** The text of a message, in one line. */
export function encode(message) {
  const text = JSON.stringify(message);
  expect(text.length <= MAX_MESSAGE, "message", `is longer than ${MAX_MESSAGE} characters`);
  return text;
}

/** All ICE user name fragments of a session description: those of its sections, or the one of the session. */
export function ufragsOf(sdp) {
  return new Set([...sdp.matchAll(/^a=ice-ufrag:(\S+)/gm)].map((match) => match[1]));
}

/** The user name fragment that a candidate belongs to, or null if it does not say. */
export function ufragOf(candidate) {
  return candidate.usernameFragment || / ufrag (\S+)/.exec(candidate.candidate ?? "")?.[1] || null;
}

function fingerprintsOf(sdp) {
  return new Set([...sdp.matchAll(/^a=fingerprint:(.+?)\s*$/gm)].map((match) => match[1].toUpperCase()));
}

// --- delivery --------------------------------------------------------------------------------------------------------

const ECHO_SECONDS = 60;
const MAX_REMEMBERED = 512;

/** A topic gives everybody's messages to everybody: this knows those that we sent ourselves. */
export class OwnMessages {
  #name;
  #echoes = false;
  #ufrags = new Set();
  #sent = new Map();

  constructor(name) {
    this.#name = name;
  }

  /** `message` goes out; `now` in seconds. */
  remember(message, now) {
    for (const ufrag of ufragsIn(message)) remember(this.#ufrags, ufrag);
    const content = contentOf(message);
    this.#sent.delete(content);
    this.#sent.set(content, now);
    for (const [old, at] of this.#sent) {
      if (this.#sent.size <= MAX_REMEMBERED && at > now - ECHO_SECONDS) break;
      this.#sent.delete(old);
    }
  }

  /** Whether a message came from here: by its sender, else by our ufrag, else because we sent the same just now. */
  recognises(message, now) {
    const ufrags = ufragsIn(message);
    let own;
    if (isText(message.from)) own = message.from === this.#name;
    else if (ufrags.length) own = ufrags.some((ufrag) => this.#ufrags.has(ufrag));
    else {
      // The other side's bye looks like ours: it is taken for ours only where messages do come back, and once.
      const content = contentOf(message);
      own = this.#sent.get(content) > now - ECHO_SECONDS && (this.#echoes || !saysNothing(message));
      if (own) this.#sent.delete(content);
    }
    this.#echoes ||= own;
    return own;
  }
}

function ufragsIn(message) {
  const sdp = message.offer?.sdp ?? message.answer?.sdp;
  if (sdp) return [...ufragsOf(sdp)];
  const ufrag = isObject(message.candidate) ? ufragOf(message.candidate) : null;
  return ufrag === null ? [] : [ufrag];
}

function saysNothing(message) {
  return message.type === "bye" || (message.type === "candidate" && !message.candidate?.candidate);
}

function contentOf(message) {
  const {from, to, seq, id, ...content} = message;
  return JSON.stringify(content, (_, value) => isObject(value) ? Object.fromEntries(Object.entries(value).sort()) : value);
}

function remember(set, value) {
  set.delete(value);
  set.add(value);
  if (set.size > MAX_REMEMBERED) set.delete(set.values().next().value);
}

/**
 * Bounds of `Delivery`: numbers of messages, and seconds. The same as in `icekit.signaling.delivery`, which explains them;
 * only `unacked` is greater, because nobody who sends here is made to wait.
 */
export const DELIVERY = {
  unacked: 1000, queue: 64, held: 256, peers: 64, perPeer: 4,
  retry: 1, retryLimit: 4, silence: 30, gap: 5, ackDelay: 0.05,
};

/**
 * Order, duplicates and resume, end to end, as `icekit.signaling` does it; no input or output. What we send carries `from`,
 * `id` (a stream: this run of ours, and whom it is for) and `seq`, which counts from 1 in it. An `ack` without `of` is a
 * greeting; from the reader of a stream it says how far it has read, from the writer that nothing up to there comes again.
 * A peer that sends no numbers gets what the transport gives. `presence`: a server tells who joins and leaves.
 */
export class Delivery {
  #own;
  #written;
  #streamsMade = 0;
  #peers = new Map();
  #ended = [];
  #out = [];
  #in = [];
  #connected = false;
  #closed = false;

  constructor(name, session, {presence = false} = {}) {
    this.name = name;
    this.session = session;
    this.presence = presence;
    this.#own = new OwnMessages(name);
    this.#written = new Map([[null, {id: session, to: null, last: 0, kept: new Map()}]]);
  }

  get peers() {
    return [...this.#peers].filter(([, peer]) => peer.present).map(([name]) => name);
  }

  send(message, now) {
    if (this.#closed) throw new Error("the channel is closed");
    const stream = this.#stream(message.to ?? null);
    stream.last += 1;
    const numbered = {...message, from: this.name, seq: stream.last, id: stream.id};
    stream.kept.set(stream.last, numbered);
    if (stream.kept.size > DELIVERY.unacked) stream.kept.delete(stream.kept.keys().next().value);
    for (const [name, peer] of this.#peers) {
      if (peer.present && [null, name].includes(stream.to)) peer.due ??= now + DELIVERY.retry;
    }
    this.#queue(numbered, now);
  }

  /** Say goodbye, as the last message; a server that tells presence does it for us. */
  farewell(now) {
    if (!this.#closed) this.#acknowledge(Infinity);
    if (!this.#closed && !this.presence) this.send({type: "presence", joined: [], left: [this.name], peers: []}, now);
    this.#closed = true;
  }

  receivedMessages() {
    return this.#in.splice(0);
  }

  connected(now) {
    this.#connected = true;
    const front = [];
    for (const [name, peer] of this.#peers) {
      // Our own absence is not held against the peers.
      Object.assign(peer, {heard: now, interval: DELIVERY.retry});
      peer.answered.clear();
      peer.due = peer.present && this.#lacks(name, peer) ? now + DELIVERY.retry : null;
      for (const stream of peer.streams.values()) {
        stream.ackDue = null;
        front.push(this.#ack(stream.taken, stream.id, name));
      }
    }
    this.#out.unshift(...front, {type: "ack", seq: 0, from: this.name, id: this.session});
  }

  disconnected() {
    this.#connected = false;
    this.#out = this.#out.filter((message) => message.type !== "ack");
  }

  messagesToSend() {
    return this.#connected ? this.#out.splice(0) : [];
  }

  receive(message, now) {
    if (this.#own.recognises(message, now)) return;
    if (isText(message.to) && message.to !== this.name) return;
    if (message.type === "ack") this.#receiveAck(message, now);
    else if (!isCount(message.seq) || !isText(message.from)) this.#deliver(message);
    else this.#receiveNumbered(message, now);
  }

  getTimer() {
    if (!this.#connected) return null;
    const times = [...this.#peers.values()].flatMap((peer) => [
      peer.due,
      ...[...peer.streams.values()].flatMap((stream) => [stream.ackDue, gapEnd(peer, stream)]),
    ]).filter((time) => time !== null);
    return times.length ? Math.min(...times) : null;
  }

  handleTimer(now) {
    if (!this.#connected) return;
    for (const [name, peer] of [...this.#peers]) {
      for (const stream of [...peer.streams.values()]) {
        const end = gapEnd(peer, stream);
        if (end !== null && now >= end) this.#skip(stream, Math.min(...stream.held.keys()) - 1, now);
      }
      if (peer.due !== null && now >= peer.due && this.#peers.get(name) === peer) this.#repeat(name, peer, now);
    }
    this.#acknowledge(now);
  }

  #acknowledge(now) {
    for (const [name, peer] of this.#peers) {
      for (const stream of peer.streams.values()) {
        if (stream.ackDue === null || now < stream.ackDue) continue;
        stream.ackDue = null;
        this.#out.push(this.#ack(stream.taken, stream.id, name));
      }
    }
  }

  #stream(to) {
    if (!this.#written.has(to)) {
      this.#streamsMade += 1;
      this.#written.set(to, {id: `${this.session}.${this.#streamsMade}`, to, last: 0, kept: new Map()});
      if (this.#written.size > DELIVERY.peers) this.#written.delete([...this.#written.keys()].find((name) => name !== null));
    }
    return this.#written.get(to);
  }

  #for(name) {
    return [this.#written.get(null), this.#written.get(name)].filter((stream) => stream !== undefined);
  }

  #lacks(name, peer) {
    // Who has never acknowledged anything is not waited for, or sent anything again.
    return peer.acknowledges && this.#for(name).some(({id, kept, last}) => kept.size > 0 && (peer.acked.get(id) ?? 0) < last);
  }

  #repeat(name, peer, now) {
    if (!this.#lacks(name, peer)) {
      peer.due = null;
      return;
    }
    if (now - peer.heard > DELIVERY.silence) {
      Object.assign(peer, {present: false, due: null});
      this.#settle();
      this.#announce([], [name], name);
      return;
    }
    if (this.#out.length > 0) {
      // What waits here has not even been sent once.
      peer.due = now + DELIVERY.ackDelay;
      return;
    }
    for (const stream of this.#for(name)) {
      const read = peer.acked.get(stream.id) ?? 0;
      if (read < settled(stream)) this.#out.push(this.#ack(settled(stream), stream.id, name));
      // A window, so that a peer that reads slowly is not buried; the next one when it has read this.
      const missing = [...stream.kept.values()].filter(({seq}) => seq > read).slice(0, DELIVERY.queue);
      for (const message of missing) this.#queue({...message, to: name}, now);
      if (missing.length > 0) peer.repeated.set(stream.id, {last: missing.at(-1).seq, goal: stream.last});
    }
    peer.due = now + peer.interval;
    peer.interval = Math.min(2 * peer.interval, DELIVERY.retryLimit);
  }

  // Forget what every peer that it is for has read.
  #settle() {
    for (const [to, stream] of this.#written) {
      const readers = [...this.#peers].filter(([name, {present, acknowledges}]) =>
        present && acknowledges && (to === null || to === name)).map(([, peer]) => peer);
      const read = readers.length ? Math.min(...readers.map(({acked}) => acked.get(stream.id) ?? 0)) : 0;
      for (const seq of stream.kept.keys()) if (seq <= read) stream.kept.delete(seq);
    }
  }

  // Who speaks; null for a run that has ended.
  #peer(name, session, now) {
    if (this.#ended.includes(`${session} ${name}`)) return null;
    let peer = this.#peers.get(name);
    const known = peer?.present ?? false;
    if (peer && peer.session !== session) {
      // The same name in a new run has read nothing yet, and counts from 1.
      this.#end(name, peer.session);
      peer = undefined;
    }
    if (!peer) {
      // `repeated`: the last number of a stream that was sent again, and the last that has to be. `answered`: the number
      // after which it was already sent again because the peer asked.
      peer = {
        session, heard: now, acked: new Map(), repeated: new Map(), answered: new Map(), streams: new Map(),
        due: null, interval: DELIVERY.retry, present: true, acknowledges: false,
      };
      this.#peers.set(name, peer);
      if (this.#peers.size > DELIVERY.peers) this.#forget([...this.#peers].sort((a, b) => a[1].heard - b[1].heard)[0][0]);
    }
    peer.heard = now;
    if (!known) {
      Object.assign(peer, {present: true, due: this.#lacks(name, peer) ? now + DELIVERY.retry : null});
      this.#announce([name], [], name);
    }
    return peer;
  }

  #end(name, session) {
    this.#ended = [...this.#ended, `${session} ${name}`].slice(-DELIVERY.peers);
  }

  #forget(name) {
    const {present} = this.#peers.get(name);
    this.#peers.delete(name);
    this.#written.delete(name);
    this.#settle();
    if (present) this.#announce([], [name], name);
  }

  #announce(joined, left, from) {
    if (!this.presence) this.#in.push({type: "presence", joined, left, peers: this.peers, from});
  }

  #receiveAck(ack, now) {
    if (!isText(ack.from)) return;
    const session = (ack.id ?? "").split(".")[0];
    const peer = this.#peer(ack.from, session, now);
    if (peer === null) return;
    if (!peer.acknowledges) {
      peer.acknowledges = true;
      peer.due = this.#lacks(ack.from, peer) ? now + DELIVERY.retry : null;
    }
    const everybody = this.#written.get(null);
    if (!isText(ack.of) && ack.seq === 0) {
      peer.answered.clear();
      // Who greets wants to know who is here, where our stream begins, and how far we have read.
      this.#out.push(this.#ack(settled(everybody), everybody.id, ack.from));
      for (const {taken, id} of peer.streams.values()) this.#out.push(this.#ack(taken, id, ack.from));
      return;
    }
    const of = ack.of ?? everybody.id;
    const stream = this.#for(ack.from).find(({id}) => id === of);
    if (stream) {
      this.#acknowledged(ack.seq, stream, ack.from, peer, now);
    } else if (of.split(".")[0] === session) {
      const read = this.#read(peer, of);
      this.#skip(read, ack.seq, now);
      // The writer learns at once what it has to repeat.
      read.ackDue = now;
    }
  }

  #acknowledged(seq, stream, name, peer, now) {
    const before = peer.acked.get(stream.id) ?? 0;
    peer.acked.set(stream.id, Math.max(before, Math.min(seq, stream.last)));
    this.#settle();
    if (seq < settled(stream)) this.#out.push(this.#ack(settled(stream), stream.id, name));
    const {last, goal} = peer.repeated.get(stream.id) ?? {last: 0, goal: 0};
    if (seq >= goal) peer.repeated.delete(stream.id);
    if (!this.#lacks(name, peer)) {
      peer.due = null;
    } else if (last <= seq && seq < goal) {
      Object.assign(peer, {interval: DELIVERY.retry, due: now});
    } else if (seq > before) {
      Object.assign(peer, {interval: DELIVERY.retry, due: now + DELIVERY.retry});
    } else if (peer.answered.get(stream.id) !== seq) {
      // The same number again asks for what follows it; each further one may only tell of a duplicate.
      peer.answered.set(stream.id, seq);
      this.#retrySoon(name, peer, now);
    }
  }

  #retrySoon(name, peer, now) {
    if (!this.#lacks(name, peer)) return;
    peer.interval = DELIVERY.retry;
    peer.due = Math.min(peer.due ?? Infinity, now + DELIVERY.ackDelay);
  }

  #read(peer, id) {
    if (!peer.streams.has(id)) {
      peer.streams.set(id, {id, taken: 0, held: new Map(), ackDue: null, gapSince: null});
      if (peer.streams.size > DELIVERY.perPeer) peer.streams.delete(peer.streams.keys().next().value);
    }
    return peer.streams.get(id);
  }

  #receiveNumbered(message, now) {
    const {from, seq} = message;
    const id = message.id ?? "";
    const peer = this.#peer(from, id.split(".")[0], now);
    if (peer === null) {
      // It waits for this before it ends.
      this.#out.push(this.#ack(seq, id, from));
      return;
    }
    const stream = this.#read(peer, id);
    // A duplicate, or too far ahead: that is asked for again when its turn comes.
    const unwanted = seq <= stream.taken || stream.held.has(seq) || seq > stream.taken + DELIVERY.held;
    const noGap = stream.gapSince === null;
    if (!unwanted) {
      stream.held.set(seq, message);
      this.#takeReady(stream, now);
    }
    // A new gap is asked for at once.
    const pause = !unwanted && noGap && stream.held.size > 0 ? 0 : DELIVERY.ackDelay;
    stream.ackDue = Math.min(stream.ackDue ?? Infinity, now + pause);
  }

  // Nothing up to this number will come any more.
  #skip(stream, seq, now) {
    for (const number of [...stream.held.keys()].filter((item) => item <= seq).sort((a, b) => a - b)) {
      this.#take(stream, number);
    }
    stream.taken = Math.max(stream.taken, seq);
    this.#takeReady(stream, now);
  }

  #takeReady(stream, now) {
    const before = stream.taken;
    while (stream.held.has(stream.taken + 1)) this.#take(stream, stream.taken + 1);
    if (stream.held.size === 0) stream.gapSince = null;
    else if (stream.gapSince === null || stream.taken > before) stream.gapSince = now;
  }

  #take(stream, number) {
    const message = stream.held.get(number);
    stream.held.delete(number);
    stream.taken = number;
    // What was repeated for us alone was said to everybody, unless the stream is ours.
    const {to, ...toAll} = message;
    this.#deliver(stream.id.includes(".") || !stream.id ? message : toAll);
  }

  #deliver(message) {
    const peer = this.#peers.get(message.from);
    if (message.type === "presence" && !this.presence && peer && message.left?.includes(message.from)) {
      // A farewell comes after all that the peer said; the peer waits for the answer.
      this.#end(message.from, peer.session);
      for (const stream of peer.streams.values()) this.#out.push(this.#ack(stream.taken, stream.id, message.from));
      this.#forget(message.from);
      return;
    }
    this.#in.push(message);
  }

  #ack(seq, of, to) {
    return {type: "ack", seq, ...(of ? {of} : {}), to, from: this.name, id: this.session};
  }

  #queue(message, now) {
    this.#own.remember(message, now);
    this.#out.push(message);
    // Without a connection only so much waits; what was kept is repeated later.
    if (this.#out.length > DELIVERY.unacked) this.#out.shift();
  }
}

// When what is missing of a peer's stream is given up: as long as one that acknowledges talks, it will send that again.
function gapEnd({acknowledges, heard}, {gapSince}) {
  if (gapSince === null) return null;
  return acknowledges ? Math.max(gapSince, heard) + DELIVERY.silence : gapSince + DELIVERY.gap;
}

function settled(stream) {
  return stream.kept.size ? stream.kept.keys().next().value - 1 : stream.last;
}

// --- transports ------------------------------------------------------------------------------------------------------

const MAX_HEADER_BYTES = 16_384;
const STOMP_ESCAPES = {"\\": "\\\\", "\r": "\\r", "\n": "\\n", ":": "\\c"};
const STOMP_PLAIN = {"\\\\": "\\", "\\r": "\r", "\\n": "\n", "\\c": ":"};

/** A STOMP 1.2 frame as text. CONNECT has no escapes, so that servers of version 1.0 can read it. */
export function encodeFrame(command, headers, body = "") {
  const escape = (text) => (command === "CONNECT" ? text : text.replace(/[\\\r\n:]/g, (sign) => STOMP_ESCAPES[sign]));
  const lines = Object.entries(headers).map(([name, value]) => `${escape(name)}:${escape(String(value))}\n`);
  return `${command}\n${lines.join("")}\n${body}\0`;
}

/** STOMP frames out of what a WebSocket delivers, whole, in pieces or several at once. */
export class FrameReader {
  #bytes = new Uint8Array(0);

  /** The frames that are complete with this piece: {command, headers, body}. MessageError for what is no STOMP. */
  push(data) {
    const piece = isText(data) ? new TextEncoder().encode(data) : new Uint8Array(data);
    expect(this.#bytes.length + piece.length <= 4 * MAX_MESSAGE, "frame", "is too long");
    const bytes = new Uint8Array(this.#bytes.length + piece.length);
    bytes.set(this.#bytes);
    bytes.set(piece, this.#bytes.length);
    this.#bytes = bytes;
    const frames = [];
    for (let frame = this.#next(); frame !== null; frame = this.#next()) frames.push(frame);
    return frames;
  }

  #next() {
    // Line feeds between frames are heart-beats.
    let start = 0;
    while (this.#bytes[start] === 10 || this.#bytes[start] === 13) start += 1;
    this.#bytes = this.#bytes.subarray(start);
    const headEnd = endOfHead(this.#bytes);
    if (headEnd === null) {
      expect(this.#bytes.length <= MAX_HEADER_BYTES, "frame", "has no end of its headers");
      return null;
    }
    const [command, ...lines] = text(this.#bytes.subarray(0, headEnd)).trimEnd().split(/\r?\n/);
    const headers = {};
    for (const line of lines) {
      const colon = line.indexOf(":");
      expect(colon > 0, "frame", "has a header without a colon");
      const [name, value] = [line.slice(0, colon), line.slice(colon + 1)].map((part) =>
        command === "CONNECTED" ? part : part.replace(/\\./g, (escape) => STOMP_PLAIN[escape] ?? escape));
      // STOMP 1.2: of repeated headers the first one counts.
      if (!Object.hasOwn(headers, name)) headers[name] = value;
    }
    let end = this.#bytes.indexOf(0, headEnd);
    if (headers["content-length"] !== undefined) {
      const length = Number(headers["content-length"]);
      expect(isCount(length) && length <= 4 * MAX_MESSAGE, "frame.content-length", "is no length that is read");
      end = headEnd + length;
      if (end >= this.#bytes.length) return null;
      expect(this.#bytes[end] === 0, "frame", "does not end where its content-length says");
    }
    if (end < 0) return null;
    const body = text(this.#bytes.subarray(headEnd, end));
    this.#bytes = this.#bytes.slice(end + 1);
    return {command, headers, body};
  }
}

function text(bytes) {
  return new TextDecoder().decode(bytes);
}

function endOfHead(bytes) {
  for (let index = bytes.indexOf(10); index >= 0; index = bytes.indexOf(10, index + 1)) {
    if (bytes[index + 1] === 10) return index + 2;
    if (bytes[index + 1] === 13 && bytes[index + 2] === 10) return index + 3;
  }
  return null;
}

// --- channels --------------------------------------------------------------------------------------------------------

const HEARTBEAT = 20;
const FIRST_PAUSE = 0.05;
const LONGEST_PAUSE = 5;
// What a server of rooms says that will be the same the next time.
const FINAL_FAULTS = new Set(["bad-room", "bad-name", "bad-session", "name-taken", "replaced", "room-full", "token"]);

function randomText(bytes) {
  return [...crypto.getRandomValues(new Uint8Array(bytes))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/**
 * A channel to the others in a room. `ws://host/ROOM?token=…` (rooms of icekit serve) or, over a broker,
 * `stomp+ws://user:password@host:15674/ws?topic=ROOM`; with wss as well. A TypeError says what is wrong with a URL.
 */
export function connect(url, {name = `browser-${randomText(4)}`, token = null} = {}) {
  let parts;
  try {
    parts = new URL(url);
  } catch {
    throw new TypeError("the signaling URL is no URL: write wss://host/ROOM");
  }
  const scheme = parts.protocol.slice(0, -1);
  if (scheme === "ws" || scheme === "wss") {
    const room = parts.pathname.slice(1);
    if (!room) throw new TypeError(`the signaling URL names no room: write ${scheme}://${parts.host}/ROOM`);
    parts.searchParams.set("name", name);
    parts.searchParams.set("session", randomText(16));
    if (token) parts.searchParams.set("token", token);
    return new Channel(roomTransport(parts.href), name, {presence: true, where: parts.host});
  }
  if (scheme === "stomp+ws" || scheme === "stomp+wss") {
    const topic = parts.searchParams.get("topic");
    if (!topic) throw new TypeError(`the signaling URL names no topic: write ${scheme}://${parts.host}/ws?topic=ROOM`);
    return new Channel(stompTransport(parts, topic), name, {where: parts.host});
  }
  throw new TypeError(`${scheme}: is no signaling that a browser speaks: use ws, wss, stomp+ws or stomp+wss`);
}

/** Two channels that are joined to each other in this page. */
export function pair(first = "A", second = "B") {
  const ends = [];
  const transport = (mine, other) => (events) => {
    ends[mine] = events;
    queueMicrotask(() => {
      if (ends[0] && ends[1]) for (const end of ends) end.opened();
    });
    return {send: (text) => queueMicrotask(() => ends[other]?.received(text)), close: () => { ends[mine] = null; }};
  };
  return [
    new Channel(transport(0, 1), first, {where: "this page"}),
    new Channel(transport(1, 0), second, {where: "this page"}),
  ];
}

function roomTransport(url) {
  return (events) => {
    const socket = new WebSocket(url);
    socket.onopen = () => events.opened();
    socket.onmessage = ({data}) => events.received(data);
    socket.onclose = () => events.closed();
    return {send: (text) => socket.send(text), close: () => socket.close(1000)};
  };
}

function stompTransport(parts, topic) {
  const url = `${parts.protocol.slice("stomp+".length)}//${parts.host}${parts.pathname}`;
  const destination = topic.startsWith("/") ? topic : `/topic/${topic}`;
  const login = parts.username && {login: decodeURIComponent(parts.username), passcode: decodeURIComponent(parts.password)};
  return (events) => {
    const socket = new WebSocket(url, ["v12.stomp"]);
    const reader = new FrameReader();
    let subscribed = false;
    let beat = null;
    let silence = null;
    socket.binaryType = "arraybuffer";
    const send = (...frame) => socket.send(encodeFrame(...frame));
    const listen = (milliseconds) => {
      clearTimeout(silence);
      if (milliseconds > 0) silence = setTimeout(() => socket.close(), 2.5 * milliseconds);
    };
    let expected = 0;
    const take = {
      CONNECTED({headers}) {
        const [offered, wanted] = (headers["heart-beat"] ?? "0,0").split(",").map(Number);
        if (wanted > 0) beat = setInterval(() => socket.send("\n"), Math.max(1000 * HEARTBEAT, wanted));
        if (offered > 0) expected = Math.max(1000 * HEARTBEAT, offered);
        send("SUBSCRIBE", {id: 0, destination, ack: "auto", receipt: "subscribed"});
      },
      RECEIPT() {
        subscribed = true;
        events.opened();
      },
      MESSAGE({body}) {
        events.received(body);
      },
      ERROR({headers}) {
        // Before anything worked it is what we said: user, password, topic.
        events.refused(`the broker says: ${headers.message ?? "error"}`, !subscribed);
        socket.close();
      },
    };
    socket.onopen = () => {
      const host = parts.searchParams.get("vhost") ?? "/";
      const beats = 1000 * HEARTBEAT;
      send("CONNECT", {"accept-version": "1.2", host, "heart-beat": `${beats},${beats}`, ...login});
    };
    socket.onmessage = ({data}) => {
      try {
        for (const frame of reader.push(data)) if (Object.hasOwn(take, frame.command)) take[frame.command](frame);
      } catch (error) {
        events.refused(`the broker does not speak STOMP 1.2: ${error.message}`, false);
        socket.close();
      }
      listen(expected);
    };
    socket.onclose = () => {
      clearInterval(beat);
      clearTimeout(silence);
      events.closed();
    };
    return {
      send: (text) => send("SEND", {destination, "content-type": "application/json"}, text),
      close: () => socket.close(1000),
    };
  };
}

/**
 * Messages to and from the others in a room. Events: `message` (`detail` is the message) and `change`, after which `state`
 * ("connecting", "open", "reconnecting", "closed"), `problem` (a sentence or null) and `peers` may be others.
 */
export class Channel extends EventTarget {
  state = "connecting";
  problem = null;
  peers = [];
  #transport;
  #where;
  #delivery;
  #link = null;
  #timer = null;
  #retry = null;
  #pause = FIRST_PAUSE;
  #said = null;
  #final = false;

  constructor(transport, name, {presence = false, where}) {
    super();
    this.#transport = transport;
    this.#where = where;
    this.#delivery = new Delivery(name, randomText(6), {presence});
    this.#open();
  }

  get name() {
    return this.#delivery.name;
  }

  /** Send a message; it waits while there is no connection. */
  send(message) {
    encode(message);
    this.#delivery.send(message, now());
    this.#pump();
  }

  /** Say farewell and end. */
  close() {
    if (this.state === "closed") return;
    this.#delivery.farewell(now());
    this.#pump();
    const link = this.#link;
    this.#end(null);
    // What was sent is on its way; a browser sends it before it closes.
    link?.close();
  }

  #open() {
    let current = true;
    const only = (act) => (...values) => {
      if (current && this.state !== "closed") act(...values);
    };
    this.#link = this.#transport({
      opened: only(() => {
        this.#pause = FIRST_PAUSE;
        this.#change("open", null);
        this.#delivery.connected(now());
        this.#pump();
      }),
      received: only((text) => this.#receive(text)),
      refused: only((problem, final) => {
        this.#said = problem;
        this.#final = final;
      }),
      closed: only(() => {
        current = false;
        this.#delivery.disconnected();
        this.#link = null;
        if (this.#final) this.#end(this.#said);
        else this.#openAgain();
      }),
    });
  }

  #openAgain() {
    const lost = this.#said ?? (this.state === "connecting"
      ? `No connection to the signaling server ${this.#where}. Is it running, and may this page connect to it?`
      : `The connection to the signaling server ${this.#where} was lost; trying again.`);
    this.#change(this.state === "connecting" ? "connecting" : "reconnecting", lost);
    // Everybody lost the same server at once: they must not all come back at once.
    this.#retry = setTimeout(() => this.#open(), 1000 * this.#pause * (0.5 + Math.random() / 2));
    this.#pause = Math.min(2 * this.#pause, LONGEST_PAUSE);
    this.#said = null;
  }

  #receive(text) {
    let message;
    try {
      message = decode(text);
    } catch {
      // A stranger's on a topic.
      return;
    }
    if (message.type === "error") {
      this.#said = `The signaling server says: ${message.text}.`;
      this.#final = FINAL_FAULTS.has(message.code);
      return;
    }
    this.#delivery.receive(message, now());
    this.#pump();
  }

  // After every change: hand over what arrived, send what is to be sent, set the one timer.
  #pump() {
    for (const message of this.#delivery.receivedMessages()) {
      if (message.type === "presence") {
        this.peers = message.peers ?? [];
        this.#changed();
      }
      this.dispatchEvent(new CustomEvent("message", {detail: message}));
    }
    if (this.#link !== null) for (const message of this.#delivery.messagesToSend()) this.#link.send(encode(message));
    clearTimeout(this.#timer);
    const due = this.#delivery.getTimer();
    if (due === null || this.state === "closed") return;
    this.#timer = setTimeout(() => {
      this.#delivery.handleTimer(now());
      this.#pump();
    }, Math.max(0, 1000 * (due - now())));
  }

  #change(state, problem) {
    this.state = state;
    this.problem = problem;
    this.#changed();
  }

  #changed() {
    this.dispatchEvent(new CustomEvent("change"));
  }

  #end(problem) {
    clearTimeout(this.#timer);
    clearTimeout(this.#retry);
    this.#delivery.disconnected();
    this.#link = null;
    this.#change("closed", problem);
  }
}

function now() {
  return performance.now() / 1000;
}

// --- candidates ------------------------------------------------------------------------------------------------------

const MAX_EARLY = 256;

/** Candidates of the other side that wait for the description that they belong to. */
export class EarlyCandidates {
  #early = [];
  #current = null;
  #past = new Set();

  /** A description was set: its candidates that came before it, in their order. */
  described(sdp) {
    for (const ufrag of this.#current ?? []) remember(this.#past, ufrag);
    this.#current = ufragsOf(sdp);
    for (const ufrag of this.#current) this.#past.delete(ufrag);
    const ready = this.#early.filter((candidate) => this.#fits(candidate));
    this.#early = this.#early.filter((candidate) => !this.#fits(candidate) && !this.#past.has(ufragOf(candidate)));
    return ready;
  }

  /** A description is not going to be set, and its candidates are not wanted. */
  refused(sdp) {
    for (const ufrag of ufragsOf(sdp)) if (!this.#current?.has(ufrag)) remember(this.#past, ufrag);
    this.#early = this.#early.filter((candidate) => !this.#past.has(ufragOf(candidate)));
  }

  /** What to do with a candidate that came: "add" it, it is "kept" for later, or it is "stale". */
  received(candidate) {
    if (this.#fits(candidate)) return "add";
    if (this.#past.has(ufragOf(candidate))) return "stale";
    if (this.#early.length >= MAX_EARLY) return "stale";
    this.#early.push(candidate);
    return "kept";
  }

  #fits(candidate) {
    if (this.#current === null) return false;
    const ufrag = ufragOf(candidate);
    return ufrag === null || this.#current.has(ufrag);
  }
}

/** The parts of a candidate line that people ask for, or null for a line that is none. */
export function readCandidate(line) {
  const match = /^(?:a=)?candidate:(\S+) (\d+) (\S+) (\d+) (\S+) (\d+) typ (\S+)(.*)$/i.exec(line ?? "");
  if (match === null) return null;
  const [, foundation, component, transport, priority, address, port, type, rest] = match;
  const extra = (name) => new RegExp(` ${name} (\\S+)`).exec(rest)?.[1] ?? null;
  return {
    foundation,
    component: Number(component),
    transport: transport.toLowerCase(),
    priority: Number(priority),
    address,
    port: Number(port),
    type,
    relatedAddress: extra("raddr"),
    relatedPort: extra("rport") === null ? null : Number(extra("rport")),
    tcpType: extra("tcptype"),
  };
}

// --- the call --------------------------------------------------------------------------------------------------------

/** The thirteen steps of a call from A to B, and who does them. */
export const STEPS = [
  ["A", "opens camera and microphone (or screen) and adds the tracks"],
  ["A", "creates an offer"],
  ["A", "sets the offer as local description"],
  ["A", "sends the offer to the signaling server"],
  ["B", "receives the offer and sets it as remote description"],
  ["B", "opens camera and microphone (or screen) and adds the tracks"],
  ["B", "creates an answer"],
  ["B", "sets the answer as local description"],
  ["B", "sends the answer to the signaling server"],
  ["A", "receives the answer and sets it as remote description"],
  ["both", "gather their addresses as candidates"],
  ["both", "send each candidate as it appears"],
  ["both", "add each candidate that they receive"],
].map(([who, what], index) => ({number: index + 1, who, what}));

/**
 * How long each wait may last, in seconds. `path` leaves a browser its own patience (RFC 8863 §4: 39.5 s). A path that is
 * lost for `silence` is restarted by the caller, by the other side only after `courtesy` more, and once more after `again`.
 */
export const DEADLINES = {answer: 30, path: 45, restoring: 40, silence: 2, courtesy: 3, again: 10};

// An offer without an answer is sent again after this time, then at intervals that double up to the second number.
const REPEAT_FIRST = 2;
const REPEAT_LAST = 10;
const MAX_TOLD = 128;
const MAX_TOLD_TEXT = 300;
const MAX_SERVERS_TOLD = 8;
const IS_CODE = /^(CALL|TURN|ICE)-?[A-Z0-9-]{1,40}$/;

/** One peer connection: from the first offer to its end. Everything it does is done one after the other. */
class Session {
  answered = false;
  wasConnected = false;
  collisions = 0;
  stale = 0;
  remoteCandidates = [];
  gathered = false;
  remoteGathered = false;
  #hooks;
  #work = Promise.resolve();
  #early = new EarlyCandidates();
  #waits = new Map();
  #offered = null;
  #answer = null;
  #answeredOffer = null;
  #told = [];
  #remoteStream = null;
  #opened = false;
  #closed = false;

  constructor(role, peer, connection, hooks) {
    this.role = role;
    this.peer = peer;
    this.connection = connection;
    this.#hooks = hooks;
    connection.onnegotiationneeded = () => this.#then(() => this.#offer());
    connection.onicecandidate = ({candidate}) => this.#then(() => this.#tell(candidate));
    connection.onicecandidateerror = (event) => hooks.candidateError(event);
    connection.onconnectionstatechange = () => this.#connectionChanged(connection.connectionState);
    connection.ontrack = ({track}) => this.#addRemote(track);
    connection.ondatachannel = ({channel}) => this.#useChannel(channel);
  }

  /** Open the media and offer; an answer is waited for only when there is somebody to give it. */
  call(somebody) {
    if (somebody) this.#wait("answer", "CALL-ANSWER");
    return this.#then(async () => {
      await this.#openMedia(1);
      this.#useChannel(this.connection.createDataChannel("icekit"));
    });
  }

  /** The offer once more, word for word, with its candidates: for a peer that was not there, or did not get it. */
  repeat(peer = this.peer) {
    if (peer !== null && !this.answered) this.#wait("answer", "CALL-ANSWER");
    this.#then(() => {
      if (this.connection.signalingState === "have-local-offer") this.#send(this.#offered, peer, true);
    });
  }

  describe(description) {
    return this.#then(() => (description.type === "offer" ? this.#takeOffer(description) : this.#takeAnswer(description)));
  }

  addCandidate(init) {
    const candidate = typeof init === "string" || init === null ? {candidate: ""} : init;
    this.remoteGathered ||= !candidate.candidate;
    if (candidate.candidate) this.remoteCandidates = [...this.remoteCandidates, candidate.candidate].slice(-MAX_TOLD);
    this.#then(async () => {
      switch (this.#early.received(candidate)) {
        case "add": return this.#add(candidate);
        case "stale": this.stale += 1;
      }
    });
  }

  restart() {
    this.#then(() => this.connection.restartIce());
  }

  /** Whether an offer is of another peer connection than the one that this session speaks to. */
  isForeign(sdp) {
    const known = this.connection.remoteDescription;
    if (!known || this.connection.signalingState !== "stable") return false;
    const fingerprints = fingerprintsOf(known.sdp);
    return ![...fingerprintsOf(sdp)].some((fingerprint) => fingerprints.has(fingerprint));
  }

  async replaceTracks(stream) {
    const senders = this.connection.getSenders();
    for (const track of stream.getTracks()) {
      const sender = senders.find((item) => item.track?.kind === track.kind);
      if (sender) await sender.replaceTrack(track);
      else this.connection.addTrack(track, stream);
    }
  }

  sendText(text) {
    if (this.channel?.readyState !== "open") throw new Error("the data channel is not open");
    this.channel.send(text);
  }

  close() {
    this.#closed = true;
    for (const timer of this.#waits.values()) clearTimeout(timer);
    this.#waits.clear();
    this.connection.close();
  }

  // One after the other: no description is set while another is being made, so glare shows in the signaling state alone.
  #then(work) {
    this.#work = this.#work.then(async () => {
      if (this.#closed) return;
      try {
        await work();
      } catch (error) {
        if (!this.#closed) this.#hooks.failed(error);
      }
    });
    return this.#work;
  }

  async #openMedia(step) {
    if (this.#opened) return;
    this.#opened = true;
    const stream = await this.#hooks.openMedia(step === 1);
    if (this.#closed) return;
    for (const track of stream?.getTracks() ?? []) this.connection.addTrack(track, stream);
    this.#hooks.step(step);
  }

  async #offer() {
    // When it is stable again, the event comes once more.
    if (this.connection.signalingState !== "stable") return;
    const offer = await this.connection.createOffer();
    this.#hooks.step(2);
    this.#told = [];
    await this.connection.setLocalDescription(offer);
    this.#hooks.step(3);
    const {type, sdp} = this.connection.localDescription;
    this.#offered = {type, sdp};
    this.#send(this.#offered);
    this.#hooks.step(4);
    this.#repeatLater(REPEAT_FIRST);
  }

  #repeatLater(seconds) {
    this.#settle("repeat");
    this.#waits.set("repeat", setTimeout(() => {
      this.repeat();
      this.#repeatLater(Math.min(2 * seconds, REPEAT_LAST));
    }, 1000 * seconds));
  }

  async #takeOffer(offer) {
    if (offer.sdp === this.#answeredOffer) {
      this.#send(this.#answer, this.peer, true);
      return;
    }
    if (this.connection.signalingState !== "stable") {
      this.collisions += 1;
      if (this.#oursWins(offer.sdp)) {
        // The other side gives way, and may never have got ours.
        this.#early.refused(offer.sdp);
        this.#send(this.#offered, this.peer, true);
        return;
      }
      // Setting it takes our own offer back (rollback).
      this.#settle("repeat");
      if (!this.answered) this.#hooks.becameAnswerer((this.role = "B"));
    }
    await this.connection.setRemoteDescription(offer);
    this.#hooks.step(5);
    await this.#addEarly(offer.sdp);
    await this.#openMedia(6);
    const answer = await this.connection.createAnswer();
    this.#hooks.step(7);
    this.#told = [];
    await this.connection.setLocalDescription(answer);
    this.#hooks.step(8);
    const {type, sdp} = this.connection.localDescription;
    this.#answer = {type, sdp};
    this.#answeredOffer = offer.sdp;
    this.#send(this.#answer);
    this.#hooks.step(9);
    this.#described();
  }

  // Both sides come to the same end: the greater name, or without names the greater user name fragment.
  #oursWins(sdp) {
    const {own} = this.#hooks;
    if (own && this.peer && own !== this.peer) return own > this.peer;
    return [...ufragsOf(this.#offered.sdp)].sort().join() > [...ufragsOf(sdp)].sort().join();
  }

  async #takeAnswer(answer) {
    // One that nobody waits for: repeated, or of an offer that was taken back.
    if (this.connection.signalingState !== "have-local-offer") return;
    await this.connection.setRemoteDescription(answer);
    this.#settle("repeat");
    this.#hooks.step(10);
    await this.#addEarly(answer.sdp);
    this.#described();
  }

  #described() {
    this.answered = true;
    this.#settle("answer");
    if (!this.wasConnected) this.#wait("path", "CALL-PATH");
    this.#hooks.described();
  }

  async #addEarly(sdp) {
    for (const candidate of this.#early.described(sdp)) await this.#add(candidate);
  }

  async #add(candidate) {
    try {
      await this.connection.addIceCandidate(candidate);
    } catch {
      // Of a section that is gone, or no candidate at all: the others may do.
      this.stale += 1;
      return;
    }
    if (candidate.candidate) this.#hooks.step(13);
  }

  #send(description, peer = this.peer, again = false) {
    const {type} = description;
    this.#hooks.send({type, [type]: description}, peer);
    if (again) for (const candidate of this.#told) this.#hooks.send({type: "candidate", candidate}, peer);
  }

  #tell(candidate) {
    // RFC 8838 §13: end-of-candidates belongs to a generation, so it is told with its user name fragment.
    if (candidate === null) {
      this.gathered = true;
      const sdp = this.connection.localDescription?.sdp ?? "";
      const sdpMid = /^a=mid:(\S+)/m.exec(sdp)?.[1] ?? "0";
      const usernameFragment = [...ufragsOf(sdp)][0];
      this.#sendCandidate({candidate: "", sdpMid, sdpMLineIndex: 0, usernameFragment});
    } else if (candidate.candidate) {
      this.#hooks.step(11);
      this.#hooks.gathered(candidate);
      this.#sendCandidate(candidate.toJSON());
      this.#hooks.step(12);
    }
  }

  #sendCandidate(candidate) {
    this.#told.push(candidate);
    this.#hooks.send({type: "candidate", candidate}, this.peer);
  }

  #addRemote(track) {
    this.#remoteStream ??= new MediaStream();
    this.#remoteStream.addTrack(track);
    this.#hooks.remoteStream(this.#remoteStream);
  }

  #useChannel(channel) {
    this.channel = channel;
    channel.onmessage = ({data}) => this.#hooks.text(data);
  }

  #connectionChanged(state) {
    if (this.#closed) return;
    if (state === "connected") {
      this.wasConnected = true;
      for (const name of ["path", "restoring", "restart"]) this.#settle(name);
      this.#hooks.connected();
    } else if (state === "failed" && !this.wasConnected) {
      this.#hooks.failed(null, this.connection.iceConnectionState === "failed" ? "CALL-PATH" : "CALL-DTLS");
    } else if ((state === "failed" || state === "disconnected") && this.wasConnected) {
      this.#wait("restoring", "CALL-LOST");
      const {silence, courtesy} = this.#hooks.deadlines;
      if (!this.#waits.has("restart")) this.#restartAfter(silence + (this.role === "A" ? 0 : courtesy));
      this.#hooks.interrupted();
    }
  }

  #restartAfter(seconds) {
    this.#waits.set("restart", setTimeout(() => {
      this.restart();
      this.#restartAfter(this.#hooks.deadlines.again);
    }, 1000 * seconds));
  }

  #wait(name, code) {
    if (this.#waits.has(name)) return;
    this.#waits.set(name, setTimeout(() => this.#hooks.failed(null, code), 1000 * this.#hooks.deadlines[name]));
  }

  #settle(name) {
    clearTimeout(this.#waits.get(name));
    this.#waits.delete(name);
  }
}

const NOTHING = Object.freeze({
  state: "idle", peer: null, role: null, localStream: null, remoteStream: null, problem: null, ended: null,
  began: null, steps: {}, candidates: [], errors: [], stats: null, text: null, codes: [],
});

/**
 * One call at a time with one peer of a channel. Offers are answered by themselves. `snapshot` is what to show, and a new
 * object whenever something has changed; `subscribe(listener)` tells so and gives the function that ends it. Its `state`:
 * "idle", "calling", "answering", "connecting", "connected", "interrupted", "failed" or "closed". `steps` are the milliseconds
 * after `began` (performance.now()) at which each of the thirteen steps was first done here.
 *
 * `openMedia()` gives a MediaStream or null; `iceServers` and `relayOnly` are for RTCPeerConnection.
 */
export class Call {
  snapshot = NOTHING;
  #channel;
  #options;
  #session = null;
  #told = null;
  #listeners = new Set();
  #ticker = null;
  #onMessage = ({detail}) => this.#receive(detail);

  constructor(channel, {
    iceServers = [], relayOnly = false, openMedia = async () => null, deadlines = DEADLINES,
    createConnection = (configuration) => new RTCPeerConnection(configuration),
  } = {}) {
    this.#channel = channel;
    this.#options = {iceServers, relayOnly, openMedia, createConnection, deadlines: {...DEADLINES, ...deadlines}};
    channel.addEventListener("message", this.#onMessage);
  }

  // Bound, so that it can be handed on as it is.
  subscribe = (listener) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  /** Call a peer by its name, or whoever answers. Returns when the offer is under way; see `snapshot` for the rest. */
  async initiateCall(peer = null) {
    if (this.#session !== null) throw new Error("there is a call already; hang up first");
    if (this.snapshot.state === "closed") throw new Error("this Call is closed");
    await this.#begin("A", peer, "calling").call(peer !== null || this.#channel.peers.length > 0);
  }

  hangUp(reason = null) {
    if (this.#session === null) return;
    this.#send({type: "bye", ...(reason ? {reason} : {})}, this.#session.peer);
    this.#end({state: "idle", ended: "You hung up."});
  }

  /** Look for a new path; the media go on meanwhile. */
  restart() {
    this.#session?.restart();
  }

  /** Send other tracks (another camera, the screen) in place of those of the same kind. */
  async replaceStream(stream) {
    await this.#session?.replaceTracks(stream);
    this.#change({localStream: stream});
  }

  /** Mute or unmute: the tracks of a kind ("audio", "video") that we send. */
  enable(kind, enabled) {
    for (const track of this.snapshot.localStream?.getTracks() ?? []) if (track.kind === kind) track.enabled = enabled;
  }

  sendText(text) {
    if (this.#session === null) throw new Error("there is no call");
    this.#session.sendText(text);
  }

  /** Hang up and let go of the channel, which stays open. */
  close() {
    this.hangUp();
    this.#channel.removeEventListener("message", this.#onMessage);
    this.#change({state: "closed"});
    this.#listeners.clear();
  }

  #change(change) {
    this.snapshot = Object.freeze({...this.snapshot, ...change});
    for (const listener of this.#listeners) listener();
  }

  #begin(role, peer, state) {
    const {iceServers, relayOnly, createConnection, deadlines} = this.#options;
    const iceTransportPolicy = relayOnly ? "relay" : "all";
    const connection = createConnection({iceServers, iceTransportPolicy});
    const session = new Session(role, peer, connection, {
      own: this.#channel.name,
      deadlines,
      send: (message, to) => this.#send(message, to),
      step: (number) => this.#step(number),
      becameAnswerer: () => {
        const {1: opened} = this.snapshot.steps;
        this.#change({role: "B", state: "answering", steps: opened === undefined ? {} : {6: opened}});
      },
      openMedia: (required) => this.#openMedia(required),
      gathered: ({candidate}) => {
        const found = {...readCandidate(candidate), candidate, milliseconds: this.#elapsed()};
        this.#change({candidates: [...this.snapshot.candidates, found].slice(-MAX_TOLD)});
      },
      candidateError: ({url, errorCode, errorText}) => {
        const error = {url, errorCode, errorText, milliseconds: this.#elapsed()};
        this.#change({errors: [...this.snapshot.errors, error].slice(-MAX_TOLD)});
      },
      remoteStream: (remoteStream) => this.#change({remoteStream}),
      described: () => {
        if (!session.wasConnected) this.#change({state: "connecting"});
      },
      connected: () => this.#change({state: "connected", problem: null}),
      interrupted: () => this.#change({state: "interrupted"}),
      text: (value) => this.#change({text: {value}}),
      failed: (error, code) => this.#failed(session, error, code),
    });
    this.#session = session;
    this.#told = null;
    this.#change({...NOTHING, state, peer, role, began: performance.now()});
    this.#ticker = setInterval(() => this.#readStats(session), 1000);
    return session;
  }

  #elapsed() {
    return performance.now() - this.snapshot.began;
  }

  #step(number) {
    if (this.snapshot.steps[number] === undefined) {
      this.#change({steps: {...this.snapshot.steps, [number]: this.#elapsed()}});
    }
  }

  async #openMedia(required) {
    try {
      const stream = await this.#options.openMedia();
      this.#change({localStream: stream});
      return stream;
    } catch (error) {
      if (required) throw error;
      // The caller is to be heard and seen all the same.
      this.#change({problem: {code: null, text: error.message}});
      return null;
    }
  }

  #send(message, to) {
    this.#channel.send(to ? {...message, to} : message);
  }

  #receive(message) {
    const {type, from = null} = message;
    const session = this.#session;
    if (type === "presence") this.#takePresence(message);
    else if (type === "offer") this.#takeOffer(message, from);
    else if (type === "report") this.#takeReport(message, from);
    else if (session === null || (session.peer !== null && from !== null && session.peer !== from)) return;
    else if (type === "answer") {
      this.#meet(session, from);
      session.describe(message.answer);
    } else if (type === "candidate") session.addCandidate(message.candidate);
    else if (type === "bye") {
      const {reason = null} = message;
      const isCode = IS_CODE.test(reason ?? "");
      const codes = isCode ? withTold([{code: reason, evidence: ["so says the other side"]}], this.#told) : [];
      const why = reason && !isCode ? `: ${reason}` : "";
      this.#end({state: "idle", ended: `The other side hung up${why}.`, codes});
    }
  }

  #takeOffer({offer}, from) {
    let session = this.#session;
    const other = session?.peer && from && session.peer !== from;
    if (other && ["connecting", "connected", "answering"].includes(this.snapshot.state)) {
      this.#send({type: "bye", reason: "busy"}, from);
      return;
    }
    // Another peer, or the same one begins a call anew: what we had is over.
    if (session && (other || session.isForeign(offer.sdp))) {
      this.#end({state: "idle"});
      session = null;
    }
    session ??= this.#begin("B", from, "answering");
    this.#meet(session, from);
    session.describe(offer);
  }

  // What the other side saw of the failure: it comes before its bye, or after ours.
  #takeReport({report}, from) {
    const {state, peer, codes} = this.snapshot;
    const mine = this.#session !== null || state === "failed";
    if (!mine || this.#told !== null || (peer !== null && from !== null && peer !== from)) return;
    this.#told = readSideReport(report);
    if (state === "failed") this.#change({codes: withTold(codes, this.#told)});
  }

  #meet(session, from) {
    if (session.peer !== null || from === null) return;
    session.peer = from;
    this.#change({peer: from});
  }

  #takePresence({joined = [], left = []}) {
    const session = this.#session;
    if (session === null) return;
    for (const name of joined) if ((session.peer ?? name) === name) session.repeat(name);
    // Media flow without the signaling server: a peer that only lost it is still there.
    if (left.includes(session.peer) && !session.wasConnected) {
      this.#end({state: "idle", ended: "The other side has left."});
    }
  }

  async #readStats(session) {
    const report = await session.connection.getStats();
    if (this.#session !== session) return;
    this.#change({stats: readStats(report, this.snapshot.stats)});
    // Who has no UDP address cannot be found by checks that come from elsewhere, so that there is nothing to wait for
    // (RFC 8863 §4): a browser would wait all the same.
    const {candidates} = this.snapshot;
    const reachable = candidates.some(({transport}) => transport === "udp");
    const tried = [...report.values()].some(({type, state}) => type === "candidate-pair" && state !== "failed");
    if (session.gathered && session.remoteGathered && !session.wasConnected && !reachable && !tried) {
      this.#failed(session, null, "CALL-PATH");
    }
  }

  #failed(session, error, code = null) {
    if (this.#session !== session) return;
    const text = error === null ? null : error.message;
    const {candidates, errors} = this.snapshot;
    const {iceServers} = this.#options;
    const codes = code === null ? [] : withTold(explainFailure({
      code, iceServers, local: candidates, errors, remote: session.remoteCandidates.map(readCandidate), stale: session.stale,
    }), this.#told);
    this.#send({type: "bye", reason: code ?? "error"}, session.peer);
    this.#end({state: "failed", problem: {code, text}, codes});
  }

  #end(change) {
    clearInterval(this.#ticker);
    this.#session.close();
    this.#session = null;
    this.#change({localStream: null, remoteStream: null, ...change});
  }
}

// What `icekit call` tells of a call that fails ("icekit/call-report/1"): {code, evidence}, null for other reports. It comes
// from a stranger: what is not well-formed counts as not told.
function readSideReport(report) {
  if (report.schema !== "icekit/call-report/1") return null;
  const told = (value) => (isText(value) ? value.slice(0, MAX_TOLD_TEXT).replace(/\p{C}/gu, "\ufffd") : "");
  const listed = (counts) => ["host", "srflx", "prflx", "relay"].filter((kind) => isCount(counts?.[kind]) && counts[kind] > 0)
    .map((kind) => `${counts[kind]} ${kind}`).join(", ") || "none";
  const {local, remote, checks_sent: sent, answered, checks_received: received} = report;
  const words = [told(report.reason) || told(report.phase) || "no reason given",
    `candidates ${listed(local)}, of its peer ${listed(remote)}`];
  if ([sent, answered, received].every(isCount)) words.push(`${sent} checks sent, ${answered} answered, ${received} received`);
  const servers = (Array.isArray(report.servers) ? report.servers : []).map(told).filter(Boolean).slice(0, MAX_SERVERS_TOLD);
  const code = isText(report.code) && IS_CODE.test(report.code) ? report.code : null;
  return {code, evidence: [`the other side: ${words.join("; ")}`, ...servers.map((text) => `a server failed there: ${text}`)]};
}

// The codes of a failure with what the other side has told. Whoever was only hung up on does not know the cause.
function withTold(codes, told) {
  if (told === null) return codes;
  const {code, evidence} = told;
  const place = codes.findIndex((item) => item.code === code);
  if (place < 0 && code !== null && code !== "CALL-BYE") return [...codes, told];
  return codes.map((item, index) => (index === Math.max(place, 0) ? {...item, evidence: [...item.evidence, ...evidence]} : item));
}

/** What a failed call and its candidates tell: [{code, evidence}], the cause first. The catalogue has the texts. */
export function explainFailure({code, iceServers, local, remote, errors, stale}) {
  const found = [{code: code === "CALL-CANDIDATES" && stale > 0 ? "CALL-UFRAG" : code, evidence: []}];
  const known = remote.filter((candidate) => candidate !== null);
  if (code === "CALL-PATH" && known.length === 0) found[0].code = stale > 0 ? "CALL-UFRAG" : "CALL-CANDIDATES";
  if (found[0].code !== "CALL-PATH") return found;
  if (!local.some(({transport}) => transport === "udp")) found[0].evidence = ["this browser has no address for UDP"];
  const servers = entriesOf(iceServers);
  if (!servers.some(({turn}) => turn)) found.push({code: "ICE001", evidence: servers.map(({url}) => url)});
  for (const error of explainErrors(errors, servers, local)) found.push(error);
  const reachable = known.filter(({type, tcpType, address}) =>
    tcpType === null && (type !== "host" || isPublic(address)));
  if (known.length > 0 && reachable.length === 0) {
    const kinds = [...new Set(known.map(({type, transport}) => `${type} over ${transport}`))];
    found.push({code: "ICE009", evidence: [`the other side sent ${known.length} candidates: ${kinds.join(", ")}`]});
  }
  return found;
}

/** The numbers of a call out of RTCPeerConnection.getStats(); `before` is what this gave a moment ago. Times in seconds. */
export function readStats(report, before = null) {
  const items = [...report.values()];
  const transport = items.find(({type}) => type === "transport");
  const pairStats = report.get(transport?.selectedCandidatePairId)
    ?? items.find(({type, nominated, state}) => type === "candidate-pair" && nominated && state === "succeeded");
  const side = (id) => {
    const stats = report.get(id);
    if (!stats) return null;
    const {candidateType, address = null, port, protocol, relayProtocol = null, url = null} = stats;
    return {type: candidateType, address, port, protocol, relayProtocol, url};
  };
  const streams = {};
  for (const stats of items.filter(({type}) => type === "inbound-rtp")) {
    const {kind, packetsLost = 0, packetsReceived = 0, jitter = null, framesDecoded = null, frameWidth = null,
      frameHeight = null, bytesReceived = 0} = stats;
    streams[kind] = {packetsLost, packetsReceived, jitter, framesDecoded, frameWidth, frameHeight, bytesReceived,
      sound: soundOf(stats, before?.inbound[kind]?.sound)};
  }
  const source = items.find(({type, kind}) => type === "media-source" && kind === "audio");
  const at = (transport ?? pairStats)?.timestamp ?? null;
  const bytes = {sent: transport?.bytesSent ?? 0, received: transport?.bytesReceived ?? 0};
  const seconds = before?.at && at > before.at ? (at - before.at) / 1000 : null;
  const rate = (name) => (seconds === null ? null : (8 * (bytes[name] - before.bytes[name])) / seconds);
  return {
    at,
    bytes,
    rtt: pairStats?.currentRoundTripTime ?? null,
    local: side(pairStats?.localCandidateId),
    remote: side(pairStats?.remoteCandidateId),
    inbound: streams,
    localSound: soundOf(source ?? {}, before?.localSound),
    bitsPerSecond: {sent: rate("sent"), received: rate("received")},
  };
}

// The level since the last time, from 0 to 1 (root mean square), so that no sound between two looks is missed.
function soundOf({totalAudioEnergy: energy = null, totalSamplesDuration: seconds = null}, before = null) {
  const since = before?.seconds != null && seconds > before.seconds ? seconds - before.seconds : null;
  return {energy, seconds, level: since === null ? null : Math.sqrt((energy - before.energy) / since)};
}

// --- media -----------------------------------------------------------------------------------------------------------

const MEDIA_PROBLEMS = {
  NotAllowedError: "The browser does not let this page use the camera, microphone or screen. "
    + "Allow it beside the address of the page, and try again.",
  NotFoundError: "There is no such camera or microphone. Connect one, or call without it.",
  NotReadableError: "The camera or microphone is in use by another program, or its driver fails. Close the other program.",
  OverconstrainedError: "No camera or microphone can do what was asked for.",
};

const NEEDS_HTTPS = "Browsers give camera and microphone only to pages of https:// or localhost. "
  + "Start icekit serve with --certificate and --key, and open the page with https://.";

/** A MediaStream of what is wanted, or null when nothing is. The message of an error says what to do. */
export async function openMedia({camera = false, microphone = false, screen = false} = {}, devices = globalThis.navigator?.mediaDevices) {
  if (!camera && !microphone && !screen) return null;
  if (!devices) throw new Error(NEEDS_HTTPS);
  try {
    const shown = screen ? await devices.getDisplayMedia({video: true}) : null;
    if (!microphone && (screen || !camera)) return shown;
    const heard = await devices.getUserMedia({audio: microphone, video: camera && !screen});
    for (const track of shown?.getTracks() ?? []) heard.addTrack(track);
    return heard;
  } catch (error) {
    throw new Error(MEDIA_PROBLEMS[error.name] ?? `Camera and microphone cannot be opened: ${error.message}`, {cause: error});
  }
}

// --- diagnosis -------------------------------------------------------------------------------------------------------

// A browser gives a silent server some ten seconds.
const PATIENCE = 12;
const ECHO_PATIENCE = 8;
// After what was wanted has come, this long for more of it (other interfaces, IPv6).
const MORE_SECONDS = 0.4;
const NOT_REACHED = 701;
const SLOW_SECONDS = 1;
const SLOW_RATIO = 3;
const MAX_SERVERS = 4;
const SHORT_CREDENTIALS = 3600;
const RANKS = ["error", "warning", "info", "ok"];

/** The texts and conclusions that `icekit serve` makes out of its own tables; see `icekit.web.conclusions`. */
export async function loadCatalogue(url = new URL("catalogue.json", import.meta.url)) {
  const answer = await fetch(url);
  if (!answer.ok) throw new Error(`${url} cannot be loaded: ${answer.status} ${answer.statusText}`);
  return answer.json();
}

/** Every URL of an `iceServers` list by itself; `scheme` is null for one that is no STUN or TURN URL. */
export function entriesOf(iceServers) {
  return iceServers.flatMap(({urls, username = null, credential = null}) => [urls].flat().map((url) => {
    const match = /^(stuns?|turns?):(\[[0-9a-f:.]+\]|[\w.-]+)(?::(\d{1,5}))?(?:\?transport=(udp|tcp))?$/i.exec(url);
    const scheme = match?.[1].toLowerCase() ?? null;
    const secure = scheme === "turns" || scheme === "stuns";
    const transport = secure ? "tls" : match?.[4]?.toLowerCase() ?? "udp";
    const port = Number(match?.[3] ?? (secure ? 5349 : 3478));
    return {url, username, credential, scheme, turn: scheme?.startsWith("turn") ?? false, host: match?.[2] ?? null, port, transport};
  }));
}

/** Whether an address is one that everybody can reach: not private, shared, local, or a name of mDNS. */
export function isPublic(address) {
  if (/\.local$|^(0|10|127)\.|^169\.254\.|^192\.168\.|^172\.(1[6-9]|2\d|3[01])\./.test(address)) return false;
  const shared = /^100\.(\d+)\./.exec(address);
  if (shared && shared[1] >= 64 && shared[1] < 128) return false;
  return !/^(::1?$|f[cd]|fe[89ab])/i.test(address);
}

/** The code and cause of one `icecandidateerror` at a TURN server (`entry`); null where only siblings can tell. */
export function codeOfError({errorCode, errorText = ""}, entry, unixTime = Date.now() / 1000) {
  if (errorCode === 401) return {code: "TURN-401", cause: causeOf401(entry.username, unixTime)};
  if (errorCode >= 300 && errorCode < 700) return {code: `TURN-${errorCode}`, cause: null};
  if (/lookup/i.test(errorText)) return {code: "TURN-RESOLVE", cause: null};
  if (/incompatible/i.test(errorText)) return null;
  return {code: entry.transport === "udp" ? "TURN-NO-ANSWER" : "TURN-CONNECT", cause: null};
}

function causeOf401(username, unixTime) {
  if (!username) return "empty";
  const stamp = /^(\d{10,13})(:|$)|:(\d{10,13})$/.exec(username);
  const seconds = Number(stamp?.[1] ?? stamp?.[3] ?? NaN);
  if (seconds > 1e11) return "milliseconds";
  return seconds < unixTime ? "expired" : "wrong";
}

/** What `icecandidateerror` events of a call mean: [{code, cause, url, evidence}], one for each server that gave nothing. */
export function explainErrors(errors, entries, candidates) {
  const found = [];
  for (const entry of entries.filter(({turn}) => turn)) {
    const own = errors.filter(({url}) => sameUrl(url, entry.url));
    if (own.length === 0 || candidates.some(({type, url}) => type === "relay" && (!url || sameUrl(url, entry.url)))) continue;
    const told = own.find(({errorCode}) => errorCode !== NOT_REACHED) ?? own[0];
    const known = codeOfError(told, entry);
    if (known) found.push({...known, url: entry.url, evidence: [describeError(told)]});
  }
  return found;
}

// Browsers write the port and the transport into a URL that had none.
function sameUrl(one, other) {
  const [a, b] = [one, other].map((url) => entriesOf([{urls: url ?? ""}])[0]);
  return a.scheme !== null && ["scheme", "host", "port", "transport"].every((part) => a[part] === b[part]);
}

function describeError({errorCode, errorText}) {
  return `the browser says: ${errorCode}${errorText ? ` ${errorText}` : ""}`;
}

/** A finding with its texts: {code, severity, message, fix, evidence}. */
export function findingOf({code, cause = null, url = null, evidence = []}, catalogue) {
  const row = catalogue.codes[code];
  const stage = catalogue.stages[`${code}/${cause}`] ?? catalogue.stages[code];
  if (url === null && row) return {code, severity: row.severity, message: row.meaning, fix: row.fix, evidence};
  const number = code.slice("TURN-".length);
  if (url === null) return {code, severity: "error", message: `It failed with ${code}, which this page does not know.`, fix: "", evidence};
  const text = stage ?? row ?? (/^\d{3}$/.test(number) ? catalogue.stages["TURN-NUMBER"] : catalogue.stages.UNKNOWN);
  const [{host, port, transport}] = entriesOf([{urls: url ?? ""}]);
  const names = {host, port, transport: transport.toUpperCase(), number};
  const fill = (template) => template.replace(/\{(\w+)\}/g, (_, name) => names[name] ?? "");
  const message = stage || !row ? `${url}: ${fill(text.message)}.` : `${url}: ${text.meaning}`;
  return {code, severity: row?.severity ?? "error", message, fix: fill(text.fix), evidence};
}

/**
 * What this network does, as this browser sees it. `servers` are the results of `askServer`, `together` the candidates of
 * one connection that asked all STUN servers. The values are the keys of the conclusions in the catalogue.
 */
export function observe(servers, together, {online = true} = {}) {
  const asked = servers.filter(({entry}) => entry.scheme !== null);
  const stun = asked.filter(({entry}) => !entry.turn && entry.transport === "udp");
  const answered = stun.filter(({mapped, unmapped}) => mapped.length > 0 || unmapped);
  const relays = asked.filter(({entry}) => entry.turn);
  const works = (transport) => relays.some(({entry, ok}) => ok && entry.transport === transport);
  const spoke = ({errors}) => errors.some(({errorCode}) => errorCode >= 300 && errorCode < 700);
  const silent = asked.filter(({entry, candidates, unmapped, errors}) => entry.transport === "udp"
    && candidates.length === 0 && !unmapped && !errors.some(({errorText}) => /lookup/i.test(errorText ?? "")));
  const unresolved = asked.filter(({errors}) => errors.some(({errorText}) => /lookup/i.test(errorText ?? "")));
  const overUdp = asked.some((server) => server.entry.transport === "udp" && server.entry.turn
    && (server.candidates.length > 0 || spoke(server)));
  const overTcp = asked.some((server) => server.entry.transport !== "udp" && (server.candidates.length > 0 || spoke(server)));
  let udp = "unknown";
  if (answered.length > 0 || overUdp) udp = "yes";
  else if (silent.length > 0 && (overTcp || new Set(silent.map(({entry}) => entry.host)).size > 1)) udp = "no";
  let relay = "unset";
  if (relays.length > 0) relay = ["udp", "tcp", "tls"].find(works) ?? "broken";
  let reached = "many";
  if (!online) reached = "offline";
  else if (asked.length === 0) reached = "none";
  else if (unresolved.length === asked.length) reached = "unresolved";
  else if (new Set(asked.map(({entry}) => entry.host)).size === 1) reached = "one";
  return {udp, nat: natOf(answered, together), relay, asked: reached};
}

function natOf(answered, together) {
  if (answered.length === 0) return "unknown";
  if (answered.some(({mapped}) => mapped.length === 0)) return "none";
  // One socket, several servers: a browser tells a mapped address once, so only a second one shows that they differ.
  const bases = new Map();
  for (const {relatedAddress, relatedPort, address, port} of together.filter(({type}) => type === "srflx")) {
    const base = relatedPort ? `${relatedAddress} ${relatedPort}` : "hidden";
    bases.set(base, (bases.get(base) ?? new Set()).add(`${address} ${port}`));
  }
  const most = Math.max(...answered.map(({mapped}) => mapped.length));
  const differ = [...bases].some(([base, mapped]) => mapped.size > (base === "hidden" ? most : 1));
  if (differ) return "dependent";
  const operators = new Set(answered.map(({entry}) => operatorOf(entry.host)));
  return operators.size > 1 && bases.size > 0 ? "endpoint-independent" : "unknown";
}

// Names of one operator may be the same machine.
function operatorOf(host) {
  return /^[\d.]+$|^\[/.test(host) ? host : host.split(".").slice(-2).join(".");
}

/** The verdict and the outlook of what was observed, as `icekit probe` gives them. */
export function conclude({udp, nat, relay, asked}, {conclusions}) {
  const [verdict, outlook] = conclusions.by[`${udp} ${nat} ${relay} ${asked}`];
  return {verdict: conclusions.verdicts[verdict], outlook: conclusions.outlooks[outlook]};
}

/** The findings about servers and network, the worst first. */
export function findingsOf(servers, observed, catalogue, unixTime = Date.now() / 1000) {
  const found = [];
  const entries = servers.map(({entry}) => entry);
  const working = servers.filter(({ok}) => ok);
  const turns = servers.filter(({entry}) => entry.turn);
  const add = (code, evidence = [], more = {}) => found.push(findingOf({code, evidence, ...more}, catalogue));
  for (const {url} of entries.filter(({scheme}) => scheme === null)) add("ICE018", [url]);
  const stunWithUser = entries.filter(({scheme, turn, username}) => scheme !== null && !turn && username);
  if (turns.length === 0 && stunWithUser.length > 0) add("ICE021", stunWithUser.map(({url}) => url));
  else if (turns.length === 0) add("ICE001", entries.map(({url}) => url));
  if (entries.length > MAX_SERVERS) add("ICE015", [`${entries.length} URLs`]);
  for (const server of turns.filter(({ok}) => !ok)) {
    const finding = findingOf({...failureOf(server, unixTime), url: server.entry.url}, catalogue);
    const sibling = turns.find(({ok}) => ok);
    if (sibling && finding.severity === "error") finding.severity = "warning";
    found.push({...finding, evidence: sibling ? [...finding.evidence, `works: ${sibling.entry.url}`] : finding.evidence});
  }
  for (const username of new Set(turns.map(({entry}) => entry.username))) {
    const left = Number(/^(\d{10})(:|$)|:(\d{10})$/.exec(username ?? "")?.[0].replace(/:/g, "") ?? NaN) - unixTime;
    if (left > 0 && left < SHORT_CREDENTIALS) add("ICE016", [`${username}: ${Math.round(left / 60)} minutes are left`]);
  }
  const failed = servers.filter(({entry, ok, errors}) => !ok && !entry.turn && entry.scheme !== null && errors.length > 0);
  if (working.length > 0) for (const {entry, errors} of failed) add("ICE008", [entry.url, describeError(errors[0])]);
  for (const turn of [false, true]) {
    const times = servers.filter(({entry, seconds}) => entry.turn === turn && seconds !== null);
    const fastest = Math.min(...times.map(({seconds}) => seconds));
    for (const {entry, seconds} of times) {
      if (seconds >= SLOW_SECONDS && seconds > SLOW_RATIO * fastest) add("ICE012", [`${entry.url}: ${seconds.toFixed(1)} s`]);
    }
  }
  const hidden = servers.flatMap(({entry, mapped}) => mapped.map((candidate) => ({entry, ...candidate})))
    .find(({entry, address}) => !isPublic(address) && (isPublic(entry.host) || !/^[\d.]+$|^\[/.test(entry.host)));
  if (hidden) add("ICE007", [`${hidden.entry.url} saw ${hidden.address}`]);
  if (observed.nat === "none") add("ICE022");
  if (observed.nat === "unknown" && observed.udp === "yes") {
    add("ICE003", ["a browser tells the mapping only when two STUN servers of different operators answer"]);
  }
  return found.sort((a, b) => RANKS.indexOf(a.severity) - RANKS.indexOf(b.severity));
}

function failureOf({entry, candidates, errors, stunOnly}, unixTime) {
  if (candidates.length > 0) {
    const {address} = candidates[0];
    const evidence = [`relayed address ${address}`, `nothing came back through it within ${ECHO_PATIENCE} s`];
    return {code: isPublic(address) ? "ICE006" : "TURN-RELAY-PRIVATE", evidence};
  }
  if (stunOnly) return {code: "TURN-NOT-TURN", evidence: ["it answers to STUN on this port"]};
  const told = errors.find(({errorCode}) => errorCode !== NOT_REACHED) ?? errors[0];
  if (told === undefined) return {code: entry.transport === "udp" ? "TURN-NO-ANSWER" : "TURN-CONNECT", evidence: []};
  const known = codeOfError(told, entry, unixTime) ?? {code: "TURN-CONNECT"};
  const hint = known.code === "TURN-CONNECT" && entry.transport === "tls"
    ? ["a browser does not say whether the connection or the certificate failed; icekit turn does"] : [];
  return {...known, evidence: [describeError(told), ...hint]};
}

/**
 * Ask every server by itself and all together, and send data through every relay. The report has `servers`, `candidates`,
 * `observed`, `verdict`, `outlook` and `findings`; `progress(text)` is told what happens. A server that is silent for
 * `patience` seconds is given up; with servers that answer it takes a second.
 */
export async function diagnose(iceServers, {
  catalogue, progress = () => {}, createConnection = (configuration) => new RTCPeerConnection(configuration),
  online = globalThis.navigator?.onLine ?? true, patience = PATIENCE,
} = {}) {
  const entries = entriesOf(iceServers);
  const tools = {createConnection, patience};
  progress(`asking ${entries.length} server URLs`);
  const servers = await Promise.all(entries.map((entry) => askServer(entry, tools)));
  const stun = servers.filter(({entry, ok}) => ok && !entry.turn).map(({entry}) => ({urls: entry.url}));
  progress("comparing what the servers saw");
  const together = stun.length > 1 ? (await gather(stun, tools)).candidates : [];
  progress("sending data through the relays");
  await Promise.all(servers.filter(({entry, ok}) => entry.turn && ok).slice(0, MAX_SERVERS).map(async (server) => {
    server.rtt = await echo(server.entry, stun, tools);
    server.ok = server.rtt !== null;
  }));
  await Promise.all(servers.filter(({entry, candidates}) => entry.turn && candidates.length === 0 && entry.transport === "udp")
    .map(async (server) => {
      const {host, port} = server.entry;
      const [asStun] = entriesOf([{urls: `stun:${host}:${port}`}]);
      server.stunOnly = server.errors.every(({errorCode}) => errorCode === NOT_REACHED) && (await askServer(asStun, tools)).ok;
    }));
  const observed = observe(servers, together, {online});
  const candidates = servers.flatMap(({entry, candidates: own}) => own.map((candidate) => ({...candidate, server: entry.url})));
  return {
    // A report may be sent to somebody: it holds no password.
    servers: servers.map((server) => ({...server, entry: {...server.entry, credential: null}})),
    candidates, observed, ...conclude(observed, catalogue),
    findings: findingsOf(servers, observed, catalogue),
  };
}

/** One server by itself: its candidates and errors, whether it works, and after how many seconds that was known. */
export async function askServer(entry, tools) {
  const result = {entry, ok: false, seconds: null, candidates: [], mapped: [], unmapped: false, errors: [], rtt: null, stunOnly: false};
  if (entry.scheme === null) return result;
  const type = entry.turn ? "relay" : "srflx";
  const {url, username, credential} = entry;
  const server = entry.turn ? {urls: url, username: username ?? "", credential: credential ?? ""} : {urls: url};
  try {
    const {candidates, errors, seconds, complete} = await gather([server], {...tools, policy: entry.turn ? "relay" : "all", enough: type});
    result.candidates = candidates.filter((candidate) => candidate.type === type);
    result.errors = errors;
    result.mapped = entry.turn ? [] : result.candidates;
    // A mapped address that is this host's own makes no candidate: it is silence without an error, and at once.
    const host = candidates.some((candidate) => candidate.type === "host" && candidate.transport === "udp");
    result.unmapped = !entry.turn && complete && host && result.candidates.length === 0 && errors.length === 0 && seconds < 4;
    result.ok = result.candidates.length > 0 || result.unmapped;
    result.seconds = result.candidates[0] ? result.candidates[0].milliseconds / 1000 : seconds;
  } catch (error) {
    result.errors = [{url, errorCode: 0, errorText: error.message}];
  }
  return result;
}

async function gather(iceServers, {createConnection, patience, policy = "all", enough = null}) {
  const connection = createConnection({iceServers, iceTransportPolicy: policy});
  const began = performance.now();
  const elapsed = () => Math.round(performance.now() - began);
  const candidates = [];
  const errors = [];
  let timer = null;
  try {
    const complete = await new Promise((resolve, reject) => {
      timer = setTimeout(() => resolve(false), 1000 * patience);
      connection.onicecandidate = ({candidate}) => {
        if (candidate === null) resolve(true);
        const found = readCandidate(candidate?.candidate);
        if (found === null) return;
        candidates.push({...found, candidate: candidate.candidate, milliseconds: elapsed()});
        if (found.type === enough) setTimeout(() => resolve(false), 1000 * MORE_SECONDS);
      };
      connection.onicecandidateerror = ({url, errorCode, errorText}) => errors.push({url, errorCode, errorText, milliseconds: elapsed()});
      connection.createDataChannel("icekit");
      connection.setLocalDescription().catch(reject);
    });
    return {candidates, errors, seconds: elapsed() / 1000, complete};
  } finally {
    clearTimeout(timer);
    connection.close();
  }
}

// The round trip in seconds through the relay to another connection of this page, null if nothing came back.
async function echo({url, username, credential}, stun, {createConnection}) {
  const turn = {urls: url, username: username ?? "", credential: credential ?? ""};
  const relayed = createConnection({iceServers: [turn], iceTransportPolicy: "relay"});
  const other = createConnection({iceServers: [...stun, turn]});
  let timer = null;
  try {
    const [forRelayed, forOther] = [new EarlyCandidates(), new EarlyCandidates()];
    const carry = (from, to, early) => {
      from.onicecandidate = ({candidate}) => {
        if (candidate && early.received(candidate) === "add") to.addIceCandidate(candidate).catch(() => {});
      };
    };
    carry(relayed, other, forOther);
    carry(other, relayed, forRelayed);
    const describe = async (connection, early, {type, sdp}) => {
      await connection.setRemoteDescription({type, sdp});
      for (const candidate of early.described(sdp)) connection.addIceCandidate(candidate).catch(() => {});
    };
    const channel = relayed.createDataChannel("icekit");
    const answered = new Promise((resolve) => {
      timer = setTimeout(() => resolve(null), 1000 * ECHO_PATIENCE);
      let sent = 0;
      channel.onopen = () => {
        sent = performance.now();
        channel.send("echo");
      };
      channel.onmessage = () => resolve((performance.now() - sent) / 1000);
      other.ondatachannel = ({channel: back}) => {
        back.onmessage = ({data}) => back.send(data);
      };
    });
    await relayed.setLocalDescription();
    await describe(other, forOther, relayed.localDescription);
    await other.setLocalDescription();
    await describe(relayed, forRelayed, other.localDescription);
    return await answered;
  } finally {
    clearTimeout(timer);
    relayed.close();
    other.close();
  }
}
