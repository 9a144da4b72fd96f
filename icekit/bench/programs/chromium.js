// One peer connection. Events go to tell(), which the program gives to the page, with the time of the page's clock.
() => {
  let connection = null;
  let channel = null;
  let told = () => {};

  const event = (fields) => tell({...fields, at: performance.now()});

  const watch = (name, of) => {
    connection.addEventListener(`${name.toLowerCase()}change`, ({target}) => {
      event({type: "state", of, state: target[name]});
    });
  };

  const watchTransport = () => {
    const dtls = connection.sctp.transport;
    dtls.onstatechange = () => event({type: "state", of: "dtls", state: dtls.state});
    dtls.iceTransport.onselectedcandidatepairchange = () => event({type: "selected"});
  };

  const describe = async (trickle) => {
    const gathered = new Promise((resolve) => {
      connection.addEventListener("icegatheringstatechange", ({target}) => {
        if (target.iceGatheringState === "complete") resolve();
      });
    });
    await connection.setLocalDescription();
    watchTransport();
    if (!trickle) await gathered;
    const {type, sdp} = connection.localDescription;
    event({type, sdp});
    told();
  };

  globalThis.start = async ({role, configuration, trickle, label, greeting}) => {
    connection = new RTCPeerConnection(configuration);
    connection.trickle = trickle;
    watch("iceConnectionState", "ice");
    watch("connectionState", "connection");
    watch("iceGatheringState", "gathering");
    if (trickle) {
      const described = new Promise((resolve) => (told = resolve));
      connection.onicecandidate = async ({candidate}) => {
        const fields = candidate === null ? {candidate: ""} : candidate.toJSON();
        const at = performance.now();
        await described;
        tell({type: "candidate", ...fields, at});
      };
    }
    if (role === "answer") {
      connection.ondatachannel = (announced) => {
        channel = announced.channel;
        channel.onopen = () => event({type: "open"});
        channel.onmessage = ({data}) => {
          channel.send(data);
          event({type: "echo", text: data});
        };
      };
      return;
    }
    channel = connection.createDataChannel(label);
    channel.onopen = () => {
      event({type: "open"});
      channel.send(greeting);
    };
    channel.onmessage = ({data}) => event({type: "echo", text: data});
    await describe(trickle);
  };

  globalThis.describe = async (type, sdp) => {
    await connection.setRemoteDescription({type, sdp});
    if (type === "offer") describe(connection.trickle).catch(({name, message}) => event({type: "error", message: `${name}: ${message}`}));
  };

  globalThis.addCandidate = (candidate) => connection.addIceCandidate(candidate);

  globalThis.send = (text) => channel.send(text);

  globalThis.pair = async () => {
    const stats = await connection.getStats();
    const transport = [...stats.values()].find(({type}) => type === "transport");
    const pair = stats.get(transport?.selectedCandidatePairId);
    const end = (id) => {
      const {candidateType, address, port} = stats.get(id);
      return {type: candidateType, address: address || null, port: port ?? null};
    };
    return pair ? [end(pair.localCandidateId), end(pair.remoteCandidateId)] : null;
  };

  globalThis.close = () => connection.close();
}
