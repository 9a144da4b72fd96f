"""What the NAT test sends: which sockets ask what, in two waves, and how patiently (RFC 5780 §4).

Mapping and filtering are measured apart, side by side, each from a fresh socket. The plan has two waves:

1. from one socket a Binding request to every server (mapping); for every server two sockets that ask for an answer from
   another address and from another port (filtering). Those two send to that server alone. When both are decided, the
   mapping socket asks the server's alternate address: for the mapping, and as a control that it can answer at all.
2. after the first answer, in one burst to that server: sockets for the port assignment, and two that then send to each
   other's mapped address (hairpinning).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from icekit.attributes import Change
from icekit.net import Address


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeConfig:
    """How patient the NAT test is; times in seconds.

    RFC 8489 §6.2.1 waits 500 ms before the first retransmission, because a client cannot know better. A test sends a
    handful of 20-byte requests once, and must not depend on a lost one, so it repeats them every ``interval``.

    ``transmissions``: per request. ``patience``: how long the first answer may take after the last of them.
    ``rtt_factor`` and ``margin``: a silence counts after that many round-trip times and that margin; ``stranger``: so
    much later if the time was measured with another server, which may be nearer.
    ``port_sockets``: sockets of the port test. ``max_servers``: how many of the given servers are used.
    """

    transmissions: int = 6
    interval: float = 0.1
    patience: float = 2.0
    rtt_factor: float = 2.5
    margin: float = 0.1
    stranger: float = 0.3
    port_sockets: int = 8
    max_servers: int = 8

    @property
    def burst(self) -> float:
        """Seconds from the first to the last transmission of a request."""
        return (self.transmissions - 1) * self.interval


@dataclass(frozen=True, slots=True)
class Trial:
    """One socket of the plan: what it tests, with which server (``None``: all, or the one that answered first)."""

    test: str
    wave: int
    server: Address | None = None
    change: Change | None = None


def plan(servers: Sequence[Address], config: ProbeConfig) -> tuple[Trial, ...]:
    """The sockets of a NAT test with these servers, in the order in which they send."""
    first = [Trial("mapping", 1)]
    for server in servers:
        first.append(Trial("filtering-address", 1, server, Change.IP | Change.PORT))
        first.append(Trial("filtering-port", 1, server, Change.PORT))
    second = [Trial("port", 2) for _ in range(config.port_sockets)] + [Trial("hairpin", 2), Trial("hairpin", 2)]
    return (*first, *second)
