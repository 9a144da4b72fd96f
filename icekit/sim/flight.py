"""What one end of a simulated TCP connection has sent and not seen acknowledged: when is it lost, when sent again.

Done: the retransmission timeout (RFC 6298), timestamps (RFC 7323), selective acknowledgments (RFC 2018), and losses
found by time, also those of retransmissions (RACK, RFC 8985 §6): what the kernels of today do without being asked. So a
path that loses a fifth of all packets delays a stream, and does not stop it.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import replace

from icekit.sim.packet import SYN, Segment

# RFC 6298 §2: 1 s before the first measurement; the least one is Linux's.
_INITIAL_RTO, _LEAST_RTO, _LARGEST_RTO = 1.0, 0.2, 60.0
# RFC 8985 §6.2, step 4: how much later than expected an acknowledgment may come, in least round-trip times.
_REORDERING = 0.25
# What rounding may do to a sum of times.
_EPSILON = 1e-9


class _Flown:
    """A segment that waits for its acknowledgment; ``arrived``: a selective one has come."""

    __slots__ = ("arrived", "end", "segment", "sent_at", "tries")

    def __init__(self, segment: Segment, sent_at: float) -> None:
        self.segment = segment
        self.end = segment.sequence + segment.length
        self.sent_at = sent_at
        self.tries = 1
        self.arrived = False

    def again(self, now: float) -> Segment:
        """Send it once more."""
        self.tries += 1
        self.sent_at = now
        return replace(self.segment, stamp=now)


class Flight:
    """The segments under way, in order of sequence. ``size``: bytes of data in them. Times in seconds."""

    def __init__(self) -> None:
        self.size = 0
        self._flown: deque[_Flown] = deque()
        self._rto = _INITIAL_RTO
        self._srtt: float | None = None
        self._rttvar = 0.0
        self._least_rtt = math.inf
        # When the timeout began, and the latest sending among what has arrived, with its round-trip time.
        self._since = 0.0
        self._latest = -math.inf
        self._latest_rtt = 0.0

    def __bool__(self) -> bool:
        return bool(self._flown)

    @property
    def is_opening(self) -> bool:
        """Whether the first segment of the connection waits for its acknowledgment."""
        return bool(self._flown) and bool(self._flown[0].segment.flags & SYN)

    @property
    def tries(self) -> int:
        """How often the oldest segment was sent."""
        return self._flown[0].tries

    def sent(self, segment: Segment, now: float) -> None:
        """A new segment leaves."""
        if not self._flown:
            self._since = now
        self._flown.append(_Flown(segment, now))
        self.size += len(segment.data)

    def acknowledged(self, answer: Segment, now: float) -> None:
        """The other end tells what it has."""
        arrived: list[_Flown] = []
        while self._flown and self._flown[0].end <= answer.acknowledgment:
            oldest = self._flown.popleft()
            self.size -= len(oldest.segment.data)
            if not oldest.arrived:
                arrived.append(oldest)
        for flown in self._flown if answer.blocks else ():
            if not flown.arrived and any(
                begin <= flown.segment.sequence and flown.end <= end for begin, end in answer.blocks
            ):
                flown.arrived = True
                arrived.append(flown)
        if not arrived:
            return
        # RFC 7323 §4.1: with timestamps also what was sent twice can be measured.
        if answer.echo is not None:
            self._measure(now - answer.echo)
        last = max(flown.sent_at for flown in arrived)
        # RFC 8985 §6.2, step 2: what is faster than any round trip answers an earlier sending.
        if last > self._latest and now - last >= self._least_rtt - _EPSILON:
            self._latest, self._latest_rtt = last, now - last
        if self._srtt is not None:
            self._rto = self._srtt + max(_LEAST_RTO, 4 * self._rttvar)
        # RFC 6298 §5.3.
        self._since = now

    def due(self) -> float | None:
        """When ``take_lost`` or the timeout is due."""
        if not self._flown:
            return None
        lost = (self._lost_at(flown) for flown in self._flown)
        return min(self._since + self._rto, *lost, math.inf)

    def take_lost(self, now: float) -> list[Segment]:
        """What is to be sent again now, because what was sent after it has arrived."""
        return [flown.again(now) for flown in self._flown if self._lost_at(flown) <= now + _EPSILON]

    def take_timed_out(self, now: float) -> list[Segment]:
        """The oldest segment, if nothing has arrived for too long."""
        if not self._flown or self._since + self._rto > now + _EPSILON:
            return []
        # RFC 6298 §5.5: back off the timer.
        self._rto = min(self._rto * 2, _LARGEST_RTO)
        self._since = now
        return [self._flown[0].again(now)]

    def _lost_at(self, flown: _Flown) -> float:
        if flown.arrived or flown.sent_at >= self._latest:
            return math.inf
        return flown.sent_at + self._latest_rtt + _REORDERING * self._least_rtt

    def _measure(self, rtt: float) -> None:
        # RFC 6298 §2.2, 2.3.
        self._least_rtt = min(self._least_rtt, rtt)
        if self._srtt is None:
            self._srtt, self._rttvar = rtt, rtt / 2
        else:
            self._rttvar = 0.75 * self._rttvar + 0.25 * abs(self._srtt - rtt)
            self._srtt = 0.875 * self._srtt + 0.125 * rtt
