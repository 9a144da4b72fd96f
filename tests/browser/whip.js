// A small client of WHIP and WHEP, as any page could have it: RFC 9725 and nothing of icekit.
const FRAGMENT = "application/trickle-ice-sdpfrag";

async function begin(url, publish, token) {
  const connection = new RTCPeerConnection({ bundlePolicy: "max-bundle" });
  const found = [];
  if (publish) {
    const stream = await navigator.mediaDevices.getUserMedia({ audio: true, video: true });
    for (const track of stream.getTracks()) {
      connection.addTransceiver(track, { direction: "sendonly" });
    }
  } else {
    connection.addTransceiver("audio", { direction: "recvonly" });
    connection.addTransceiver("video", { direction: "recvonly" });
  }
  let session = null;
  let etag = null;
  const authorization = token ? { Authorization: `Bearer ${token}` } : {};
  const patched = [];

  function fragment(lines) {
    const sdp = connection.localDescription.sdp;
    const pick = (pattern) => sdp.match(pattern)[0];
    return [
      pick(/a=ice-ufrag:.*/), pick(/a=ice-pwd:.*/), pick(/m=.*/), pick(/a=mid:.*/), ...lines, "",
    ].join("\r\n");
  }

  async function trickle() {
    while (session !== null && found.length > 0) {
      const body = fragment(found.splice(0));
      const headers = { ...authorization, "Content-Type": FRAGMENT, "If-Match": etag };
      const response = await fetch(session, { method: "PATCH", headers, body });
      patched.push(response.status);
    }
  }

  connection.onicecandidate = (event) => {
    const line = event.candidate === null ? "" : event.candidate.candidate;
    found.push(line === "" ? "a=end-of-candidates" : `a=${line}`);
    trickle();
  };
  await connection.setLocalDescription();
  // Only what trickles may connect it.
  const body = connection.localDescription.sdp.replaceAll(/a=candidate:.*\r\n/g, "");
  const response = await fetch(url, {
    method: "POST",
    headers: { ...authorization, "Content-Type": "application/sdp" },
    body,
  });
  if (response.status !== 201) {
    connection.close();
    return response.status;
  }
  session = new URL(response.headers.get("Location"), url).href;
  etag = response.headers.get("ETag");
  await connection.setRemoteDescription({ type: "answer", sdp: await response.text() });
  await trickle();

  window.whip = {
    connection,
    patched,
    async sees() {
      for (const item of (await connection.getStats()).values()) {
        if (item.type === "inbound-rtp" && item.kind === "video") {
          return item.framesDecoded;
        }
      }
      return 0;
    },
    async hears() {
      for (const item of (await connection.getStats()).values()) {
        if (item.type === "inbound-rtp" && item.kind === "audio") {
          return item.packetsReceived;
        }
      }
      return 0;
    },
    directions: () => connection.getTransceivers().map((item) => item.currentDirection),
    async restart() {
      const offer = await connection.createOffer({ iceRestart: true });
      found.length = 0;
      await connection.setLocalDescription(offer);
      const before = connection.currentRemoteDescription.sdp;
      const answer = await fetch(session, {
        method: "PATCH",
        headers: { ...authorization, "Content-Type": FRAGMENT, "If-Match": "*" },
        body: fragment([]),
      });
      etag = answer.headers.get("ETag");
      const text = await answer.text();
      const candidates = text.match(/a=candidate:.*\r\n/g).join("");
      const sdp = before
        .replaceAll(/a=(candidate:.*|end-of-candidates)\r\n/g, "")
        .replaceAll(/a=ice-ufrag:.*/g, text.match(/a=ice-ufrag:.*/)[0])
        .replaceAll(/a=ice-pwd:.*/g, text.match(/a=ice-pwd:.*/)[0])
        .replace(/(m=(?:.*\r\n(?!m=))*.*\r\n)/, `$1${candidates}`);
      await connection.setRemoteDescription({ type: "answer", sdp });
      return answer.status;
    },
    async end() {
      const answer = await fetch(session, { method: "DELETE", headers: authorization });
      connection.close();
      return answer.status;
    },
  };
  return 201;
}
