"""The table of findings: every code, what it means and what to do. Codes never change their meaning.

``ICEnnn`` is about configuration, candidates and the network; ``TURN-…`` names the one stage of a TURN server that
failed; ``CALL-…`` the phase that a call did not get beyond. Texts may contain ``{server}`` (the URL), ``{host}``,
``{port}`` and ``{transport}``. The rows of calls are in ``call_codes``, those of TURN servers in ``stage_texts``.
"""

from __future__ import annotations

from icekit.call_codes import CALLS
from icekit.report import NO_FIX, Code, Finding, Severity
from icekit.stage_texts import CAUSES, STAGES, StageText

ERROR, WARNING, INFO = Severity.ERROR, Severity.WARNING, Severity.INFO


_ICE = (
    Code(
        "ICE001",
        "no-turn",
        WARNING,
        "A STUN server such as Google's is my TURN server.",
        "A STUN server only tells an address. Without a TURN server, calls fail where no direct path exists.",
        "Add a TURN server, with one entry over TLS on port 443 for networks that block UDP.",
        ("whitphx/streamlit-webrtc#1213",),
    ),
    Code(
        "ICE002",
        "server-ignored",
        WARNING,
        "All server URLs are tried.",
        "aiortc by itself uses the first STUN and the first TURN URL, and drops stuns:, turns: over UDP and [IPv6].",
        "Put the URL that works first, or gather with icekit.",
        (
            "aiortc/aioice#3",
            "aiortc/aioice#113",
        ),
    ),
    Code(
        "ICE003",
        "mapping-unproven",
        WARNING,
        "Different ports mean a symmetric NAT.",
        "Different sockets always get different ports. Only one socket that asks two server addresses tells.",
        "Name a second STUN server on another IP address.",
        (
            "n0-computer/iroh#3226",
            "ccding/go-stun#6",
        ),
    ),
    Code(
        "ICE004",
        "filtering-untestable",
        WARNING,
        "No answer to the filter test means a strict NAT; an answer means full cone.",
        "A server without a second address cannot test the filter; one that ignores CHANGE-REQUEST fakes an open one.",
        "Use a server with behaviour discovery (RFC 5780), for example coturn with two IP addresses.",
        (
            "proxystore/proxystore#776",
            "pion/stun#152",
        ),
    ),
    Code(
        "ICE005",
        "first-401",
        INFO,
        "401 in the log means a wrong password.",
        "The first 401 of every TURN session is the server's challenge. Only a 401 after a signed request counts.",
        "None needed for the first 401. For later ones see icekit explain TURN-401.",
        ("coturn/coturn#452",),
    ),
    Code(
        "ICE006",
        "relay-unusable",
        ERROR,
        "A relay candidate means that TURN works.",
        "The relayed address must be one that peers can reach, and data must come through it both ways.",
        "On the server set external-ip, allow the peer addresses, and open the relay port range for UDP.",
        (
            "coturn/coturn#501",
            "coturn/coturn#783",
            "coturn/coturn#1081",
        ),
    ),
    Code(
        "ICE007",
        "srflx-not-public",
        WARNING,
        "The server-reflexive address is my public address.",
        "It is the address that this server saw; behind a load balancer or a carrier's NAT it is not a public one.",
        "Ask a server on the public Internet. Behind a carrier's NAT port forwarding cannot work: use TURN.",
        (
            "l7mp/stunner#129",
            "AlexxIT/go2rtc#181",
        ),
    ),
    Code(
        "ICE008",
        "one-path-error",
        INFO,
        "Error 701 or one timeout is why the call fails.",
        "Another address, family or server of that kind worked, so this one does not matter.",
        "Ignore it and go by the verdict.",
        (
            "webrtc/samples#1215",
            "webrtc/samples#1227",
            "webrtc/samples#1501",
        ),
    ),
    Code(
        "ICE009",
        "remote-candidates-unusable",
        WARNING,
        "Candidates were exchanged, so it connects.",
        "None of the other side's candidates can be used from here: private, .local, TCP, another session's, or none.",
        "Give the other side a STUN and a TURN server, and see that every candidate arrives.",
        (
            "aiortc/aiortc#407",
            "aiortc/aiortc#589",
            "AlexxIT/go2rtc#68",
            "node-webrtc/node-webrtc#591",
            "whitphx/streamlit-webrtc#277",
        ),
    ),
    Code(
        "ICE010",
        "tls-name-or-expiry",
        ERROR,
        "Port 5349 is open, so TLS works.",
        "The certificate must be valid today, from a known issuer, and for the name in the URL.",
        "Use the name in the certificate, or renew the certificate with its whole chain.",
        ("coturn/coturn#247",),
    ),
    Code(
        "ICE011",
        "sinkhole",
        ERROR,
        "The server's name resolves, so the server exists.",
        "The name resolves to an address that leads nowhere: a DNS filter answers, or the record is a placeholder.",
        "Allow the name in the DNS filter, ask another DNS server, or use another server.",
        ("Gryt-chat/gryt#147",),
    ),
    Code(
        "ICE012",
        "slow-entry",
        WARNING,
        "Gathering candidates is slow.",
        "One server or interface fills the whole wait.",
        "Remove this entry.",
        (
            "proxystore/proxystore#599",
            "kortexa-ai/hermes-livekit#59",
        ),
    ),
    Code(
        "ICE013",
        "consent-rtt",
        WARNING,
        "The call drops after 30 seconds because of the network.",
        "aioice gives a consent check 500 ms: on a path slower than that it closes a working call.",
        "Use icekit's ICE agent, or a TURN server nearer by.",
        ("pion/ice#255",),
    ),
    Code(
        "ICE014",
        "one-sided-turn",
        WARNING,
        "One side has TURN, and that is enough.",
        "The other side's firewall drops UDP to the relay's ports.",
        "Give the blocked side a TURN server over TLS on port 443.",
        ("AlexxIT/WebRTC#952",),
    ),
    Code(
        "ICE015",
        "too-many-servers",
        INFO,
        "More servers are safer.",
        "Every server costs time on every interface; more than four slow some browsers.",
        "Keep one STUN server and one TURN entry per transport.",
        ("wireapp/wire-webapp#4457",),
    ),
    Code(
        "ICE016",
        "short-lifetime",
        WARNING,
        "Credentials that work at the start work for the whole call.",
        "When the allocation or the credentials run out in the middle of a call, the relay stops.",
        "Give credentials a longer time to live, and allocations at least 600 s.",
        ("coturn/coturn#774",),
    ),
    Code(
        "ICE017",
        "old-library",
        WARNING,
        "The installed aioice or aiortc is good enough.",
        "The installed version has a bug that a later one fixed.",
        "Upgrade it.",
        ("aiortc/aiortc#330",),
    ),
    Code(
        "ICE018",
        "bad-url",
        ERROR,
        "The server URL is right.",
        "It is not a STUN or TURN URL (RFC 7064, RFC 7065), so nothing can use it.",
        "Write stun:HOST[:PORT] or turn:HOST[:PORT][?transport=udp|tcp].",
        ("livekit/livekit#4384",),
    ),
    Code(
        "ICE019",
        "srflx-equals-related",
        INFO,
        "A server-reflexive candidate shows that there is a NAT.",
        "Its address is the one it is related to: there is no NAT, or the line is a made-up example.",
        "None needed; if this host is behind a NAT, the line is not a real one.",
    ),
    Code(
        "ICE020",
        "alg-rewrite",
        WARNING,
        "The router helps.",
        "A gateway rewrites addresses inside STUN messages (RFC 8489 §14.2), and breaks more than it helps.",
        "Switch the SIP or STUN ALG of the router off, or use servers over TLS.",
    ),
    Code(
        "ICE021",
        "stun-used-as-turn",
        ERROR,
        "This STUN server also relays when it is given a user name.",
        "It only tells an address; nothing is relayed.",
        "Replace it with a TURN server and its user name and password.",
    ),
    Code(
        "ICE022",
        "no-nat",
        INFO,
        "Every host has a NAT.",
        "The server saw this host's own address: there is no NAT, though a firewall may still filter.",
        NO_FIX,
    ),
    Code(
        "ICE023",
        "tls-on-plain-port",
        ERROR,
        "The server speaks TLS on this port.",
        "This port does not speak TLS.",
        "Use the plain scheme (stun:, turn:) for this port, or the server's TLS port, usually 5349 or 443.",
    ),
    Code(
        "ICE024",
        "tcp-is-client-side-only",
        INFO,
        "With ?transport=tcp the relay speaks TCP to the other side.",
        "TCP is only the way to the TURN server; from there to the other side the relay uses UDP.",
        NO_FIX,
    ),
    Code(
        "ICE025",
        "sections-differ",
        ERROR,
        "An answer may list its media as it likes.",
        "An answer has the media sections of its offer, in the same order and with the same mids (RFC 8829 §5.3.1).",
        "Send the answer to this very offer, unchanged, and make a new offer where something is to change.",
        ("pion/webrtc#1714", "sipwise/rtpengine#1473", "react-native-webrtc/react-native-webrtc#894"),
    ),
    Code(
        "ICE026",
        "ice-credentials",
        ERROR,
        "Candidates are all that ICE needs.",
        "Every check is signed: each description needs an ice-ufrag and an ice-pwd, and each side has its own.",
        "Send descriptions as they are made, each to the other side only.",
    ),
    Code(
        "ICE027",
        "roles-conflict",
        ERROR,
        "Who begins sorts itself out.",
        "One side sends the checks, so not both are ICE-lite; for DTLS one is active and one passive (RFC 8842 §5).",
        "Let the answer say a=setup:active or passive, the other one than the offer, and ICE-lite only on a server.",
    ),
    Code(
        "ICE028",
        "bad-entry",
        ERROR,
        "A bad entry of iceServers is skipped.",
        "For one bad entry a browser refuses the whole list, and icekit too; some mistakes it ignores without a word.",
        "Give each entry urls, and a TURN server a username and a credential beside them.",
    ),
    Code(
        "ICE029",
        "narrow-path",
        WARNING,
        "A path that answers checks carries a call.",
        "Checks are small. Larger packets get lost on this path, without a word: pictures freeze, or DTLS never ends.",
        "Give the interface of the tunnel (VPN, PPPoE) a smaller MTU, let its router send ICMP, or use TURN over TCP.",
        ("signalwire/freeswitch#903", "sipwise/rtpengine#1806", "Glimesh/janus-ftl-plugin#22"),
    ),
)

