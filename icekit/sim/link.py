"""Links: what happens to a packet on its way. One ``Channel`` is one direction of one link, with its own dice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from icekit.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Bursts:
    """Bursty loss (Gilbert–Elliott): a channel is good or bad, drawn anew for every packet.

    ``enter`` and ``leave``: probability of turning bad and good again; ``loss``: probability of loss while bad.
    """

    enter: float
    leave: float
    loss: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Link:
    """One direction of a link. Times in seconds, probabilities 0 to 1.

    ``delay``     of every packet; ``jitter``: at most this much more, evenly distributed, order kept
    ``loss``      independent loss; ``bursts``: bursty loss on top
    ``duplicate`` a packet arrives twice
    ``reorder``   a packet is held back by ``reorder_delay`` and may be overtaken
    ``mtu``       largest IP packet in bytes, larger ones are lost; ``None``: any
    ``rate``      bits per second; ``queue``: bytes that may wait for it, what comes on top is lost
    ``lossless``  packets for which this is true are never lost or duplicated (``is_dtls``: OpenSSL's retransmission
                  timer reads the real clock)
    ``is_plain``  derived: nothing but a constant delay
    """

    delay: float = 0.0
    jitter: float = 0.0
    loss: float = 0.0
    bursts: Bursts | None = None
    duplicate: float = 0.0
    reorder: float = 0.0
    reorder_delay: float = 0.01
    mtu: int | None = None
    rate: float | None = None
    queue: int = 65_536
    lossless: Callable[[bytes], bool] | None = None
    is_plain: bool = field(default=True, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in ("loss", "duplicate", "reorder"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} is a probability from 0 to 1")
        if self.jitter or self.loss or self.bursts or self.duplicate or self.reorder or self.mtu or self.rate:
            object.__setattr__(self, "is_plain", False)
        if min(self.delay, self.jitter, self.reorder_delay) < 0 or (self.rate is not None and self.rate <= 0):
            raise ConfigError("delay, jitter and reorder_delay are seconds from 0, rate is bits per second above 0")


class Channel:
    """The state of one direction: ``up`` False loses everything; ``is_plain``: nothing but a constant delay."""

    __slots__ = ("_bad", "_busy_until", "_latest", "_random", "is_plain", "link", "lost", "up")

    def __init__(self, link: Link, random: Random) -> None:
        self.link = link
        self.up = True
        self.lost = 0
        self._random = random
        self._bad = False
        self._busy_until = 0.0
        self._latest = 0.0
        self.is_plain = link.is_plain

    def transit(self, data: bytes, size: int, now: float) -> tuple[float, ...]:
        """When the packet of ``size`` bytes arrives: not at all, once or twice."""
        if not self.up:
            self.lost += 1
            return ()
        link = self.link
        exempt = link.lossless is not None and link.lossless(data)
        if self._loses(size, now) and not exempt:
            self.lost += 1
            return ()
        arrival = now
        if link.rate is not None:
            self._busy_until = max(self._busy_until, now) + size * 8 / link.rate
            arrival = self._busy_until
        arrival += link.delay
        if link.jitter:
            arrival += self._random.random() * link.jitter
        if link.reorder and self._random.random() < link.reorder:
            arrival += link.reorder_delay
        else:
            self._latest = arrival = max(arrival, self._latest)
        if link.duplicate and self._random.random() < link.duplicate and not exempt:
            return (arrival, arrival)
        return (arrival,)

    def _loses(self, size: int, now: float) -> bool:
        link = self.link
        random = self._random.random
        lost = False
        if link.bursts is not None:
            self._bad = random() >= link.bursts.leave if self._bad else random() < link.bursts.enter
            lost = self._bad and random() < link.bursts.loss
        if link.loss and random() < link.loss:
            lost = True
        if link.mtu is not None and size > link.mtu:
            lost = True
        if link.rate is not None and (self._busy_until - now) * link.rate / 8 > link.queue:
            lost = True
        return lost


def is_dtls(data: bytes) -> bool:
    """Whether a packet carries a DTLS record (RFC 7983 §7), by itself or on a TURN channel."""
    if len(data) > 4 and 0x40 <= data[0] <= 0x4F:
        data = data[4:]
    return bool(data) and 20 <= data[0] <= 63
