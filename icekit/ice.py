"""The ICE agent (RFC 8445) with trickle (8838), consent (7675) and patience (8863), as an ``Endpoint``.

Everything it knows of the network are the bases of its local candidates; the owner sends what ``datagrams_to_send``
gives, from the base that is its source. Checks start as soon as both credentials are known, candidates may come at any
time. Data may be sent on the first valid pair (RFC 8445 §12.1), and moves to better ones until one is nominated.

Density of checks comes from new transactions, never from retransmissions: a pair without an answer gets a fresh check
when a slot is free and its last one is some milliseconds old, and an answer to any of them counts. So a packet lost at
a NAT that was still closed costs one interval, not a retransmission timeout.
"""

from __future__ import annotations

import logging
from base64 import b64encode
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Final

from icekit import attributes as attr
from icekit.candidate import Candidate, CandidateType
from icekit.checklist import CandidatePair, Checklist, LocalCandidate, PairState
from icekit.errors import DecodeError, InvalidState
from icekit.ice_events import (
    DataReceived,
    IceEvent,
    IceState,
    PairImproved,
    PairSelected,
    PairStats,
    RoleChanged,
    SelectedPair,
    StateChanged,
)
from icekit.net import Address, Datagram
from icekit.pacing import Floor, Pacer
from icekit.stun import (
    Class,
    IntegrityKey,
    Message,
    Method,
    decode,
    failure,
    is_stun,
    request,
    short_term_key,
    success,
)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class IceConfig:
    """How an agent behaves; times in seconds.

    ``ta``: between transactions (RFC 8445 §14.2). ``peer_ta``: assumed for a peer that proposes nothing.
    ``retry_floor``: a pair without an answer is checked again after this or 2 Ta, the larger, for ``retry_dense``
    seconds; then at intervals doubling to ``retry_limit``. ``patience``: no failure before (RFC 8863 §4).
    ``settle_factor`` and ``settle_limit``: how long the controlling side waits for a better pair before it nominates,
    in round-trip times and at most. ``consent_interval``, ``consent_timeout``: RFC 7675 §5.1. ``disconnected_after``:
    silence that is shown. ``quiet``: silence after which a check is sent early, so that a lost one is not taken for
    that. The rest are bounds of what a peer can make grow.
    """

    components: int = 1
    ta: float = 0.005
    peer_ta: float = 0.02
    retry_floor: float = 0.02
    retry_dense: float = 1.0
    retry_limit: float = 0.5
    patience: float = 39.5
    settle_factor: float = 2.0
    settle_limit: float = 0.5
    consent_interval: float = 5.0
    consent_timeout: float = 30.0
    disconnected_after: float = 5.0
    quiet: float = 3.5
    transaction_lifetime: float = 10.0
    max_pairs: int = 100
    max_early_checks: int = 32
    max_early_data: int = 16
    max_pending_candidates: int = 64
    max_events: int = 1024
    peer_is_lite: bool = False


@dataclass(slots=True)
class _Check:
    pair: CandidatePair
    sent: float
    controlling: bool
    nominating: bool


@dataclass(slots=True)
class _Generation:
    """Credentials, pairs and open checks between two restarts (RFC 8445 §9)."""

    ufrag: str
    key: IntegrityKey
    checklist: Checklist
    password: str = field(repr=False, default="")
    remote_ufrag: str | None = None
    remote_key: IntegrityKey | None = None
    started: float | None = None
    checks: dict[bytes, _Check] = field(default_factory=dict)
    selected: dict[int, CandidatePair] = field(default_factory=dict)
    nominated: set[int] = field(default_factory=set)
    nominating: dict[int, CandidatePair] = field(default_factory=dict)
    settle_at: dict[int, float] = field(default_factory=dict)
    improved: set[CandidatePair] = field(default_factory=set)
    early_checks: deque[tuple[Address, Candidate, bool]] = field(default_factory=deque)
    remote_complete: bool = False
    local_complete: bool = False


_UFRAG_BYTES: Final = 6
_PASSWORD_BYTES: Final = 18


