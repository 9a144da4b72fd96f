// One peer connection. Events go to tell(), which the program gives to the page, with the time of the page's clock.
() => {
  let connection = null;
  let channel = null;
  let told = () => {};
  let context = null;

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

  // A tone, which goes on from call to call as a microphone that was opened before.
  const addSound = () => {
    if (context === null) {
      context = new AudioContext();
      context.tone = context.createMediaStreamDestination();
      const oscillator = context.createOscillator();
      oscillator.connect(context.tone);
      oscillator.start();
    }
    for (const track of context.tone.stream.getTracks()) connection.addTrack(track, context.tone.stream);
  };

  const noSound = () => {
    context?.close();
    context = null;
  };

  // What a receiver hands out is out of SRTP and not yet in the jitter buffer.
  const watchSound = ({receiver}) => {
    const {readable, writable} = receiver.createEncodedStreams();
    let silent = true;
    const transform = (frame, controller) => {
      if (silent) event({type: "media"});
      silent = false;
      controller.enqueue(frame);
    };
    // Its end is that of the connection.
    readable.pipeThrough(new TransformStream({transform})).pipeTo(writable).catch(() => {});
  };

  globalThis.start = async ({role, configuration, trickle, label, greeting, media}) => {
    const withSound = {bundlePolicy: "max-bundle", encodedInsertableStreams: role === "answer"};
    connection = new RTCPeerConnection(media ? {...configuration, ...withSound} : configuration);
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
    if (!media) noSound();
    if (role === "answer") {
      connection.ontrack = watchSound;
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
    if (media) addSound();
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
