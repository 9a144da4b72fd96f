"""What a load test measured, what it means, and how it is told; no input or output."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar, Final

from icekit.bench.load_plan import LoadPlan, mbit
from icekit.page import milliseconds
from icekit.report import Finding, Severity

# Buckets of a distribution grow by 1 %, so that a percentile is right to half a percent; a microsecond is the least.
_GROWTH: Final = math.log(1.01)
_LEAST: Final = 1e-6
# Behind its own schedule by more than this part of the latency that is allowed, or with so many packets not sent at
# all, or busy for so much of the time while something is too much: the sender has reached its limit, not the server.
_BEHIND, _UNSENT, _BUSY = 0.5, 0.01, 0.9


class Distribution:
    """Times in seconds, in bounded memory."""

    def __init__(self) -> None:
        self.count = 0
        self._buckets: Counter[int] = Counter()
        self._most = 0.0

    def add(self, seconds: float) -> None:
        """One more; what is negative counts as 0."""
        self.count += 1
        self._buckets[math.ceil(math.log(max(seconds, _LEAST) / _LEAST) / _GROWTH)] += 1
        self._most = max(self._most, seconds)

    def percentile(self, part: float) -> float | None:
        """The time that ``part`` (0 to 1) of them do not exceed; None without any."""
        left = math.ceil(part * self.count)
        for bucket in sorted(self._buckets):
            left -= self._buckets[bucket]
            if left <= 0:
                return min(_LEAST * math.exp((bucket - 0.5) * _GROWTH), self._most)
        return None

    @property
    def spread(self) -> Spread:
        """Its percentiles."""
        most = self._most if self.count else None
        return Spread(self.percentile(0.5), self.percentile(0.9), self.percentile(0.99), most)


@dataclass(frozen=True, slots=True)
class Spread:
    """Percentiles of what is better when it is small."""

    p50: float | None
    p90: float | None
    p99: float | None
    max: float | None

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """Of exact values, by nearest rank."""
        ranked = sorted(values)
        if not ranked:
            return cls(None, None, None, None)
        at = [ranked[max(math.ceil(part * len(ranked)) - 1, 0)] for part in (0.5, 0.9, 0.99)]
        return cls(at[0], at[1], at[2], ranked[-1])


@dataclass(frozen=True, slots=True)
class Throughput:
    """Payload that came back, in bits per second: over the seconds of a step, the worst, 10 % and half of them."""

    min: float | None
    p10: float | None
    p50: float | None

    @classmethod
    def of(cls, values: Iterable[float]) -> Throughput:
        """Of exact values, by nearest rank."""
        ranked = sorted(values)
        if not ranked:
            return cls(None, None, None)
        return cls(ranked[0], *(ranked[max(math.ceil(part * len(ranked)) - 1, 0)] for part in (0.1, 0.5)))


class Tally:
    """What all allocations of a step add to while it runs, from ``began`` on. ``arrived``: packets in each second.

    ``unsent``: packets whose time was over when their turn came. ``duplicates``: what came twice, or too late.
    """

    def __init__(self, began: float, duration: float) -> None:
        self.latency = Distribution()
        self.late = Distribution()
        self.unsent = 0
        self.duplicates = 0
        self.arrived = [0] * math.ceil(duration)
        self._began = began
        self._duration = duration

    def take(self, latency: float, now: float) -> None:
        """A packet came back."""
        self.latency.add(latency)
        second = int(now - self._began)
        if 0 <= second < len(self.arrived):
            self.arrived[second] += 1

    def throughput(self, size: int) -> Throughput:
        """Of whole seconds; the first one is left out where there are more, because the first packets are on their way.

        A step of less than two seconds gives its mean.
        """
        whole = int(self._duration)
        if whole < 2:
            return Throughput.of([sum(self.arrived) * size * 8 / self._duration])
        return Throughput.of(count * size * 8 for count in self.arrived[1:whole])


@dataclass(frozen=True, slots=True)
class Traffic:
    """What one allocation did in a step. ``reached``: packets that came to the peer. ``jitter``: RFC 3550 §6.4.1."""

    sent: int
    reached: int
    received: int
    jitter: float | None

    @property
    def loss(self) -> float:
        """From 0 to 1, there and back."""
        return (self.sent - self.received) / self.sent if self.sent else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step. Times in seconds, there and back; ``jitter`` and ``loss`` (0 to 1) over allocations.

    ``lost_out`` packets came not to the peer, ``lost_back`` came to it and not back. ``late``: how far the sender was
    behind its own schedule; ``busy``: how much of the time (0 to 1) its program was not
    idle. ``None``: not measured, and ``reason`` says why.
    """

    allocations: int
    sent: int
    received: int
    lost_out: int
    lost_back: int
    duplicates: int
    unsent: int
    lost_allocations: int
    latency: Spread
    jitter: Spread
    loss: Spread
    throughput: Throughput
    late: Spread
    busy: float
    reason: dict[str, str] = field(default_factory=dict)

    @property
    def total_loss(self) -> float:
        """Of all packets of the step, from 0 to 1."""
        return (self.sent - self.received) / self.sent if self.sent else 0.0


