"""A TURN allocation against a scripted server, and against our own server over a fake wire, in virtual time."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from icekit import attributes as attr
from icekit.attributes import AddressErrorCode, Family, Icmp, Item
from icekit.errors import ConfigError, ErrorResponse, InvalidState, TransactionTimeout
from icekit.long_term_credential import LongTermCredential
from icekit.net import Address, Datagram, StreamFailure, StreamReleased, StreamWanted, Transport
from icekit.stun import (
    ChannelData,
    Class,
    IntegrityKey,
    Message,
    Method,
    StreamDecoder,
    decode,
    failure,
    indication,
    is_channel_data,
    long_term_key,
    success,
)
from icekit.turn import TurnAllocation, TurnConfig, TurnState
from icekit.turn_events import (
    AllocationCreated,
    AllocationFailed,
    AllocationRefreshed,
    AllocationReleased,
    ChannelBound,
    ChannelFailed,
    DataReceived,
    IcmpReceived,
    PermissionCreated,
    PermissionFailed,
    ServerChallenged,
    ServerConnected,
    ServerRedirected,
    ServerSecured,
    Step,
    TurnEvent,
)
from tests.turn_client import World, turn_server_config

LOCAL = Address("192.0.2.1", 5000)
SERVER = Address("198.51.100.1", 3478)
OTHER_SERVER = Address("198.51.100.2", 3478)
RELAYED = Address("198.51.100.1", 50000)
RELAYED6 = Address("2001:db8::1", 50000)
MAPPED = Address("203.0.113.5", 6000)
PEER = Address("203.0.113.99", 7000)
KEY = long_term_key("alice", "r", "secret")


class Bench:
    """An allocation, a clock, and a server that answers what the test says."""

    def __init__(
        self, transport: Transport = Transport.UDP, *, server_name: str | None = None, config: TurnConfig | None = None
    ) -> None:
        self.transport = transport
        self.server = SERVER
        self.now = 1000.0
        self.core = TurnAllocation(
            SERVER,
            transport,
            LongTermCredential("alice", "secret"),
            random.Random(1).randbytes,
            local=LOCAL,
            server_name=server_name,
            stream_id=7,
            config=config,
        )

    def out(self) -> list[bytes]:
        datagrams = self.core.datagrams_to_send()
        for datagram in datagrams:
            assert (datagram.source, datagram.destination) == (LOCAL, self.server)
            assert datagram.transport is self.transport
        return [datagram.data for datagram in datagrams]

    def sent(self, method: Method, kind: Class = Class.REQUEST) -> Message:
        """The one message that is sent now."""
        (data,) = self.out()
        message = decode(data)
        assert (message.method, message.message_class) == (method, kind)
        return message

    def events(self) -> list[TurnEvent]:
        events = []
        while (event := self.core.next_event()) is not None:
            events.append(event)
        return events

    def event(self) -> TurnEvent:
        (event,) = self.events()
        return event

    def receive(self, data: bytes, source: Address | None = None) -> None:
        self.core.receive_datagram(Datagram(source or self.server, LOCAL, data, self.transport), self.now)

    def answer(self, message: Message, key: IntegrityKey | None = KEY) -> None:
        self.receive(message.encode(key))

    def challenge(self, asked: Message) -> Message:
        """Answer 401 and return the signed request."""
        self.answer(failure(asked, 401, attr.REALM("r"), attr.NONCE(b"n1")), None)
        signed = self.sent(Method(asked.method))
        assert signed.verify(KEY)
        return signed

    def begin(self) -> Message:
        """Up to the signed Allocate request."""
        self.core.allocate(self.now)
        if self.transport is not Transport.UDP:
            self.core.stream_opened(7, LOCAL, SERVER, self.now)
        signed = self.challenge(self.sent(Method.ALLOCATE))
        self.events()
        return signed

    def allocated(self, *items: Item, relayed: tuple[Address, ...] = (RELAYED,), lifetime: int = 600) -> None:
        addresses = [attr.XOR_RELAYED_ADDRESS(address) for address in relayed]
        answer = (*addresses, attr.LIFETIME(lifetime), attr.XOR_MAPPED_ADDRESS(MAPPED), *items)
        self.answer(success(self.begin(), *answer))

    def ready(self) -> None:
        self.allocated()
        assert isinstance(self.event(), AllocationCreated)

    def bound(self) -> int:
        """With a channel to PEER."""
        self.ready()
        self.core.bind_channel(PEER, self.now)
        self.answer(success(self.sent(Method.CHANNEL_BIND)))
        event = self.event()
        assert isinstance(event, ChannelBound)
        return event.channel

    def run(
        self, until: float, respond: Callable[[Message], Message | None] = lambda asked: None
    ) -> list[tuple[float, int]]:
        """Timers at their times, each request answered; what was sent when."""
        sent = []
        while (timer := self.core.get_timer()) is not None and timer <= until:
            self.now = timer
            self.core.handle_timer(self.now)
            assert (later := self.core.get_timer()) is None or later > self.now
            for data in self.out():
                message = decode(data)
                sent.append((self.now, message.method))
                if (response := respond(message)) is not None:
                    self.answer(response)
        self.now = until
        return sent


def renewing(asked: Message) -> Message:
    return success(asked, attr.LIFETIME(600))


def data_indication(peer: Address, data: bytes, *items: Item) -> bytes:
    return indication(Method.DATA, bytes(12), attr.XOR_PEER_ADDRESS(peer), attr.DATA(data), *items).encode()


# Allocate.


def test_an_allocation() -> None:
    bench = Bench()
    bench.core.allocate(bench.now)
    asked = bench.sent(Method.ALLOCATE)
    assert asked.get(attr.REQUESTED_TRANSPORT) == 17
    assert len(asked.attributes) == 1
    bench.now += 0.25
    signed = bench.challenge(asked)
    bench.now += 0.25
    answer = (
        attr.XOR_RELAYED_ADDRESS(RELAYED),
        attr.LIFETIME(900),
        attr.XOR_MAPPED_ADDRESS(MAPPED),
        attr.SOFTWARE("s"),
    )
    bench.answer(success(signed, *answer))
    assert bench.events() == [
        ServerChallenged("r", 0.25),
        AllocationCreated((RELAYED,), MAPPED, 900, 0.5, 0.25, "s"),
    ]
    assert (bench.core.state, bench.core.relayed, bench.core.lifetime) == (TurnState.ALLOCATED, (RELAYED,), 900)


@pytest.mark.parametrize(
    ("config", "items"),
    [
        (TurnConfig(families=(Family.IPV6,)), {attr.REQUESTED_ADDRESS_FAMILY: 2}),
        (TurnConfig(families=(Family.IPV4,)), {attr.REQUESTED_ADDRESS_FAMILY: 1}),
        (TurnConfig(families=(Family.IPV6, Family.IPV4)), {attr.ADDITIONAL_ADDRESS_FAMILY: 2}),
        (TurnConfig(lifetime=1200, dont_fragment=True), {attr.LIFETIME: 1200, attr.DONT_FRAGMENT: True}),
        (TurnConfig(software="icekit"), {attr.SOFTWARE: "icekit"}),
    ],
)
def test_what_an_allocation_asks_for(config: TurnConfig, items: dict[attr.Attribute[object], object]) -> None:
    bench = Bench(config=config)
    bench.core.allocate(bench.now)
    asked = bench.sent(Method.ALLOCATE)
    assert {attribute: asked.get(attribute) for attribute in items} == items
    assert len(asked.attributes) == 1 + len(items)


def test_both_families_and_one_refused() -> None:
    bench = Bench(config=TurnConfig(families=(Family.IPV4, Family.IPV6)))
    bench.allocated(relayed=(RELAYED6, RELAYED))
    created = bench.event()
    assert isinstance(created, AllocationCreated)
    assert created.relayed == (RELAYED, RELAYED6)
    bench = Bench(config=TurnConfig(families=(Family.IPV4, Family.IPV6)))
    refused = AddressErrorCode(2, 440, "no IPv6")
    bench.allocated(attr.ADDRESS_ERROR_CODE(refused))
    created = bench.event()
    assert isinstance(created, AllocationCreated)
    assert (created.relayed, created.refused_families) == ((RELAYED,), (refused,))


@pytest.mark.parametrize("code", [400, 403, 420, 437, 440, 441, 442, 486, 508, 500, 699])
def test_every_refusal_is_typed(code: int) -> None:
    bench = Bench()
    bench.answer(failure(bench.begin(), code, reason="because"))
    event = bench.event()
    assert isinstance(event, AllocationFailed)
    assert isinstance(event.error, ErrorResponse)
    assert (event.step, event.error.code, event.error.reason, event.signed) == (Step.ALLOCATE, code, "because", True)
    assert bench.core.state is TurnState.CLOSED
    assert bench.out() == []
    assert bench.core.get_timer() is None


def test_wrong_credentials() -> None:
    bench = Bench()
    bench.answer(failure(bench.begin(), 401, attr.REALM("r"), attr.NONCE(b"n2")), None)
    event = bench.event()
    assert isinstance(event, AllocationFailed)
    assert isinstance(event.error, ErrorResponse)
    assert (event.error.code, event.signed) == (401, True)


def test_a_server_that_never_answers_ends_it_in_time() -> None:
    bench = Bench()
    bench.core.allocate(bench.now)
    # The last datagram tells a server that we cannot hear to forget what it may have made.
    assert [method for _, method in bench.run(1100.0)] == [Method.ALLOCATE] * 7 + [Method.REFRESH]
    event = bench.event()
    assert isinstance(event, AllocationFailed)
    assert isinstance(event.error, TransactionTimeout)
    assert (event.error.sent, event.seconds, event.signed) == (7, 39.5, False)
    assert bench.core.get_timer() is None


@pytest.mark.parametrize(
    "items",
    [
        (),
        (attr.LIFETIME(600), attr.XOR_MAPPED_ADDRESS(MAPPED)),
        ((attr.XOR_RELAYED_ADDRESS.type, b"\0\1"),),
        (attr.XOR_RELAYED_ADDRESS(RELAYED), (attr.LIFETIME.type, b"\0")),
        (attr.XOR_RELAYED_ADDRESS(RELAYED), (attr.XOR_MAPPED_ADDRESS.type, b"")),
        (attr.XOR_RELAYED_ADDRESS(RELAYED), attr.LIFETIME(0)),
        (attr.XOR_RELAYED_ADDRESS(RELAYED6),),
        (attr.XOR_RELAYED_ADDRESS(RELAYED), (0x7001, b"")),
    ],
    ids=["empty", "no relay", "bad relay", "bad lifetime", "bad mapped", "no lifetime", "family", "unknown"],
)
def test_an_answer_that_cannot_be_used_is_given_back(items: tuple[Item, ...]) -> None:
    bench = Bench(config=TurnConfig(families=(Family.IPV4,)))
    bench.answer(success(bench.begin(), *items))
    event = bench.event()
    assert isinstance(event, AllocationFailed)
    assert isinstance(event.error, ErrorResponse)
    assert (event.step, event.error.code, event.signed) == (Step.ALLOCATE, 500, True)
    release = bench.sent(Method.REFRESH)
    assert (release.get(attr.LIFETIME), release.verify(KEY)) == (0, True)
    bench.run(1100.0)
    assert bench.core.state is TurnState.CLOSED


def test_what_only_informs_may_be_malformed() -> None:
    bench = Bench()
    bench.allocated((attr.SOFTWARE.type, b"\xff"), (attr.ADDRESS_ERROR_CODE.type, b""))
    event = bench.event()
    assert isinstance(event, AllocationCreated)
    assert (event.software, event.refused_families) == (None, ())


def test_a_flood_of_relayed_addresses_is_one_of_each_family() -> None:
    bench = Bench()
    addresses = [Address("198.51.100.1", port) for port in range(50000, 50900)]
    bench.allocated(relayed=(*addresses, RELAYED6))
    event = bench.event()
    assert isinstance(event, AllocationCreated)
    assert event.relayed == (addresses[0], RELAYED6)


def test_duplicates_change_nothing() -> None:
    bench = Bench()
    signed = bench.begin()
    answer = success(signed, attr.XOR_RELAYED_ADDRESS(RELAYED))
    for _ in range(3):
        bench.answer(answer)
    assert len(bench.events()) == 1
    assert bench.core.dropped == 2
    assert bench.core.lifetime == 600


# Refresh.


@pytest.mark.parametrize(
    ("lifetime", "after"), [(600, 540.0), (3600, 3540.0), (100, 50.0), (1, 0.5), (2**32 - 1, 2.0**32 - 61)]
)
def test_when_an_allocation_is_refreshed(lifetime: int, after: float) -> None:
    bench = Bench()
    bench.allocated(lifetime=lifetime)
    assert bench.core.get_timer() == 1000.0 + after
    bench.now = 1000.0 + after
    bench.core.handle_timer(bench.now)
    asked = bench.sent(Method.REFRESH)
    assert (asked.get(attr.LIFETIME), asked.verify(KEY)) == (None, True)


def test_refreshing_follows_what_the_server_grants() -> None:
    bench = Bench(config=TurnConfig(lifetime=900))
    bench.ready()
    bench.core.refresh(bench.now)
    bench.core.refresh(bench.now)
    asked = bench.sent(Method.REFRESH)
    assert asked.get(attr.LIFETIME) == 900
    bench.now += 0.5
    bench.answer(success(asked, attr.LIFETIME(300)))
    assert bench.event() == AllocationRefreshed(300, 0.5)
    assert bench.core.get_timer() == bench.now + 240
    bench.core.refresh(bench.now)
    bench.answer(success(bench.sent(Method.REFRESH)))
    assert bench.event() == AllocationRefreshed(300, 0.0)


@pytest.mark.parametrize("code", [400, 437, 441])
def test_a_refused_refresh_ends_the_allocation(code: int) -> None:
    bench = Bench()
    bench.ready()
    bench.core.refresh(bench.now)
    bench.answer(failure(bench.sent(Method.REFRESH), code))
    event = bench.event()
    assert isinstance(event, AllocationFailed)
    assert isinstance(event.error, ErrorResponse)
    assert (event.step, event.error.code, event.signed) == (Step.REFRESH, code, True)
    assert bench.core.get_timer() is None
    with pytest.raises(InvalidState):
        bench.core.send(PEER, b"x", bench.now)


def test_prolonged_by_nothing_is_an_end() -> None:
    bench = Bench()
    bench.ready()
    bench.core.refresh(bench.now)
    bench.answer(success(bench.sent(Method.REFRESH), attr.LIFETIME(0)))
    event = bench.event()
    assert isinstance(event, AllocationFailed)
    assert event.step is Step.REFRESH
    bench.answer(failure(bench.sent(Method.REFRESH), 437))
    assert bench.event() == AllocationReleased(True, 0.0)


def test_several_outcomes_at_the_time_of_death() -> None:
    bench = Bench()
    bench.ready()
    bench.core.refresh(bench.now)
    bench.core.create_permission(PEER.host, bench.now)
    bench.core.bind_channel(PEER, bench.now)
    bench.run(2000.0)
    # All three time out in one call; the first of them ends the allocation.
    event = bench.event()
    assert isinstance(event, AllocationFailed)
    assert event.step is Step.REFRESH
    assert bench.core.state is TurnState.CLOSED


# Permissions, channels and data.


def test_the_first_data_leaves_with_its_permission() -> None:
    bench = Bench()
    bench.ready()
    bench.core.send(PEER, b"one", bench.now)
    permission, data = (decode(item) for item in bench.out())
    assert (permission.method, permission.get(attr.XOR_PEER_ADDRESS)) == (
        Method.CREATE_PERMISSION,
        Address(PEER.host, 0),
    )
    assert permission.verify(KEY)
    assert (data.method, data.message_class) == (Method.SEND, Class.INDICATION)
    assert (data.get(attr.XOR_PEER_ADDRESS), data.get(attr.DATA)) == (PEER, b"one")
    # The second asks for nothing.
    bench.core.send(Address(PEER.host, 7001), b"two", bench.now)
    assert bench.sent(Method.SEND, Class.INDICATION).get(attr.DATA) == b"two"
    bench.now += 0.25
    bench.answer(success(permission))
    assert bench.event() == PermissionCreated(PEER.host, 0.25)


def test_dont_fragment_is_said_with_the_data() -> None:
    bench = Bench(config=TurnConfig(dont_fragment=True))
    bench.ready()
    bench.core.send(PEER, b"one", bench.now)
    assert decode(bench.out()[1]).get(attr.DONT_FRAGMENT) is True


def test_data_arrives_by_indication_and_by_channel() -> None:
    bench = Bench()
    channel = bench.bound()
    assert channel == 0x4000
    bench.receive(data_indication(PEER, b"one"))
    bench.receive(ChannelData(channel, b"two").encode(padded=False))
    bench.receive(ChannelData(channel, b"").encode(padded=False))
    bench.receive(
        indication(Method.DATA, bytes(12), attr.XOR_PEER_ADDRESS(PEER), attr.ICMP(Icmp(3, 3, bytes(4)))).encode()
    )
    assert bench.events() == [
        DataReceived(PEER, b"one", None),
        DataReceived(PEER, b"two", channel),
        DataReceived(PEER, b"", channel),
        IcmpReceived(PEER, 3, 3),
    ]
    bench.core.send(PEER, b"three", bench.now)
    bench.core.send(Address("::ffff:203.0.113.99", 7000), b"four", bench.now)
    assert bench.out() == [ChannelData(channel, data).encode(padded=False) for data in (b"three", b"four")]


def test_data_may_overtake_the_answer_to_channel_bind() -> None:
    bench = Bench()
    bench.ready()
    bench.core.bind_channel(PEER, bench.now)
    bench.core.send(PEER, b"early", bench.now)
    bind, _, send = (decode(data) for data in bench.out())
    assert (bind.get(attr.CHANNEL_NUMBER), bind.get(attr.XOR_PEER_ADDRESS)) == (0x4000, PEER)
    assert send.method == Method.SEND
    bench.receive(ChannelData(0x4000, b"x").encode(padded=False))
    assert bench.event() == DataReceived(PEER, b"x", 0x4000)


def test_a_stranger_is_not_heard() -> None:
    bench = Bench()
    channel = bench.bound()
    stranger = Address("203.0.113.98", 7000)
    strange = [
        data_indication(stranger, b"x"),
        ChannelData(channel + 1, b"x").encode(padded=False),
        b"\x40\x00\x00\x09x",
        indication(Method.DATA, bytes(12), attr.DATA(b"x")).encode(),
        indication(Method.DATA, bytes(12), attr.XOR_PEER_ADDRESS(PEER)).encode(),
        data_indication(PEER, b"x", (0x7001, b"")),
        indication(Method.SEND, bytes(12), attr.XOR_PEER_ADDRESS(PEER), attr.DATA(b"x")).encode(),
        b"",
        b"\xff" * 40,
    ]
    for data in strange:
        bench.receive(data)
    bench.receive(data_indication(PEER, b"x"), source=OTHER_SERVER)
    assert bench.events() == []
    assert bench.core.dropped == len(strange) + 1


def test_a_flood_of_data_is_bounded() -> None:
    bench = Bench(config=TurnConfig(max_events=10))
    channel = bench.bound()
    for _ in range(1000):
        bench.receive(ChannelData(channel, b"x").encode(padded=False))
        bench.receive(data_indication(PEER, b"x"))
    assert len(bench.events()) == 10
    assert bench.core.dropped == 1990


def test_permissions_and_channels_are_renewed_in_time() -> None:
    bench = Bench()
    bench.bound()
    bench.core.create_permission(PEER.host, bench.now)
    bench.answer(success(bench.sent(Method.CREATE_PERMISSION)))
    bench.events()
    sent = bench.run(1000.0 + 1300, renewing)
    assert sent == [
        (1240.0, Method.CREATE_PERMISSION),
        (1240.0, Method.CHANNEL_BIND),
        (1480.0, Method.CREATE_PERMISSION),
        (1480.0, Method.CHANNEL_BIND),
        (1540.0, Method.REFRESH),
        (1720.0, Method.CREATE_PERMISSION),
        (1720.0, Method.CHANNEL_BIND),
        (1960.0, Method.CREATE_PERMISSION),
        (1960.0, Method.CHANNEL_BIND),
        (2080.0, Method.REFRESH),
        (2200.0, Method.CREATE_PERMISSION),
        (2200.0, Method.CHANNEL_BIND),
    ]
    assert bench.events() == [AllocationRefreshed(600, 0.0)] * 2


@pytest.mark.parametrize("what", [Method.CREATE_PERMISSION, Method.CHANNEL_BIND])
def test_a_server_that_knows_no_allocation_any_more_has_none(what: Method) -> None:
    """RFC 8656 §5: a 437 to a request other than Allocate. The server is new, or a NAT gave us another port."""
    bench = Bench()
    bench.ready()
    if what is Method.CREATE_PERMISSION:
        bench.core.create_permission(PEER.host, bench.now)
    else:
        bench.core.bind_channel(PEER, bench.now)
    asked = bench.sent(what)
    # Anybody can write what is not signed.
    bench.answer(failure(asked, 437), None)
    assert bench.core.state is TurnState.ALLOCATED
    bench.answer(failure(asked, 437))
    refused, gone = bench.events()
    assert isinstance(refused, PermissionFailed | ChannelFailed)
    assert isinstance(gone, AllocationFailed)
    assert (gone.step, str(gone.error)) == (Step.REFRESH, "437 Allocation Mismatch")
    assert bench.core.state is TurnState.CLOSED
    assert bench.core.get_timer() is None
    assert bench.out() == []


def test_a_permission_that_fails_to_renew_is_told_and_asked_for_again() -> None:
    bench = Bench()
    bench.ready()
    bench.core.create_permission(PEER.host, bench.now)
    bench.answer(success(bench.sent(Method.CREATE_PERMISSION)))
    bench.events()
    bench.run(1240.0, lambda asked: failure(asked, 403))
    event = bench.event()
    assert isinstance(event, PermissionFailed)
    assert isinstance(event.error, ErrorResponse)
    assert (event.host, event.error.code) == (PEER.host, 403)
    bench.core.send(PEER, b"x", bench.now)
    again, _ = bench.out()
    bench.answer(success(decode(again)))
    assert bench.event() == PermissionCreated(PEER.host, 0.0)


@pytest.mark.parametrize("code", [400, 403, 443, 446, 486, 508])
def test_refused_peers_are_typed(code: int) -> None:
    bench = Bench()
    bench.ready()
    bench.core.create_permission(PEER.host, bench.now)
    bench.answer(failure(bench.sent(Method.CREATE_PERMISSION), code))
    bench.core.bind_channel(PEER, bench.now)
    bench.answer(failure(bench.sent(Method.CHANNEL_BIND), code))
    permission, channel = bench.events()
    assert isinstance(permission, PermissionFailed)
    assert isinstance(channel, ChannelFailed)
    assert [type(event.error) for event in (permission, channel)] == [ErrorResponse] * 2
    assert [getattr(event.error, "code", None) for event in (permission, channel)] == [code] * 2
    assert bench.core.state is TurnState.ALLOCATED


def test_a_channel_that_fails_to_renew_falls_back_to_indications() -> None:
    bench = Bench()
    bench.bound()
    bench.run(1240.0, lambda asked: failure(asked, 400))
    assert isinstance(bench.event(), ChannelFailed)
    bench.core.send(PEER, b"x", bench.now)
    assert [decode(data).method for data in bench.out()] == [Method.CREATE_PERMISSION, Method.SEND]
    # It keeps its number (RFC 8656 §12).
    bench.core.bind_channel(PEER, bench.now)
    assert bench.sent(Method.CHANNEL_BIND).get(attr.CHANNEL_NUMBER) == 0x4000
    bench.core.bind_channel(Address(PEER.host, 7001), bench.now)
    assert bench.sent(Method.CHANNEL_BIND).get(attr.CHANNEL_NUMBER) == 0x4001


def test_a_silent_server_fails_a_permission() -> None:
    bench = Bench()
    bench.ready()
    bench.core.create_permission(PEER.host, bench.now)
    bench.run(1100.0)
    event = bench.event()
    assert isinstance(event, PermissionFailed)
    assert isinstance(event.error, TransactionTimeout)
    assert event.seconds == 39.5


def test_a_stale_nonce_is_nobodys_concern() -> None:
    bench = Bench()
    bench.ready()
    bench.core.create_permission(PEER.host, bench.now)
    asked = bench.sent(Method.CREATE_PERMISSION)
    bench.answer(failure(asked, 438, attr.REALM("r"), attr.NONCE(b"n2")), None)
    again = bench.sent(Method.CREATE_PERMISSION)
    assert again.get(attr.NONCE) == b"n2"
    bench.answer(success(again))
    assert bench.event() == PermissionCreated(PEER.host, 0.0)


def test_the_tables_are_bounded() -> None:
    bench = Bench(config=TurnConfig(max_peers=2))
    bench.ready()
    for port in (1, 2):
        bench.core.create_permission(f"203.0.113.{port}", bench.now)
        bench.core.bind_channel(Address("203.0.113.1", port), bench.now)
    for call in (
        lambda: bench.core.create_permission("203.0.113.3", bench.now),
        lambda: bench.core.send(Address("203.0.113.3", 1), b"x", bench.now),
        lambda: bench.core.bind_channel(Address("203.0.113.1", 3), bench.now),
    ):
        with pytest.raises(InvalidState):
            call()
    bench.core.create_permission("203.0.113.1", bench.now)
    bench.core.bind_channel(Address("203.0.113.1", 1), bench.now)
    assert len(bench.out()) == 4


def test_local_misuse() -> None:
    bench = Bench()
    for call in (
        lambda: bench.core.send(PEER, b"x", bench.now),
        lambda: bench.core.create_permission(PEER.host, bench.now),
        lambda: bench.core.bind_channel(PEER, bench.now),
        lambda: bench.core.refresh(bench.now),
    ):
        with pytest.raises(InvalidState):
            call()
    bench.ready()
    with pytest.raises(InvalidState):
        bench.core.allocate(bench.now)
    with pytest.raises(ConfigError):
        bench.core.create_permission("example.org", bench.now)
    with pytest.raises(ConfigError):
        bench.core.send(PEER, bytes(65536), bench.now)
    # What failed has asked for nothing.
    assert bench.out() == []
    core = TurnAllocation(SERVER, Transport.UDP, LongTermCredential("a", "b"), random.Random(1).randbytes, local=None)
    with pytest.raises(ConfigError):
        core.allocate(0.0)


# Close, in every state.


def test_close_before_anything() -> None:
    bench = Bench()
    bench.core.close(bench.now)
    assert (bench.core.state, bench.out(), bench.events(), bench.core.get_timer()) == (TurnState.CLOSED, [], [], None)


def test_close_releases() -> None:
    bench = Bench()
    bench.bound()
    bench.core.create_permission(PEER.host, bench.now)
    bench.out()
    bench.core.close(bench.now)
    bench.core.close(bench.now)
    release = bench.sent(Method.REFRESH)
    assert (release.get(attr.LIFETIME), release.verify(KEY)) == (0, True)
    bench.receive(ChannelData(0x4000, b"late").encode(padded=False))
    bench.now += 0.5
    bench.answer(success(release, attr.LIFETIME(0)))
    assert bench.event() == AllocationReleased(True, 0.5)
    assert (bench.core.state, bench.core.get_timer(), bench.out()) == (TurnState.CLOSED, None, [])
    bench.answer(success(release, attr.LIFETIME(0)))
    assert bench.events() == []


@pytest.mark.parametrize(("code", "confirmed"), [(437, True), (401, False), (500, False)])
def test_a_refused_release(code: int, confirmed: bool) -> None:
    bench = Bench()
    bench.ready()
    bench.core.close(bench.now)
    bench.answer(failure(bench.sent(Method.REFRESH), code))
    assert bench.event() == AllocationReleased(confirmed, 0.0)


def test_a_release_with_a_stale_nonce() -> None:
    bench = Bench()
    bench.ready()
    bench.core.close(bench.now)
    bench.answer(failure(bench.sent(Method.REFRESH), 438, attr.REALM("r"), attr.NONCE(b"n2")), None)
    release = bench.sent(Method.REFRESH)
    assert (release.get(attr.NONCE), release.get(attr.LIFETIME)) == (b"n2", 0)
    bench.answer(success(release))
    assert bench.event() == AllocationReleased(True, 0.0)


def test_a_release_that_nobody_answers_ends_soon() -> None:
    bench = Bench()
    bench.ready()
    bench.core.close(bench.now)
    bench.run(1100.0)
    assert bench.event() == AllocationReleased(False, 1.25)


def test_close_before_the_challenge_waits_for_nobody() -> None:
    bench = Bench()
    bench.core.allocate(bench.now)
    bench.out()
    bench.core.close(bench.now)
    # A server that asks for no credentials may have made one.
    assert bench.sent(Method.REFRESH).get(attr.LIFETIME) == 0
    assert (bench.core.state, bench.core.get_timer(), bench.events()) == (TurnState.CLOSED, None, [])


def closing_early() -> tuple[Bench, Message, Message]:
    """Closed between the signed Allocate and its answer: both requests."""
    bench = Bench()
    allocate = bench.begin()
    bench.core.close(bench.now)
    release = bench.sent(Method.REFRESH)
    assert (release.get(attr.LIFETIME), release.verify(KEY)) == (0, True)
    return bench, allocate, release


def granted(allocate: Message) -> Message:
    return success(allocate, attr.XOR_RELAYED_ADDRESS(RELAYED), attr.LIFETIME(600))


def test_closed_early_and_released_in_order() -> None:
    bench, _, release = closing_early()
    bench.answer(success(release))
    assert bench.event() == AllocationReleased(True, 0.0)


def test_closed_early_and_the_answer_comes_later() -> None:
    bench, allocate, release = closing_early()
    bench.now += 0.1
    bench.answer(failure(release, 437))
    # There was none when the release arrived; but the Allocate may still be on its way.
    assert bench.events() == []
    bench.answer(granted(allocate))
    again = bench.sent(Method.REFRESH)
    assert again.get(attr.LIFETIME) == 0
    bench.answer(success(again))
    event = bench.event()
    assert isinstance(event, AllocationReleased)
    assert event.confirmed


def test_closed_early_and_the_answer_comes_first() -> None:
    bench, allocate, release = closing_early()
    bench.answer(granted(allocate))
    again = bench.sent(Method.REFRESH)
    assert again.transaction_id != release.transaction_id
    bench.answer(failure(again, 437))
    event = bench.event()
    assert isinstance(event, AllocationReleased)
    assert event.confirmed


@pytest.mark.parametrize("code", [401, 437, 438, 486])
def test_closed_early_and_refused(code: int) -> None:
    bench, allocate, release = closing_early()
    bench.answer(failure(allocate, code, attr.REALM("r"), attr.NONCE(b"n2")))
    assert bench.out() == []
    bench.answer(failure(release, 437))
    event = bench.event()
    assert isinstance(event, AllocationReleased)
    assert event.confirmed


def test_closed_early_and_silence() -> None:
    bench, _, _ = closing_early()
    assert [method for _, method in bench.run(1100.0)] == [Method.REFRESH, Method.REFRESH]
    assert bench.event() == AllocationReleased(False, 1.25)


# Streams.


def test_a_stream_is_asked_for_and_framed() -> None:
    bench = Bench(Transport.TLS, server_name="turn.example.org")
    bench.core.allocate(bench.now)
    assert bench.event() == StreamWanted(7, LOCAL.host, SERVER, Transport.TLS, "turn.example.org")
    assert bench.core.get_timer() == 1010.0
    bench.now += 0.25
    bench.core.stream_connected(7, bench.now)
    bench.now += 0.5
    bench.core.stream_opened(7, LOCAL, SERVER, bench.now)
    assert bench.events() == [ServerConnected(0.25), ServerSecured(0.5)]
    signed = bench.challenge(bench.sent(Method.ALLOCATE))
    answer = granted(signed).encode(KEY)
    for position in range(len(answer)):
        bench.receive(answer[position : position + 1])
    bench.core.bind_channel(PEER, bench.now)
    bind = bench.sent(Method.CHANNEL_BIND)
    # Two messages and a half in one piece.
    frame = ChannelData(0x4000, b"hello").encode(padded=True)
    bench.receive(success(bind).encode(KEY) + frame + frame[:6])
    bench.receive(frame[6:])
    assert [type(event) for event in bench.events()] == [
        ServerChallenged,
        AllocationCreated,
        ChannelBound,
        DataReceived,
        DataReceived,
    ]
    bench.core.send(PEER, b"hello", bench.now)
    # RFC 8656 §12.5: padded to four bytes.
    assert bench.out() == [b"\x40\x00\x00\x05hello\0\0\0"]


def test_over_tcp_connected_is_told_once() -> None:
    bench = Bench(Transport.TCP)
    bench.core.allocate(0.0)
    bench.core.stream_opened(7, LOCAL, SERVER, 0.5)
    assert bench.events()[1:] == [ServerConnected(0.5)]


@pytest.mark.parametrize("failure_kind", list(StreamFailure))
@pytest.mark.parametrize("connected", [False, True])
def test_a_stream_that_does_not_open(failure_kind: StreamFailure, connected: bool) -> None:
    bench = Bench(Transport.TLS)
    bench.core.allocate(0.0)
    if connected:
        bench.core.stream_connected(7, 0.0)
    bench.events()
    bench.core.stream_closed(7, failure_kind, 1.5, "why")
    event = bench.event()
    assert isinstance(event, AllocationFailed)
    assert (event.step, event.seconds) == (Step.TLS if connected else Step.CONNECT, 1.5)
    assert str(event.error) == f"{failure_kind}: why"
    assert (bench.core.state, bench.core.get_timer()) == (TurnState.CLOSED, None)


def test_a_stream_that_takes_too_long() -> None:
    bench = Bench(Transport.TCP)
    bench.core.allocate(bench.now)
    bench.events()
    bench.run(1100.0)
    failed, released = bench.events()
    assert isinstance(failed, AllocationFailed)
    assert (failed.step, str(failed.error), failed.seconds) == (Step.CONNECT, "timeout: no answer", 10.0)
    assert released == StreamReleased(7)
    bench.core.stream_opened(7, LOCAL, SERVER, 1101.0)
    assert bench.out() == []


def test_the_server_hangs_up() -> None:
    bench = Bench(Transport.TCP)
    bench.begin()
    bench.core.stream_closed(7, StreamFailure.CLOSED, bench.now)
    event = bench.event()
    assert isinstance(event, AllocationFailed)
    assert event.step is Step.ALLOCATE
    bench = Bench(Transport.TCP)
    bench.ready()
    bench.core.stream_closed(7, StreamFailure.RESET, bench.now, "reset")
    event = bench.event()
    assert isinstance(event, AllocationFailed)
    assert event.step is Step.REFRESH
    bench = Bench(Transport.TCP)
    bench.ready()
    bench.core.close(bench.now)
    bench.core.stream_closed(7, StreamFailure.CLOSED, bench.now)
    # The allocation goes with its connection, but nobody said so.
    assert bench.event() == AllocationReleased(False, 0.0)


@pytest.mark.parametrize("closing", [False, True])
def test_a_stream_that_is_not_turn(closing: bool) -> None:
    bench = Bench(Transport.TCP)
    bench.ready()
    if closing:
        bench.core.close(bench.now)
    bench.receive(b"SSH-2.0-OpenSSH_9.2\r\n")
    bench.receive(b"SSH-2.0-OpenSSH_9.2\r\n")
    ended, released = bench.events()
    assert isinstance(ended, AllocationReleased if closing else AllocationFailed)
    assert released == StreamReleased(7)
    assert bench.core.get_timer() is None


def test_close_of_a_stream() -> None:
    bench = Bench(Transport.TCP)
    bench.core.allocate(bench.now)
    bench.core.close(bench.now)
    assert bench.events()[1:] == [StreamReleased(7)]
    bench = Bench(Transport.TCP)
    bench.ready()
    bench.core.close(bench.now)
    bench.answer(success(bench.sent(Method.REFRESH)))
    assert bench.events() == [AllocationReleased(True, 0.0), StreamReleased(7)]


# ALTERNATE-SERVER (RFC 8489 §10).


def alternate(asked: Message, server: Address, *items: Item) -> Message:
    return failure(asked, 300, attr.ALTERNATE_SERVER(server), *items)


def test_a_redirect_is_followed_without_the_first_servers_secrets() -> None:
    bench = Bench()
    bench.answer(alternate(bench.begin(), OTHER_SERVER))
    assert bench.event() == ServerRedirected(OTHER_SERVER)
    assert bench.core.server == OTHER_SERVER
    bench.server = OTHER_SERVER
    asked = bench.sent(Method.ALLOCATE)
    assert not asked.has_integrity()
    # Same user, same password, another realm.
    bench.answer(failure(asked, 401, attr.REALM("other"), attr.NONCE(b"n")), None)
    key = long_term_key("alice", "other", "secret")
    signed = bench.sent(Method.ALLOCATE)
    assert signed.verify(key)
    bench.receive(granted(signed).encode(key), source=SERVER)
    assert not any(isinstance(event, AllocationCreated) for event in bench.events())
    bench.answer(granted(signed), key)
    assert isinstance(bench.event(), AllocationCreated)


def test_a_redirect_before_the_challenge() -> None:
    bench = Bench()
    bench.core.allocate(bench.now)
    bench.answer(alternate(bench.sent(Method.ALLOCATE), OTHER_SERVER), None)
    assert bench.event() == ServerRedirected(OTHER_SERVER)


def test_redirects_do_not_go_in_circles() -> None:
    bench = Bench()
    bench.core.allocate(bench.now)
    bench.answer(alternate(bench.sent(Method.ALLOCATE), OTHER_SERVER), None)
    bench.server = OTHER_SERVER
    bench.answer(alternate(bench.sent(Method.ALLOCATE), SERVER), None)
    redirected, failed = bench.events()
    assert redirected == ServerRedirected(OTHER_SERVER)
    assert isinstance(failed, AllocationFailed)
    assert str(failed.error) == "300 Try Alternate"


def test_redirects_end() -> None:
    bench = Bench(config=TurnConfig(max_redirects=2))
    bench.core.allocate(bench.now)
    for port in (1, 2, 3):
        bench.answer(alternate(bench.sent(Method.ALLOCATE), Address("198.51.100.9", port)), None)
        bench.server = Address("198.51.100.9", port)
    assert [type(event) for event in bench.events()] == [ServerRedirected, ServerRedirected, AllocationFailed]
    assert bench.core.get_timer() is None


@pytest.mark.parametrize(
    "items",
    [
        (),
        ((attr.ALTERNATE_SERVER.type, b"x"),),
        (attr.ALTERNATE_SERVER(Address("2001:db8::9", 3478)),),
        (attr.ALTERNATE_SERVER(Address("198.51.100.9", 0)),),
        (attr.ALTERNATE_SERVER(OTHER_SERVER), (attr.ALTERNATE_DOMAIN.type, b"\xff")),
        # Where only we can go: requests to this host and to its network are not the server's to make.
        (attr.ALTERNATE_SERVER(Address("127.0.0.1", 3478)),),
        (attr.ALTERNATE_SERVER(Address("169.254.169.254", 80)),),
        (attr.ALTERNATE_SERVER(Address("192.168.1.1", 3478)),),
        (attr.ALTERNATE_SERVER(Address("0.0.0.0", 3478)),),
        (attr.ALTERNATE_SERVER(Address("224.0.0.251", 5353)),),
    ],
    ids=[
        *("nowhere", "malformed", "other family", "port 0", "malformed domain"),
        *("loopback", "link-local", "private", "unspecified", "multicast"),
    ],
)
def test_a_redirect_that_cannot_be_followed_is_a_refusal(items: tuple[Item, ...]) -> None:
    bench = Bench()
    bench.answer(failure(bench.begin(), 300, *items))
    event = bench.event()
    assert isinstance(event, AllocationFailed)
    assert isinstance(event.error, ErrorResponse)
    assert event.error.code == 300


def test_a_server_in_our_network_may_send_us_on_in_it() -> None:
    first, second = Address("10.0.0.1", 3478), Address("10.0.0.2", 3478)
    bench = Bench()
    bench.core = TurnAllocation(
        first, Transport.UDP, LongTermCredential("alice", "secret"), random.Random(1).randbytes, local=LOCAL
    )
    bench.server = first
    bench.core.allocate(bench.now)
    bench.answer(alternate(bench.sent(Method.ALLOCATE), second), None)
    assert bench.event() == ServerRedirected(second)


def test_a_forged_redirect_of_a_signed_request_is_not_followed() -> None:
    bench = Bench()
    bench.answer(alternate(bench.begin(), OTHER_SERVER), None)
    assert bench.events() == []
    bench.run(1100.0)
    event = bench.event()
    assert isinstance(event, AllocationFailed)
    assert bench.core.server == SERVER


@pytest.mark.parametrize(("domain", "name"), [(None, "one.example.org"), ("two.example.org", "two.example.org")])
def test_a_redirect_over_tls_asks_for_another_stream(domain: str | None, name: str) -> None:
    bench = Bench(Transport.TLS, server_name="one.example.org")
    signed = bench.begin()
    bench.answer(alternate(signed, OTHER_SERVER, *(() if domain is None else (attr.ALTERNATE_DOMAIN(domain),))))
    assert bench.events() == [
        ServerRedirected(OTHER_SERVER),
        StreamReleased(7),
        StreamWanted(8, LOCAL.host, OTHER_SERVER, Transport.TLS, name),
    ]
    # The end of the old stream is no news.
    bench.core.stream_closed(7, StreamFailure.CLOSED, bench.now)
    bench.core.stream_connected(7, bench.now)
    bench.core.stream_opened(7, LOCAL, SERVER, bench.now)
    assert bench.events() == []
    bench.core.stream_opened(8, LOCAL, OTHER_SERVER, bench.now)
    bench.server = OTHER_SERVER
    assert not bench.sent(Method.ALLOCATE).has_integrity()


# With our own server, back to back.


class Wire:
    """An allocation and ``icekit.server`` with nothing between them; the peer's datagrams are collected."""

    def __init__(self, transport: Transport = Transport.UDP, **server: object) -> None:
        self.world = World(turn_server_config(**server))
        self.core = TurnAllocation(
            SERVER, transport, LongTermCredential("alice", "secret"), random.Random(2).randbytes, local=LOCAL
        )
        self.transport = transport
        self.to_peer: list[Datagram] = []
        self.events: list[TurnEvent] = []
        if transport is Transport.TCP:
            self.world.server.add_local_address(SERVER, transport)
            self.world.server.stream_accepted(-1, transport, SERVER, LOCAL, self.now)

    @property
    def now(self) -> float:
        return self.world.now

    def allocate(self) -> Address:
        self.core.allocate(self.now)
        if self.transport is Transport.TCP:
            self.core.stream_opened(0, LOCAL, SERVER, self.now)
        self.pump()
        (created,) = [event for event in self.events if isinstance(event, AllocationCreated)]
        return created.relayed[0]

    def pump(self) -> None:
        while datagrams := self.core.datagrams_to_send():
            for datagram in datagrams:
                self.from_server(self.world.receive(datagram.data, LOCAL, SERVER, datagram.transport))
        while (event := self.core.next_event()) is not None:
            self.events.append(event)

    def from_server(self, datagrams: list[Datagram]) -> None:
        for datagram in datagrams:
            if datagram.destination == LOCAL:
                self.core.receive_datagram(datagram, self.now)
            else:
                self.to_peer.append(datagram)

    def run(self, until: float) -> None:
        while True:
            timers = [timer for timer in (self.core.get_timer(), self.world.server.get_timer()) if timer is not None]
            if not timers or min(timers) > until:
                break
            self.world.now = max(self.now, min(timers))
            self.core.handle_timer(self.now)
            self.world.server.handle_timer(self.now)
            self.from_server(self.world.pump())
            self.pump()
        self.world.now = until


