"""What the stages of a TURN test say when they fail: by code, and by code and cause."""

from __future__ import annotations

from dataclasses import dataclass

from icekit.report import Severity

ERROR, WARNING, INFO = Severity.ERROR, Severity.WARNING, Severity.INFO


@dataclass(frozen=True, slots=True)
class StageText:
    """What a failed TURN stage means, and what to do about it."""

    message: str
    fix: str


_CHECK_SERVER = "Check that the server runs, and that firewalls pass {transport} port {port} both ways."
_RELAY_RANGE = "Open the server's relay ports (coturn: min-port to max-port, else 49152-65535) for UDP in its firewall."

# The stage codes: (code, name, severity, what is true, what to do). "It" is the server.
STAGES = (
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
        (
            "On the server take the peer's range out of denied-peer-ip, or allow it with allowed-peer-ip "
            "(icekit serve: --allow-peers)."
        ),
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
        "the DNS server could not answer for {host}",
        "Check this host's network, or ask another DNS server; the zone of {host} may be broken.",
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
        "Give the server the whole certificate chain of a public issuer. If the issuer is your own, name its "
        "certificate on this host: SSL_CERT_FILE=issuer.pem icekit …",
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
    ("TURN-401", "challenge"): StageText(
        "it asks for credentials, but not with a REALM and a NONCE that can be used",
        "Set the server's realm to plain text (coturn: realm= and lt-cred-mech), or update the server.",
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
