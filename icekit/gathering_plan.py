"""What candidates are gathered from, and at which pace."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from icekit.errors import ConfigError
from icekit.long_term_credential import LongTermCredential
from icekit.net import AddressClass, canonical_host, classify_host
from icekit.servers import IceServer, ServerUri
from icekit.transaction import Schedule
from icekit.turn_config import TurnConfig

MAX_HOSTS: Final = 32
"""How many local addresses are used at most."""

MAX_SERVERS: Final = 32
"""How many servers are asked at most; beyond this, the requests alone would take most of the patience."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GatherConfig:
    """How fast and how patient the gathering is; times in seconds.

    ``ta``: between two new transactions (RFC 8445 §14.2); retransmissions are not counted.
    ``patience``: how long a server that does not answer is waited for, from each local address.
    ``stream_patience``: the same for the last address over TCP or TLS, where a lost packet waits for the system to
    repeat it, in ever longer intervals (RFC 8489 §6.2.2 has 39.5 s for an answer).
    ``max_addresses``: how many addresses of one URL and family are tried, one after the other (RFC 5928 §3); they share
    the patience.
    ``schedule``: retransmissions, cut at the patience (RFC 8445 §14.3: the first not before 500 ms).
    ``turn``: what allocations ask for; its ``schedule`` and ``connect_timeout`` follow from the above.
    """

    ta: float = 0.005
    patience: float = 5.0
    stream_patience: float = 5.0
    max_addresses: int = 2
    schedule: Schedule = Schedule.exponential()  # noqa: RUF009 - a frozen value
    turn: TurnConfig = TurnConfig()  # noqa: RUF009 - a frozen value

    def __post_init__(self) -> None:
        if not (min(self.ta, self.patience, self.stream_patience) > 0 and self.max_addresses >= 1):
            raise ConfigError("gathering needs ta and both patiences above 0, and max_addresses of at least 1")


@dataclass(frozen=True, slots=True)
class GatherServer:
    """One URL to ask; ``credential`` is user name and password, for TURN."""

    uri: ServerUri
    credential: tuple[str, str] | None = field(default=None, repr=False)


def gather_servers(servers: Iterable[IceServer]) -> tuple[GatherServer, ...]:
    """All URLs of a server list, each once; ConfigError for one that cannot be asked; TypeError for no IceServer."""
    found: dict[GatherServer, None] = {}
    for server in servers:
        if not isinstance(server, IceServer):
            raise TypeError(
                f"a server is an IceServer, not {type(server).__name__}: IceServer(urls='stun:HOST'), or "
                "parse_servers(text) of icekit.servers for the iceServers of a browser"
            )
        for uri in server.urls:
            uri.require_transport()
            credential = server.require_credentials() if uri.is_turn else None
            if credential is not None:
                # What no server can be sent must not surface in the middle of the gathering.
                LongTermCredential(*credential)
            found[GatherServer(uri, credential)] = None
    return tuple(found)


def local_hosts(hosts: Sequence[str]) -> tuple[str, ...]:
    """The local addresses in canonical form, each once; ConfigError for one that is none, for none and for too many."""
    if isinstance(hosts, str):
        raise ConfigError(f"the local addresses are a list; write [{hosts!r}]")
    found: dict[str, None] = {}
    for host in hosts:
        try:
            found[canonical_host(host)] = None
        except ValueError:
            raise ConfigError(f"{host!r} is no IP address; name one of this host's own") from None
        if classify_host(host) in (AddressClass.UNSPECIFIED, AddressClass.MULTICAST):
            raise ConfigError(f"{host} is not one address; name one of this host's own")
    if not 1 <= len(found) <= MAX_HOSTS:
        raise ConfigError(f"candidates are gathered from 1 to {MAX_HOSTS} local addresses, not from {len(found)}")
    return tuple(found)
