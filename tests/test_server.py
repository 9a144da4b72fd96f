"""The server as one core: routing, streams, rate limit, amplification, and any input at all."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from icekit.attributes import (
    ADDITIONAL_ADDRESS_FAMILY,
    BY_TYPE,
    CHANNEL_NUMBER,
    DATA,
    EVEN_PORT,
    LIFETIME,
    PADDING,
    REQUESTED_TRANSPORT,
    RESERVATION_TOKEN,
    XOR_MAPPED_ADDRESS,
    XOR_PEER_ADDRESS,
    Item,
)
from icekit.errors import ConfigError
from icekit.net import Address, Datagram, SocketFailure, StreamFailure, Transport
from icekit.server import AllocationDeleted, Deletion, Server, ServerConfig, TurnServerConfig
from icekit.stun import ChannelData, Class, Message, Method, decode, indication, request
from tests.turn_client import CLIENT, PEER, SERVER, Client, World, turn_server_config

UDP = REQUESTED_TRANSPORT(17)
BINDING = request(Method.BINDING, bytes(12)).encode()
ALLOCATE = request(Method.ALLOCATE, bytes(12), UDP).encode()


def test_a_binding_request_is_answered() -> None:
    world = World()
    (answer,) = world.receive(BINDING)
    assert (answer.source, answer.destination) == (SERVER, CLIENT)
    assert decode(answer.data).get(XOR_MAPPED_ADDRESS) == CLIENT
    assert world.server.counters.answered == 1


def test_without_turn_there_is_silence() -> None:
    world = World()
    assert world.receive(ALLOCATE) == []
    assert world.receive(indication(Method.SEND, bytes(12)).encode()) == []
    assert world.receive(ChannelData(0x4000, b"x").encode(padded=False)) == []
    counters = world.server.counters
    assert (counters.unexpected, counters.garbage, counters.answered) == (2, 1, 0)


@pytest.mark.parametrize(
    ("data", "counter"),
    [
        (b"", "garbage"),
        (b"\x80" * 100, "garbage"),
        (BINDING[:-1], "garbage"),
        (BINDING[:2] + b"\0\x04" + BINDING[4:] + b"\0\x20\0\x08", "garbage"),
        (request(Method.CONNECT, bytes(12)).encode(), "unexpected"),
        (Message(Method.BINDING, Class.SUCCESS, bytes(12)).encode(), "unexpected"),
        (Message(Method.ALLOCATE, Class.ERROR, bytes(12)).encode(), "unexpected"),
        (indication(Method.DATA, bytes(12)).encode(), "unexpected"),
        (indication(Method.SEND, bytes(12)).encode(), "no_allocation"),
        (ChannelData(0x4000, b"x").encode(padded=False), "no_allocation"),
    ],
)
def test_what_is_dropped_is_counted(data: bytes, counter: str) -> None:
    world = World(turn_server_config())
    assert world.receive(data) == []
    assert {name: number for name, number in world.server.counters.to_dict().items() if number} == {counter: 1}


def test_a_binding_indication_is_a_keepalive() -> None:
    world = World(turn_server_config())
    assert world.receive(indication(Method.BINDING, bytes(12)).encode()) == []
    assert not any(world.server.counters.to_dict().values())


def test_rate_limit_before_authentication() -> None:
    world = World(turn_server_config(), rate=1.0, burst=5.0)
    assert sum(len(world.receive(ALLOCATE, Address("203.0.113.5", port))) for port in range(1, 21)) == 5
    assert len(world.receive(ALLOCATE, Address("203.0.114.5", 1))) == 1
    assert world.server.counters.rate_limited == 15
    world.now += 2.0
    assert sum(len(world.receive(BINDING)) for _ in range(5)) == 2


def test_rate_limit_does_not_touch_who_has_authenticated() -> None:
    world = World(turn_server_config(), rate=1.0, burst=2.0)
    client = Client(world)
    client.allocate()
    assert all(client.ask(Method.REFRESH).message_class is Class.SUCCESS for _ in range(50))
    # But what the same 5-tuple sends without credentials costs as before.
    assert client.ask_all(Method.REFRESH, authenticated=False) == []
    assert world.receive(BINDING) == []
    assert world.server.counters.rate_limited == 2
    world.now += 1.0
    assert client.ask(Method.REFRESH, authenticated=False).error().code == 401
    assert client.ask_all(Method.REFRESH, authenticated=False) == []


@settings(max_examples=300)
@given(
    method=st.sampled_from([*Method, 0xEE]),
    message_class=st.sampled_from(list(Class)),
    items=st.lists(
        st.tuples(st.one_of(st.sampled_from(sorted(BY_TYPE)), st.integers(0, 0xFFFF)), st.binary(max_size=40)),
        max_size=6,
    ),
    padding=st.integers(0, 300),
    fingerprint=st.booleans(),
    source=st.sampled_from([CLIENT, Address("2001:db8::5", 9)]),
)
def test_before_authentication_nothing_is_amplified_and_nothing_kept(
    method: int,
    message_class: Class,
    items: list[tuple[int, bytes]],
    padding: int,
    fingerprint: bool,
    source: Address,
) -> None:
    world = World(turn_server_config(relay_ipv6="2001:db8::1", realm="a rather long realm.example.org"))
    for host in ("198.51.100.1", "198.51.100.2"):
        for port in (3478, 3479):
            world.server.add_local_address(Address(host, port))
    # FINGERPRINT in the wrong place is garbage of another kind.
    kept: list[Item] = [item for item in items if item[0] != 0x8028]
    if padding:
        kept.append(PADDING(bytes(padding)))
    data = Message(method, message_class, bytes(12), tuple(kept)).encode(fingerprint=fingerprint)
    headers = 48 if ":" in source.host else 28
    sent = world.receive(data, source)
    assert sum(len(datagram.data) + headers for datagram in sent) <= 2.5 * (len(data) + headers)
    assert all(datagram.destination.host == source.host for datagram in sent)
    assert (world.server.allocations, world.server.get_timer(), world.wanted) == (0, None, [])


def test_streams_are_bounded_and_idle_ones_end() -> None:
    world = World(turn_server_config(), max_streams=2, stream_idle=30.0)
    sources = [Address("203.0.113.5", port) for port in (1, 2, 3)]
    for number, source in enumerate(sources):
        world.server.stream_accepted(-1 - number, Transport.TCP, SERVER, source, world.now)
    world.pump()
    assert world.hung_up == [-3]
    assert world.server.counters.refused_streams == 1
    # One gets an allocation and may be silent; the other may not.
    Client(world, source=sources[0], transport=Transport.TCP).allocate()
    world.run_until(1020.0)
    world.receive(BINDING, sources[1], transport=Transport.TCP)
    world.run_until(1049.0)
    assert world.hung_up == [-3]
    world.run_until(1050.0)
    assert world.hung_up == [-3, -2]
    world.run_until(1599.0)
    assert world.hung_up == [-3, -2]
    # Without its allocation it is idle like any other.
    world.run_until(1700.0)
    assert world.hung_up == [-3, -2, -1]


def test_a_stream_ends_with_its_framing() -> None:
    world = World(turn_server_config())
    world.server.stream_accepted(-1, Transport.TCP, SERVER, CLIENT, world.now)
    assert world.receive(b"\x16\x03\x01\x02\x00\x01", transport=Transport.TCP) == []
    assert world.hung_up == [-1]
    assert world.receive(BINDING, transport=Transport.TCP) == []
    assert world.server.counters.garbage == 1
    world.server.stream_closed(-1, StreamFailure.CLOSED, world.now)


def test_an_allocation_ends_with_its_stream() -> None:
    world = World(turn_server_config())
    world.server.stream_accepted(-1, Transport.TLS, SERVER, CLIENT, world.now)
    Client(world, transport=Transport.TLS).allocate()
    world.server.stream_closed(-1, StreamFailure.RESET, world.now)
    world.pump()
    assert (world.server.allocations, world.bound) == (0, set())
    assert world.events[-1] == AllocationDeleted(CLIENT, Transport.TLS, "alice", Deletion.DISCONNECTED)


def test_udp_and_tcp_from_the_same_port_are_two_clients() -> None:
    world = World(turn_server_config())
    world.server.stream_accepted(-1, Transport.TCP, SERVER, CLIENT, world.now)
    Client(world).allocate()
    Client(world, transport=Transport.TCP).allocate()
    assert world.server.allocations == 2


def test_close_gives_everything_back() -> None:
    world = World(turn_server_config())
    client = Client(world)
    client.challenge()
    client.ask(Method.ALLOCATE, UDP, EVEN_PORT(True))
    world.server.stream_accepted(-1, Transport.TCP, SERVER, CLIENT, world.now)
    pending = Client(world, source=Address("203.0.113.5", 9))
    pending.challenge()
    world.open_sockets = False
    assert pending.ask_all(Method.ALLOCATE, UDP) == []
    for _ in range(2):
        world.server.close(world.now)
    assert world.pump() == []
    assert (world.bound, world.hung_up, world.server.get_timer(), world.server.allocations) == (set(), [-1], None, 0)
    assert world.receive(BINDING) == []
    # A socket that opens after the end is given back.
    late = world.wanted[-1]
    world.bound.add(late.local)
    world.server.socket_opened(late.id, late.local, world.now)
    world.server.socket_failed(99, SocketFailure.IN_USE, world.now)
    world.server.stream_accepted(-2, Transport.TCP, SERVER, CLIENT, world.now)
    assert world.pump() == []
    assert (world.bound, world.hung_up) == (set(), [-1, -2])


@pytest.mark.parametrize("changes", [{"rate": 0.0}, {"burst": 0.5}, {"rate_table_size": 0}])
def test_a_configuration_that_cannot_be(changes: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="rate"):
        ServerConfig(**changes)  # type: ignore[arg-type]


class AnyInput(RuleBasedStateMachine):
    """Whatever clients, peers, sockets and the clock do: no exception, every bound kept, every timer later than now."""

    clients = Bundle("clients")

    @initialize()
    def start(self) -> None:
        config = turn_server_config(
            relay_ipv6="2001:db8::1",
            relay_ports=(50000, 50015),
            max_allocations=6,
            max_allocations_per_user=4,
            max_permissions=3,
            max_channels=3,
        )
        self.world = World(config, max_streams=2, rate_table_size=3)
        self.tokens: list[bytes] = []
        self.streams = 0

    @rule(target=clients, port=st.integers(1, 6), name=st.sampled_from(["alice", "bob"]), stream=st.booleans())
    def connect(self, port: int, name: str, stream: bool) -> Client:
        source = Address("203.0.113.5", port)
        transport = Transport.TCP if stream else Transport.UDP
        if stream:
            self.streams += 1
            self.world.server.stream_accepted(-self.streams, transport, SERVER, source, self.world.now)
            self.world.pump()
        password = {"alice": "secret", "bob": "hunter2"}[name]
        client = Client(self.world, username=name, password=password, source=source, transport=transport)
        client.ask_all(Method.ALLOCATE, UDP, authenticated=False)
        return client

    @rule(
        client=clients,
        method=st.sampled_from([Method.ALLOCATE, Method.REFRESH, Method.CREATE_PERMISSION, Method.CHANNEL_BIND]),
        items=st.lists(
            st.sampled_from(
                [
                    UDP,
                    LIFETIME(0),
                    LIFETIME(5000),
                    EVEN_PORT(True),
                    EVEN_PORT(False),
                    ADDITIONAL_ADDRESS_FAMILY(2),
                    CHANNEL_NUMBER(0x4001),
                    CHANNEL_NUMBER(0x4002),
                    XOR_PEER_ADDRESS(PEER),
                    XOR_PEER_ADDRESS(Address("203.0.113.98", 1)),
                    XOR_PEER_ADDRESS(Address("2001:db8::99", 1)),
                    XOR_PEER_ADDRESS(Address("127.0.0.1", 1)),
                    (0x0012, b"bad"),
                ]
            ),
            max_size=4,
        ),
        token=st.booleans(),
    )
    def ask(self, client: Client, method: Method, items: list[Item], token: bool) -> None:
        if token and self.tokens:
            items = [*items, RESERVATION_TOKEN(self.tokens.pop())]
        for answer in client.ask_all(method, *items):
            found = answer.get(RESERVATION_TOKEN)
            if found is not None:
                self.tokens.append(found)

    @rule(client=clients, data=st.binary(max_size=80))
    def bytes_of_a_client(self, client: Client, data: bytes) -> None:
        self.world.receive(data, client.source, transport=client.transport)

    @rule(client=clients, data=st.binary(max_size=20), peer=st.sampled_from([PEER, Address("203.0.113.98", 1)]))
    def send(self, client: Client, data: bytes, peer: Address) -> None:
        message = indication(Method.SEND, bytes(12), XOR_PEER_ADDRESS(peer), DATA(data)).encode()
        channel = ChannelData(0x4001, data).encode(padded=True)
        self.world.receive(message, client.source, transport=client.transport)
        self.world.receive(channel, client.source, transport=client.transport)

    @rule(data=st.binary(max_size=80), source=st.sampled_from([PEER, CLIENT, Address("2001:db8::99", 1)]))
    def from_anywhere(self, data: bytes, source: Address) -> None:
        for destination in (SERVER, *sorted(self.world.bound)):
            self.world.receive(data, source, destination)

    @rule(number=st.integers(1, 4))
    def disconnect(self, number: int) -> None:
        self.world.server.stream_closed(-number, StreamFailure.CLOSED, self.world.now)
        self.world.pump()

    @rule(open_sockets=st.booleans())
    def sockets_open(self, open_sockets: bool) -> None:
        self.world.open_sockets = open_sockets

    @rule(seconds=st.sampled_from([0.0, 0.5, 29.0, 31.0, 301.0, 601.0, 4000.0]))
    def wait(self, seconds: float) -> None:
        self.world.run_until(self.world.now + seconds)

    @invariant()
    def bounded(self) -> None:
        if not hasattr(self, "world"):
            return
        assert self.world.server.allocations <= 6
        # Two families, or an even port and the one that is reserved: never more than two sockets a place.
        assert len(self.world.bound) <= 12
        assert len(self.world.server._streams) <= 2
        assert len(self.world.server._rate_limit) <= 3
        for allocation in self.world.server._turn.allocations.values():  # type: ignore[union-attr]
            assert len(allocation.permissions) <= 3
            assert len(allocation.by_number) == len(allocation.by_peer) <= 3
        assert self.world.server.datagrams_to_send() == []
        assert self.world.server.next_event() is None

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        self.world.server.close(self.world.now)
        assert self.world.pump() == []
        assert self.world.bound == set()
        assert self.world.server.get_timer() is None
        assert self.world.server.allocations == 0
        assert self.world.server._turn._table._used == {}  # type: ignore[union-attr]


TestAnyInput = AnyInput.TestCase
TestAnyInput.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


def test_a_packet_costs_one_datagram_in_and_one_out() -> None:
    world = World(turn_server_config())
    client = Client(world)
    relayed = client.allocate()
    client.ask(Method.CHANNEL_BIND, CHANNEL_NUMBER(0x4000), XOR_PEER_ADDRESS(PEER))
    server: Server = world.server
    timer = server.get_timer()
    for _ in range(100):
        server.receive_datagram(Datagram(PEER, relayed, b"x"), world.now)
        server.receive_datagram(Datagram(CLIENT, SERVER, b"\x40\0\0\x01x"), world.now)
    # Nothing to do for the timer, nothing to tell: a relayed packet is only relayed.
    assert (server.get_timer(), server.next_event(), len(server.datagrams_to_send())) == (timer, None, 200)


def test_a_turn_server_has_users_and_a_host() -> None:
    with pytest.raises(ConfigError, match="credentials"):
        TurnServerConfig(relay_ipv4="127.0.0.1")
