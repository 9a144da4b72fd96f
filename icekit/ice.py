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
from dataclasses import dataclass, field
from typing import Final

from icekit import attributes as attr
from icekit.candidate import Candidate
from icekit.checklist import (
    CandidatePair,
    Checklist,
    LocalCandidate,
    PairKey,
    PairState,
    heard_candidate,
    key_of_received,
    peer_reflexive_priority,
)
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
    in round-trip times and at most. ``nomination_timeout``: a nomination that nobody confirms is taken back after this
    or four round-trip times, the larger. ``consent_interval``, ``consent_timeout``: RFC 7675 §5.1.
    ``disconnected_after``: silence that is shown. ``quiet``: silence after which a check is sent early, so that a lost
    one is not taken for that. ``check_lifetime``: an answer counts for so long. The rest are bounds of what a peer can
    make grow.
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
    nomination_timeout: float = 4.0
    consent_interval: float = 5.0
    consent_timeout: float = 30.0
    disconnected_after: float = 5.0
    quiet: float = 3.5
    check_lifetime: float = 30.0
    max_pairs: int = 100
    max_open_checks: int = 4096
    max_early_checks: int = 32
    max_early_data: int = 16
    max_pending_candidates: int = 64
    max_events: int = 1024


@dataclass(slots=True)
class _Check:
    pair: CandidatePair
    sent: float
    controlling: bool
    nominating: bool


@dataclass(slots=True)
class _Challenge:
    """A pair was nominated that ranks below the one in use, which is checked: it stays if it answers."""

    pair: CandidatePair
    since: float


@dataclass(slots=True)
class _Generation:
    """Credentials, pairs and open checks between two restarts (RFC 8445 §9). The tables are by component."""

    ufrag: str
    password: str = field(repr=False)
    key: IntegrityKey
    checklist: Checklist
    remote_ufrag: str | None = None
    remote_key: IntegrityKey | None = None
    started: float | None = None
    checks: dict[bytes, _Check] = field(default_factory=dict)
    selected: dict[int, CandidatePair] = field(default_factory=dict)
    nominated: set[int] = field(default_factory=set)
    nominating: dict[int, CandidatePair] = field(default_factory=dict)
    first_valid: dict[int, float] = field(default_factory=dict)
    challenges: dict[int, _Challenge] = field(default_factory=dict)
    early_checks: dict[PairKey, tuple[Candidate, bool]] = field(default_factory=dict)
    remote_complete: bool = False
    local_complete: bool = False