@pytest.mark.parametrize("transport", [Transport.UDP, Transport.TCP])
@pytest.mark.parametrize("algorithms", [False, True])
def test_an_hour_with_our_own_server(transport: Transport, algorithms: bool) -> None:
    wire = Wire(transport, password_algorithms=algorithms, nonce_lifetime=600)
    relayed = wire.allocate()
    wire.core.send(PEER, b"one", wire.now)
    wire.core.bind_channel(PEER, wire.now)
    wire.pump()
    wire.core.send(PEER, b"two", wire.now)
    wire.pump()
    assert [(datagram.source, datagram.destination, datagram.data) for datagram in wire.to_peer] == [
        (relayed, PEER, b"one"),
        (relayed, PEER, b"two"),
    ]
    for _ in range(12):
        wire.run(wire.now + 300)
        wire.from_server(wire.world.receive(b"answer", PEER, relayed))
        wire.core.send(PEER, b"more", wire.now)
        wire.pump()
    assert len(wire.to_peer) == 14
    channel = [event.channel for event in wire.events if isinstance(event, ChannelBound)]
    assert [event for event in wire.events if isinstance(event, DataReceived)] == [
        DataReceived(PEER, b"answer", channel[0])
    ] * 12
    assert not any(isinstance(event, AllocationFailed | PermissionFailed | ChannelFailed) for event in wire.events)
    wire.core.close(wire.now)
    wire.pump()
    assert wire.events[-1 if transport is Transport.UDP else -2] == AllocationReleased(True, 0.0)
    assert wire.world.server.allocations == 0
    assert wire.world.bound == set()