class IceAgent:
    """One agent. ``token_bytes`` gives random bytes; ``floor`` is shared by all agents of a process.

    ``credentials``: user name fragment and password of the first generation, instead of random ones.
    """

    def __init__(
        self,
        controlling: bool,
        token_bytes: Callable[[int], bytes],
        *,
        config: IceConfig | None = None,
        floor: Floor | None = None,
        credentials: tuple[str, str] | None = None,
    ) -> None:
        self.config = config or IceConfig()
        self.state = IceState.NEW
        self._token_bytes = token_bytes
        self._tiebreaker = int.from_bytes(token_bytes(8))
        self._pacer = Pacer(self.config.ta, floor or Floor(0.0))
        self._now_generation = self._make_generation(controlling, credentials)
        self._old_generation: _Generation | None = None
        self._pending: dict[str, list[Candidate]] = {}
        self._out: list[Datagram] = []
        self._events: deque[IceEvent] = deque()
        self._early_data: deque[Datagram] = deque()
        self._consent_until: dict[int, float] = {}
        self._consent_at: dict[int, float] = {}
        self._last_heard: float | None = None
        self.dropped = 0

    # What the owner calls.

    @property
    def controlling(self) -> bool:
        """The role (RFC 8445 §6.1.1); it changes only by a conflict."""
        return self._now_generation.checklist.controlling

    @property
    def local_ufrag(self) -> str:
        """The user name fragment of this generation."""
        return self._now_generation.ufrag

    @property
    def local_password(self) -> str:
        """The password of this generation; a secret between the two peers."""
        return self._now_generation.password

    def set_pacing(self, peer_ta: float | None) -> None:
        """What the peer proposed (``a=ice-pacing``, RFC 8839 §5.7), ``None`` for nothing; the larger value is used."""
        self._pacer.ta = max(self.config.ta, self.config.peer_ta if peer_ta is None else peer_ta)

    def add_local_candidate(self, local: LocalCandidate, now: float) -> None:
        """A candidate was gathered; it takes part at once."""
        self._require_open("add_local_candidate")
        self._now_generation.checklist.add_local(local)

    def end_of_local_candidates(self, now: float) -> None:
        """Gathering is over."""
        self._now_generation.local_complete = True
        self._after(now)

    def set_remote_credentials(self, ufrag: str, password: str, now: float) -> None:
        """The peer's credentials are known: checks begin, and what came early is looked at again."""
        self._require_open("set_remote_credentials")
        generation = self._now_generation
        if generation.remote_ufrag is not None:
            if generation.remote_ufrag == ufrag:
                return
            raise InvalidState("the peer has new credentials: restart() before they are set")
        generation.remote_ufrag, generation.remote_key = ufrag, short_term_key(password)
        generation.started = now
        self._set_state(IceState.CHECKING)
        for candidate in self._pending.pop(ufrag, ()):
            generation.checklist.add_remote(candidate)
        self._pending.clear()
        early, generation.early_checks = generation.early_checks, deque()
        for base, candidate, nominated in early:
            self._heard_check(generation, base, candidate, nominated, now)
        self._after(now)

    def add_remote_candidate(self, candidate: Candidate, now: float, ufrag: str | None = None) -> None:
        """A candidate of the peer. One of another generation (by ``ufrag``) waits for its credentials, bounded."""
        self._require_open("add_remote_candidate")
        generation = self._now_generation
        if ufrag is None:
            ufrag = next((value for name, value in candidate.extensions if name == "ufrag"), None)
        if ufrag is not None and ufrag != generation.remote_ufrag:
            waiting = sum(len(candidates) for candidates in self._pending.values())
            if waiting < self.config.max_pending_candidates:
                self._pending.setdefault(ufrag, []).append(candidate)
            return
        generation.checklist.add_remote(candidate)
        self._after(now)

    def end_of_remote_candidates(self, now: float) -> None:
        """The peer has no more candidates for this generation (RFC 8838 §13)."""
        self._now_generation.remote_complete = True
        self._after(now)

    def restart(self, now: float) -> None:
        """New credentials and checks (RFC 8445 §9); the old pair carries data until a new one is valid."""
        self._require_open("restart")
        old = self._now_generation
        if old.selected:
            self._old_generation = old
        self._now_generation = self._make_generation(old.checklist.controlling)
        for local in old.checklist.locals:
            self._now_generation.checklist.add_local(local)
        if not old.selected:
            self._set_state(IceState.NEW)

    def send(self, component: int, data: bytes, now: float) -> None:
        """Send data on the best valid pair; InvalidState when there is none (yet, or any more)."""
        pair = self._data_pair(component)
        if pair is None:
            raise InvalidState(f"component {component} has no valid pair")
        pair.bytes_sent += len(data)
        self._out.append(Datagram(pair.local.base, pair.remote_address, data))

    def selected_pair(self, component: int = 1) -> SelectedPair | None:
        """The pair that carries data now."""
        pair = self._data_pair(component)
        return None if pair is None else self._describe(pair)

    def is_settled(self) -> bool:
        """Whether every component has its nominated pair."""
        return len(self._now_generation.nominated) == self.config.components

    def stats(self) -> tuple[PairStats, ...]:
        """Every pair in numbers."""
        generation = self._now_generation
        return tuple(
            PairStats(
                pair.component,
                pair.local.candidate,
                pair.remote,
                pair.state.value,
                pair.priority,
                pair.nominated,
                generation.selected.get(pair.component) is pair,
                pair.rtt,
                pair.checks_sent,
                pair.checks_received,
                pair.responses_received,
                pair.bytes_sent,
                pair.bytes_received,
            )
            for pair in generation.checklist
        )

    # Endpoint.

    def receive_datagram(self, datagram: Datagram, now: float) -> None:
        """Take a check, an answer or data; whatever cannot be authenticated changes nothing."""
        if self.state is IceState.CLOSED:
            self.dropped += 1
            return
        if not is_stun(datagram.data):
            self._receive_data(datagram, now)
            return
        try:
            message = decode(datagram.data)
            match message.message_class:
                case Class.REQUEST if message.method == Method.BINDING:
                    self._receive_request(message, datagram, now)
                case Class.SUCCESS | Class.ERROR:
                    self._receive_response(message, datagram, now)
                case Class.INDICATION if message.method == Method.BINDING:
                    pass  # a keepalive (RFC 8445 §11)
                case _:
                    self.dropped += 1
        except DecodeError as error:
            self.dropped += 1
            log.debug("! %s from %s", error, datagram.source)
        self._after(now)

    def handle_timer(self, now: float) -> None:
        """Send the checks that are due, nominate, look after consent, give up."""
        if self.state in (IceState.CLOSED, IceState.FAILED):
            return
        self._forget_checks(now)
        self._consent(now)
        self._settle(now)
        while self._pacer.free_at() <= now and (pair := self._next_check(now)) is not None:
            self._pacer.take(now)
            self._send_check(self._now_generation, pair, now)
        self._after(now)

    def get_timer(self) -> float | None:
        """When a check, a decision or a consent check is due."""
        if self.state in (IceState.CLOSED, IceState.FAILED):
            return None
        generation = self._now_generation
        kept = (self._old_generation or generation).selected
        due = [
            min(self._consent_due(component, pair), self._consent_until[component]) for component, pair in kept.items()
        ]
        if self._last_heard is not None and self.state in (IceState.CONNECTED, IceState.COMPLETED):
            due.append(self._last_heard + self.config.disconnected_after)
        if generation.started is not None:
            decided = generation.nominated | generation.nominating.keys()
            due += [when for component, when in generation.settle_at.items() if component not in decided]
            check = self._check_due(generation)
            if check is not None:
                due.append(max(check, self._pacer.free_at()))
            if not self._is_connected(generation) and self._old_generation is None:
                due.append(generation.started + self.config.patience)
        return min(due, default=None)

    def datagrams_to_send(self) -> list[Datagram]:
        """Drain."""
        out, self._out = self._out, []
        return out

    def next_event(self) -> IceEvent | None:
        """Drain."""
        return self._events.popleft() if self._events else None

    def close(self, now: float) -> None:
        """Stop. ICE has no farewell: the peer notices by consent (RFC 7675)."""
        if self.state is not IceState.CLOSED:
            self._set_state(IceState.CLOSED)
            self._out.clear()
            self._consent_at.clear()
            self._consent_until.clear()

    # Requests of the peer.

    def _receive_request(self, message: Message, datagram: Datagram, now: float) -> None:
        username = message.get(attr.USERNAME)
        generation = self._generation_of(username)
        if username is None or not message.has_integrity():
            self._answer(datagram, failure(message, 400), None)
            return
        if generation is None or not message.verify(generation.key):
            # RFC 8489 §9.1.3: wrong integrity is 401, and nothing is remembered of the sender.
            self._answer(datagram, failure(message, 401), None)
            return
        if unknown := message.unknown_required():
            answer = failure(message, 420, attr.UNKNOWN_ATTRIBUTES(unknown))
            self._answer(datagram, answer, generation.key)
            return
        priority = message.get(attr.PRIORITY)
        if priority is None:
            self._answer(datagram, failure(message, 400), generation.key)
            return
        if not self._agree_on_role(message, datagram, generation):
            return
        self._last_heard = now
        mapped = attr.XOR_MAPPED_ADDRESS(datagram.source)
        self._answer(datagram, success(message, mapped), generation.key)
        nominated = message.get(attr.USE_CANDIDATE) is True and not generation.checklist.controlling
        component = self._component_of(generation, datagram.destination)
        if component is None:
            return
        # A peer-reflexive candidate, unless one with that address is known (RFC 8445 §7.3.1.3).
        heard = Candidate(
            foundation=f"prflx{datagram.source.port}",
            component=component,
            transport="udp",
            priority=max(1, priority & 0x7FFFFFFF),
            address=datagram.source.host,
            port=datagram.source.port,
            type=CandidateType.PEER_REFLEXIVE,
        )
        if generation.remote_key is None:
            if len(generation.early_checks) < self.config.max_early_checks:
                generation.early_checks.append((datagram.destination, heard, nominated))
            return
        self._heard_check(generation, datagram.destination, heard, nominated, now)

    def _heard_check(
        self, generation: _Generation, base: Address, candidate: Candidate, nominated: bool, now: float
    ) -> None:
        """RFC 8445 §7.3.1.4: check the pair in the other direction at once, whatever its state, unless it is valid."""
        pair = generation.checklist.form_heard(base, candidate)
        if pair is None:
            self.dropped += 1
            return
        pair.checks_received += 1
        if not pair.heard:
            pair.heard = True
            self._deliver_early_data(pair)
        if nominated:
            pair.nominated_by_peer = True
            if pair.valid:
                self._nominated(generation, pair, now)
        if not pair.valid:
            if pair.state is PairState.FAILED:
                pair.first_check = None
            if pair.state is not PairState.IN_PROGRESS:
                pair.state = PairState.WAITING
            generation.checklist.trigger(pair)

    def _agree_on_role(self, message: Message, datagram: Datagram, generation: _Generation) -> bool:
        """RFC 8445 §7.3.1.1: of two agents with one role, the larger tie-breaker keeps control."""
        controlling = generation.checklist.controlling
        theirs = message.get(attr.ICE_CONTROLLING if controlling else attr.ICE_CONTROLLED)
        if theirs is None:
            return True
        if (self._tiebreaker >= theirs) == controlling:
            self._answer(datagram, failure(message, 487), generation.key)
            return False
        self._switch_role(not controlling)
        return True

    def _switch_role(self, controlling: bool) -> None:
        if controlling != self.controlling:
            generation = self._now_generation
            generation.checklist.set_role(controlling)
            generation.nominating.clear()
            generation.settle_at.clear()
            self._emit(RoleChanged(controlling))

    def _answer(self, datagram: Datagram, message: Message, key: IntegrityKey | None) -> None:
        data = message.encode(key, fingerprint=True)
        self._out.append(Datagram(datagram.destination, datagram.source, data))

    # Our own checks.

    def _next_check(self, now: float) -> CandidatePair | None:
        """Who gets a free slot: triggered checks, then new pairs by priority, then whoever waited longest."""
        generation = self._now_generation
        if generation.remote_key is None:
            return None
        triggered = generation.checklist.triggered
        while triggered:
            pair = triggered.popleft()
            if not pair.valid or generation.nominating.get(pair.component) is pair:
                return pair
        waiting = generation.checklist.next_waiting()
        if waiting is not None:
            return waiting
        return min(
            (pair for pair in self._unanswered(generation) if self._retry_at(pair) <= now),
            key=lambda pair: pair.last_check,
            default=None,
        )

    def _check_due(self, generation: _Generation) -> float | None:
        if generation.remote_key is None:
            return None
        checklist = generation.checklist
        if checklist.triggered or checklist.next_waiting() is not None:
            return float("-inf")
        return min((self._retry_at(pair) for pair in self._unanswered(generation)), default=None)

    def _unanswered(self, generation: _Generation) -> Iterable[CandidatePair]:
        for pair in generation.checklist:
            if pair.state is PairState.IN_PROGRESS or generation.nominating.get(pair.component) is pair:
                yield pair

    def _retry_at(self, pair: CandidatePair) -> float:
        return pair.last_check + pair.interval

    def _send_check(self, generation: _Generation, pair: CandidatePair, now: float) -> None:
        checklist = generation.checklist
        nominating = generation.nominating.get(pair.component) is pair
        if pair.first_check is None:
            pair.first_check = now
        dense = max(2 * self._pacer.ta, self.config.retry_floor)
        if now - pair.first_check < self.config.retry_dense:
            pair.interval = dense
        else:
            pair.interval = min(max(dense, 2 * pair.interval), self.config.retry_limit)
        if nominating:
            # Its round-trip time is known: asking more often only repeats what is under way.
            pair.interval = max(dense, min(1.5 * (pair.rtt or 0.1), self.config.retry_limit))
        if not pair.valid:
            pair.state = PairState.IN_PROGRESS
        pair.last_check = now
        self._transmit_check(generation, pair, now, nominating=nominating and checklist.controlling)

    def _transmit_check(self, generation: _Generation, pair: CandidatePair, now: float, *, nominating: bool) -> None:
        assert generation.remote_key is not None
        controlling = generation.checklist.controlling
        transaction_id = self._token_bytes(12)
        # RFC 8445 §7.1.1: the priority that a peer-reflexive candidate would have if this check discovers one.
        priority = 110 << 24 | pair.local.candidate.priority & 0xFFFFFF
        role = attr.ICE_CONTROLLING if controlling else attr.ICE_CONTROLLED
        items = [
            attr.USERNAME(f"{generation.remote_ufrag}:{generation.ufrag}"),
            attr.PRIORITY(priority),
            role(self._tiebreaker),
        ]
        if nominating:
            items.append(attr.USE_CANDIDATE(True))
        data = request(Method.BINDING, transaction_id, *items).encode(generation.remote_key, fingerprint=True)
        generation.checks[transaction_id] = _Check(pair, now, controlling, nominating)
        pair.checks_sent += 1
        self._out.append(Datagram(pair.local.base, pair.remote_address, data))

    def _receive_response(self, message: Message, datagram: Datagram, now: float) -> None:
        for generation in self._generations():
            check = generation.checks.get(message.transaction_id)
            if check is not None and generation.remote_key is not None and message.verify(generation.remote_key):
                break
        else:
            self.dropped += 1
            return
        del generation.checks[message.transaction_id]
        pair = check.pair
        # RFC 8445 §7.2.5.2.1: an answer must come from where the check went, and arrive where it left.
        if (datagram.source, datagram.destination) != (pair.remote_address, pair.local.base):
            self.dropped += 1
            return
        self._last_heard = now
        if message.message_class is Class.ERROR:
            self._check_refused(generation, check, message)
            return
        mapped = message.get(attr.XOR_MAPPED_ADDRESS)
        if mapped is None:
            self.dropped += 1
            return
        pair.responses_received += 1
        pair.rtt = now - check.sent if pair.rtt is None else min(pair.rtt, now - check.sent)
        pair.mapped = mapped
        if generation.selected.get(pair.component) is pair:
            # RFC 7675 §5.1: any authenticated answer renews the consent.
            self._consent_until[pair.component] = now + self.config.consent_timeout
        if not pair.valid:
            pair.state = PairState.SUCCEEDED
            generation.checklist.thaw(pair.foundation)
            self._became_valid(generation, pair, now)
        if check.nominating and check.controlling and generation.checklist.controlling:
            self._nominated(generation, pair, now)

    def _check_refused(self, generation: _Generation, check: _Check, message: Message) -> None:
        code = message.error().code
        log.debug("! check of %s refused: %s", check.pair.remote_address, code)
        if code == 487:
            # RFC 8445 §7.2.5.1: change to the other role, once for one conflict, and try again.
            if check.controlling == generation.checklist.controlling:
                self._switch_role(not check.controlling)
                self._tiebreaker = int.from_bytes(self._token_bytes(8))
            generation.checklist.trigger(check.pair)
        elif not check.pair.valid:
            check.pair.state = PairState.FAILED

    def _forget_checks(self, now: float) -> None:
        oldest = now - self.config.transaction_lifetime
        for generation in self._generations():
            expired = [key for key, check in generation.checks.items() if check.sent <= oldest]
            for key in expired:
                del generation.checks[key]

    # Selection.

    def _became_valid(self, generation: _Generation, pair: CandidatePair, now: float) -> None:
        component = pair.component
        if pair.nominated_by_peer and not generation.checklist.controlling:
            self._nominated(generation, pair, now)
            return
        current = generation.selected.get(component)
        if component in generation.nominated:
            if current is not None and pair.priority > current.priority and pair not in generation.improved:
                generation.improved.add(pair)
                self._emit(PairImproved(self._describe(pair)))
            return
        if current is None or pair.priority > current.priority:
            self._select(generation, pair, now)
        if generation.checklist.controlling and component not in generation.settle_at:
            slowest = max(other.rtt or 0.0 for other in generation.checklist)
            generation.settle_at[component] = now + min(self.config.settle_factor * slowest, self.config.settle_limit)

    def _settle(self, now: float) -> None:
        """Nominate the best valid pair of each component whose window is over, or that nothing can beat."""
        generation = self._now_generation
        if not generation.checklist.controlling:
            return
        for component, when in list(generation.settle_at.items()):
            if component in generation.nominated or component in generation.nominating:
                continue
            best = generation.checklist.best_valid(component)
            if best is None:
                del generation.settle_at[component]
            elif when <= now or self._is_final(generation, best):
                generation.settle_at[component] = now
                generation.nominating[component] = best
                best.interval = 0.0
                generation.checklist.triggered.appendleft(best)

    def _is_final(self, generation: _Generation, best: CandidatePair) -> bool:
        complete = generation.local_complete and generation.remote_complete
        return complete and not generation.checklist.may_improve(best)

    def _nominated(self, generation: _Generation, pair: CandidatePair, now: float) -> None:
        component = pair.component
        generation.nominating.pop(component, None)
        generation.settle_at.pop(component, None)
        current = generation.selected.get(component)
        # RFC 5245 agents nominate several: the highest priority wins (RFC 8445 §8.1.1 allows only one).
        if (
            component in generation.nominated
            and current is not None
            and (generation.checklist.controlling or current is pair or current.priority >= pair.priority)
        ):
            return
        pair.nominated = True
        generation.nominated.add(component)
        self._select(generation, pair, now)
        if generation is self._now_generation and self.is_settled():
            self._set_state(IceState.COMPLETED)

    def _select(self, generation: _Generation, pair: CandidatePair, now: float) -> None:
        component = pair.component
        generation.selected[component] = pair
        if generation is self._now_generation:
            self._consent_until[component] = now + self.config.consent_timeout
            self._consent_at[component] = now + self._consent_delay()
            if self._old_generation is not None and self._is_connected(generation):
                self._old_generation = None
        self._emit(PairSelected(self._describe(pair), pair.nominated))

    def _is_connected(self, generation: _Generation) -> bool:
        return len(generation.selected) == self.config.components

    # Consent.

    def _consent(self, now: float) -> None:
        """RFC 7675: check the pair in use, and stop sending when nobody answered for 30 s."""
        generation = self._old_generation or self._now_generation
        for component, pair in generation.selected.items():
            if self._consent_until[component] <= now:
                log.debug("= consent for component %d expired", component)
                self._give_up()
                return
            if self._consent_due(component, pair) <= now and generation.remote_key is not None:
                self._consent_at[component] = now + self._consent_delay()
                pair.last_check = now
                self._transmit_check(generation, pair, now, nominating=False)

    def _consent_due(self, component: int, pair: CandidatePair) -> float:
        regular = self._consent_at[component]
        if self._last_heard is None:
            return regular
        # Silence: several checks in the time that is left before it counts as a disconnection.
        early = max(self._last_heard + self._quiet(pair), pair.last_check + self.config.retry_limit)
        return min(regular, early)

    def _quiet(self, pair: CandidatePair) -> float:
        """An early check must have time for its answer before the silence counts."""
        return max(1.0, min(self.config.quiet, self.config.disconnected_after - 2 * (pair.rtt or 0.0)))

    def _consent_delay(self) -> float:
        # RFC 7675 §5.1: 0.8 to 1.2 of the interval, so that agents do not beat together.
        return self.config.consent_interval * (0.8 + 0.4 * self._token_bytes(1)[0] / 255)

    def _give_up(self) -> None:
        self._consent_at.clear()
        self._consent_until.clear()
        self._now_generation.selected.clear()
        self._old_generation = None
        self._set_state(IceState.FAILED)

    # Data.

    def _receive_data(self, datagram: Datagram, now: float) -> None:
        for generation in self._generations():
            pair = generation.checklist.pairs.get((datagram.destination, datagram.source))
            if pair is not None and (pair.heard or pair.valid):
                pair.bytes_received += len(datagram.data)
                self._last_heard = now
                self._deliver(DataReceived(pair.component, datagram.data))
                if self.state is IceState.DISCONNECTED:
                    self._after(now)
                return
        if self._now_generation.remote_key is None and len(self._early_data) < self.config.max_early_data:
            self._early_data.append(datagram)
        else:
            self.dropped += 1

    def _deliver_early_data(self, pair: CandidatePair) -> None:
        waiting, self._early_data = self._early_data, deque()
        for datagram in waiting:
            if (datagram.destination, datagram.source) == (pair.local.base, pair.remote_address):
                pair.bytes_received += len(datagram.data)
                self._deliver(DataReceived(pair.component, datagram.data))
            else:
                self._early_data.append(datagram)

    def _data_pair(self, component: int) -> CandidatePair | None:
        pair = self._now_generation.selected.get(component)
        if pair is None and self._old_generation is not None:
            pair = self._old_generation.selected.get(component)
        return pair

    # State.

    def _after(self, now: float) -> None:
        """What every entry point ends with: the state follows from what is known."""
        if self.state in (IceState.CLOSED, IceState.FAILED):
            return
        generation = self._now_generation
        self._settle(now)
        if self._is_connected(generation):
            silent = self._last_heard is not None and now - self._last_heard >= self.config.disconnected_after
            if silent:
                self._set_state(IceState.DISCONNECTED)
            else:
                self._set_state(IceState.COMPLETED if self.is_settled() else IceState.CONNECTED)
        elif (
            generation.started is not None
            and self._old_generation is None
            and now >= generation.started + self.config.patience
        ):
            # RFC 8863 §4: not before the patience is over, even if every pair that is known has failed.
            self._give_up()

    def _set_state(self, state: IceState) -> None:
        if state is not self.state:
            self.state = state
            self._emit(StateChanged(state))

    def _emit(self, event: IceEvent) -> None:
        log.debug("= %s", event)
        self._events.append(event)

    def _deliver(self, event: DataReceived) -> None:
        if len(self._events) < self.config.max_events:
            self._events.append(event)
        else:
            self.dropped += 1

    def _describe(self, pair: CandidatePair) -> SelectedPair:
        return SelectedPair(
            pair.component,
            self._local_of(pair),
            pair.remote,
            pair.local.base,
            pair.remote_address,
            pair.rtt,
        )

    def _local_of(self, pair: CandidatePair) -> Candidate:
        """RFC 8445 §7.2.5.3.1: the candidate with the mapped address; an unknown one is peer-reflexive."""
        candidate = pair.local.candidate
        if pair.mapped is None or pair.mapped == pair.local.base or pair.local.is_relayed:
            return candidate
        return replace(
            candidate,
            foundation=f"prflx{pair.mapped.port}",
            priority=110 << 24 | candidate.priority & 0xFFFFFF,
            address=pair.mapped.host,
            port=pair.mapped.port,
            type=CandidateType.PEER_REFLEXIVE,
            related_address=pair.local.base.host,
            related_port=pair.local.base.port,
            extensions=(),
        )

    def _make_generation(self, controlling: bool, credentials: tuple[str, str] | None = None) -> _Generation:
        # Base64 of random bytes: 8 and 24 ice-chars, more than RFC 8445 §5.3 asks for (24 and 128 bits).
        ufrag, password = credentials or (
            b64encode(self._token_bytes(_UFRAG_BYTES)).decode(),
            b64encode(self._token_bytes(_PASSWORD_BYTES)).decode(),
        )
        checklist = Checklist(controlling, self.config.max_pairs)
        return _Generation(ufrag, short_term_key(password), checklist, password)

    def _generations(self) -> tuple[_Generation, ...]:
        if self._old_generation is None:
            return (self._now_generation,)
        return self._now_generation, self._old_generation

    def _generation_of(self, username: str | None) -> _Generation | None:
        ufrag = (username or "").partition(":")[0]
        return next((item for item in self._generations() if item.ufrag == ufrag), None)

    def _component_of(self, generation: _Generation, base: Address) -> int | None:
        return next((item.candidate.component for item in generation.checklist.locals if item.base == base), None)

    def _require_open(self, what: str) -> None:
        if self.state is IceState.CLOSED:
            raise InvalidState(f"{what}() on a closed agent")