CODES: dict[str, Code] = {row.code: row for row in (*_ICE, *CALLS)} | {
    code: Code(code, name, severity, "", f"This TURN server was tested, and {meaning}.", fix)
    for code, name, severity, meaning, fix in STAGES
}

_STAGE_TEXTS = {code: StageText(meaning, fix) for code, _, _, meaning, fix in STAGES}


def new_finding(
    code: str, message: str, *evidence: str, fix: str | None = None, severity: Severity | None = None
) -> Finding:
    """A finding of this code; severity and fix are the table's where none are given."""
    row = CODES[code]
    return Finding(code, severity or row.severity, message, row.fix if fix is None else fix, evidence)


def describe(code: str) -> Code | None:
    """The row of a code (``ice003`` too); any ``TURN-`` with a STUN error number has a row. None: no such code."""
    code = code.strip().upper()
    row = CODES.get(code)
    number = code.removeprefix("TURN-")
    if row is None and code != number and len(number) == 3 and number.isascii() and number.isdigit():
        if not 300 <= int(number) <= 699:
            return None
        text = _generic(number)
        return Code(code, "error response", ERROR, "", f"This TURN server was tested, and {text.message}.", text.fix)
    return row


def stage_text(code: str, cause: str | None) -> StageText:
    """What to say about a failed stage; the cause decides where it is known."""
    known = CAUSES.get((code, cause or "")) or _STAGE_TEXTS.get(code)
    if known is None:
        known = _generic(code.removeprefix("TURN-")) if describe(code) else _UNKNOWN
    return known


_UNKNOWN = StageText("it failed in a way that this version does not know", "See the stage's own text; upgrade icekit.")


def _generic(number: str) -> StageText:
    return StageText(f"it answers with error {number}", "Look into the server's log for this error.")
