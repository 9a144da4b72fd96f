"""What became of a call, as a value: what ``icekit call`` prints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from icekit.call.call import Call
from icekit.call.measure import CallStats, UsedPair
from icekit.call.sinks import Level
from icekit.errors import CallFailed
from icekit.report import Finding


@dataclass(frozen=True, slots=True)
class CallOutcome:
    """``icekit/call/1``. Times in seconds since this side began; ``None``: it did not come to that.

    ``code`` and ``reason`` of a call that failed, else ``reason`` says how it ended. ``side`` is A for the one whose
    offer counted. ``sent`` and ``received`` count messages of the data channel. ``stats`` has one element a second.
    """

    ok: bool
    code: str | None
    reason: str
    peer: str | None
    side: str
    connected: float | None
    first_media: float | None
    pair: UsedPair | None
    levels: tuple[Level, ...]
    sent: int
    received: int
    findings: tuple[Finding, ...]
    stats: tuple[CallStats, ...]
    trace: dict[str, Any]

    _schema: ClassVar = "icekit/call/1"

    @classmethod
    def of(cls, call: Call, reason: str, *, sent: int, received: int, failure: CallFailed | None = None) -> CallOutcome:
        """The outcome of ``call``, as far as it has come."""
        marks = {mark.value: moment.first for mark, moment in call.trace.marks.items()}
        pair = next((item.pair for item in reversed(call.history) if item.pair is not None), None)
        return cls(
            ok=failure is None and "connected" in marks,
            code=None if failure is None else failure.code,
            reason=reason if failure is None else failure.reason,
            peer=call.peer,
            side="A" if call.trace.offers else "B",
            connected=marks.get("connected"),
            first_media=call.trace.first_media,
            pair=pair,
            levels=call.levels,
            sent=sent,
            received=received,
            findings=call.findings,
            stats=tuple(call.history),
            trace=call.trace.to_dict(),
        )