def test_closed_early_our_own_server_has_nothing_left() -> None:
    wire = Wire()
    # Its relay sockets open late: the release arrives before the allocation is there.
    wire.world.open_sockets = False
    wire.core.allocate(wire.now)
    wire.pump()
    wire.core.close(wire.now)
    wire.pump()
    assert wire.core.state is TurnState.RELEASING
    (wanted,) = wire.world.wanted
    wire.world.bound.add(wanted.local)
    wire.world.server.socket_opened(wanted.id, wanted.local, wire.now)
    wire.from_server(wire.world.pump())
    wire.pump()
    assert wire.events[-1] == AllocationReleased(True, 0.0)
    assert wire.world.server.allocations == 0
    assert wire.world.bound == set()


def test_a_forbidden_peer_of_our_own_server() -> None:
    wire = Wire()
    wire.allocate()
    wire.core.send(Address("127.0.0.1", 9), b"x", wire.now)
    wire.core.bind_channel(Address("10.0.0.1", 9), wire.now)
    wire.pump()
    permission, channel = wire.events[-2:]
    assert isinstance(permission, PermissionFailed)
    assert isinstance(channel, ChannelFailed)
    assert [str(event.error) for event in (permission, channel)] == ["403 Forbidden"] * 2
    assert wire.to_peer == []


