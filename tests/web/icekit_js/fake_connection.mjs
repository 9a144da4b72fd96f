// An RTCPeerConnection without a network: states, rollback and errors as the W3C has them, candidates out of the hand.

import {sdpOf} from "./module.mjs";

let made = 0;

export class FakeConnection {
  signalingState = "stable";
  connectionState = "new";
  iceConnectionState = "new";
  localDescription = null;
  remoteDescription = null;
  added = [];
  tracks = [];
  closed = false;
  candidate = "candidate:1 1 udp 2130706431 192.0.2.1 5000 typ host";
  #needed = false;
  #stable = [null, null];
  #generation = 0;
  // The fragment of each is greater than those before it.
  #name = `F${String((made += 1)).padStart(4, "0")}`;

  constructor(configuration) {
    this.configuration = configuration;
  }

  get ufrag() {
    return `${this.#name}g${this.#generation}`;
  }

  async createOffer() {
    this.#live();
    return {type: "offer", sdp: sdpOf(this.ufrag, this.#name)};
  }

  async createAnswer() {
    if (this.signalingState !== "have-remote-offer") throw new Error("no offer to answer");
    return {type: "answer", sdp: sdpOf(this.ufrag, this.#name)};
  }

  async setLocalDescription(description) {
    await this.#turn();
    const expected = description.type === "offer" ? ["stable", "have-local-offer"] : ["have-remote-offer"];
    if (!expected.includes(this.signalingState)) throw new Error(`${description.type} in ${this.signalingState}`);
    this.localDescription = description;
    this.#moved(description.type === "offer" ? "have-local-offer" : "stable");
    queueMicrotask(() => this.#gather());
  }

  async setRemoteDescription({type, sdp}) {
    await this.#turn();
    if (type === "offer" && this.signalingState === "have-local-offer") {
      // Rollback.
      this.#needed = true;
      this.localDescription = this.#stable[0];
      this.signalingState = "stable";
    }
    if (this.signalingState !== (type === "offer" ? "stable" : "have-local-offer")) throw new Error(`${type} in ${this.signalingState}`);
    this.remoteDescription = {type, sdp};
    this.#moved(type === "offer" ? "have-remote-offer" : "stable");
  }

  async addIceCandidate(candidate) {
    if (this.remoteDescription === null) throw new Error("no remote description");
    this.added.push(candidate);
    if (candidate.candidate && this.signalingState === "stable" && this.connectionState === "new") this.become("connected");
  }

  addTrack(track) {
    this.tracks.push(track);
    this.#need();
  }

  getSenders() {
    return this.tracks.map((track) => ({track, replaceTrack: async (next) => this.tracks.splice(this.tracks.indexOf(track), 1, next)}));
  }

  createDataChannel() {
    this.#need();
    this.channel = {readyState: "open", sent: [], send: (text) => this.channel.sent.push(text)};
    return this.channel;
  }

  restartIce() {
    this.#generation += 1;
    this.#need();
  }

  async getStats() {
    return new Map();
  }

  become(state) {
    this.connectionState = state;
    this.iceConnectionState = state;
    this.onconnectionstatechange();
  }

  close() {
    this.closed = true;
    this.signalingState = "closed";
  }

  #live() {
    if (this.closed) throw new Error("closed");
  }

  async #turn() {
    this.#live();
    await new Promise((resolve) => setTimeout(resolve, 0));
    this.#live();
  }

  #need() {
    this.#needed = true;
    queueMicrotask(() => this.#ask());
  }

  #ask() {
    if (!this.#needed || this.signalingState !== "stable") return;
    this.#needed = false;
    this.onnegotiationneeded();
  }

  #moved(state) {
    this.signalingState = state;
    if (state !== "stable") return;
    this.#stable = [this.localDescription, this.remoteDescription];
    // What was asked for before is in the descriptions.
    this.#needed = false;
  }

  #gather() {
    if (this.closed) return;
    const candidate = `${this.candidate} ufrag ${this.ufrag}`;
    this.onicecandidate({candidate: {candidate, toJSON: () => ({candidate, sdpMid: "0", sdpMLineIndex: 0, usernameFragment: this.ufrag})}});
    this.onicecandidate({candidate: null});
  }
}
