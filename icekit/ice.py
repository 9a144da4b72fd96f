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
from collections.abc import Callable
from typing import Final

from icekit import attributes as attr
from icekit.candidate import Candidate
from icekit.checklist import (
    CandidatePair,
    LocalCandidate,
    PairKey,
    PairState,
    heard_candidate,
    key_of_received,
    peer_reflexive_priority,
)
from icekit.consent import Consent
from icekit.errors import DecodeError, InvalidState, UnusableCredentials
from icekit.event_queue import EventQueue
from icekit.generation import Generation, OpenCheck, credential_flaw
from icekit.ice_config import IceConfig
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
from icekit.pacing import AT_ONCE, Floor, Pacer
from icekit.path_mtu import PathMtuSearch
from icekit.selection import Chosen, Improvable
from icekit.stun import (
    Class,
    IntegrityKey,
    Message,
    Method,
    decode,
    failure,
    is_stun,
    request,
    success,
)

__all__ = ["IceAgent", "IceConfig"]

log = logging.getLogger(__name__)


_UFRAG_BYTES: Final = 6
_PASSWORD_BYTES: Final = 18
# Seconds that a path has carried data before it is measured: nothing is to be in the way of the first packets.
_BEFORE_MEASURING: Final = 1.0
# Header, PRIORITY, role, MESSAGE-INTEGRITY, FINGERPRINT and an empty FILLER; USERNAME varies.
_CHECK_BYTES: Final = 20 + 8 + 12 + 24 + 8 + 4
# For what is asked for every packet: in Python 3.11 it takes long to find a member of an enumeration.
_ENDED: Final = (IceState.CLOSED, IceState.FAILED)
_SILENT: Final = IceState.DISCONNECTED


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
        self._refused = 0
        self._token_bytes = token_bytes
        self._tiebreaker = int.from_bytes(token_bytes(8))
        self._renominates = False
        self._now_generation = self._make_generation(controlling, credentials)
        # The one before the last restart: its pairs carry data until there are new ones, and may be heard after that.
        self._old_generation: Generation | None = None
        self._generations: tuple[Generation, ...] = (self._now_generation,)
        self._consent = Consent(self.config, token_bytes)
        # Candidates of other generations; the oldest gives way.
        self._pending: deque[tuple[str, Candidate]] = deque(maxlen=self.config.max_pending_candidates)
        self._out: list[Datagram] = []
        self._events: EventQueue[IceEvent] = EventQueue(self.config.max_events)
        # Lists where little waits: an empty deque has room for 64, and there may be 1,000 agents.
        self._early_data: list[Datagram] = []

    # What the owner calls.

    @property
    def controlling(self) -> bool:
        """The role (RFC 8445 §6.1.1); it changes by a conflict, or because the peer is an ICE-lite one."""
        return self._now_generation.checklist.controlling

    @property
    def dropped(self) -> int:
        """How many datagrams changed nothing, and data that nobody took."""
        return self._refused + self._events.dropped

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

    def set_pacing(self, peer_ta: float | None) -> None:
        """What the peer proposed (``a=ice-pacing``, RFC 8839 §5.5), ``None`` for nothing; the larger value is used."""
        self.pacer.ta = max(self.config.ta, self.config.peer_ta if peer_ta is None else peer_ta)

    def set_renomination(self, both: bool) -> None:
        """Whether both sides have announced ``ice-options:renomination``: a better pair is then taken at any time."""
        self._renominates = self._now_generation.selection.renominates = both

    def add_local_candidate(self, local: LocalCandidate, now: float) -> None:
        """A candidate was gathered; it takes part at once."""
        self._require_open("add_local_candidate")
        self._now_generation.checklist.add_local(local)

    def end_of_local_candidates(self, now: float) -> None:
        """Gathering is over."""
        self._now_generation.local_complete = True
        self._after(now)

    def set_remote_credentials(
        self, ufrag: str, password: str, now: float, *, lite: bool = False, told: bool = True
    ) -> None:
        """The peer's credentials are known: checks begin, and what came early is looked at again.

        ``lite``: the peer answers checks and sends none (``a=ice-lite``). ``told``: the peer has ours; if it gets them
        later, call this once more then. Until that the agent does not fail. UnusableCredentials if they can be none.
        """
        self._require_open("set_remote_credentials")
        for name, value in (("user name fragment", ufrag), ("password", password)):
            if not isinstance(value, str):
                raise UnusableCredentials(
                    f"the peer's {name} is a text (str) of its description, not {type(value).__name__}"
                )
        if (flaw := credential_flaw(ufrag, password)) is not None:
            raise UnusableCredentials(flaw)
        generation = self._now_generation
        if generation.remote_ufrag is not None:
            # RFC 8839 §4.4.1.1.1: a restart changes both. Who changes one means it, and checks would all be refused.
            if (generation.remote_ufrag, generation.remote_password) != (ufrag, password):
                raise InvalidState("the peer has new credentials: restart() before they are set")
            if told and generation.started is None:
                generation.start(now)
            return
        generation.meet(ufrag, password)
        # RFC 8863 §4: the timer starts when the credentials of both sides are sent.
        if told:
            generation.start(now)
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
        for (base, _, _), (candidate, nomination) in early.items():
            self._heard_check(generation, base, candidate, nomination, now)
        self._after(now)

    def add_remote_candidate(self, candidate: Candidate, now: float, ufrag: str | None = None) -> None:
        """A candidate of the peer. One of another generation (by ``ufrag``) waits for its credentials, bounded."""
        self._require_open("add_remote_candidate")
        if candidate.component > self.config.components:
            return
        generation = self._now_generation
        ufrag = candidate.extension("ufrag") if ufrag is None else ufrag
        if ufrag is not None and ufrag != generation.remote_ufrag:
            self._pending.append((ufrag, candidate))
            return
        generation.checklist.add_remote(candidate)
        self._after(now)

    def end_of_remote_candidates(self, now: float) -> None:
        """The peer has no more candidates for this generation (RFC 8838 §14)."""
        self._now_generation.end_of_remote_candidates()
        self._after(now)

    def restart(self, now: float, *, keep_candidates: bool = True) -> None:
        """New credentials and checks (RFC 8445 §9); the old pairs carry data until new ones are valid.

        ``keep_candidates``: those of the last generation are used again.
        """
        self._require_open("restart")
        last = self._now_generation
        # Restarted twice before anything was valid: the older generation still carries the data.
        if last.selection.selected or self._old_generation is None or not self._old_generation.selection.selected:
            self._old_generation = last
        self._now_generation = self._make_generation(last.checklist.controlling)
        self._generations = self._now_generation, self._old_generation
        if keep_candidates:
            self._now_generation.checklist.take_locals(last.checklist)
        self._early_data.clear()
        if self.state is IceState.FAILED:
            self._set_state(IceState.NEW)
        self._after(now)

    def unreachable(self, datagram: Datagram, now: float) -> None:
        """The system refused to send this (no route): its pair has failed, and its slot is given back."""
        generation = self._now_generation
        transaction_id = datagram.data[8:20]
        check = generation.open_check(transaction_id)
        if check is None:
            return
        generation.answered(transaction_id)
        if check.size is not None:
            return
        if not check.pair.valid:
            log.debug("! no route to %s from %s", datagram.destination, datagram.source)
            check.pair.state = PairState.FAILED
        self.pacer.give_back(now)
        self._after(now)

    def path_opened(self, key: PairKey, now: float) -> None:
        """The TCP connection of a pair is there: its check leaves in the next slot (RFC 6544 §7.1)."""
        pair = self._now_generation.checklist.pairs.get(key)
        if pair is not None and not pair.valid:
            pair.first_check = None
            self._now_generation.checklist.trigger(pair)
        self._after(now)

    def path_lost(self, key: PairKey, now: float) -> None:
        """The TCP connection of a pair is gone, or could not be opened."""
        for generation in self._generations:
            if (pair := generation.checklist.pairs.get(key)) is not None:
                generation.selection.disconnected(pair)
        self._after(now)

    def is_check(self, data: bytes) -> bool:
        """Whether this is a check of the peer: for one of our generations, with the right password."""
        try:
            message = decode(data)
            username = message.get(attr.USERNAME)
        except DecodeError:
            return False
        if message.message_class is not Class.REQUEST or message.method != Method.BINDING or username is None:
            return False
        generation = self._generation_of(username)
        return generation is not None and message.verify(generation.key)

    def send(self, component: int, data: bytes, now: float) -> None:
        """Send data on the best valid pair; InvalidState when there is none (yet, or any more)."""
        self._out.append(self.wrap(component, data))

    def wrap(self, component: int, data: bytes) -> Datagram:
        """The same for an owner who sends the datagram at once, without ``datagrams_to_send``."""
        pair = self._now_generation.selection.selected.get(component)
        if pair is None and (path := self._data_path(component)) is not None:
            pair = path[1]
        if pair is None or self.state in _ENDED:
            raise InvalidState(f"component {component} has no valid pair")
        pair.bytes_sent += len(data)
        return pair.datagram(data)

    def selected_pair(self, component: int = 1) -> SelectedPair | None:
        """The pair that carries data now."""
        path = self._data_path(component)
        return None if path is None else self._describe(*path)

    def selected_pairs(self) -> tuple[SelectedPair, ...]:
        """Those that carry data now, of all components."""
        return tuple(self._describe(*path) for _, path in self._data_paths())

    @property
    def is_connected(self) -> bool:
        """Whether every component has a valid pair of this generation (RFC 8445 §12.1)."""
        generation = self._now_generation
        return all(item in generation.selection.selected for item in generation.components)

    @property
    def is_waiting(self) -> bool:
        """Whether a pair of this generation may still come."""
        return not self.is_connected and self.state not in _ENDED

    def uses_old_pair(self) -> bool:
        """Whether a pair from before the last restart carries data."""
        old, new = self._old_generation, self._now_generation.selection.selected
        return old is not None and any(item not in new for item in old.selection.selected)

    def is_settled(self) -> bool:
        """Whether every component has its nominated pair."""
        return self._now_generation.is_settled

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
                generation.selection.selected.get(pair.component) is pair,
                pair.rtt,
                pair.checks_sent,
                pair.checks_received,
                pair.responses_received,
                pair.bytes_sent,
                pair.bytes_received,
                pair.checks_refused,
                None if pair.mtu is None else pair.mtu.result,
            )
            for pair in generation.checklist
        )

    # Endpoint.

    def receive_datagram(self, datagram: Datagram, now: float) -> None:
        """Take a check, an answer or data; whatever cannot be authenticated changes nothing."""
        if not is_stun(datagram.data):
            if (received := self.unwrap(datagram, now)) is not None:
                self._events.offer(received)
            return
        if self.state in _ENDED:
            self._refused += 1
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
                    self._refused += 1
        except DecodeError as error:
            self._refused += 1
            log.debug("! %s from %s", error, datagram.source)
        self._after(now)

    def handle_timer(self, now: float) -> None:
        """Send the checks that are due, nominate, look after consent, give up."""
        if self.state in _ENDED:
            return
        for generation in self._generations:
            generation.forget_checks(now)
        self._after(now)
        # A pair that takes the place of another may be due at once.
        while self._check_consent(now):
            self._after(now)
        self.send_checks(now)
        self._measure_paths(now)

    def send_checks(self, now: float, *, only_urgent: bool = False) -> None:
        """Use the free slots; ``only_urgent``: for checks that go before gathering."""
        if self.state in _ENDED:
            return
        generation = self._now_generation
        while (due := generation.check_due(only_urgent=only_urgent)) is not None and due <= now:
            again = due > AT_ONCE
            if not self.pacer.may_start(now, again=again):
                return
            if (pair := generation.next_check(now, only_urgent=only_urgent)) is None:
                return
            self.pacer.take(now, again=again)
            generation.pace(pair, now, self.pacer.ta)
            self._transmit_check(generation, pair, now, nominating=generation.selection.is_nominating(pair))

    def get_timer(self) -> float | None:
        """When a check, a decision or a consent check is due."""
        if self.state in _ENDED:
            return None
        generation = self._now_generation
        due: list[float] = []
        used = self._data_paths()
        for component, (_, pair) in used:
            due += (pair.consent_until, self._consent.due(pair))
            if pair.mtu is not None and pair.mtu.due is not None:
                due.append(self.pacer.slot_at(pair.mtu.due, again=True))
            if self.state is not IceState.DISCONNECTED:
                due.append(self._consent.silent_at(component))
        if (decision := generation.selection.get_timer()) is not None:
            due.append(decision)
        if (check := generation.check_due()) is not None:
            due.append(self.pacer.slot_at(check, again=check > AT_ONCE))
        if generation.started is not None and len(used) < len(generation.components):
            due.append(generation.started + self.config.patience)
        return min(due, default=None)

    def datagrams_to_send(self) -> list[Datagram]:
        """Drain."""
        out, self._out = self._out, []
        return out

    def events(self) -> list[IceEvent]:
        """Drain all of them."""
        return self._events.drain()

    def next_event(self) -> IceEvent | None:
        """Drain."""
        return self._events.next()

    def close(self, now: float) -> None:
        """Stop. ICE has no farewell: the peer notices by consent (RFC 7675)."""
        if self.state is not IceState.CLOSED:
            self._set_state(IceState.CLOSED)
            self._out.clear()
            # Nothing is new any more, and a reference to this agent would leave it to the garbage collector.
            self.pacer.is_claimed = lambda: False

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
        nomination = None if generation.checklist.controlling else self._nomination_in(message)
        self._consent.last_heard[component] = now
        self._answer(datagram, success(message, attr.XOR_MAPPED_ADDRESS(datagram.source)), generation.key)
        # A peer-reflexive candidate, unless one with that address is known (RFC 8445 §7.3.1.3).
        heard = heard_candidate(datagram, component, priority)
        if generation.remote_key is not None:
            self._heard_check(generation, datagram.destination, heard, nomination, now)
            return
        # RFC 8445 §7.3: answered at once; the check in return waits for the credentials.
        key = key_of_received(datagram)
        known = generation.early_checks.get(key)
        if known is not None or len(generation.early_checks) < self.config.max_early_checks:
            earlier = None if known is None else known[1]
            generation.early_checks[key] = heard, earlier if nomination is None else nomination
            self._deliver_early_data(key, component)
        else:
            self._refused += 1

    def _nomination_in(self, message: Message) -> int | None:
        """The number of a nomination, 0 without one; None: it is none."""
        number = message.get(attr.NOMINATION) or 0
        nominates = message.get(attr.USE_CANDIDATE) is True or (self._renominates and number > 0)
        return number if nominates else None

    def _heard_check(
        self, generation: Generation, base: Address, candidate: Candidate, nomination: int | None, now: float
    ) -> None:
        """RFC 8445 §7.3.1.4: check the pair in the other direction at once, whatever its state, unless it is valid."""
        pair = generation.checklist.form_heard(base, candidate)
        if pair is None:
            self._refused += 1
            return
        pair.checks_received += 1
        if not pair.heard or pair.state is PairState.FAILED:
            # Its path is open in one direction: the dense second begins anew.
            pair.first_check = None
        pair.heard = True
        self._deliver_early_data(pair.key, pair.component)
        if nomination is not None:
            pair.nominated_by_peer = True
            pair.nomination = max(pair.nomination, nomination)
            if pair.valid:
                generation.selection.agreed(pair, now)
        if not pair.valid and generation is self._now_generation:
            if pair.state is not PairState.IN_PROGRESS:
                pair.state = PairState.WAITING
            generation.checklist.trigger(pair)

    def _agree_on_role(self, message: Message, datagram: Datagram, generation: Generation) -> bool:
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
        generation.selection.role_changed()
        self._emit(RoleChanged(controlling))

    def _answer(self, datagram: Datagram, message: Message, key: IntegrityKey | None) -> None:
        data = message.encode(key, fingerprint=True)
        self._out.append(Datagram(datagram.destination, datagram.source, data, datagram.transport))

    # Our own checks.

    def _has_new_pair(self) -> bool:
        return self.state not in _ENDED and self._now_generation.has_new_pair

    def _transmit_check(self, generation: Generation, pair: CandidatePair, now: float, *, nominating: bool) -> None:
        check = OpenCheck(pair, now, generation.checklist.controlling, nominating)
        pair.checks_sent += 1
        pair.last_check = now
        self._out.append(pair.datagram(self._make_check(generation, check)))

    def _make_check(self, generation: Generation, check: OpenCheck) -> bytes:
        """Its bytes; it is remembered for its answer."""
        assert generation.remote_key is not None
        pair, controlling = check.pair, check.controlling
        transaction_id = self._token_bytes(12)
        # RFC 8445 §7.1.1: the priority that a peer-reflexive candidate would have if this check discovers one.
        priority = peer_reflexive_priority(pair.local.candidate)
        role = attr.ICE_CONTROLLING if controlling else attr.ICE_CONTROLLED
        items = [
            attr.USERNAME(f"{generation.remote_ufrag}:{generation.ufrag}"),
            attr.PRIORITY(priority),
            role(self._tiebreaker),
        ]
        if check.nominating:
            items.append(attr.USE_CANDIDATE(True))
            # After a first one that nobody confirmed: the peer may have taken it, and its answers be lost.
            if self._renominates or pair.nomination > 1:
                items.append(attr.NOMINATION(pair.nomination))
        if check.size is not None:
            items.append(attr.FILLER(bytes(max(0, check.size - self._smallest_packet(generation, pair)))))
        generation.remember(transaction_id, check)
        return request(Method.BINDING, transaction_id, *items).encode(generation.remote_key, fingerprint=True)

    def _smallest_packet(self, generation: Generation, pair: CandidatePair) -> int:
        """The IP packet with a check of the path's size that is not filled up, in bytes."""
        ip_and_udp = 48 if ":" in pair.remote_address.host else 28
        username = 4 + (len(generation.ufrag) + 1 + len(generation.remote_ufrag or "") + 3 & ~3)
        return ip_and_udp + _CHECK_BYTES + username

    def _measure_paths(self, now: float) -> None:
        """Of what carries data, with checks in slots that no other wants; their answers change nothing else."""
        for _, (generation, pair) in self._data_paths():
            search = pair.mtu
            if search is None or search.due is None or search.due > now or not self.pacer.may_start(now, again=True):
                continue
            if (size := search.next_size(now, pair.rtt)) is not None:
                self.pacer.take(now, again=True)
                check = OpenCheck(pair, now, generation.checklist.controlling, nominating=False, size=size)
                self._out.append(pair.datagram(self._make_check(generation, check)))

    def _receive_response(self, message: Message, datagram: Datagram, now: float) -> None:
        for generation in self._generations:
            check = generation.open_check(message.transaction_id)
            if check is not None and generation.remote_key is not None and message.verify(generation.remote_key):
                break
        else:
            self._count_refusal(message)
            self._refused += 1
            return
        pair = check.pair
        # RFC 8445 §7.2.5.2.1: an answer must come from where the check went, and arrive where it left.
        if generation.checklist.pairs.get(key_of_received(datagram)) is not pair:
            self._refused += 1
            return
        generation.answered(message.transaction_id)
        if check.size is not None:
            if pair.mtu is not None:
                pair.mtu.answered(check.size, now)
            return
        if message.message_class is Class.ERROR:
            self._check_refused(generation, check, message)
            return
        mapped = message.get(attr.XOR_MAPPED_ADDRESS)
        if mapped is None or message.unknown_required():
            self._refused += 1
            return
        pair.responses_received += 1
        pair.rtt = now - check.sent if pair.rtt is None else min(pair.rtt, now - check.sent)
        generation.checklist.map(pair, mapped)
        self._consent.answered(pair, now)
        if not pair.valid:
            pair.state = PairState.SUCCEEDED
            generation.checklist.thaw(pair.foundation)
            self._deliver_early_data(pair.key, pair.component)
            generation.selection.became_valid(pair, now)
        generation.selection.answered(pair, check.sent, nominating=check.nominating, now=now)

    def _count_refusal(self, message: Message) -> None:
        """RFC 8489 §9.1.3: a 401 cannot be signed, so it counts for whoever asks why, and changes nothing."""
        if message.message_class is Class.ERROR and message.error().code == 401:
            for generation in self._generations:
                if (check := generation.open_check(message.transaction_id)) is not None:
                    check.pair.checks_refused += 1

    def _check_refused(self, generation: Generation, check: OpenCheck, message: Message) -> None:
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

    def _tell_selection(self, now: float) -> None:
        """What has changed in the choice of pairs, as events."""
        for generation in self._generations:
            told, generation.selection.told = generation.selection.told, []
            for change in told:
                pair = change.pair
                match change:
                    case Improvable():
                        self._emit(PairImproved(self._describe(generation, pair)))
                    case Chosen(nominated=nominated):
                        self._consent.use(pair, now)
                        if pair.mtu is None and not pair.local.transport.is_stream:
                            begin = now + _BEFORE_MEASURING
                            pair.mtu = PathMtuSearch(begin, self._smallest_packet(generation, pair))
                        path = self._data_path(pair.component)
                        if path is not None and path[1] is pair:
                            self._emit(PairSelected(self._describe(generation, pair), nominated))

    def _check_consent(self, now: float) -> bool:
        """RFC 7675: check a pair in use, or stop sending on one that nobody answered for 30 s; False if none is due."""
        for component, (generation, pair) in self._data_paths():
            if pair.consent_until <= now:
                log.debug("= consent for component %d expired", component)
                if generation is self._now_generation and component in generation.selection.nominated:
                    self._fail()
                else:
                    generation.selection.died(pair, now)
                return True
            if self._consent.due(pair) <= now:
                self._consent.checked(pair, now)
                self._transmit_check(generation, pair, now, nominating=False)
                return True
        return False

    # Data.

    def unwrap(self, datagram: Datagram, now: float) -> DataReceived | None:
        """What is not STUN, if its source is the peer; ``None``: it was dropped, or waits for the peer's first check.

        For an owner who tells the data at once: it is not among the events, as that of ``receive_datagram`` is.
        """
        # RFC 7675 §5.1: without consent nothing more is sent, so there is nobody to listen for.
        if self.state in _ENDED:
            self._refused += 1
        elif (component := self._sender_of(datagram)) is not None:
            self._consent.last_heard[component] = now
            if self.state is _SILENT:
                self._after(now)
            return DataReceived(component, datagram.data)
        elif self._now_generation.remote_key is None and len(self._early_data) < self.config.max_early_data:
            self._early_data.append(datagram)
        else:
            self._refused += 1
        return None

    def _sender_of(self, datagram: Datagram) -> int | None:
        """RFC 8445 §12.2: the component, if its source has sent an authenticated check or answered one there."""
        key = datagram.destination, datagram.source, datagram.transport
        for generation in self._generations:
            pair = generation.checklist.pairs.get(key)
            if pair is not None and (pair.heard or pair.state is PairState.SUCCEEDED):
                pair.bytes_received += len(datagram.data)
                return pair.component
            if key in generation.early_checks:
                return generation.checklist.component_of(datagram.destination, datagram.transport)
        return None

    def _deliver_early_data(self, key: PairKey, component: int) -> None:
        if not self._early_data:
            return
        waiting, self._early_data = self._early_data, []
        for datagram in waiting:
            if key_of_received(datagram) == key:
                self._events.offer(DataReceived(component, datagram.data))
            else:
                self._early_data.append(datagram)

    def _data_path(self, component: int) -> tuple[Generation, CandidatePair] | None:
        for generation in self._generations:
            if (pair := generation.selection.selected.get(component)) is not None:
                return generation, pair
        return None

    def _data_paths(self) -> list[tuple[int, tuple[Generation, CandidatePair]]]:
        found = []
        for component in self._now_generation.components:
            if (path := self._data_path(component)) is not None:
                found.append((component, path))
        return found

    # State.

    def _after(self, now: float) -> None:
        """What every entry point ends with: the state follows from what is known."""
        if self.state in _ENDED:
            return
        generation = self._now_generation
        generation.decide(now)
        self._tell_selection(now)
        used = self._data_paths()
        if len(used) == len(generation.components):
            if now >= min(self._consent.silent_at(component) for component, _ in used):
                self._set_state(IceState.DISCONNECTED)
            else:
                self._set_state(IceState.COMPLETED if self.is_settled() else IceState.CONNECTED)
            return
        if generation.remote_key is None:
            self._set_state(IceState.NEW)
        elif generation.started is not None and now >= generation.started + self.config.patience:
            # RFC 8863 §4: not before the patience is over, even if every pair that is known has failed.
            self._fail()
        else:
            self._set_state(IceState.CHECKING)

    def _fail(self) -> None:
        for generation in self._generations:
            generation.selection.clear()
        self._set_state(IceState.FAILED)

    def _set_state(self, state: IceState) -> None:
        if state is not self.state:
            self.state = state
            self._emit(StateChanged(state))

    def _emit(self, event: IceEvent) -> None:
        log.debug("= %s", event)
        self._events.append(event)

    def _describe(self, generation: Generation, pair: CandidatePair) -> SelectedPair:
        local = generation.checklist.local_of(pair)
        return SelectedPair(pair.component, local, pair.remote, pair.local.base, pair.remote_address, pair.rtt)

    def _make_generation(self, controlling: bool, credentials: tuple[str, str] | None = None) -> Generation:
        # Base64 of random bytes: 8 and 24 ice-chars, more than RFC 8445 §5.3 asks for (24 and 128 bits).
        ufrag, password = credentials or (
            b64encode(self._token_bytes(_UFRAG_BYTES)).decode(),
            b64encode(self._token_bytes(_PASSWORD_BYTES)).decode(),
        )
        generation = Generation(ufrag, password, controlling=controlling, config=self.config)
        generation.selection.renominates = self._renominates
        return generation

    def _generation_of(self, username: str) -> Generation | None:
        ufrag, colon, _ = username.partition(":")
        return next((item for item in self._generations if colon and item.ufrag == ufrag), None)

    def _require_open(self, what: str) -> None:
        if self.state is IceState.CLOSED:
            raise InvalidState(f"{what}() on a closed agent")