_UFRAG_BYTES: Final = 6
_PASSWORD_BYTES: Final = 18
# A challenged pair answers within this or four round-trip times, the larger.
_CHALLENGE_TIME: Final = 1.0


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
        self.pacer = Pacer(self.config.ta, floor or Floor(0.0), is_claimed=self._has_new_pair)
        self.dropped = 0
        self._token_bytes = token_bytes
        self._tiebreaker = int.from_bytes(token_bytes(8))
        self._now_generation = self._make_generation(controlling, credentials)
        # The one before the last restart: its pairs carry data until there are new ones, and may be heard after that.
        self._old_generation: _Generation | None = None
        # Candidates of other generations; the oldest gives way.
        self._pending: deque[tuple[str, Candidate]] = deque(maxlen=self.config.max_pending_candidates)
        self._out: list[Datagram] = []
        self._events: deque[IceEvent] = deque()
        self._early_data: deque[Datagram] = deque()
        self._last_heard: dict[int, float] = {}

    # What the owner calls.

    @property
    def controlling(self) -> bool:
        """The role (RFC 8445 §6.1.1); it changes by a conflict, or because the peer is an ICE-lite one."""
        return self._now_generation.checklist.controlling

    def set_controlling(self, controlling: bool, now: float) -> None:
        """The role that signaling gives, where it is known only after the agent was made."""
        self._switch_role(controlling)

    @property
    def local_ufrag(self) -> str:
        """The user name fragment of this generation."""
        return self._now_generation.ufrag

    @property
    def local_password(self) -> str:
        """The password of this generation; a secret between the two peers."""
        return self._now_generation.password

    @property
    def is_urgent(self) -> bool:
        """Whether a triggered check waits for a slot: those go before everything else."""
        return self._now_generation.remote_key is not None and bool(self._now_generation.checklist.triggered)

    def set_pacing(self, peer_ta: float | None) -> None:
        """What the peer proposed (``a=ice-pacing``, RFC 8839 §5.7), ``None`` for nothing; the larger value is used."""
        self.pacer.ta = max(self.config.ta, self.config.peer_ta if peer_ta is None else peer_ta)

    def add_local_candidate(self, local: LocalCandidate, now: float) -> None:
        """A candidate was gathered; it takes part at once."""
        self._require_open("add_local_candidate")
        self._now_generation.checklist.add_local(local)

    def end_of_local_candidates(self, now: float) -> None:
        """Gathering is over."""
        self._now_generation.local_complete = True
        self._after(now)

    def set_remote_credentials(self, ufrag: str, password: str, now: float, *, lite: bool = False) -> None:
        """The peer's credentials are known: checks begin, and what came early is looked at again.

        ``lite``: the peer answers checks and sends none (``a=ice-lite``).
        """
        self._require_open("set_remote_credentials")
        generation = self._now_generation
        if generation.remote_ufrag is not None:
            if generation.remote_ufrag == ufrag:
                return
            raise InvalidState("the peer has new credentials: restart() before they are set")
        generation.remote_ufrag, generation.remote_key = ufrag, short_term_key(password)
        generation.started = now
        if lite:
            # RFC 8445 §6.1.1: the full agent controls.
            self._switch_role(True)
        waiting = list(self._pending)
        self._pending.clear()
        for wanted, candidate in waiting:
            if wanted == ufrag:
                generation.checklist.add_remote(candidate)
            else:
                self._pending.append((wanted, candidate))
        early, generation.early_checks = generation.early_checks, {}
        for (base, _, _), (candidate, nominated) in early.items():
            self._heard_check(generation, base, candidate, nominated, now)
        self._after(now)

    def add_remote_candidate(self, candidate: Candidate, now: float, ufrag: str | None = None) -> None:
        """A candidate of the peer. One of another generation (by ``ufrag``) waits for its credentials, bounded."""
        self._require_open("add_remote_candidate")
        generation = self._now_generation
        ufrag = candidate.extension("ufrag") if ufrag is None else ufrag
        if ufrag is not None and ufrag != generation.remote_ufrag:
            self._pending.append((ufrag, candidate))
            return
        if candidate.component <= self.config.components:
            generation.checklist.add_remote(candidate)
        self._after(now)

    def end_of_remote_candidates(self, now: float) -> None:
        """The peer has no more candidates for this generation (RFC 8838 §13)."""
        self._now_generation.remote_complete = True
        self._after(now)

    def restart(self, now: float, *, keep_candidates: bool = True) -> None:
        """New credentials and checks (RFC 8445 §9); the old pairs carry data until new ones are valid.

        ``keep_candidates``: those of the last generation are used again.
        """
        self._require_open("restart")
        last = self._now_generation
        # Restarted twice before anything was valid: the older generation still carries the data.
        if last.selected or self._old_generation is None or not self._old_generation.selected:
            self._old_generation = last
        self._now_generation = self._make_generation(last.checklist.controlling)
        if keep_candidates:
            self._now_generation.checklist.take_locals(last.checklist)
        self._early_data.clear()
        if self.state is IceState.FAILED:
            self._set_state(IceState.NEW)
        self._after(now)

    def unreachable(self, datagram: Datagram, now: float) -> None:
        """The system refused to send this (no route): its pair has failed, and its slot is given back."""
        pair = self._now_generation.checklist.pairs.get((datagram.source, datagram.destination, datagram.transport))
        if pair is not None and pair.state is PairState.IN_PROGRESS and pair.last_check == now:
            pair.state = PairState.FAILED
            self.pacer.give_back(now)

    def send(self, component: int, data: bytes, now: float) -> None:
        """Send data on the best valid pair; InvalidState when there is none (yet, or any more)."""
        path = self._data_path(component)
        if path is None or self.state is IceState.CLOSED:
            raise InvalidState(f"component {component} has no valid pair")
        pair = path[1]
        pair.bytes_sent += len(data)
        self._out.append(pair.datagram(data))

    def selected_pair(self, component: int = 1) -> SelectedPair | None:
        """The pair that carries data now."""
        path = self._data_path(component)
        return None if path is None else self._describe(*path)

    def uses_old_pair(self) -> bool:
        """Whether a pair from before the last restart carries data."""
        old = self._old_generation
        return old is not None and any(item not in self._now_generation.selected for item in old.selected)

    def is_settled(self) -> bool:
        """Whether every component has its nominated pair."""
        return len(self._now_generation.nominated) == self.config.components

    def stats(self) -> tuple[PairStats, ...]:
        """Every pair in numbers."""
        generation = self._now_generation
        return tuple(
            PairStats(
                pair.component,
                generation.checklist.local_of(pair),
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
        # RFC 7675 §5.1: without consent nothing more is sent, so there is nobody to listen for.
        if self.state in (IceState.CLOSED, IceState.FAILED):
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
                case Class.SUCCESS | Class.ERROR if message.method == Method.BINDING:
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
        self._after(now)
        self.send_checks(now)

    def send_checks(self, now: float, *, only_urgent: bool = False) -> None:
        """Use the free slots; ``only_urgent``: for triggered checks."""
        if self.state in (IceState.CLOSED, IceState.FAILED):
            return
        while self.pacer.free_at() <= now and (pair := self._next_check(now, only_urgent)) is not None:
            self.pacer.take(now)
            self._send_check(self._now_generation, pair, now)

    def get_timer(self) -> float | None:
        """When a check, a decision or a consent check is due."""
        if self.state in (IceState.CLOSED, IceState.FAILED):
            return None
        generation = self._now_generation
        due: list[float] = []
        used = self._data_paths()
        for component, (_, pair) in used:
            due += (pair.consent_until, self._consent_due(component, pair))
            if self.state is not IceState.DISCONNECTED:
                due.append(self._last_heard[component] + self.config.disconnected_after)
        due += [self._settle_at(generation, item) for item in self._undecided(generation)]
        due += [self._gives_up_at(pair) for pair in generation.nominating.values()]
        due += [self._decides_at(generation, item) for item in generation.challenges]
        if generation.started is not None:
            check = self._check_due(generation)
            if check is not None:
                due.append(max(check, self.pacer.free_at()))
            if len(used) < self.config.components:
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

    # Requests of the peer.

    def _receive_request(self, message: Message, datagram: Datagram, now: float) -> None:
        username = message.get(attr.USERNAME)
        if username is None or not message.has_integrity():
            self._answer(datagram, failure(message, 400), None)
            return
        generation = self._generation_of(username)
        if generation is None or not message.verify(generation.key):
            # RFC 8489 §9.1.3: wrong integrity is 401, and nothing is remembered of the sender.
            self._answer(datagram, failure(message, 401), None)
            return
        if unknown := message.unknown_required():
            answer = failure(message, 420, attr.UNKNOWN_ATTRIBUTES(unknown))
            self._answer(datagram, answer, generation.key)
            return
        priority = message.get(attr.PRIORITY)
        component = generation.checklist.component_of(datagram.destination, datagram.transport)
        if priority is None or component is None:
            self._answer(datagram, failure(message, 400), generation.key)
            return
        if generation is self._now_generation and not self._agree_on_role(message, datagram, generation):
            return
        nominated = message.get(attr.USE_CANDIDATE) is True and not generation.checklist.controlling
        self._last_heard[component] = now
        self._answer(datagram, success(message, attr.XOR_MAPPED_ADDRESS(datagram.source)), generation.key)
        # A peer-reflexive candidate, unless one with that address is known (RFC 8445 §7.3.1.3).
        heard = heard_candidate(datagram, component, priority)
        if generation.remote_key is not None:
            self._heard_check(generation, datagram.destination, heard, nominated, now)
            return
        # RFC 8445 §7.3: answered at once; the check in return waits for the credentials.
        key = key_of_received(datagram)
        known = generation.early_checks.get(key)
        if known is not None or len(generation.early_checks) < self.config.max_early_checks:
            generation.early_checks[key] = heard, nominated or (known is not None and known[1])
            self._deliver_early_data(key, component)
        else:
            self.dropped += 1

    def _heard_check(
        self, generation: _Generation, base: Address, candidate: Candidate, nominated: bool, now: float
    ) -> None:
        """RFC 8445 §7.3.1.4: check the pair in the other direction at once, whatever its state, unless it is valid."""
        pair = generation.checklist.form_heard(base, candidate)
        if pair is None:
            self.dropped += 1
            return
        pair.checks_received += 1
        if not pair.heard or pair.state is PairState.FAILED:
            # Its path is open in one direction: the dense second begins anew.
            pair.first_check = None
        pair.heard = True
        self._deliver_early_data(pair.key, pair.component)
        if nominated:
            pair.nominated_by_peer = True
            if pair.valid:
                self._nominated(generation, pair, now)
        if not pair.valid and generation is self._now_generation:
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
        generation = self._now_generation
        if controlling == generation.checklist.controlling:
            return
        generation.checklist.set_role(controlling)
        generation.nominating.clear()
        generation.challenges.clear()
        self._emit(RoleChanged(controlling))

    def _answer(self, datagram: Datagram, message: Message, key: IntegrityKey | None) -> None:
        data = message.encode(key, fingerprint=True)
        self._out.append(Datagram(datagram.destination, datagram.source, data, datagram.transport))

    # Our own checks.

    def _next_check(self, now: float, only_urgent: bool) -> CandidatePair | None:
        """Who gets a free slot: triggered checks, then new pairs by priority, then whoever waited longest."""
        generation = self._now_generation
        if generation.remote_key is None:
            return None
        triggered = generation.checklist.triggered
        while triggered:
            pair = triggered.popleft()
            if self._wants_answer(generation, pair):
                return pair
        if only_urgent:
            return None
        for pair in generation.checklist:
            # RFC 8863 §4: a pair has as much time as all of them.
            if pair.state is PairState.IN_PROGRESS and pair.first_check is not None:
                pair.state = PairState.FAILED if now >= pair.first_check + self.config.patience else pair.state
        new = generation.checklist.next_waiting(lambda pair: self._wants_answer(generation, pair))
        if new is not None:
            return new
        due = (pair for pair in self._unanswered(generation) if pair.retry_at <= now)
        return min(due, key=lambda pair: pair.last_check, default=None)

    def _check_due(self, generation: _Generation) -> float | None:
        checklist = generation.checklist
        new = any(item.state in (PairState.WAITING, PairState.FROZEN) for item in checklist)
        if checklist.triggered or (
            new and checklist.next_waiting(lambda pair: self._wants_answer(generation, pair)) is not None
        ):
            return float("-inf")
        return min((pair.retry_at for pair in self._unanswered(generation)), default=None)

    def _has_new_pair(self) -> bool:
        generation = self._now_generation
        if generation.remote_key is None or self.state in (IceState.CLOSED, IceState.FAILED):
            return False
        return generation.checklist.next_waiting(lambda pair: self._wants_answer(generation, pair)) is not None

    def _unanswered(self, generation: _Generation) -> Iterable[CandidatePair]:
        asked = (PairState.IN_PROGRESS, PairState.SUCCEEDED)
        return (pair for pair in generation.checklist if pair.state in asked and self._wants_answer(generation, pair))

    def _wants_answer(self, generation: _Generation, pair: CandidatePair) -> bool:
        """Whether a check of ``pair`` can change anything."""
        component = pair.component
        if pair.valid:
            challenged = component in generation.challenges and generation.selected.get(component) is pair
            return challenged or generation.nominating.get(component) is pair
        # RFC 8445 §8.1.1: after the nomination only what would have won is of interest, or what the peer insists on.
        current = generation.selected.get(component)
        decided = component in generation.nominated and current is not None and current.priority >= pair.priority
        return not decided or pair.nominated_by_peer

    def _send_check(self, generation: _Generation, pair: CandidatePair, now: float) -> None:
        nominating = generation.nominating.get(pair.component) is pair
        if pair.first_check is None:
            pair.first_check, pair.interval = now, 0.0
        dense = max(2 * self.pacer.ta, self.config.retry_floor)
        if pair.valid:
            # Its round-trip time is known: asking more often only repeats what is under way.
            pair.interval = max(dense, min(1.5 * (pair.rtt or 0.0), self.config.retry_limit))
        elif now - pair.first_check < self.config.retry_dense:
            pair.interval = dense
        else:
            pair.interval = max(dense, min(2 * pair.interval, self.config.retry_limit))
        if not pair.valid:
            pair.state = PairState.IN_PROGRESS
        self._transmit_check(generation, pair, now, nominating=nominating)

    def _transmit_check(self, generation: _Generation, pair: CandidatePair, now: float, *, nominating: bool) -> None:
        assert generation.remote_key is not None
        controlling = generation.checklist.controlling
        transaction_id = self._token_bytes(12)
        # RFC 8445 §7.1.1: the priority that a peer-reflexive candidate would have if this check discovers one.
        priority = peer_reflexive_priority(pair.local.candidate)
        role = attr.ICE_CONTROLLING if controlling else attr.ICE_CONTROLLED
        items = [
            attr.USERNAME(f"{generation.remote_ufrag}:{generation.ufrag}"),
            attr.PRIORITY(priority),
            role(self._tiebreaker),
        ]
        if nominating:
            items.append(attr.USE_CANDIDATE(True))
        data = request(Method.BINDING, transaction_id, *items).encode(generation.remote_key, fingerprint=True)
        if len(generation.checks) >= self.config.max_open_checks:
            del generation.checks[next(iter(generation.checks))]
        generation.checks[transaction_id] = _Check(pair, now, controlling, nominating)
        pair.checks_sent += 1
        pair.last_check = now
        self._out.append(pair.datagram(data))

    def _receive_response(self, message: Message, datagram: Datagram, now: float) -> None:
        for generation in self._generations():
            check = generation.checks.get(message.transaction_id)
            if check is not None and generation.remote_key is not None and message.verify(generation.remote_key):
                break
        else:
            self.dropped += 1
            return
        pair = check.pair
        # RFC 8445 §7.2.5.2.1: an answer must come from where the check went, and arrive where it left.
        if generation.checklist.pairs.get(key_of_received(datagram)) is not pair:
            self.dropped += 1
            return
        del generation.checks[message.transaction_id]
        if message.message_class is Class.ERROR:
            self._check_refused(generation, check, message)
            return
        mapped = message.get(attr.XOR_MAPPED_ADDRESS)
        if mapped is None or message.unknown_required():
            self.dropped += 1
            return
        self._last_heard[pair.component] = now
        pair.responses_received += 1
        pair.rtt = now - check.sent if pair.rtt is None else min(pair.rtt, now - check.sent)
        pair.mapped = mapped
        pair.answered_at = now
        # RFC 7675 §5.1: any authenticated answer renews the consent.
        pair.consent_until = now + self.config.consent_timeout
        challenge = generation.challenges.get(pair.component)
        if challenge is not None and generation.selected.get(pair.component) is pair and check.sent >= challenge.since:
            del generation.challenges[pair.component]
        if not pair.valid:
            pair.state = PairState.SUCCEEDED
            generation.checklist.thaw(pair.foundation)
            self._deliver_early_data(pair.key, pair.component)
            self._became_valid(generation, pair, now)
        if check.nominating and generation.nominating.get(pair.component) is pair:
            self._nominated(generation, pair, now)

    def _check_refused(self, generation: _Generation, check: _Check, message: Message) -> None:
        code = message.error().code
        log.debug("! check of %s refused: %s", check.pair.remote_address, code)
        if code == 487:
            # RFC 8445 §7.2.5.1: change to the other role, once for one conflict, and try again.
            if generation is self._now_generation and check.controlling == generation.checklist.controlling:
                self._tiebreaker = int.from_bytes(self._token_bytes(8))
                self._switch_role(not check.controlling)
            generation.checklist.trigger(check.pair)
        elif not check.pair.valid:
            check.pair.state = PairState.FAILED

    def _forget_checks(self, now: float) -> None:
        oldest = now - self.config.check_lifetime
        for generation in self._generations():
            while generation.checks and (first := next(iter(generation.checks.items())))[1].sent <= oldest:
                del generation.checks[first[0]]

    # Selection.

    def _became_valid(self, generation: _Generation, pair: CandidatePair, now: float) -> None:
        component = pair.component
        generation.first_valid.setdefault(component, now)
        if pair.nominated_by_peer and not generation.checklist.controlling:
            self._nominated(generation, pair, now)
            return
        current = generation.selected.get(component)
        if current is not None and pair.priority <= current.priority:
            return
        # RFC 8445 §12.1: data may use any valid pair until one is nominated.
        if component not in generation.nominated:
            self._select(generation, pair, now)
        elif not pair.improvement_told:
            pair.improvement_told = True
            self._emit(PairImproved(self._describe(generation, pair)))

    def _undecided(self, generation: _Generation) -> list[int]:
        """Components for which we have to nominate."""
        if not generation.checklist.controlling:
            return []
        decided = generation.nominated | generation.nominating.keys()
        return [item for item in generation.first_valid if item not in decided and item in generation.selected]

    def _settle_at(self, generation: _Generation, component: int) -> float:
        """The end of the window in which a better pair may still come."""
        slowest = max((pair.rtt or 0.0) for pair in generation.checklist)
        window = min(self.config.settle_factor * slowest, self.config.settle_limit)
        return generation.first_valid[component] + window

    def _gives_up_at(self, pair: CandidatePair) -> float:
        return pair.nominating_since + max(self.config.nomination_timeout, 4 * (pair.rtt or 0.0))

    def _decides_at(self, generation: _Generation, component: int) -> float:
        rtt = generation.selected[component].rtt or 0.0
        return generation.challenges[component].since + max(_CHALLENGE_TIME, 4 * rtt)

    def _decide(self, now: float) -> None:
        """Nominate, take back what nobody confirms, and yield to the peer's choice."""
        generation = self._now_generation
        for component, pair in list(generation.nominating.items()):
            if self._gives_up_at(pair) <= now:
                del generation.nominating[component]
                self._replace_dead(generation, pair, now)
        for component in list(generation.challenges):
            if self._decides_at(generation, component) <= now:
                challenge, dead = generation.challenges.pop(component), generation.selected[component]
                dead.nominated = dead.nominated_by_peer = False
                dead.state = PairState.IN_PROGRESS
                generation.nominated.discard(component)
                self._nominated(generation, challenge.pair, now)
        complete = generation.local_complete and generation.remote_complete
        for component in self._undecided(generation):
            best = generation.selected[component]
            if self._settle_at(generation, component) <= now or (
                complete and not generation.checklist.may_improve(best)
            ):
                # RFC 8445 §8.1.1: one nomination for each component, by a check that is repeated with USE-CANDIDATE.
                generation.nominating[component] = best
                best.nominating_since, best.interval = now, 0.0
                generation.checklist.trigger(best, first=True)

    def _replace_dead(self, generation: _Generation, dead: CandidatePair, now: float) -> None:
        """A valid pair does not answer any more before it is agreed on: the next best takes its place."""
        dead.state, dead.first_check = PairState.IN_PROGRESS, None
        if generation.selected.get(dead.component) is dead:
            del generation.selected[dead.component]
            best = generation.checklist.best_valid(dead.component)
            while best is not None and best.consent_until <= now:
                best.state = PairState.IN_PROGRESS
                best = generation.checklist.best_valid(dead.component)
            if best is None:
                generation.first_valid.pop(dead.component, None)
            else:
                self._select(generation, best, now)

    def _nominated(self, generation: _Generation, pair: CandidatePair, now: float) -> None:
        component = pair.component
        current = generation.selected.get(component)
        generation.nominating.pop(component, None)
        if component in generation.nominated and current is not None:
            if current is pair:
                return
            # RFC 5245 agents nominate several: the highest priority wins, if it is alive. An RFC 8445 agent nominates
            # another one only because it gets no answer on the first.
            if current.priority > pair.priority:
                if component not in generation.challenges and now - current.answered_at >= _CHALLENGE_TIME:
                    generation.challenges[component] = _Challenge(pair, now)
                    generation.checklist.trigger(current, first=True)
                return
        pair.nominated = True
        generation.nominated.add(component)
        generation.challenges.pop(component, None)
        self._select(generation, pair, now)
        best = generation.checklist.best_valid(component)
        if best is not None and best.priority > pair.priority and not best.improvement_told:
            best.improvement_told = True
            self._emit(PairImproved(self._describe(generation, best)))

    def _select(self, generation: _Generation, pair: CandidatePair, now: float) -> None:
        generation.selected[pair.component] = pair
        if pair.consent_at is None:
            pair.consent_at = now + self._consent_delay()
        path = self._data_path(pair.component)
        if path is not None and path[1] is pair:
            self._emit(PairSelected(self._describe(generation, pair), pair.nominated))

    # Consent.

    def _consent(self, now: float) -> None:
        """RFC 7675: check the pairs in use, and stop sending on one that nobody answered for 30 s."""
        for component, (generation, pair) in self._data_paths():
            if pair.consent_until <= now:
                log.debug("= consent for component %d expired", component)
                if generation is self._now_generation and component in generation.nominated:
                    self._fail()
                    return
                self._replace_dead(generation, pair, now)
            elif self._consent_due(component, pair) <= now:
                pair.consent_at = now + self._consent_delay()
                self._transmit_check(generation, pair, now, nominating=False)

    def _consent_due(self, component: int, pair: CandidatePair) -> float:
        assert pair.consent_at is not None
        # Silence: several checks in the time that is left before it counts as a disconnection. Each must have time for
        # its answer.
        quiet = max(1.0, min(self.config.quiet, self.config.disconnected_after - 2 * (pair.rtt or 0.0)))
        early = max(self._last_heard[component] + quiet, pair.last_check + self.config.retry_limit)
        return min(pair.consent_at, early)

    def _consent_delay(self) -> float:
        # RFC 7675 §5.1: 0.8 to 1.2 of the interval, so that agents do not beat together.
        return self.config.consent_interval * (0.8 + 0.4 * self._token_bytes(1)[0] / 255)

    # Data.

    def _receive_data(self, datagram: Datagram, now: float) -> None:
        key = key_of_received(datagram)
        for generation in self._generations():
            pair = generation.checklist.pairs.get(key)
            if pair is not None and (pair.heard or pair.valid):
                pair.bytes_received += len(datagram.data)
                component: int | None = pair.component
            elif key in generation.early_checks:
                component = generation.checklist.component_of(datagram.destination, datagram.transport)
            else:
                continue
            if component is not None:
                self._last_heard[component] = now
                self._deliver(DataReceived(component, datagram.data))
                self._after(now)
                return
        if self._now_generation.remote_key is None and len(self._early_data) < self.config.max_early_data:
            self._early_data.append(datagram)
        else:
            self.dropped += 1

    def _deliver_early_data(self, key: PairKey, component: int) -> None:
        if not self._early_data:
            return
        waiting, self._early_data = self._early_data, deque()
        for datagram in waiting:
            if key_of_received(datagram) == key:
                self._deliver(DataReceived(component, datagram.data))
            else:
                self._early_data.append(datagram)

    def _data_path(self, component: int) -> tuple[_Generation, CandidatePair] | None:
        for generation in self._generations():
            if (pair := generation.selected.get(component)) is not None:
                return generation, pair
        return None

    def _data_paths(self) -> list[tuple[int, tuple[_Generation, CandidatePair]]]:
        paths = ((item, self._data_path(item)) for item in range(1, self.config.components + 1))
        return [(item, path) for item, path in paths if path is not None]

    # State.

    def _after(self, now: float) -> None:
        """What every entry point ends with: the state follows from what is known."""
        if self.state in (IceState.CLOSED, IceState.FAILED):
            return
        generation = self._now_generation
        self._decide(now)
        used = self._data_paths()
        if len(used) == self.config.components:
            heard = min(self._last_heard[component] for component, _ in used)
            if now >= heard + self.config.disconnected_after:
                self._set_state(IceState.DISCONNECTED)
            else:
                self._set_state(IceState.COMPLETED if self.is_settled() else IceState.CONNECTED)
            return
        if generation.started is None:
            self._set_state(IceState.NEW)
        elif now >= generation.started + self.config.patience:
            # RFC 8863 §4: not before the patience is over, even if every pair that is known has failed.
            self._fail()
        else:
            self._set_state(IceState.CHECKING)

    def _fail(self) -> None:
        for generation in self._generations():
            generation.selected.clear()
            generation.nominated.clear()
        self._set_state(IceState.FAILED)

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

    def _describe(self, generation: _Generation, pair: CandidatePair) -> SelectedPair:
        local = generation.checklist.local_of(pair)
        return SelectedPair(pair.component, local, pair.remote, pair.local.base, pair.remote_address, pair.rtt)

    def _make_generation(self, controlling: bool, credentials: tuple[str, str] | None = None) -> _Generation:
        # Base64 of random bytes: 8 and 24 ice-chars, more than RFC 8445 §5.3 asks for (24 and 128 bits).
        ufrag, password = credentials or (
            b64encode(self._token_bytes(_UFRAG_BYTES)).decode(),
            b64encode(self._token_bytes(_PASSWORD_BYTES)).decode(),
        )
        return _Generation(ufrag, password, short_term_key(password), Checklist(controlling, self.config.max_pairs))

    def _generations(self) -> tuple[_Generation, ...]:
        if self._old_generation is None:
            return (self._now_generation,)
        return self._now_generation, self._old_generation

    def _generation_of(self, username: str) -> _Generation | None:
        ufrag, colon, _ = username.partition(":")
        return next((item for item in self._generations() if colon and item.ufrag == ufrag), None)

    def _require_open(self, what: str) -> None:
        if self.state is IceState.CLOSED:
            raise InvalidState(f"{what}() on a closed agent")
