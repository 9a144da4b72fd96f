"""The servers of one gathering: whom to ask next, what was asked where, and what became of it.

``ServerAsking`` is the part of a ``Gatherer`` that talks to servers: one leg for each server and local address, all
side by side and each with its own deadline. A STUN server is asked with a Binding request, a TURN server with an
Allocate, and over UDP with a Binding request beside it: its answer has the mapped address a round trip before a relay
that is challenged first (RFC 8656 §7.1), which counts where no STUN server answers. It takes a slot behind all others,
is forgotten when any server has told the mapped address of that socket, and its failure is nobody's.

Over TCP and TLS the request takes its slot when the connection is there. The connection itself takes none, as it is no
STUN transaction (RFC 8445 §14.2); several begin Ta apart.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from icekit.binding_response import is_usable, mapped_address
from icekit.errors import DecodeError, ErrorResponse, TransactionTimeout
from icekit.gathering_events import RelayedDataReceived, failure_text
from icekit.gathering_plan import GatherConfig, GatherServer
from icekit.local_candidates import LocalCandidates
from icekit.local_sockets import LocalSocket
from icekit.long_term_credential import LongTermCredential
from icekit.net import Address, Datagram, StreamFailure, StreamReleased, StreamWanted, Transport
from icekit.pacing import AT_ONCE, Pacer
from icekit.resolution import ServerEndpoint
from icekit.server_answers import AskingEvent, ServerAnswers
from icekit.server_leg import ServerLeg
from icekit.stun import Method, decode, is_stun
from icekit.transaction import Outcome, Path, Refused, Succeeded, TimedOut, Transactions
from icekit.turn import TurnAllocation
from icekit.turn_events import AllocationCreated, AllocationFailed, DataReceived, ServerRedirected, Step, TurnState

log = logging.getLogger(__name__)

# How long a Binding request to a TURN server is still waited for when its allocation is decided: an answer is late or
# lost, and repeated some times until then.
_LAST_CALL: Final = 0.5


class ServerAsking:
    """Asks servers for ``candidates``; ``relay_only``: TURN servers alone, and for no reflexive ones."""

    def __init__(
        self,
        candidates: LocalCandidates,
        token_bytes: Callable[[int], bytes],
        config: GatherConfig,
        pacer: Pacer,
        *,
        relay_only: bool,
    ) -> None:
        self.legs: list[ServerLeg] = []
        self.dropped = 0
        self._answers = ServerAnswers(candidates)
        self._token_bytes = token_bytes
        self._config = config
        self._pacer = pacer
        self._relay_only = relay_only
        self._bindings = Transactions(token_bytes, pacer=pacer)
        self._queue: list[ServerLeg] = []
        self._by_path: dict[Path, ServerLeg] = {}
        self._by_attempt: dict[int, ServerLeg] = {}
        # When the next connection may begin.
        self._connect_at = AT_ONCE
        # Sockets whose mapped address is known.
        self._mapped: set[LocalSocket] = set()
        # Stream identifiers of an allocation: one, and one more for each redirect.
        self._stride = config.turn.max_redirects + 1
        self._relayed_data: list[RelayedDataReceived] = []
        self._closing = False

    # What the gatherer calls.

    def start(self, now: float) -> None:
        """What is told later counts its seconds from now."""
        self._answers.start(now)

    def add(
        self, server: GatherServer, place: int, bases: Sequence[LocalSocket], endpoints: Sequence[ServerEndpoint]
    ) -> bool:
        """Ask a server at ``endpoints``, best first, from each base of their family; False: there is none.

        A STUN server is not asked where relays alone are wanted.
        """
        if self._relay_only and not server.uri.is_turn:
            # Nobody would use what it tells, and a request takes a slot of the pace.
            return True
        asked = False
        for base in bases:
            family = 6 if ":" in base.host else 4
            fitting = [item for item in endpoints if item.address.family == family]
            fitting = [item for item in fitting if server.uri.is_turn or item.transport is Transport.UDP]
            if fitting := fitting[: self._config.max_addresses]:
                asked = True
                url, credential, patience = str(server.uri), server.credential, self._config.patience
                share = patience / len(fitting)
                leg = ServerLeg(url, place, base, deque(fitting), fitting[0], credential, patience, share)
                self.legs.append(leg)
                self._queue.append(leg)
                if not server.uri.is_turn:
                    self._replace_beside(leg)
        return asked

    def not_asked(self, server: GatherServer, error: str, now: float) -> None:
        """There is nobody to ask."""
        self._answers.not_asked(str(server.uri), error, now)

    def drop_unusable(self, now: float) -> None:
        """From a local address that failed nobody is asked."""
        for stuck in [leg for leg in self._queue if leg.base.failed]:
            self._queue.remove(stuck)
            self._fail(stuck, "the local address cannot be used", now)

    def is_done(self) -> bool:
        """Whether nobody is waited for any more."""
        return all(leg.done for leg in self.legs)

    def is_released(self) -> bool:
        """Whether all relays are given back."""
        relays = [leg.allocation for leg in self.legs if leg.allocation is not None]
        return all(allocation.state is TurnState.CLOSED for allocation in relays)

    def relay_of(self, relayed: Address) -> TurnAllocation | None:
        """The allocation with this relayed address."""
        allocations = (leg.allocation for leg in self.legs if leg.allocation is not None)
        return next((item for item in allocations if relayed in item.relayed), None)

    def drain_relays(self) -> list[RelayedDataReceived]:
        """What peers have sent through the relays."""
        data, self._relayed_data = self._relayed_data, []
        return data

    def owns(self, datagram: Datagram) -> bool:
        """Whether it belongs to a server, and not to a peer."""
        # Asked for every datagram of data, too: a plain tuple is equal to a Path.
        if (datagram.destination, datagram.source, datagram.transport) in self._by_path:
            return True
        return len(self._bindings) > 0 and self._bindings.tag_of(datagram.data[8:20]) is not None

    def close(self, now: float) -> None:
        """Ask nobody any more, and give all relays back."""
        self._closing = True
        self._queue.clear()
        for leg in self.legs:
            self._bindings.cancel(leg)
            leg.deadline = None
            if leg.allocation is not None:
                leg.allocation.close(now)
                self._drain(leg, now)

    # Endpoint.

    def receive_datagram(self, datagram: Datagram, now: float) -> None:
        """Hand it to the request or the allocation it belongs to."""
        if datagram.transport is Transport.UDP and self._receive_binding(datagram, now):
            return
        leg = self._by_path.get(Path(datagram.destination, datagram.source, datagram.transport))
        if leg is None or leg.allocation is None:
            self.dropped += 1
            return
        leg.allocation.receive_datagram(datagram, now)
        self._drain(leg, now)

    def unreachable(self, datagram: Datagram, now: float) -> None:
        """The system has no route for this request: the server cannot be asked there from that address."""
        leg = self._bindings.tag_of(datagram.data[8:20])
        if not isinstance(leg, ServerLeg):
            leg = self._by_path.get(Path(datagram.source, datagram.destination, datagram.transport))
        # A relay that was there may come back with the route. The farewell to an address that was given up has none
        # either, and ends nothing of its successor, which waits for its turn.
        if leg is None or leg.done or leg in self._queue or self._closing:
            return
        self._pacer.give_back(now)
        self._end_asking(leg, now)
        self._try_next(leg, "this host has no route to it from there", now)

    def handle_timer(self, now: float) -> None:
        """Start the next request, retransmit, refresh, give up. Requests start here alone: who shares the pacer may go
        before them.
        """
        self._ask_next(now)
        for outcome in self._bindings.handle_timer(now):
            self._bound(outcome, now)
        for leg in self.legs:
            if leg.allocation is not None:
                leg.allocation.handle_timer(now)
                self._drain(leg, now)
            if leg.deadline is not None and leg.deadline <= now:
                self._give_up(leg, now)
        self._ask_next(now)

    def get_timer(self) -> float | None:
        """The earliest of all parts."""
        due = [self._bindings.get_timer()]
        if (leg := self._next()) is not None:
            due.append(self._pacer.slot_at(beside=leg.beside))
        if self._next_to_connect() is not None:
            due.append(self._connect_at)
        for leg in self.legs:
            due.append(leg.deadline)
            if leg.allocation is not None:
                due.append(leg.allocation.get_timer())
        return min((when for when in due if when is not None), default=None)

    def datagrams_to_send(self) -> list[Datagram]:
        """Drain."""
        out = self._bindings.datagrams_to_send()
        for leg in self.legs:
            if leg.allocation is not None:
                out += leg.allocation.datagrams_to_send()
        return out

    def next_event(self) -> AskingEvent | None:
        """Drain."""
        return self._answers.next_event()

    # StreamUser.

    def stream_connected(self, id: int, now: float) -> None:
        """TCP is up and TLS begins."""
        self._to_stream(id, now, lambda allocation: allocation.stream_connected(id, now))

    def stream_opened(self, id: int, local: Address, remote: Address, now: float) -> None:
        """The stream to a TURN server is up."""
        if (leg := self._leg_of(id)) is not None:
            leg.local = local
            self._by_path[Path(local, remote, leg.endpoint.transport)] = leg
            leg.opened = (id, local, remote)
            self._queue.append(leg)

    def stream_closed(self, id: int, failure: StreamFailure, now: float, detail: str = "") -> None:
        """The stream failed, or the server hung up."""
        self._to_stream(id, now, lambda allocation: allocation.stream_closed(id, failure, now, detail))

    def _leg_of(self, id: int) -> ServerLeg | None:
        attempt = id // self._stride
        leg = self._by_attempt.get(attempt)
        # What an abandoned attempt still hears is not for the one that followed it.
        return leg if leg is not None and leg.attempt == attempt else None

    def _to_stream(self, id: int, now: float, tell: Callable[[TurnAllocation], None]) -> None:
        leg = self._leg_of(id)
        if leg is not None and leg.allocation is not None:
            tell(leg.allocation)
            self._drain(leg, now)

    # Asking.

    def _next(self) -> ServerLeg | None:
        """Who is asked in the next slot: a Binding request beside an Allocate delays nobody else."""
        ready = (leg for leg in self._queue if leg.base.local is not None and not leg.connects)
        return min(ready, key=lambda leg: leg.beside, default=None)

    def _next_to_connect(self) -> ServerLeg | None:
        return next((leg for leg in self._queue if leg.base.local is not None and leg.connects), None)

    def _ask_next(self, now: float) -> None:
        # RFC 8445 §14.2: new transactions are at least Ta apart.
        leg = self._next()
        if leg is not None and self._pacer.may_start(now, beside=leg.beside):
            self._pacer.take(now, beside=leg.beside)
            self._queue.remove(leg)
            if leg.opened is None:
                self._ask(leg, now)
            else:
                opened, leg.opened = leg.opened, None
                self._to_stream(opened[0], now, lambda allocation: allocation.stream_opened(*opened, now))
        leg = self._next_to_connect()
        if leg is not None and self._connect_at <= now:
            self._connect_at = now + self._pacer.ta
            self._queue.remove(leg)
            self._ask(leg, now)

    def _dequeue(self, leg: ServerLeg) -> None:
        leg.opened = None
        if leg in self._queue:
            self._queue.remove(leg)

    def _ask(self, leg: ServerLeg, now: float) -> None:
        """Ask the next address of a server."""
        local = leg.base.local
        assert local is not None
        schedule = leg.next_endpoint(self._config, now)
        endpoint = leg.endpoint
        path = Path(local, endpoint.address, endpoint.transport)
        if leg.credential is None:
            self._bindings.send(leg, Method.BINDING, path, (), schedule, now)
            return
        udp = endpoint.transport is Transport.UDP
        if udp:
            if (other := self._by_path.get(path)) is not None:
                # A server has one allocation for each 5-tuple (RFC 8656 §7.2).
                self._fail(leg, _same_server(other), now)
                return
            self._by_path[path] = leg
            self._ask_beside(leg)
        leg.attempt, leg.local = len(self._by_attempt), local if udp else None
        self._by_attempt[leg.attempt] = leg
        leg.allocation = TurnAllocation(
            endpoint.address,
            endpoint.transport,
            # Realm and nonce belong to one server, and with some to one 5-tuple, so no two allocations share them.
            LongTermCredential(*leg.credential),
            self._token_bytes,
            local=local if udp else Address(leg.base.host, 0),
            server_name=endpoint.server_name,
            stream_id=leg.attempt * self._stride,
            config=replace(self._config.turn, schedule=schedule, connect_timeout=schedule.timeout),
            pacer=self._pacer,
        )
        leg.allocation.allocate(now)
        self._drain(leg, now)

    def _ask_beside(self, leg: ServerLeg) -> None:
        """Ask the server of an allocation for the mapped address alone, too, if nobody tells or is asked for it."""
        address, base = leg.endpoint.address, leg.base
        if self._relay_only or base in self._mapped:
            return
        if any(other.base is base and other.is_binding_to(address) for other in self.legs):
            return
        leg.binding = leg.make_binding()
        self.legs.append(leg.binding)
        self._queue.append(leg.binding)

    def _replace_beside(self, leg: ServerLeg) -> None:
        """A STUN server is to be asked for the same."""
        for other in [item for item in self._queue if item.beside]:
            if other.base is leg.base and other.is_binding_to(leg.endpoint.address):
                self._end_beside(other)

    def _end_beside(self, leg: ServerLeg) -> None:
        """Its answer is not wanted any more."""
        leg.deadline, leg.done = None, True
        self._bindings.cancel(leg)
        self._dequeue(leg)

    def _learned(self, base: LocalSocket) -> None:
        """Some server has told the mapped address of a socket: no TURN server needs to."""
        self._mapped.add(base)
        for leg in self.legs:
            if leg.beside and leg.base is base and not leg.done:
                self._end_beside(leg)

    def _receive_binding(self, datagram: Datagram, now: float) -> bool:
        """Take the answer to a Binding request of ours; False if it is none."""
        if not is_stun(datagram.data) or self._bindings.tag_of(datagram.data[8:20]) is None:
            return False
        try:
            message = decode(datagram.data)
            outcomes = self._bindings.receive(message, datagram, now)
        except DecodeError as error:
            self.dropped += 1
            log.debug("! %s from %s", error, datagram.source)
            return True
        for outcome in outcomes:
            self._bound(outcome, now)
        return True

    def _bound(self, outcome: Outcome, now: float) -> None:
        leg = outcome.tag
        assert isinstance(leg, ServerLeg)
        match outcome:
            case Succeeded(response=response):
                mapped = mapped_address(response)
                if mapped is None:
                    self._fail(leg, "its answer has no address that can be used", now)
                    return
                self._reflexive(leg, mapped, now)
                if not leg.beside:
                    self._answered(leg, mapped, (), now)
            case Refused(error=error):
                self._fail(leg, str(ErrorResponse(*error)), now)
            case TimedOut(sent=sent, seconds=seconds):
                self._try_next(leg, failure_text(TransactionTimeout(sent, seconds)), now)

    def _drain(self, leg: ServerLeg, now: float) -> None:
        """Take what an allocation tells."""
        allocation = leg.allocation
        assert allocation is not None
        failed: AllocationFailed | None = None
        while (event := allocation.next_event()) is not None:
            match event:
                case StreamWanted() | StreamReleased():
                    self._answers.pass_on(event)
                case ServerRedirected(server=server) if leg.endpoint.transport is Transport.UDP:
                    assert leg.base.local is not None
                    other = self._by_path.setdefault(Path(leg.base.local, server), leg)
                    if other is not leg:
                        # As in ``_ask``; its request must not leave, as the answers would be for the other one.
                        leg.allocation = None
                        self._fail(leg, _same_server(other), now, heard=True)
                        return
                case AllocationCreated():
                    self._allocated(leg, allocation, event, now)
                case AllocationFailed():
                    failed = event
                case DataReceived(peer=peer, data=data) if allocation.relayed:
                    relayed = next((item for item in allocation.relayed if item.family == peer.family), None)
                    if relayed is not None:
                        self._relayed_data.append(RelayedDataReceived(relayed, peer, data))
                case _:
                    pass  # permissions and channels are refreshed by the allocation itself
        if failed is None or self._closing:
            return
        error = failure_text(failed.error, failed.step, signed=failed.signed)
        if failed.step is Step.REFRESH:
            self._answers.relay_lost(leg, allocation.relayed, error, now)
        elif not leg.done:
            # Who refused has answered: another address of the same service would say the same.
            if isinstance(failed.error, ErrorResponse):
                self._fail(leg, error, now, heard=True)
            else:
                self._try_next(leg, error, now)

    def _try_next(self, leg: ServerLeg, error: str, now: float) -> None:
        self._dequeue(leg)
        if not leg.endpoints:
            self._fail(leg, error, now)
            return
        if leg.binding is not None:
            self._end_beside(leg.binding)
        log.debug("= %s at %s: %s; the next address", leg.url, leg.endpoint.address, error)
        self._queue.append(leg)

    def _give_up(self, leg: ServerLeg, now: float) -> None:
        self._dequeue(leg)
        self._end_asking(leg, now)
        if (again := leg.again(now)) is not None:
            leg.deadline, leg.done = None, True
            self.legs.append(again)
            self._queue.append(again)
            return
        self._fail(leg, f"no result within {leg.patience:g} s", now)

    def _end_asking(self, leg: ServerLeg, now: float) -> None:
        self._bindings.cancel(leg)
        if leg.allocation is not None:
            leg.allocation.close(now)
            self._drain(leg, now)

    # What became of it.

    def _fail(self, leg: ServerLeg, error: str, now: float, *, heard: bool = False) -> None:
        """``heard``: the server has answered an allocation, and may yet answer the Binding request."""
        if leg.beside:
            log.debug("= %s tells no mapped address: %s", leg.url, error)
            self._end_beside(leg)
            return
        self._settle(leg, now, heard=heard)
        self._answers.failed(leg, error, now)

    def _answered(self, leg: ServerLeg, mapped: Address | None, relayed: tuple[Address, ...], now: float) -> None:
        self._settle(leg, now, heard=True)
        self._answers.answered(leg, mapped, relayed, now)

    def _settle(self, leg: ServerLeg, now: float, *, heard: bool) -> None:
        leg.deadline, leg.done = None, True
        if leg.binding is None or leg.binding.done:
            return
        if heard:
            leg.binding.deadline = now + _LAST_CALL
        else:
            self._end_beside(leg.binding)

    def _allocated(self, leg: ServerLeg, allocation: TurnAllocation, event: AllocationCreated, now: float) -> None:
        if leg.done:
            return
        mapped = event.mapped if event.mapped is not None and is_usable(event.mapped) else None
        # An allocation has one address of each family (RFC 8656 §7.2), whatever the server writes.
        relayed = tuple({address.family: address for address in event.relayed if is_usable(address)}.values())
        if mapped is not None and leg.endpoint.transport is Transport.UDP:
            self._reflexive(leg, mapped, now)
        if not relayed:
            allocation.close(now)
            self._fail(leg, f"it relays on {event.relayed[0]}, which is no address to send to", now, heard=True)
            return
        self._answers.relayed(leg, relayed, mapped, now)
        self._answered(leg, mapped, relayed, now)

    def _reflexive(self, leg: ServerLeg, mapped: Address, now: float) -> None:
        self._answers.reflexive(leg, mapped, now)
        self._learned(leg.base)


def _same_server(other: ServerLeg) -> str:
    return f"it is the same server as {other.url}, which is asked already"
