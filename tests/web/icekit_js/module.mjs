// The module under test, and what an older Node lacks of a browser.

import {webcrypto} from "node:crypto";

globalThis.crypto ??= webcrypto;
globalThis.CustomEvent ??= class extends Event {
  constructor(type, {detail = null} = {}) {
    super(type);
    this.detail = detail;
  }
};
globalThis.MediaStream ??= class {
  #tracks;
  constructor(tracks = []) {
    this.#tracks = [...tracks];
  }
  addTrack(track) {
    this.#tracks.push(track);
  }
  getTracks() {
    return [...this.#tracks];
  }
};

export const icekit = await import(process.env.ICEKIT_JS);

export const sdpOf = (ufrag, fingerprint = ufrag) =>
  `v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:0\r\n`
  + `a=ice-ufrag:${ufrag}\r\na=ice-pwd:${ufrag.repeat(6)}\r\na=fingerprint:sha-256 ${fingerprint}\r\n`;

/** Resolves when `condition` gives something; looks again whenever timers and promises had their turn. */
export async function until(condition, seconds = 5) {
  const end = performance.now() + 1000 * seconds;
  for (;;) {
    const found = condition();
    if (found) return found;
    if (performance.now() > end) throw new Error(`it never came: ${condition}`);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}