def make_step(plan: LoadPlan, tally: Tally, traffic: Sequence[Traffic], *, lost_allocations: int, busy: float) -> Step:
    """Put together what was counted."""
    sent, reached, received = (sum(getattr(item, name) for item in traffic) for name in ("sent", "reached", "received"))
    reason = {}
    if not received:
        reason["latency"] = reason["jitter"] = "no packet came back"
    elif all(item.jitter is None for item in traffic):
        reason["jitter"] = "it takes two packets of one allocation"
    return Step(
        allocations=len(traffic),
        sent=sent,
        received=received,
        # What was sent twice on the way may make up for what was lost.
        lost_out=max(sent - reached, 0),
        lost_back=max(min(reached, sent) - received, 0),
        duplicates=tally.duplicates,
        unsent=tally.unsent,
        lost_allocations=lost_allocations,
        latency=tally.latency.spread,
        jitter=Spread.of(item.jitter for item in traffic if item.jitter is not None),
        loss=Spread.of(item.loss for item in traffic),
        throughput=tally.throughput(plan.size),
        late=tally.late.spread,
        busy=busy,
        reason=reason,
    )


class LimitKind(StrEnum):
    """What was too much."""

    REFUSED = "refused"
    NO_PATH = "no-path"
    LOST = "lost"
    LOSS = "loss"
    LATENCY = "latency"
    SENDER = "sender"


@dataclass(frozen=True, slots=True)
class Limit:
    """Why it went no further: with ``allocations`` open. ``code``: the number of the server's refusal."""

    kind: LimitKind
    allocations: int
    detail: str
    code: int | None = None


def judge(plan: LoadPlan, step: Step) -> Limit | None:
    """What was too much in this step, the cause before its consequences."""
    count, latency, late = step.allocations, step.latency.p99, step.late.p99 or 0.0
    if step.lost_allocations:
        return Limit(LimitKind.LOST, count, f"{step.lost_allocations} of them ended during the step")
    slow = latency is not None and latency > plan.max_latency
    lossy = step.total_loss > plan.max_loss
    asked = step.sent + step.unsent
    if late > _BEHIND * plan.max_latency or (asked and step.unsent > _UNSENT * asked):
        detail = f"1 % of the packets left this machine more than {milliseconds(late)} late"
        if step.unsent:
            detail = f"this machine was too late for {step.unsent} of {asked} packets, and left them out"
        return Limit(LimitKind.SENDER, count, detail)
    if (slow or lossy) and step.busy > _BUSY:
        detail = f"this machine was busy with sending and counting for {percent(min(step.busy, 1.0))} of the time"
        return Limit(LimitKind.SENDER, count, detail)
    # A packet waits for its turn in this program twice, at the peer and when it is back.
    if slow and latency is not None and latency - 2 * late <= plan.max_latency:
        detail = (
            f"1 % of the packets took more than {milliseconds(latency)}, but this machine was {milliseconds(late)} late"
        )
        return Limit(LimitKind.SENDER, count, detail)
    if lossy:
        where = f"{step.lost_out} on the way to the peer, {step.lost_back} on the way back"
        return Limit(LimitKind.LOSS, count, f"{percent(step.total_loss)} of {step.sent} packets were lost: {where}")
    if slow:
        return Limit(LimitKind.LATENCY, count, f"1 % of the packets took more than {milliseconds(latency)}")
    return None


@dataclass(frozen=True, slots=True)
class Released:
    """Allocations of the server: how many were ``opened``, how many of them it has confirmed to have ``released``.

    ``lost`` ended before that; ``unconfirmed`` ones end by themselves after their ``lifetime`` in seconds.
    """

    opened: int
    released: int
    lost: int
    lifetime: int

    @property
    def unconfirmed(self) -> int:
        """Those that nobody knows of."""
        return self.opened - self.released - self.lost


