"""The table of findings: every code, what it means and what to do. Codes never change their meaning.

``ICEnnn`` is about configuration, candidates and the network; ``TURN-…`` names the one stage of a TURN server that
failed. Texts may contain ``{server}`` (the URL), ``{host}``, ``{port}`` and ``{transport}``.
"""

from __future__ import annotations

from dataclasses import dataclass

from icekit.report import Severity

NO_FIX = "None needed."
ERROR, WARNING, INFO = Severity.ERROR, Severity.WARNING, Severity.INFO


@dataclass(frozen=True, slots=True)
class Code:
    """One row: ``believed`` is the mistake that brings people here, ``meaning`` what is true, ``fix`` what to do."""

    code: str
    name: str
    severity: Severity
    believed: str
    meaning: str
    fix: str


@dataclass(frozen=True, slots=True)
class StageText:
    """What a failed TURN stage means, and what to do about it."""

    message: str
    fix: str


_ICE = (
    Code(
        "ICE001",
        "no-turn",
        WARNING,
        "A STUN server such as Google's is my TURN server.",
        "A STUN server only tells an address. Without a TURN server, calls fail where no direct path exists.",
        "Add a TURN server, with one entry over TLS on port 443 for networks that block UDP.",
    ),
    Code(
        "ICE002",
        "server-ignored",
        WARNING,
        "All server URLs are tried.",
        "aiortc by itself uses the first STUN and the first TURN URL, and drops stuns:, turns: over UDP and [IPv6].",
        "Put the URL that works first, or gather with icekit.",
    ),
    Code(
        "ICE003",
        "mapping-unproven",
        WARNING,
        "Different ports mean a symmetric NAT.",
        "Different sockets always get different ports. Only one socket that asks two server addresses tells.",
        "Name a second STUN server on another IP address.",
    ),
    Code(
        "ICE004",
        "filtering-untestable",
        WARNING,
        "No answer to the filter test means a strict NAT; an answer means full cone.",
        "A server without a second address cannot test the filter; one that ignores CHANGE-REQUEST fakes an open one.",
        "Use a server with behaviour discovery (RFC 5780), for example coturn with two IP addresses.",
    ),
    Code(
        "ICE005",
        "first-401",
        INFO,
        "401 in the log means a wrong password.",
        "The first 401 of every TURN session is the server's challenge. Only a 401 after a signed request counts.",
        "None needed for the first 401. For later ones see icekit explain TURN-401.",
    ),
    Code(
        "ICE006",
        "relay-unusable",
        ERROR,
        "A relay candidate means that TURN works.",
        "The relayed address must be one that peers can reach, and data must come through it both ways.",
        "On the server set external-ip, allow the peer addresses, and open the relay port range for UDP.",
    ),
    Code(
        "ICE007",
        "srflx-not-public",
        WARNING,
        "The server-reflexive address is my public address.",
        "It is the address that this server saw; behind a load balancer or a carrier's NAT it is not a public one.",
        "Ask a server on the public Internet. Behind a carrier's NAT port forwarding cannot work: use TURN.",
    ),
    Code(
        "ICE008",
        "one-path-error",
        INFO,
        "Error 701 or one timeout is why the call fails.",
        "Another address, family or server of that kind worked, so this one does not matter.",
        "Ignore it and go by the verdict.",
    ),
    Code(
        "ICE009",
        "remote-candidates-unusable",
        WARNING,
        "Candidates were exchanged, so it connects.",
        "The other side's candidates cannot be reached from here: all private, all .local, or all TCP.",
        "Give the other side a STUN and a TURN server.",
    ),
    Code(
        "ICE010",
        "tls-name-or-expiry",
        ERROR,
        "Port 5349 is open, so TLS works.",
        "The certificate must be valid today, from a known issuer, and for the name in the URL.",
        "Use the name in the certificate, or renew the certificate with its whole chain.",
    ),
    Code(
        "ICE011",
        "sinkhole",
        ERROR,
        "The server's name resolves, so the server exists.",
        "The name resolves to an address that leads nowhere: a DNS filter answers, or the record is a placeholder.",
        "Allow the name in the DNS filter, ask another DNS server, or use another server.",
    ),
    Code(
        "ICE012",
        "slow-entry",
        WARNING,
        "Gathering candidates is slow.",
        "One server or interface fills the whole wait.",
        "Remove this entry.",
    ),
    Code(
        "ICE013",
        "consent-rtt",
        WARNING,
        "The call drops after 30 seconds because of the network.",
        "aioice gives a consent check 500 ms: on a path slower than that it closes a working call.",
        "Use icekit's ICE agent, or a TURN server nearer by.",
    ),
    Code(
        "ICE014",
        "one-sided-turn",
        WARNING,
        "One side has TURN, and that is enough.",
        "The other side's firewall drops UDP to the relay's ports.",
        "Give the blocked side a TURN server over TLS on port 443.",
    ),
    Code(
        "ICE015",
        "too-many-servers",
        INFO,
        "More servers are safer.",
        "Every server costs time on every interface; more than four slow some browsers.",
        "Keep one STUN server and one TURN entry per transport.",
    ),
    Code(
        "ICE016",
        "short-lifetime",
        WARNING,
        "Credentials that work at the start work for the whole call.",
        "When the allocation or the credentials run out in the middle of a call, the relay stops.",
        "Give credentials a longer time to live, and allocations at least 600 s.",
    ),
    Code(
        "ICE017",
        "old-library",
        WARNING,
        "The installed aioice or aiortc is good enough.",
        "The installed version has a bug that a later one fixed.",
        "Upgrade it.",
    ),
    Code(
        "ICE018",
        "bad-url",
        ERROR,
        "The server URL is right.",
        "It is not a STUN or TURN URL (RFC 7064, RFC 7065), so nothing can use it.",
        "Write stun:HOST[:PORT] or turn:HOST[:PORT][?transport=udp|tcp].",
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
)

_CHECK_SERVER = "Check that the server runs, and that firewalls pass {transport} port {port} both ways."
_RELAY_RANGE = "Open the server's relay ports (coturn: min-port to max-port, else 49152-65535) for UDP in its firewall."

# The stage codes: (code, name, severity, what is true, what to do). "It" is the server.
_STAGES = (
    ("TURN-RESOLVE", "name not resolved", ERROR, "the name cannot be resolved", "Check the name, and this host's DNS."),
    ("TURN-CONNECT", "no connection", ERROR, "no connection can be opened", _CHECK_SERVER),
    ("TURN-TLS", "TLS fails", ERROR, "the TLS handshake fails", "Check certificate and TLS settings of the server."),
    (
        "TURN-NO-ANSWER",
        "no answer",
        ERROR,
        "it does not answer over {transport}",
        f"{_CHECK_SERVER} For networks that block UDP, add an entry turns:…:443?transport=tcp.",
    ),
    (
        "TURN-NOT-TURN",
        "STUN only",
        ERROR,
        "it is only a STUN server: it tells addresses but relays nothing",
        "Write it as a stun: URL, and add a real TURN server.",
    ),
    ("TURN-401", "credentials refused", ERROR, "it refuses the user name and password", "Get fresh credentials."),
    (
        "TURN-403",
        "peer forbidden",
        ERROR,
        "it forbids relaying to the peer's address",
        "On the server take the peer's range out of denied-peer-ip, or allow it with allowed-peer-ip.",
    ),
    (
        "TURN-437",
        "allocation mismatch",
        ERROR,
        "it does not agree that this client has an allocation",
        "Try again; if it stays, a load balancer sends one client to several servers: make it stick to one.",
    ),
    (
        "TURN-438",
        "stale nonce",
        ERROR,
        "it calls every nonce stale, even the one it has just sent",
        "A load balancer sends one client to several servers: make it stick to one. Check the server's clock.",
    ),
    (
        "TURN-440",
        "address family",
        ERROR,
        "it does not relay for this address family",
        "Ask for the other family, or give the server an address of this family to relay from.",
    ),
    (
        "TURN-441",
        "another user's allocation",
        ERROR,
        "the allocation belongs to another user name",
        "Use the same credentials for the whole session.",
    ),
    (
        "TURN-442",
        "relay transport",
        ERROR,
        "it does not relay over the transport that was asked for",
        "Switch UDP relaying on in the server (coturn: no-udp-relay must not be set).",
    ),
    (
        "TURN-443",
        "peer address family",
        ERROR,
        "the relay and the peer are of different address families",
        "Ask the server for an address of the peer's family.",
    ),
    (
        "TURN-486",
        "quota reached",
        ERROR,
        "this user has as many allocations as are allowed",
        "Close other sessions, or raise user-quota on the server; old allocations end after 10 minutes.",
    ),
    (
        "TURN-508",
        "server full",
        ERROR,
        "it has no relay port or capacity left",
        "Widen the relay port range or raise total-quota on the server, or use another server.",
    ),
    (
        "TURN-300",
        "redirect",
        INFO,
        "it sends its clients to another server",
        "Write the other server's URL into the configuration to save a round trip.",
    ),
    (
        "TURN-RELAY-PRIVATE",
        "relay address private",
        ERROR,
        "the relayed address is not reachable from outside",
        "Set external-ip on the server to its public address (behind a one-to-one NAT: public/private).",
    ),
    (
        "TURN-PERMISSION",
        "no permission",
        ERROR,
        "it allocates, but does not answer the request to let a peer in",
        "Look into the server's log; update the server.",
    ),
    (
        "TURN-ECHO-OUT",
        "nothing gets out",
        ERROR,
        "data from the client does not reach the peer through the relay",
        f"{_RELAY_RANGE} Check that the server may send UDP to the Internet.",
    ),
    (
        "TURN-ECHO-IN",
        "nothing comes back",
        ERROR,
        "data from the peer does not come back through the relay",
        f"{_RELAY_RANGE} With a NAT before the server, forward that range too.",
    ),
    (
        "TURN-REFRESH",
        "refresh fails",
        ERROR,
        "it does not prolong the allocation, so calls drop when it ends",
        "Look into the server's log; with time-limited credentials, give them a longer time to live.",
    ),
    (
        "TURN-REALM-EMPTY",
        "empty realm",
        WARNING,
        "its realm is empty, and some clients refuse that",
        "Set realm= on the server.",
    ),
    ("TURN-400", "bad request", ERROR, "it calls the request malformed", "Look into the server's log; update it."),
    (
        "TURN-420",
        "unknown attribute",
        ERROR,
        "it does not know an attribute that it must understand",
        "Update the server.",
    ),
    ("TURN-500", "server error", ERROR, "it has an internal error", "Try again; look into the server's log."),
)

CODES: dict[str, Code] = {row.code: row for row in _ICE} | {
    code: Code(code, name, severity, "", f"This TURN server was tested, and {meaning}.", fix)
    for code, name, severity, meaning, fix in _STAGES
}

_STAGE_TEXTS = {code: StageText(meaning, fix) for code, _, _, meaning, fix in _STAGES}

# What the cause of a stage failure adds. Causes of names are the values of ``icekit.resolution.QueryFailure``, of
# connections those of ``icekit.net.StreamFailure`` and ``SocketFailure``; the others are those of ``icekit.stages``.
CAUSES: dict[tuple[str, str], StageText] = {
    ("TURN-RESOLVE", "no such name"): StageText(
        "the name {host} does not exist", "Check the spelling of {host}; compare with the same question elsewhere."
    ),
    ("TURN-RESOLVE", "no answer of that type"): StageText(
        "the name {host} exists, but has no address", "Add an A or AAAA record for {host}, or correct the name."
    ),
    ("TURN-RESOLVE", "timed out"): StageText(
        "no DNS server answered the question for {host}", "Check which DNS servers this host uses."
    ),
    ("TURN-RESOLVE", "the name server failed"): StageText(
        "the DNS server could not answer for {host}", "Ask another DNS server; the zone of {host} may be broken."
    ),
    ("TURN-RESOLVE", "sinkhole"): StageText(
        "{host} resolves to an address that leads nowhere",
        "A DNS filter is at work: allow {host} in it, or ask another DNS server.",
    ),
    ("TURN-CONNECT", "refused"): StageText(
        "port {port} is closed: nothing listens there", "Start the server's listener, or correct the port in the URL."
    ),
    ("TURN-CONNECT", "timeout"): StageText(
        "connections to port {port} are dropped on the way",
        "A firewall is in the way: open TCP port {port}, or add an entry on port 443.",
    ),
    ("TURN-CONNECT", "unreachable"): StageText(
        "there is no route to it", "Check this host's network, and whether the server's address is right."
    ),
    ("TURN-CONNECT", "reset"): StageText(
        "the connection is cut as soon as it is open",
        "A firewall or a proxy cuts it: add an entry turns:…:443?transport=tcp.",
    ),
    ("TURN-CONNECT", "closed"): StageText(
        "the connection is closed as soon as it is open",
        "The server, or a proxy before it, turns this host away: see the server's log for its address.",
    ),
    ("TURN-CONNECT", "denied"): StageText(
        "this host may not send there", "A local firewall forbids it: allow {transport} to port {port}."
    ),
    ("TURN-CONNECT", "unsupported"): StageText(
        "this host cannot speak {transport} to a TURN server", "Use turn: or turns: with ?transport=tcp."
    ),
    ("TURN-TLS", "tls-name"): StageText(
        "its certificate is not for the name {host}",
        "Use the name in the certificate in the URL, or give the server a certificate for {host}.",
    ),
    ("TURN-TLS", "tls-expired"): StageText(
        "its certificate has expired, or is not valid yet", "Renew the certificate of {host}; check this host's clock."
    ),
    ("TURN-TLS", "tls-issuer"): StageText(
        "its certificate is from an issuer that this host does not know",
        "Give the server the whole certificate chain of a public issuer.",
    ),
    ("TURN-TLS", "not-tls"): StageText(
        "port {port} does not speak TLS", "Write turn: for this port, or use the server's TLS port (often 5349 or 443)."
    ),
    ("TURN-NO-ANSWER", "wants-tls"): StageText("port {port} speaks TLS", "Write turns: for it, in place of turn:."),
    ("TURN-NO-ANSWER", "hangs-up"): StageText("it hangs up instead of answering", "Check the port, and its service."),
    ("TURN-PERMISSION", "no-peer"): StageText(
        "it allocates, but the test found no peer address to send to",
        "Let the server answer STUN Binding requests over UDP (coturn: no-stun must not be set).",
    ),
    ("TURN-ECHO-OUT", "both"): StageText(
        "data through the relay is lost in both directions",
        f"{_RELAY_RANGE} If the test passes from another network, it is this network that drops UDP to those ports.",
    ),
    ("TURN-REFRESH", "release"): StageText(
        "it does not confirm that the allocation is given back",
        "Look into the server's log; until it ends by itself, the allocation counts against the user's quota.",
    ),
    ("TURN-401", "expired"): StageText(
        "the time-limited credentials have expired",
        "Get fresh credentials; the number before the colon of the user name is when they end.",
    ),
    ("TURN-401", "milliseconds"): StageText(
        "the time in the user name is in milliseconds", "Make the user name with Unix time in seconds."
    ),
    ("TURN-401", "empty"): StageText(
        "it wants a user name and a password, and one of them is empty", "Give both: --username and --credential."
    ),
    ("TURN-401", "wrong"): StageText(
        "it refuses the credentials: wrong password, unknown user, or the shared secret in place of a password",
        "Check user and password. With a shared secret (use-auth-secret) make a password from it: "
        "icekit credentials make.",
    ),
}


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