# Anything in any order.

HOSTS = ["203.0.113.1", "203.0.113.2", "2001:db8::9"]


class AnyOrder(RuleBasedStateMachine):
    """A server that knows the password and answers what it likes; an owner who calls what it likes."""

    def __init__(self) -> None:
        super().__init__()
        self.transport = Transport.UDP
        self.config = TurnConfig(max_peers=4, max_events=16, connect_timeout=5.0)
        self.core = self.new()
        self.now = 0.0
        self.asked: list[Message] = []
        self.remote = SERVER

    def new(self) -> TurnAllocation:
        return TurnAllocation(
            SERVER,
            self.transport,
            LongTermCredential("alice", "secret"),
            random.Random(3).randbytes,
            local=LOCAL,
            config=self.config,
        )

    def drain(self) -> None:
        for datagram in self.core.datagrams_to_send():
            self.remote = datagram.destination
            if not is_channel_data(datagram.data):
                self.asked = [*self.asked, decode(datagram.data)][-8:]

    @rule(transport=st.sampled_from([Transport.UDP, Transport.TCP, Transport.TLS, Transport.DTLS]))
    def begin_again(self, transport: Transport) -> None:
        if self.core.state is TurnState.CLOSED:
            self.transport, self.asked = transport, []
            self.core = self.new()

    @rule(
        which=st.sampled_from(["allocate", "permission", "channel", "send", "refresh", "close"]),
        host=st.sampled_from(HOSTS),
        port=st.integers(1, 3),
    )
    def call(self, which: str, host: str, port: int) -> None:
        peer = Address(host, port)
        try:
            match which:
                case "allocate":
                    self.core.allocate(self.now)
                case "permission":
                    self.core.create_permission(host, self.now)
                case "channel":
                    self.core.bind_channel(peer, self.now)
                case "send":
                    self.core.send(peer, b"x" * port, self.now)
                case "refresh":
                    self.core.refresh(self.now)
                case _:
                    self.core.close(self.now)
        except InvalidState:
            pass

    @rule(id=st.integers(0, 4), what=st.sampled_from(["connected", "opened", "closed"]))
    def stream(self, id: int, what: str) -> None:
        match what:
            case "connected":
                self.core.stream_connected(id, self.now)
            case "opened":
                self.core.stream_opened(id, LOCAL, self.core.server, self.now)
            case _:
                self.core.stream_closed(id, StreamFailure.RESET, self.now)

    @rule(
        which=st.integers(0, 7),
        code=st.sampled_from([0, 0, 0, 300, 400, 401, 403, 437, 438, 486]),
        signed=st.booleans(),
        lifetime=st.sampled_from([0, 1, 600, 2**32 - 1]),
    )
    def answer(self, which: int, code: int, signed: bool, lifetime: int) -> None:
        self.drain()
        if not self.asked:
            return
        asked = self.asked[which % len(self.asked)]
        items = [attr.REALM("r"), attr.NONCE(b"n"), attr.LIFETIME(lifetime)]
        if lifetime != 1:
            items += [attr.XOR_RELAYED_ADDRESS(RELAYED), attr.ALTERNATE_SERVER(OTHER_SERVER)]
        response = failure(asked, code, *items) if code else success(asked, *items)
        self.receive(response.encode(KEY if signed else None))

    @rule(
        data=st.binary(max_size=48),
        head=st.sampled_from([b"", b"\x40\x00\x00\x02", b"\x01\x13\x00\x04\x21\x12\xa4\x42", b"\x00\x17"]),
    )
    def garbage(self, data: bytes, head: bytes) -> None:
        self.receive(head + data)

    @rule(host=st.sampled_from(HOSTS), channel=st.sampled_from([0x4000, 0x4001, 0x4FFF]), count=st.integers(1, 30))
    def data(self, host: str, channel: int, count: int) -> None:
        for _ in range(count):
            self.receive(data_indication(Address(host, 1), b"x"))
            self.receive(ChannelData(channel, b"x").encode(padded=True))

    def receive(self, data: bytes) -> None:
        self.core.receive_datagram(Datagram(self.remote, LOCAL, data, self.transport), self.now)

    @rule(seconds=st.sampled_from([0.0, 0.3, 3.0, 50.0, 1000.0]))
    def wait(self, seconds: float) -> None:
        until = self.now + seconds
        while (timer := self.core.get_timer()) is not None and timer <= until:
            self.now = max(self.now, timer)
            self.core.handle_timer(self.now)
            later = self.core.get_timer()
            assert later is None or later > self.now
        self.now = until

    @rule()
    def take_events(self) -> None:
        while self.core.next_event() is not None:
            pass

    @invariant()
    def bounded(self) -> None:
        self.drain()
        assert len(self.core._transactions) <= 2 * self.config.max_peers + 3
        assert self.core.relayed in ((), (RELAYED,))
        if self.core.state is TurnState.CLOSED:
            assert self.core.get_timer() is None

    def teardown(self) -> None:
        self.core.close(self.now)
        self.wait(100.0)
        assert self.core.state is TurnState.CLOSED
        assert self.core.get_timer() is None
        events = 0
        while self.core.next_event() is not None:
            events += 1
        self.drain()
        assert self.core.datagrams_to_send() == []


AnyOrder.TestCase.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
TestAnyOrder = AnyOrder.TestCase


def test_a_stream_decoder_of_the_peer_reads_what_we_frame() -> None:
    bench = Bench(Transport.TCP)
    bench.bound()
    for size in range(9):
        bench.core.send(PEER, bytes(size), bench.now)
    bench.core.send(Address("203.0.113.98", 1), b"abc", bench.now)
    messages = StreamDecoder().feed(b"".join(bench.out()))
    assert [ChannelData.decode(message).data for message in messages[:9]] == [bytes(size) for size in range(9)]
    assert [decode(message).method for message in messages[9:]] == [Method.CREATE_PERMISSION, Method.SEND]