@dataclass(frozen=True, slots=True)
class Verdict:
    """``code`` is OK, INTERRUPTED, or the kind of the limit."""

    code: str
    severity: Severity
    summary: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadReport:
    """A load test, finished or interrupted."""

    url: str
    server: str
    transport: str
    peer: str
    plan: LoadPlan
    verdict: Verdict
    held: int
    limit: Limit | None
    steps: tuple[Step, ...]
    setup: Spread
    opened: int
    released: int
    lost: int
    unconfirmed: int
    findings: tuple[Finding, ...] = ()

    _schema: ClassVar = "icekit/load/1"

    @property
    def ok(self) -> bool:
        """Whether the server held what was asked for; of a ramp, at least its first step."""
        return self.verdict.severity is Severity.OK


def held_allocations(plan: LoadPlan, steps: Sequence[Step]) -> int:
    """How many allocations the greatest step had in which nothing was too much."""
    return max((step.allocations for step in steps if judge(plan, step) is None), default=0)


def conclude(
    plan: LoadPlan, steps: Sequence[Step], limit: Limit | None, released: Released, *, interrupted: bool
) -> Verdict:
    """One word, and the sentence that a tired operator can act on."""
    held = held_allocations(plan, steps)
    good = next((step for step in reversed(steps) if step.allocations == held), None) if held else None
    parts = []
    if good is not None:
        parts.append(f"{held} allocations with {plan.rate:g} packets/s of {plan.size} bytes each hold: {_told(good)}")
    if limit is not None:
        parts.append(_sentence(plan, limit))
    elif interrupted:
        parts.append("interrupted before the end" if steps else "interrupted before anything was measured")
    elif plan.ramp:
        parts.append(f"no limit was found up to --max-allocations {plan.max_allocations}")
    if released.unconfirmed:
        if released.unconfirmed == 1:
            told = "1 allocation was not confirmed as released and ends by itself"
        else:
            told = f"{released.unconfirmed} allocations were not confirmed as released and end by themselves"
        parts.append(f"{told} within {released.lifetime} s")
    elif released.lost:
        parts.append(f"{released.released} of {released.opened} allocations are released, the others had ended")
    elif released.opened:
        parts.append(f"all {released.opened} allocations are released")
    # Of a ramp a limit is what was asked for.
    ok = held > 0 and (limit is None or plan.ramp)
    if ok and released.unconfirmed:
        return Verdict("NOT-RELEASED", Severity.ERROR, "; ".join(parts))
    code = "OK" if ok else limit.kind.value.upper() if limit is not None else "INTERRUPTED"
    return Verdict(code, Severity.OK if ok else Severity.ERROR, "; ".join(parts))


def _told(step: Step) -> str:
    loss = f"{percent(step.total_loss)} lost" if step.received < step.sent else "nothing lost"
    flow = "" if step.throughput.p50 is None else f", {mbit(step.throughput.p50)} back"
    return f"{loss}, there and back in {milliseconds(step.latency.p50)} (p99 {milliseconds(step.latency.p99)}){flow}"


def _sentence(plan: LoadPlan, limit: Limit) -> str:
    at = f"with {limit.allocations} allocations"
    match limit.kind:
        case LimitKind.REFUSED if not limit.allocations:
            return f"the server gave no allocation at all ({limit.detail})"
        case LimitKind.NO_PATH if not limit.allocations:
            return f"no allocation could be used: {limit.detail}"
        case LimitKind.REFUSED:
            return f"{at} open the server refused another one ({limit.detail})"
        case LimitKind.NO_PATH:
            return f"{at} open another one could not be used: {limit.detail}"
        case LimitKind.LOST:
            return f"{at} the server, or the connection to it, gave up: {limit.detail}"
        case LimitKind.LOSS:
            return f"{at} it lost too much (more than {percent(plan.max_loss)}): {limit.detail}"
        case LimitKind.LATENCY:
            return f"{at} it was too slow (more than {milliseconds(plan.max_latency)}): {limit.detail}"
        case LimitKind.SENDER:
            return (
                f"{at} the limit is not the server's: {limit.detail}; send less often, or from several machines at once"
            )


def percent(part: float) -> str:
    """A part of 1 for people."""
    return f"{100 * part:.2f}".rstrip("0").rstrip(".") + " %"
