"""What lies between two ICE restarts (RFC 8445 §9): credentials, pairs, open checks, and which check is the next."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from icekit.candidate import Candidate
from icekit.checklist import CandidatePair, Checklist, PairKey, PairState
from icekit.ice_config import IceConfig
from icekit.pacing import AT_ONCE
from icekit.selection import Selection
from icekit.stun import IntegrityKey, short_term_key

LONGEST_CREDENTIAL: Final = 256
"""Characters of a user name fragment or password at most (RFC 8839 §5.4); two fragments fit into one USERNAME."""


@dataclass(slots=True)
class OpenCheck:
    """A check that may still be answered; ``nominating``: it nominates its pair.

    ``size``: the IP packet that it is in (bytes), where the answer is of no other interest.
    """

    pair: CandidatePair
    sent: float
    controlling: bool
    nominating: bool
    size: int | None = None


class Generation:
    """One generation; ``remote_key`` is None until the peer's credentials are known, ``started`` until it has ours."""

    def __init__(self, ufrag: str, password: str, *, controlling: bool, config: IceConfig) -> None:
        self.ufrag = ufrag
        self.password = password
        self.key = short_term_key(password)
        self.config = config
        self.checklist = Checklist(controlling, config.max_pairs)
        self.selection = Selection(self.checklist, config)
        self.components = tuple(range(1, config.components + 1))
        self.remote_ufrag: str | None = None
        self.remote_password: str | None = None
        self.remote_key: IntegrityKey | None = None
        self.started: float | None = None
        self.early_checks: dict[PairKey, tuple[Candidate, int | None]] = {}
        self.remote_complete = False
        self.local_complete = False
        self._checks: dict[bytes, OpenCheck] = {}

    def __repr__(self) -> str:
        return f"Generation({self.ufrag!r}, {len(self.checklist.pairs)} pairs)"

    def meet(self, ufrag: str, password: str) -> None:
        """The peer's credentials are known: checks may leave."""
        self.remote_ufrag, self.remote_password = ufrag, password
        self.remote_key = short_term_key(password)

    def start(self, now: float) -> None:
        """The peer has ours, too: from here on the patience counts, anew for pairs that have used it up before."""
        self.started = now
        for pair in self.checklist:
            if pair.state is PairState.FAILED and self._has_used_up(pair, now):
                pair.state, pair.first_check = PairState.WAITING, None

    def end_of_remote_candidates(self) -> None:
        """The peer has told everything: components of which it has told nothing are not used, as with rtcp-mux."""
        self.remote_complete = True
        told = {candidate.component for candidate in self.checklist.remotes}
        self.components = tuple(item for item in self.components if item in told) or self.components

    @property
    def is_settled(self) -> bool:
        """Whether every component has its nominated pair."""
        return all(item in self.selection.nominated for item in self.components)

    def decide(self, now: float) -> None:
        """Let the selection do what is due."""
        self.selection.decide(now, complete=self.local_complete and self.remote_complete)

    # Open checks.

    @property
    def open_checks(self) -> int:
        """How many checks may still be answered."""
        return len(self._checks)

    def remember(self, transaction_id: bytes, check: OpenCheck) -> None:
        """A check leaves; the oldest gives way when there are too many."""
        if len(self._checks) >= self.config.max_open_checks:
            del self._checks[next(iter(self._checks))]
        self._checks[transaction_id] = check

    def open_check(self, transaction_id: bytes) -> OpenCheck | None:
        """The check that an answer with this identifier belongs to."""
        return self._checks.get(transaction_id)

    def answered(self, transaction_id: bytes) -> None:
        """A check had its answer: a second one counts no more."""
        del self._checks[transaction_id]

    def forget_checks(self, now: float) -> None:
        """Checks that are too old to be answered."""
        oldest = now - self.config.check_lifetime
        while self._checks and (first := next(iter(self._checks.items())))[1].sent <= oldest:
            del self._checks[first[0]]

    # Who is checked next.

    @property
    def has_new_pair(self) -> bool:
        """Whether a pair that was never checked waits for a slot."""
        return self.remote_key is not None and self.checklist.next_waiting(self.selection.wants_answer) is not None

    def next_check(self, now: float, *, only_urgent: bool = False) -> CandidatePair | None:
        """Who gets a free slot: triggered checks, then the first pair on an open path, which both go before gathering,
        then new pairs by priority, then whoever waited longest.
        """
        if self.remote_key is None:
            return None
        triggered = self.checklist.triggered
        while triggered:
            pair = triggered.pop(0)
            if self.selection.wants_answer(pair):
                return pair
        if (likely := self._first_on_open_path()) is not None or only_urgent:
            return likely
        for pair in self.checklist:
            # RFC 8863 §4: a pair has as much time as all of them.
            if pair.state is PairState.IN_PROGRESS and self._has_used_up(pair, now):
                pair.state = PairState.FAILED
        new = self.checklist.next_waiting(self.selection.wants_answer)
        if new is not None:
            return new
        due = (pair for pair in self._unanswered() if pair.retry_at <= now)
        return min(due, key=lambda pair: pair.last_check, default=None)

    def check_due(self, *, only_urgent: bool = False) -> float | None:
        """When the next check (``only_urgent``: one that goes before gathering) wants a slot; AT_ONCE for a new one."""
        if self.remote_key is None:
            return None
        if any(self.selection.wants_answer(pair) for pair in self.checklist.triggered):
            return AT_ONCE
        if only_urgent:
            return None if self._first_on_open_path() is None else AT_ONCE
        due: float | None = None
        for pair in self.checklist.pairs.values():
            if pair.state is not PairState.FAILED and self.selection.wants_answer(pair):
                if pair.state is PairState.WAITING or pair.state is PairState.FROZEN:
                    return AT_ONCE
                if due is None or pair.retry_at < due:
                    due = pair.retry_at
        return due

    def _first_on_open_path(self) -> CandidatePair | None:
        """The best pair that needs no server, as long as no check of its component has left.

        What the servers tell cannot make it better, so its check does not wait for theirs. One for each component, so
        that an open path that is closed after all costs the gathering one slot.
        """
        asked = {
            pair.component for pair in self.checklist if pair.state in (PairState.IN_PROGRESS, PairState.SUCCEEDED)
        }
        return max(
            (
                pair
                for pair in self.checklist
                if pair.openness
                and pair.component not in asked
                and pair.state in (PairState.WAITING, PairState.FROZEN)
                and self.selection.wants_answer(pair)
            ),
            key=lambda pair: (pair.openness, pair.priority),
            default=None,
        )

    def _has_used_up(self, pair: CandidatePair, now: float) -> bool:
        return pair.first_check is not None and now >= pair.first_check + self.config.patience

    def _unanswered(self) -> Iterable[CandidatePair]:
        asked = (PairState.IN_PROGRESS, PairState.SUCCEEDED)
        wants = self.selection.wants_answer
        return (pair for pair in self.checklist if pair.state in asked and wants(pair))

    def pace(self, pair: CandidatePair, now: float, ta: float) -> None:
        """A check of the pair leaves now: when may the next one?"""
        self.selection.leaves(pair, now)
        if pair.first_check is None:
            pair.first_check, pair.interval = now, 0.0
        # What TCP has taken arrives (RFC 6544 §7.1): a repetition is only for a peer that was not ready for the first.
        dense = self.config.retry_limit if pair.local.transport.is_stream else max(2 * ta, self.config.retry_floor)
        if pair.valid:
            # Its round-trip time is known: asking more often only repeats what is under way.
            pair.interval = max(dense, min(1.5 * (pair.rtt or 0.0), self.config.retry_limit))
        elif now - pair.first_check < self.config.retry_dense:
            pair.interval = dense
        else:
            pair.interval = max(dense, min(2 * pair.interval, self.config.retry_limit))
        if not pair.valid:
            pair.state = PairState.IN_PROGRESS


def credential_flaw(ufrag: str, password: str) -> str | None:
    """Why no check can be made with these credentials of a peer (RFC 8839 §5.4), for people; ``None``: it can."""
    for name, attribute, text, shortest in (
        ("user name fragment", "ice-ufrag", ufrag, 4),
        ("password", "ice-pwd", password, 22),
    ):
        fits = shortest <= len(text) <= LONGEST_CREDENTIAL
        # The grammar has letters, digits, + and / only; there are agents that use others, such as - and _.
        if not (fits and text.isascii() and text.isprintable()):
            # The password is a secret and is not shown.
            return (
                f"the peer's {name} wants {shortest} to {LONGEST_CREDENTIAL} letters, digits, + or /, and has "
                f"{'others' if fits else len(text)}; look at a={attribute} of its description: "
                "it was cut, or has a tab or a line end"
            )
    return None
