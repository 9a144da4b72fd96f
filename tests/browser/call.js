// One side of calls by name. What it wants to tell the other side is fetched with next() and handed in with deliver().
() => {
  const calls = new Map();

  const seconds = (time) => new Promise((resolve) => setTimeout(resolve, 1000 * time));

  globalThis.start = async (name, iceServers, offers) => {
    const connection = new RTCPeerConnection({iceServers});
    const call = {connection, outbox: [], wake: null};
    call.send = (message) => {
      call.outbox.push(message);
      call.wake?.();
    };
    call.echoed = new Promise((resolve) => {
      connection.addEventListener("iceconnectionstatechange", () => {
        if (connection.iceConnectionState === "failed") resolve(false);
      });
      if (offers) {
        const channel = connection.createDataChannel("echo");
        channel.onopen = () => channel.send("is it there?");
        channel.onmessage = ({data}) => resolve(data === "is it there?");
      } else {
        connection.ondatachannel = ({channel}) => {
          channel.onmessage = ({data}) => channel.send(data);
        };
      }
    });
    call.described = new Promise((resolve) => (call.describe = resolve));
    connection.onicecandidate = async ({candidate}) => {
      await call.described;
      if (candidate !== null) call.send({candidate: candidate.toJSON()});
    };
    call.gathered = new Promise((resolve) => {
      connection.onicegatheringstatechange = () => {
        if (connection.iceGatheringState === "complete") resolve();
      };
    });
    calls.set(name, call);
    if (offers) await tell(call);
  };

  const tell = async (call) => {
    await call.connection.setLocalDescription();
    // Candidates go with the description. Trickled, they may come after checks: then Chromium takes the other side's relay
    // for a peer-reflexive candidate, with that kind's priority, and may stay on it although the direct path works.
    // Where UDP is blocked, gathering goes on for many seconds; what comes then is trickled.
    await Promise.race([call.gathered, seconds(1)]);
    call.send({description: call.connection.localDescription.toJSON()});
    call.describe();
  };

  globalThis.next = async (name) => {
    const call = calls.get(name);
    if (!call.outbox.length) await new Promise((resolve) => (call.wake = resolve));
    return call.outbox.shift();
  };

  globalThis.deliver = async (name, {description, candidate}) => {
    const call = calls.get(name);
    if (call.connection.signalingState === "closed") return;
    if (candidate) return call.connection.addIceCandidate(candidate);
    await call.connection.setRemoteDescription(description);
    if (description.type === "offer") await tell(call);
  };

  globalThis.echoed = (name) => calls.get(name).echoed;

  globalThis.selected = async (name) => {
    const stats = await calls.get(name).connection.getStats();
    const transport = [...stats.values()].find(({type}) => type === "transport");
    const pair = stats.get(transport?.selectedCandidatePairId);
    const local = stats.get(pair?.localCandidateId);
    const remote = stats.get(pair?.remoteCandidateId);
    if (!local || !remote) return null;
    return {local: local.candidateType, remote: remote.candidateType, relay_protocol: local.relayProtocol ?? null};
  };

  globalThis.close = (name) => {
    const call = calls.get(name);
    call.connection.close();
    call.send(null);
  };
}
