"""What a TURN test has found so far, what it tells its owner, and the ``TurnReport`` that comes of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from icekit.net import Address, Transport
from icekit.path_mtu import PathMtu
from icekit.report import StageName, StageResult, TurnReport
from icekit.stage_failures import StageFailure

_ORDER: Final = tuple(StageName)


@dataclass(frozen=True, slots=True)
class StagePassed:
    """Progress: one more stage is done."""

    stage: StageResult


@dataclass(frozen=True, slots=True)
class TurnTested:
    """The test is over and the relay is given back."""

    report: TurnReport


def stages_of(transport: Transport) -> tuple[StageName, ...]:
    """The stages that a server behind ``transport`` has, in order."""
    missing = set()
    if not transport.is_stream:
        missing.add(StageName.CONNECT)
    if transport not in (Transport.TLS, Transport.DTLS):
        missing.add(StageName.TLS)
    return tuple(name for name in _ORDER if name not in missing)


class StageRecord:
    """``stage`` is the one that runs, since ``began``. ``done`` are the stages before the test (``resolve``)."""

    def __init__(self, url: str, transport: Transport, done: tuple[StageResult, ...] = ()) -> None:
        self.lifetime: int | None = None
        self.relayed: Address | None = None
        self.rtt: float | None = None
        self.mtu: PathMtu | None = None
        self.failure: StageFailure | None = None
        self.began = 0.0
        self._url = url
        self._transport = transport
        self._wanted = stages_of(transport)
        self._results = list(done)
        self._warnings: list[str] = []
        self.stage = self._first()

    def _first(self) -> StageName:
        return next(name for name in self._wanted if name is not StageName.RESOLVE)

    def has(self, name: StageName) -> bool:
        """Whether that stage has a result."""
        return any(result.name is name for result in self._results)

    def succeed(self, name: StageName, seconds: float, detail: str, now: float) -> StageResult:
        """The stage is passed, and the next one runs."""
        result = StageResult(name, True, seconds, detail)
        self._results.append(result)
        following = self._wanted[self._wanted.index(name) + 1 :]
        self.stage = following[0] if following else name
        self.began = now
        return result

    def fail(self, failure: StageFailure, now: float) -> StageResult:
        """The test ends here."""
        self.failure = failure
        result = StageResult(failure.stage, False, now - self.began, failure.detail)
        self._results.append(result)
        return result

    def end(self, confirmed: bool, seconds: float) -> None:
        """The relay is given back; ``confirmed`` by the server."""
        detail = "" if confirmed else f"not confirmed; the server frees it by itself within {self.lifetime or 600} s"
        self._results.append(StageResult(StageName.RELEASE, confirmed, seconds, detail))
        if not confirmed and self.failure is None and self.has(StageName.REFRESH):
            self.failure = StageFailure(StageName.RELEASE, "TURN-REFRESH", "release", detail)

    def warn(self, code: str) -> None:
        """Something that does not end the test."""
        if code not in self._warnings:
            self._warnings.append(code)

    def restart(self, now: float) -> None:
        """Another server is tested from here: what the first one did is no stage of it."""
        self._results = [result for result in self._results if result.name is StageName.RESOLVE]
        self.stage = self._first()
        self.began = now

    def _reason(self) -> dict[str, str]:
        """Why the size of packets was not measured."""
        if self.mtu is not None:
            return {}
        if self._transport is not Transport.UDP:
            why = f"the way to the server is {self._transport.upper()}, which cuts data as it needs to"
        elif self.has(StageName.ECHO):
            why = "small packets were lost, too, or the test was cut short"
        else:
            why = "no data came through the relay"
        return {"packet_passed": why}

    def report(self, server: Address) -> TurnReport:
        """The report; ``server`` is the one that was tested in the end."""
        results = sorted(self._results, key=lambda result: _ORDER.index(result.name))
        seen = {result.name for result in results} | {StageName.RESOLVE}
        untested = tuple(
            name
            for name in self._wanted
            if name not in seen and (name is not StageName.RELEASE or self.relayed is not None)
        )
        failure = self.failure
        return TurnReport(
            url=self._url,
            ok=failure is None and not untested,
            failed_stage=None if failure is None else failure.stage,
            code=None if failure is None else failure.code,
            cause=None if failure is None else failure.cause,
            lifetime=self.lifetime,
            relayed_address=None if self.relayed is None else str(self.relayed),
            rtt=self.rtt,
            packet_passed=None if self.mtu is None else self.mtu.passed,
            packet_lost=None if self.mtu is None else self.mtu.lost,
            reason=self._reason(),
            stages=tuple(results),
            server_address=str(server),
            warnings=tuple(self._warnings),
            not_tested=untested,
        )
