"""How long a description that cannot trickle waits for servers that have not answered."""

from __future__ import annotations

from icekit.candidate import Candidate, CandidateType

# Seconds. Whoever waits for a call notices a second; nobody is 2 s away.
_STRAGGLER, _FIRST_ANSWER, _LIMIT = 0.3, 1.0, 2.0
# A relay takes two round trips to where a mapped address takes one, and its server may be farther away.
_FARTHER = 1.5


class Patience:
    """Of one gathering: the candidates that it has found, with the time of the loop."""

    def __init__(self) -> None:
        self._last: float | None = None
        self._answered: float | None = None

    def found(self, candidate: Candidate, now: float) -> None:
        """One more."""
        self._last = now
        if self._answered is None and candidate.type is not CandidateType.HOST:
            self._answered = now

    def ends(self, asked: float) -> float:
        """Until when to wait, of somebody who waits since ``asked``: 2 s at most.

        300 ms after the last candidate, or one and a half times what the first server took, if that is longer; for the
        first one to answer a second.
        """
        if self._last is None:
            return asked + _LIMIT
        if self._answered is None:
            return max(self._last + _STRAGGLER, asked + _FIRST_ANSWER)
        return min(asked + _LIMIT, self._last + max(_STRAGGLER, _FARTHER * (self._answered - asked)))
