"""Which pair of each component carries data, and which one both sides have agreed on (RFC 8445 §8.1.1, §12.1).

The first valid pair carries data, then each better one, until one is nominated. The controlling side nominates when a
better pair can hardly come any more; the controlled one takes what it is told.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from icekit.candidate import TcpType
from icekit.checklist import CandidatePair, Checklist, PairState
from icekit.ice_config import IceConfig

# A challenged pair answers within this or four round-trip times, the larger.
_CHALLENGE_TIME: Final = 1.0


@dataclass(frozen=True, slots=True)
class Chosen:
    """Data of its component uses this pair from now on."""

    pair: CandidatePair
    nominated: bool


@dataclass(frozen=True, slots=True)
class Improvable:
    """This pair is better than the nominated one; only a restart would take it."""

    pair: CandidatePair


@dataclass(slots=True)
class _Challenge:
    """A pair was nominated that ranks below the one in use, which is checked: it stays if it answers."""

    pair: CandidatePair
    since: float


@dataclass(slots=True)
class Selection:
    """The choice for every component of one generation; the tables are by component.

    ``selected`` carries data. ``nominated``: components that are agreed on. ``told``: what has changed, for the agent
    to drain. Nominations are numbered (``last_number``), and a later one replaces an earlier one. ``renominates``: both
    sides have announced ``ice-options:renomination``, and what becomes better afterwards is taken at once.
    """

    checklist: Checklist
    config: IceConfig
    selected: dict[int, CandidatePair] = field(default_factory=dict)
    nominated: set[int] = field(default_factory=set)
    nominating: dict[int, CandidatePair] = field(default_factory=dict)
    first_valid: dict[int, float] = field(default_factory=dict)
    renominates: bool = False
    last_number: int = 0
    told: list[Chosen | Improvable] = field(default_factory=list)
    _challenges: dict[int, _Challenge] = field(default_factory=dict)

    # What a check can change.

    def wants_answer(self, pair: CandidatePair) -> bool:
        """Whether a check of ``pair`` can change anything."""
        component = pair.component
        if pair.valid:
            challenged = component in self._challenges and self.selected.get(component) is pair
            return challenged or self.is_nominating(pair)
        # RFC 8445 §8.1.1: after the nomination only what would have won is of interest, or what the peer insists on.
        current = self.selected.get(component)
        decided = component in self.nominated and current is not None and current.priority >= pair.priority
        return not decided or pair.nominated_by_peer

    def is_nominating(self, pair: CandidatePair) -> bool:
        """Whether its checks carry a nomination."""
        return self.nominating.get(pair.component) is pair

    # What has happened.

    def leaves(self, pair: CandidatePair, now: float) -> None:
        """A check of ``pair`` leaves now."""
        if self.is_nominating(pair) and pair.nominating_since is None:
            pair.nominating_since = now

    def became_valid(self, pair: CandidatePair, now: float) -> None:
        """A pair got its first answer."""
        component = pair.component
        self.first_valid.setdefault(component, now)
        if pair.nominated_by_peer and not self.checklist.controlling:
            self.agreed(pair, now)
            return
        current = self.selected.get(component)
        if current is not None and current is not pair and current.valid and pair.priority <= current.priority:
            return
        # RFC 8445 §12.1: data may use any valid pair until one is nominated.
        if component not in self.nominated:
            self._select(pair)
        else:
            self._offer_better(pair)

    def answered(self, pair: CandidatePair, sent: float, *, nominating: bool, now: float) -> None:
        """A valid pair answered a check that left at ``sent``; ``nominating``: that carried a nomination."""
        challenge = self._challenges.get(pair.component)
        if challenge is not None and self.selected.get(pair.component) is pair and sent >= challenge.since:
            del self._challenges[pair.component]
        if nominating and self.is_nominating(pair):
            self.agreed(pair, now)

    def agreed(self, pair: CandidatePair, now: float) -> None:
        """The peer has nominated this valid pair, or confirmed that we did."""
        component = pair.component
        current = self.selected.get(component)
        self.nominating.pop(component, None)
        if component in self.nominated and current is not None:
            if current is pair or pair.nomination < current.nomination:
                return
            # RFC 5245 agents nominate several: the highest priority wins, if it is alive. An RFC 8445 agent nominates
            # another one only because it gets no answer on the first; icekit and libwebrtc then number it.
            if pair.nomination == current.nomination and current.priority > pair.priority:
                if component not in self._challenges and now - current.answered_at >= _CHALLENGE_TIME:
                    self._challenges[component] = _Challenge(pair, now)
                    self.checklist.trigger(current, first=True)
                return
            current.nominated = False
        pair.nominated = True
        self.nominated.add(component)
        self._challenges.pop(component, None)
        self._select(pair)
        best = self.checklist.best_valid(component)
        if best is not None and best.priority > pair.priority:
            self._offer_better(best)

    def died(self, dead: CandidatePair, now: float) -> None:
        """A valid pair does not answer any more before it is agreed on: the next best takes its place."""
        dead.state, dead.first_check = PairState.IN_PROGRESS, None
        if self.selected.get(dead.component) is dead:
            del self.selected[dead.component]
            best = self.checklist.best_valid(dead.component)
            while best is not None and best.consent_until <= now:
                best.state = PairState.IN_PROGRESS
                best = self.checklist.best_valid(dead.component)
            if best is None:
                self.first_valid.pop(dead.component, None)
            else:
                self._select(best)

    def disconnected(self, pair: CandidatePair) -> None:
        """The TCP connection under a pair is gone, or could not be opened.

        Of a pair in use another valid one takes the place. Is there none, it stays: an active one is opened again, and
        who was connected to waits for a new connection, until consent has run out (RFC 7675).
        """
        component = pair.component
        in_use = self.selected.get(component) is pair
        reopens = in_use and pair.valid and pair.local.candidate.tcptype is TcpType.ACTIVE
        pair.state, pair.first_check = PairState.IN_PROGRESS if reopens else PairState.FAILED, None
        pair.nominated = False
        if self.is_nominating(pair):
            del self.nominating[component]
        if in_use:
            # RFC 8445 §8.1.1 has one nomination for a connection that cannot end; the next one begins anew.
            self.nominated.discard(component)
            self._challenges.pop(component, None)
            best = self.checklist.best_valid(component)
            if best is None:
                self.first_valid.pop(component, None)
            else:
                self._select(best)
        if reopens:
            self.checklist.trigger(pair)

    def role_changed(self) -> None:
        """What was about to be nominated is the peer's to decide now, or ours to decide anew."""
        self.nominating.clear()
        self._challenges.clear()

    def clear(self) -> None:
        """Nothing carries data any more."""
        self.selected.clear()
        self.nominated.clear()

    # Decisions.

    @property
    def _is_calm(self) -> bool:
        """Whether there is nothing to decide: most of the time of a call, and asked for every packet."""
        calm = not self.nominating and not self._challenges
        return calm and (not self.checklist.controlling or self.nominated >= self.selected.keys())

    def get_timer(self) -> float | None:
        """When ``decide`` is wanted."""
        if self._is_calm:
            return None
        due = [self._settles_at(item) for item in self._undecided()]
        due += [self._gives_up_at(pair) for pair in self.nominating.values() if pair.nominating_since is not None]
        due += [self._yields_at(item) for item in self._challenges]
        return min(due, default=None)

    def decide(self, now: float, *, complete: bool) -> None:
        """Nominate, take back what nobody confirms, yield to the peer; ``complete``: no candidate will come."""
        if self._is_calm:
            return
        for component, pair in list(self.nominating.items()):
            if self._gives_up_at(pair) <= now:
                self._take_back(component, pair, now)
        for component in list(self._challenges):
            if self._yields_at(component) <= now:
                challenge, dead = self._challenges.pop(component), self.selected[component]
                dead.nominated = dead.nominated_by_peer = False
                dead.state = PairState.IN_PROGRESS
                self.nominated.discard(component)
                self.agreed(challenge.pair, now)
        for component in self._undecided():
            best = self.selected[component]
            if self._settles_at(component) <= now or (complete and not self.checklist.may_improve(best)):
                # RFC 8445 §8.1.1: one nomination for each component, by a check that is repeated with USE-CANDIDATE.
                self._nominate(best)

    def _undecided(self) -> Iterable[int]:
        """Components for which we have to nominate."""
        if not self.checklist.controlling:
            return ()
        decided = self.nominated | self.nominating.keys()
        return [item for item in self.first_valid if item not in decided and item in self.selected]

    def _settles_at(self, component: int) -> float:
        """The end of the window in which a better pair may still come."""
        slowest = max((pair.rtt or 0.0) for pair in self.checklist)
        window = min(self.config.settle_factor * slowest, self.config.settle_limit)
        return self.first_valid[component] + window

    def _gives_up_at(self, pair: CandidatePair) -> float:
        if pair.nominating_since is None:
            return float("inf")
        return pair.nominating_since + max(self.config.nomination_timeout, 4 * (pair.rtt or 0.0))

    def _yields_at(self, component: int) -> float:
        rtt = self.selected[component].rtt or 0.0
        return self._challenges[component].since + max(_CHALLENGE_TIME, 4 * rtt)

    def _nominate(self, pair: CandidatePair) -> None:
        self.last_number += 1
        pair.nomination = self.last_number
        self.nominating[pair.component] = pair
        # It is to be answered from when it leaves: with many agents in a process that can be seconds later.
        pair.nominating_since, pair.interval = None, 0.0
        self.checklist.trigger(pair, first=True)

    def _take_back(self, component: int, pair: CandidatePair, now: float) -> None:
        del self.nominating[component]
        current = self.selected.get(component)
        self.died(pair, now)
        if component in self.nominated and current is not None and current is not pair:
            # The peer may have taken what it could not confirm: only a later number brings it back.
            pair.nomination = 0
            self._nominate(current)

    def _offer_better(self, pair: CandidatePair) -> None:
        """It became valid after the nomination of a worse one."""
        if self.renominates:
            if self.checklist.controlling:
                self._nominate(pair)
        elif not pair.improvement_told:
            pair.improvement_told = True
            self.told.append(Improvable(pair))

    def _select(self, pair: CandidatePair) -> None:
        self.selected[pair.component] = pair
        self.told.append(Chosen(pair, pair.nominated))
