"""What a load test of a TURN server sends, how it grows, and what is too much; no input or output."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from icekit.errors import ConfigError
from icekit.net import scope_of

HEADER: Final = 30
"""Bytes that a packet needs to be recognised and counted; the rest of ``size`` is padding."""

MAX_ALLOCATIONS: Final = 4000
MAX_SIZE: Final = 1200
PATIENCE: Final = 2.0
"""A packet that is not back after so many seconds is lost."""

TOGETHER: Final = 10
"""Allocations that are opened at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadPlan:
    """``allocations`` with ``rate`` packets a second each, of ``size`` bytes of payload, for ``duration`` seconds.

    ``ramp``: begin so, and add as many allocations in every further step of ``duration``, until something is too much
    or ``max_allocations`` are reached. Too much is a step that loses more than ``max_loss`` (0 to 1) of its packets, or
    whose 99th percentile of round trips is above ``max_latency`` seconds. ConfigError for what cannot be.
    """

    allocations: int = 10
    rate: float = 20.0
    size: int = 200
    duration: float = 10.0
    ramp: bool = False
    max_allocations: int = 1000
    max_loss: float = 0.01
    max_latency: float = 0.25

    def __post_init__(self) -> None:
        for name, value, least, most in (
            ("allocations", self.allocations, 1, MAX_ALLOCATIONS),
            ("rate", self.rate, 0.1, 1000),
            ("size", self.size, HEADER, MAX_SIZE),
            ("duration", self.duration, 0.1, 86400),
            ("max-allocations", self.max_allocations, 1, MAX_ALLOCATIONS),
            ("max-loss", self.max_loss, 0, 1),
            ("max-latency", self.max_latency, 0.001, 60),
        ):
            if not least <= value <= most:
                raise ConfigError(f"{name}: found {value:g}, allowed: {least:g} to {most:g}")

    @property
    def interval(self) -> float:
        """Seconds between two packets of one allocation."""
        return 1 / self.rate

    def steps(self) -> Iterator[int]:
        """How many allocations carry traffic in each step."""
        if not self.ramp:
            yield self.allocations
            return
        yield from range(self.allocations, self.max_allocations + 1, self.allocations)
        if self.max_allocations % self.allocations:
            yield self.max_allocations

    def bits_per_second(self, allocations: int) -> float:
        """Payload that leaves for the server when so many allocations send, in bits per second; as much comes back."""
        return allocations * self.rate * self.size * 8

    def describe(self) -> str:
        """For the question before it begins."""
        each = f"{self.rate:g} packets/s of {self.size} bytes each"
        if not self.ramp:
            load = f"{mbit(self.bits_per_second(self.allocations))} each way"
            return f"{self.allocations} allocations, {each} ({load}), for {self.duration:g} s"
        most = mbit(self.bits_per_second(self.max_allocations))
        return (
            f"{self.allocations} allocations more every {self.duration:g} s, {each}, until a limit, at most "
            f"{self.max_allocations} allocations ({most} each way)"
        )


def mbit(bits: float) -> str:
    """Bits per second for people."""
    return f"{bits / 1e6:.1f} Mbit/s" if bits >= 1e6 else f"{bits / 1e3:.0f} kbit/s"


def needs_ownership(host: str) -> bool:
    """Whether a server at this IP address may be somebody else's: it is on the Internet, or in a range that counts."""
    return scope_of(host) == 3
