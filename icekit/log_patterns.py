"""Lines that programs of the field write, what they really mean, and whether they matter: the table of ``loglines``.

Every pattern is text of the program's own source or binary (aioice 0.13, aiortc 1.16, pion ice 2.3 and turn 2.1,
coturn 4.6, Chromium 156, libnice 0.1.21, Janus 1); what stands around it (times, levels, sessions, addresses) may be
anything.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from icekit.report import Severity


class Program(StrEnum):
    """Who writes the line."""

    AIOICE = "aioice"
    AIORTC = "aiortc"
    PION = "pion"
    COTURN = "coturn"
    CHROME = "Chrome"
    FIREFOX = "Firefox"
    LIBNICE = "libnice"
    JANUS = "Janus"
    BROWSER = "a browser"


@dataclass(frozen=True, slots=True)
class LogPattern:
    """One known line: ``fix`` is empty where nothing is to be done; ``code`` is the finding that says more."""

    program: Program
    pattern: re.Pattern[str]
    severity: Severity
    meaning: str
    fix: str = ""
    code: str | None = None


def _rows(
    program: Program, *rows: tuple[Severity, str, str, str] | tuple[Severity, str, str, str, str]
) -> tuple[LogPattern, ...]:
    return tuple(
        LogPattern(program, re.compile(pattern), severity, meaning, fix, *code)
        for severity, pattern, meaning, fix, *code in rows
    )


_E, _W, _I = Severity.ERROR, Severity.WARNING, Severity.INFO

_FRESH = "Get fresh credentials; with a shared secret the user name is the time at which they end, in seconds."

_AIOICE = _rows(
    Program.AIOICE,
    (_E, r"ICE negotiation failed",
     "no pair of candidates answered; ICE had failed earlier, the lines above say which checks were tried",
     "Compare the candidates of both sides (icekit explain OFFER ANSWER) and add a TURN server."),
    (_E, r"\bICE failed$",
     "every pair was tried and none answered",
     "Compare the candidates of both sides (icekit explain OFFER ANSWER) and add a TURN server."),
    (_I, r"\bICE completed$", "a pair was chosen: ICE worked, look for the fault behind it (DTLS, media)", ""),
    (_E, r"Consent to send expired",
     "the peer stopped answering for 30 s, or its answers took longer than 500 ms each: aioice closes such a path",
     "Where the round trip is above 400 ms use icekit's agent; else the peer or its network went away.", "ICE013"),
    (_W, r"Components .+ have no candidate pairs",
     "a component got no candidate of the other side, so it was left out",
     "With rtcp-mux this is harmless; without it the peer sent no candidates for that component."),
    (_E, r"Remote username or password is missing",
     "connect() was called before the remote description was set",
     "Set the remote user name and password (the answer) first."),
    (_E, r"Local candidates gathering was not performed",
     "connect() was called before gather_candidates()", "Await gather_candidates() first."),
    (_E, r"Cannot (?:send|receive) data, not connected",
     "the path was closed before; this line is a consequence, not the cause",
     "Look above for the first line about consent, refresh or failure."),
    (_W, r"Connection lost while receiving data",
     "the connection was closed while somebody waited for data: usual at hang-up", ""),
    (_W, r"Check .+ failed : source address mismatch",
     "an answer came from another address than the check went to: a NAT or a firewall between rewrites addresses",
     "Nothing if another pair works; else use TURN."),
    (_W, r"Check .+ failed : could not nominate pair",
     "the pair answered first and then did not: the path is lossy, or the peer had ended", ""),
    (_I, r"Check .+ State\.\w+ -> State\.FAILED", "one pair does not work; that is usual, others may", ""),
    (_I, r"Check .+ State\.\w+ -> State\.\w+", "the progress of one pair", ""),
    (_I, r"Discovered peer reflexive candidate",
     "the peer's NAT uses another port than it told; ICE copes with that", ""),
    (_I, r"Role conflict, expected to be",
     "both sides thought they were in charge; one gives way, as ICE provides", ""),
    (_W, r'Remote candidate ".+" could not be resolved',
     "a browser hides its address behind a .local name, which only its own network can resolve",
     "Across networks its other candidates must do: STUN and TURN servers on the browser's side.", "ICE009"),
    (_W, r"Could not join the mDNS group",
     "no .local name can be resolved here: usual in a container",
     "Run with the host's network, or do without .local candidates.", "ICE009"),
    (_W, r"Could not bind to .+ - ",
     "an address of this host cannot be used (gone, or IPv6 switched off half way); the others are", ""),
    (_W, r"No candidates gathered with the relay transport policy",
     "relay only was asked for, without a TURN server", "Name a TURN server, or allow direct paths.", "ICE001"),
    (_E, r"TURN allocation refresh failed",
     "the relay is lost: the server forgot it, restarted, or its credentials ran out",
     "Let credentials live longer than the call; see the server's log.", "TURN-REFRESH"),
    (_E, r"STUN transaction failed \(401 - ",
     "a server refused a signed request; the first 401 of every TURN session is only its challenge", _FRESH,
     "TURN-401"),
    (_E, r"STUN transaction failed \(403 - ", "the TURN server may not relay to that peer", "", "TURN-403"),
    (_E, r"STUN transaction failed \(437 - ", "the allocation is gone or does not fit", "", "TURN-437"),
    (_E, r"STUN transaction failed \(486 - ", "the user has too many allocations on that server", "", "TURN-486"),
    (_E, r"STUN transaction failed \(508 - ", "the TURN server has no port left", "", "TURN-508"),
    (_W, r"STUN transaction timed out",
     "a server or a peer did not answer; for one of several pairs or servers that is usual",
     "If it names your server: icekit probe URL says which stage is silent.", "ICE008"),
    (_I, r"TURN allocation (?:created|refreshed|deleted)\b", "the relay works as it should", ""),
    (_I, r"TURN channel bound", "the relay works as it should", ""),
    (_I, r"'NoneType' object has no attribute 'sendto'",
     "a packet for a socket that was closed already: noise at the end of a call in aioice before 0.12.1",
     "Upgrade aioice.", "ICE017"),
)  # fmt: skip

_AIORTC = _rows(
    Program.AIORTC,
    (_E, r"DTLS handshake failed \(fingerprint mismatch\)",
     "the certificate is not the one that the SDP announced: an answer of another call, or a relay that ends DTLS",
     "Send each side the description of this call, unchanged."),
    (_E, r"DTLS handshake failed \(connection error\)",
     "ICE ended while DTLS was at it: look for the reason in the ICE lines above", ""),
    (_E, r"DTLS handshake failed \(no SRTP profile negotiated\)",
     "the two sides know no common media encryption", "Upgrade the older side."),
    (_E, r"DTLS handshake failed \(error ",
     "ICE works but DTLS does not: packets above 1,200 bytes are lost, or the ciphers do not fit",
     "Test the path's packet size (VPN, tunnel) and upgrade the older side."),
    (_I, r"DTLS handshake complete", "ICE and DTLS work: look for the fault in media or data channels", ""),
    (_I, r"DTLS shutdown by remote party", "the other side hung up", ""),
    (_W, r"addIceCandidate called without remote description",
     "a candidate came before the description and was lost",
     "Keep candidates until setRemoteDescription() is done, or use icekit.call, which does."),
    (_W, r"failed to decode .+ frame",
     "a media packet was lost or the decoder started between two key frames; at the start of a call it is usual", ""),
    (_I, r"RTP parsing failed|RTCP parsing failed", "a packet that is no media arrived; it was dropped", ""),
    (_W, r"SRTP unprotect failed", "a media packet came twice or was changed; a few are harmless", ""),
    (_E, r"Could not establish association",
     "the data channel's handshake (SCTP) got no answer although DTLS works",
     "The other side has no data channel, or closed it: compare the m=application lines."),
    (_I, r"Association was aborted by remote party", "the other side closed its data channels", ""),
    (_E, r"ICE username fragment or password is missing",
     "the SDP has no a=ice-ufrag or a=ice-pwd: it was cut or edited", "Pass the description on as it is."),
    (_E, r"Media sections in answer do not match offer",
     "the answer belongs to another offer, or its m= lines were removed or sorted",
     "Answer the last offer, with the same m= lines in the same order."),
    (_E, r"Cannot handle (?:offer|answer) in signaling state",
     "a description came in the wrong order: both sides called at once, or an answer came twice",
     "Let one side give way (perfect negotiation), or use icekit.call, which does."),
    (_E, r"RTCP mux is not enabled", "the peer wants separate RTCP, which aiortc does not do", "Set rtcp-mux there."),
    (_I, r"(?:iceConnectionState|connectionState|iceGatheringState|signalingState) \w+ -> \w+",
     "the progress of the connection", ""),
)  # fmt: skip

_PION = _rows(
    Program.PION,
    (_W, r"pingAllCandidates called with no candidate pairs\. Connection is not possible yet\.",
     "no candidate of the other side has arrived yet; if it goes on, none ever does",
     "Look at the signaling: candidates must be sent and added after the remote description."),
    (_W, r"Failed to ping without candidate pairs\. Connection is not possible yet\.",
     "no candidate of the other side has arrived yet; if it goes on, none ever does",
     "Look at the signaling: candidates must be sent and added after the remote description."),
    (_E, r"Setting new connection state: Failed",
     "no pair of candidates worked",
     "Compare the candidates of both sides (icekit explain OFFER ANSWER) and add a TURN server."),
    (_W, r"Setting new connection state: Disconnected",
     "nothing came from the peer for some seconds; it may come back", ""),
    (_I, r"Setting new connection state: \w+", "the progress of the connection", ""),
    (_I, r"Ignoring remote candidate with tcpType active",
     "an active TCP candidate cannot be connected to: nothing is missing", "", "ICE024"),
    (_W, r"remote mDNS candidate added, but mDNS is disabled",
     "a browser hides its address behind a .local name, and this side may not resolve it",
     "Its other candidates must do, or enable mDNS.", "ICE009"),
    (_W, r"Failed to discover mDNS candidate",
     "a .local name of a browser did not resolve: it is in another network, or multicast is blocked (container)",
     "Its other candidates must do: STUN and TURN on the browser's side.", "ICE009"),
    (_W, r"[Ff]ailed to enable mDNS",
     "port 5353 is taken or multicast is not there: .local candidates will not resolve", ""),
    (_W, r"failed to resolve stun host",
     "DNS does not know the server's name", "Check the name: icekit probe stun:NAME.", "ICE018"),
    (_W, r"could not get server reflexive address",
     "a STUN server did not answer from this address; for IPv6 or a second interface that is usual", "", "ICE008"),
    (_E, r"Failed to gather relay candidates: (?:username|password) is empty",
     "the TURN server has no user name or password in the configuration", "Give both.", "ICE005"),
    (_W, r"Failed to (?:dial|Dial|resolve|connect to relay|create DTLS client)",
     "one TURN entry cannot be reached", "icekit turn URL says which stage fails.", "ICE008"),
    (_W, r"1:1 NAT mapping is enabled but no external IP is found",
     "an address of this host has no public one in the 1:1 list", "List it, or leave its interface out."),
    (_I, r"discard (?:success )?message from \(.+\), (?:no such remote|unknown TransactionID)",
     "a late or repeated answer: harmless", ""),
    (_W, r"discard message from \(.+\), ",
     "a check with a wrong user name or password: of an earlier ICE restart, or of another call",
     "If it goes on, one side has an old description: compare ufrag on both sides."),
    (_W, r"Discarded message from .+, not a valid remote candidate",
     "data from an address that ICE does not know yet; a few at the start are usual", ""),
    (_W, r"No Permission or Channel exists for",
     "a peer sends to the relay before the client allowed it: usual at the start", ""),
    (_E, r"error when handling datagram: .*no such user exists",
     "the TURN server does not know the user", _FRESH, "TURN-401"),
)  # fmt: skip

_COTURN = _rows(
    Program.COTURN,
    (_E, r"check_stun_auth: Cannot find credentials of user",
     "the user is not known, or a time-limited one has ended, or its secret is another", _FRESH, "TURN-401"),
    (_E, r"check_stun_auth: user .+ credentials are incorrect",
     "the password (or the shared secret it was made with) is wrong",
     "Make the password with the static-auth-secret of this server.", "TURN-401"),
    (_I, r"user <>: incoming packet .*processed, error 401: ",
     "the first 401 of every session is its challenge: the client asks again, signed", "", "ICE005"),
    (_E, r"user <[^>]+>: incoming packet .*processed, error 401: ",
     "a signed request was refused: wrong password, unknown user, or the time of the credentials is over", _FRESH,
     "TURN-401"),
    (_E, r"processed, error 403: Forbidden IP|A peer IP .+ denied in the range",
     "the peer's address is in denied-peer-ip, or is private or loopback and not allowed",
     "Allow it with allowed-peer-ip if that is meant.", "TURN-403"),
    (_W, r"processed, error 437: ",
     "a client used an allocation that is gone, or made it twice from one socket",
     "After a restart of the server clients must allocate anew.", "TURN-437"),
    (_I, r"processed, error 438: ", "the nonce was renewed; the client asks again with the new one", "", "TURN-438"),
    (_E, r"processed, error 441: |[Aa]llocation mismatch: wrong credentials",
     "the credentials changed in the middle of a session", "Keep one user and password for a session.", "TURN-441"),
    (_E, r"processed, error 486: ",
     "user-quota or total-quota is reached", "Raise user-quota, or find who does not release allocations.",
     "TURN-486"),
    (_E, r"processed, error 508: |no available ports",
     "no relay port is left between min-port and max-port",
     "Widen min-port to max-port, and open it in the firewall.", "TURN-508"),
    (_W, r"processed, error 4\d\d: ", "the server refused a request; icekit explain TURN-<number> says more", ""),
    (_E, r"Cannot bind (?:TLS/TCP |DTLS/UDP |CLI )?listener socket to addr|Fatal final failure: cannot bind",
     "the port is taken, or the address is not this host's",
     "Stop the other server on that port; listening-ip must be an address of this host."),
    (_W, r"cannot start TLS and DTLS listeners because .+ file is not set properly|I cannot start TLS/DTLS services",
     "turns: does not work: certificate or key cannot be read",
     "Set cert and pkey to files that the user turnserver may read.", "ICE010"),
    (_I, r"I cannot support STUN CHANGE_REQUEST functionality because only one IP address is provided",
     "NAT filtering cannot be tested with this server; relaying is not affected", "", "ICE004"),
    (_W, r"NO EXPLICIT RELAY ADDRESS\(ES\) ARE CONFIGURED",
     "every address of this host is offered for relaying, private ones too",
     "Set relay-ip, and external-ip behind a 1:1 NAT.", "ICE006"),
    (_I, r"TLS/TCP socket disconnected|socket buffer operation error",
     "a client went away without saying so: usual with mobile clients", ""),
    (_I, r"closed \(\w+ stage\), .+ reason: allocation timeout",
     "the client stopped refreshing: the call is over", ""),
    (_W, r"closed \(\w+ stage\), .+ reason: allocation watchdog determined stale session state",
     "a client connected and never allocated: a scanner, a health check, or a refused password", ""),
    (_I, r"closed \(\w+ stage\), ", "a session ended", ""),
    (_I, r"incoming packet \w*(?: \w+)? ?processed, success", "a request was granted", ""),
    (_W, r"CONFIG WARNING: allow_loopback_peers opens a possible security vulnerability",
     "clients may reach services of the server itself", "Leave allow-loopback-peers out, except for tests."),
    (_I, r"session \d+: (?:peer )?usage: realm=", "how much was relayed", ""),
    (_I, r"session \d+: (?:new|refreshed|delete)\b|session \d+: peer .+ (?:lifetime updated|deleted)",
     "a relay works as it should", ""),
)  # fmt: skip

_CHROME = _rows(
    Program.CHROME,
    (_I, r"STUN binding request timed out\.?",
     "one STUN server did not answer from one interface (error 701); another usually did",
     "Ignore it if there is a srflx candidate; else icekit probe the server.", "ICE008"),
    (_W, r"(?:STUN|TURN) host lookup received error|Starting (?:STUN|TURN) host lookup.*error",
     "the name of a server does not resolve here (error 701)", "Check the name: icekit probe URL.", "TURN-RESOLVE"),
    (_W, r"TURN allocate request timed out\.?",
     "a TURN server does not answer over this transport (error 701): blocked, down, or no TURN server",
     "icekit turn URL says which; offer TURN over TLS on port 443, too.", "TURN-NO-ANSWER"),
    (_E, r"Received TURN allocate error response, id=.*code=401|errorCode[\"': =]+401",
     "the TURN server refuses the user name or the password", _FRESH, "TURN-401"),
    (_W, r"errorCode[\"': =]+701",
     "one server did not answer from one interface; another usually did",
     "Ignore it if candidates of that type are there; else icekit probe the server.", "ICE008"),
    (_W, r"Failed to establish connection",
     "the TCP or TLS connection to a TURN server failed: blocked, or its certificate is not trusted",
     "icekit turn URL says which.", "TURN-CONNECT"),
    (_E, r"ICE candidates can't be added without any remote session description|The remote description was null",
     "a candidate came before the description and was refused",
     "Keep candidates until setRemoteDescription() is done."),
    (_I, r"A remote candidate arrives with an unknown ufrag|Dropping a remote candidate because its ufrag",
     "a candidate of an earlier or later ICE restart; a few are harmless",
     "If all are dropped, one side has an old description."),
    (_E, r"Called with SDP without ice-ufrag and ice-pwd",
     "the SDP has no a=ice-ufrag or a=ice-pwd: it was cut or edited", "Pass the description on as it is."),
    (_E, r"Called with SDP without DTLS fingerprint",
     "the SDP has no a=fingerprint: it was cut or edited, or the peer does not encrypt",
     "Pass the description on as it is."),
    (_E, r"Called in wrong state: |Failed to set (?:local|remote) (?:offer|answer|description)",
     "a description came in the wrong order: both sides called at once, or an answer came twice",
     "Let one side give way (perfect negotiation)."),
    (_E, r"Both username and credential are required when the URL scheme is",
     "a TURN server without user name or password", "Give both.", "ICE005"),
    (_E, r"is not a valid stun or turn URL",
     "a server URL has a mistake", "icekit explain URL shows where.", "ICE018"),
    (_W, r"Received STUN request with bad (?:local|remote) username",
     "a check of an earlier ICE restart, or of another call",
     "If it goes on, one side has an old description: compare ufrag on both sides."),
    (_I, r"Timing-out STUN ping", "one pair does not answer; that is usual, others may", ""),
    (_W, r"TURN refresh timeout|Received TURN refresh error response",
     "the relay may be lost: the server restarted, or the path to it", "See the server's log.", "TURN-REFRESH"),
    (_I, r"Allocating a new socket after STUN_ERROR_ALLOCATION_MISMATCH",
     "the server remembers an allocation of the same port; the browser takes another", "", "TURN-437"),
    (_W, r"Attempt to use TURN with a too long username", "a user name above 509 bytes is not sent", "Shorten it."),
    (_I, r"Using five or more STUN/TURN servers slows down discovery",
     "the list of servers is longer than a browser likes", "Keep one STUN server and one TURN server per transport.",
     "ICE015"),
)  # fmt: skip

_FIREFOX = _rows(
    Program.FIREFOX,
    (_E, r"ICE failed, add a (?:STUN|TURN) server|ICE failed, your TURN server appears to be broken",
     "no pair of candidates worked; the advice behind it is a guess of the browser",
     "Compare the candidates of both sides; about:webrtc has them."),
    (_W, r"WebRTC: ICE disconnected", "nothing came from the peer for some seconds; it may come back", ""),
)  # fmt: skip

_LIBNICE = _rows(
    Program.LIBNICE,
    (_E, r"component \d+ STATE-CHANGE \w+ -> failed\b",
     "every pair of this component was tried and none answered, or there was none to try",
     "Compare the candidates of both sides (icekit explain OFFER ANSWER) and add a TURN server."),
    (_I, r"component \d+ STATE-CHANGE \w+ -> (?:gathering|connecting|connected|ready)\b",
     "how far this component is; at ready it has its pair", ""),
)  # fmt: skip

_JANUS = _rows(
    Program.JANUS,
    (_E, r"ICE failed for component \d+ in stream \d+\.\.\.",
     "no pair of candidates answered, and Janus gave the connection up",
     "Open the UDP ports of Janus, tell it its public address (nat_1_1_mapping), and give browsers a TURN server."),
    (_I, r"ICE failed for component \d+ in stream \d+, but (?:we're|let's|stream is)",
     "no pair of candidates has answered yet; Janus waits some seconds for more of them", ""),
)  # fmt: skip

# What pages write of RTCPeerConnection, whoever runs them.
_STATE = r"\b(?:iceConnectionState|connectionState|ice (?:connection )?state)(?:Change\b|Changed\b| is\b| to\b|\W)*"
_BROWSER = _rows(
    Program.BROWSER,
    (_E, rf"(?i:{_STATE}failed)\b",
     "no pair of candidates worked, or the peer fell silent for half a minute",
     "Compare the candidates of both sides (icekit explain OFFER ANSWER) and add a TURN server."),
    (_W, rf"(?i:{_STATE}disconnected)\b",
     "nothing came from the peer for some seconds; it may come back",
     "If it goes on, restart ICE: restartIce()."),
)  # fmt: skip

_TABLES = (_AIOICE, _AIORTC, _PION, _COTURN, _CHROME, _FIREFOX, _LIBNICE, _JANUS, _BROWSER)
PATTERNS: tuple[LogPattern, ...] = tuple(row for table in _TABLES for row in table)
"""In the order in which they are tried: the first that fits counts, so the special stand before the general."""
