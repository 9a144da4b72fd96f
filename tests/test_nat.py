from __future__ import annotations

from itertools import product
from random import Random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from icekit.errors import ConfigError
from icekit.nat import Collision, Drop, Hairpinning, Nat, NatConfig
from icekit.nat_presets import preset
from icekit.net import Address, Datagram, Transport
from icekit.report import Behavior, Pooling, PortAssignment

EI = Behavior.ENDPOINT_INDEPENDENT
AD = Behavior.ADDRESS_DEPENDENT
APD = Behavior.ADDRESS_AND_PORT_DEPENDENT

PUBLIC = {4: "198.51.100.1", 6: "2001:db8:2::1"}
INSIDE = {4: Address("192.168.1.2", 5000), 6: Address("fd00:1::2", 5000)}
OTHER = {4: Address("192.168.1.3", 6000), 6: Address("fd00:1::3", 6000)}
SERVER = {4: Address("203.0.113.1", 3478), 6: Address("2001:db8:1::1", 3478)}
SERVER_OTHER_PORT = {4: Address("203.0.113.1", 3479), 6: Address("2001:db8:1::1", 3479)}
OTHER_SERVER = {4: Address("203.0.113.2", 3478), 6: Address("2001:db8:1::2", 3478)}


def make(config: NatConfig | None = None, *hosts: str, seed: int = 1) -> Nat:
    return Nat(config or NatConfig(), hosts or ("198.51.100.1",), token_bytes=Random(seed).randbytes)


def leaves(nat: Nat, source: Address, destination: Address, now: float = 0.0) -> Address:
    sent = nat.outbound(Datagram(source, destination, b"out"), now)
    assert sent is not None
    assert sent.destination == destination
    assert sent.data == b"out"
    return sent.source


def enters(nat: Nat, source: Address, destination: Address, now: float = 0.0) -> Address | None:
    received = nat.inbound(Datagram(source, destination, b"in"), now)
    if received is None:
        return None
    assert received.source == source
    assert received.data == b"in"
    return received.destination


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize(
    ("mapping", "filtering", "hairpinning", "assignment"),
    list(product(Behavior, Behavior, Hairpinning, PortAssignment)),
)
def test_every_behaviour_does_exactly_what_it_declares(
    family: int, mapping: Behavior, filtering: Behavior, hairpinning: Hairpinning, assignment: PortAssignment
) -> None:
    config = NatConfig(
        mapping=mapping, filtering=filtering, hairpinning=hairpinning, port_assignment=assignment, port_step=2
    )
    nat = make(config, PUBLIC[family])
    inside, other = INSIDE[family], OTHER[family]
    server, second_port, second_host = SERVER[family], SERVER_OTHER_PORT[family], OTHER_SERVER[family]

    first = leaves(nat, inside, server)
    assert first.host == PUBLIC[family]
    assert leaves(nat, inside, server) == first

    # Filtering, before anything was sent elsewhere.
    assert enters(nat, server, first) == inside
    assert (enters(nat, second_port, first) == inside) is (filtering in (EI, AD))
    assert (enters(nat, second_host, first) == inside) is (filtering is EI)

    # Mapping.
    by_port = leaves(nat, inside, second_port)
    by_host = leaves(nat, inside, second_host)
    assert (by_port == first) is (mapping in (EI, AD))
    assert (by_host == first) is (mapping is EI)
    neighbour = leaves(nat, other, server)
    assert neighbour not in (first, by_port, by_host)

    match assignment:
        case PortAssignment.PRESERVING:
            assert first.port == inside.port
            assert neighbour.port == other.port
        case PortAssignment.SEQUENTIAL:
            new = [address.port for address in dict.fromkeys((first, by_port, by_host, neighbour))]
            assert [port - new[0] for port in new] == [2 * index for index in range(len(new))]
        case PortAssignment.RANDOM:
            assert len({first.port, neighbour.port, inside.port, other.port}) == 4

    # Hairpinning.
    sent = nat.outbound(Datagram(inside, neighbour, b"h"), 0.0)
    if hairpinning is Hairpinning.NONE:
        assert sent is None
        assert nat.last_drop is Drop.HAIRPIN
    else:
        assert sent is not None
        assert sent.destination == other
        if hairpinning is Hairpinning.INTERNAL_SOURCE:
            assert sent.source == inside
        else:
            assert sent.source.host == PUBLIC[family]
            assert (sent.source == first) is (mapping is EI)


def test_hairpinned_packets_are_filtered_where_configured() -> None:
    nat = make(NatConfig(filtering=AD, hairpin_filtered=True))
    neighbour = leaves(nat, OTHER[4], SERVER[4])
    assert nat.outbound(Datagram(INSIDE[4], neighbour, b""), 0.0) is None
    assert nat.last_drop is Drop.FILTERED
    mine = leaves(nat, INSIDE[4], SERVER[4])
    assert nat.outbound(Datagram(OTHER[4], mine, b""), 0.0) == Datagram(neighbour, INSIDE[4], b"")


def test_packets_to_an_unmapped_own_port_are_dropped() -> None:
    nat = make()
    assert nat.outbound(Datagram(INSIDE[4], Address("198.51.100.1", 9), b""), 0.0) is None
    assert nat.last_drop is Drop.NO_MAPPING
    assert enters(nat, SERVER[4], Address("198.51.100.1", 9)) is None
    assert nat.dropped == {**dict.fromkeys(Drop, 0), Drop.NO_MAPPING: 2}


def test_a_taken_port_gives_the_next_one_or_a_random_one() -> None:
    same_port = Address("192.168.1.3", 5000)
    nat = make()
    assert leaves(nat, INSIDE[4], SERVER[4]).port == 5000
    assert leaves(nat, same_port, SERVER[4]).port == 5001
    nat = make(NatConfig(parity=True))
    leaves(nat, INSIDE[4], SERVER[4])
    assert leaves(nat, same_port, SERVER[4]).port == 5002
    ports = []
    for seed in (1, 1, 2):
        nat = make(NatConfig(collision=Collision.RANDOM), seed=seed)
        leaves(nat, INSIDE[4], SERVER[4])
        ports.append(leaves(nat, same_port, SERVER[4]).port)
    assert ports[0] == ports[1] != ports[2]
    assert 5001 not in ports


def test_a_port_outside_of_the_range_is_not_preserved() -> None:
    nat = make(NatConfig(port_range=(40000, 40001)))
    assert leaves(nat, INSIDE[4], SERVER[4]).port in (40000, 40001)
    leaves(nat, OTHER[4], SERVER[4])
    assert nat.outbound(Datagram(Address("192.168.1.4", 1), SERVER[4], b""), 0.0) is None
    assert nat.last_drop is Drop.EXHAUSTED


@pytest.mark.parametrize("assignment", PortAssignment)
def test_parity_is_kept(assignment: PortAssignment) -> None:
    nat = make(NatConfig(port_assignment=assignment, parity=True))
    for port in (5000, 5001, 5003, 5005, 5002):
        assert leaves(nat, Address("192.168.1.2", port), SERVER[4]).port % 2 == port % 2


def test_neighbours_stay_neighbours() -> None:
    nat = make(NatConfig(port_assignment=PortAssignment.RANDOM, contiguity=True))
    rtp = leaves(nat, Address("192.168.1.2", 5000), SERVER[4])
    assert leaves(nat, Address("192.168.1.2", 5001), SERVER[4]) == Address(rtp.host, rtp.port + 1)
    assert leaves(nat, Address("192.168.1.3", 5002), SERVER[4]).port != rtp.port + 2
    rtcp = leaves(nat, Address("192.168.1.9", 7001), SERVER[4])
    assert leaves(nat, Address("192.168.1.9", 7000), SERVER[4]) == Address(rtcp.host, rtcp.port - 1)


def test_paired_pooling_keeps_one_address_and_arbitrary_takes_turns() -> None:
    pool = ("198.51.100.1", "198.51.100.2", "198.51.100.3")
    nat = make(NatConfig(), *pool)
    for host in range(2, 30):
        addresses = {leaves(nat, Address(f"192.168.1.{host}", port), SERVER[4]).host for port in range(5000, 5010)}
        assert len(addresses) == 1
    assert {mapping.external.host for mapping in nat.mappings(0.0)} == set(pool)
    nat = make(NatConfig(pooling=Pooling.ARBITRARY), *pool)
    taken = [leaves(nat, Address("192.168.1.2", port), SERVER[4]).host for port in range(5000, 5004)]
    assert taken == [*pool, pool[0]]


@pytest.mark.parametrize(("outbound", "inbound"), list(product((False, True), repeat=2)))
def test_the_lifetime_and_who_renews_it(outbound: bool, inbound: bool) -> None:
    config = NatConfig(filtering=APD, udp_lifetime=30.0, refresh_outbound=outbound, refresh_inbound=inbound)
    idle = make(config)
    address = leaves(idle, INSIDE[4], SERVER[4], 0.0)
    assert enters(idle, SERVER[4], address, 29.999) == INSIDE[4]
    silent = make(config)
    address = leaves(silent, INSIDE[4], SERVER[4], 0.0)
    assert enters(silent, SERVER[4], address, 30.0) is None
    sending = make(config)
    address = leaves(sending, INSIDE[4], SERVER[4], 0.0)
    leaves(sending, INSIDE[4], SERVER[4], 20.0)
    assert (enters(sending, SERVER[4], address, 40.0) == INSIDE[4]) is outbound
    hearing = make(config)
    address = leaves(hearing, INSIDE[4], SERVER[4], 0.0)
    assert enters(hearing, SERVER[4], address, 20.0) == INSIDE[4]
    assert (enters(hearing, SERVER[4], address, 40.0) == INSIDE[4]) is inbound


def test_an_expired_mapping_gives_its_port_back() -> None:
    nat = make(NatConfig(udp_lifetime=30.0))
    leaves(nat, INSIDE[4], SERVER[4], 0.0)
    assert leaves(nat, Address("192.168.1.3", 5000), SERVER[4], 30.0).port == 5000
    assert leaves(nat, INSIDE[4], SERVER[4], 30.0).port == 5001
    assert enters(nat, SERVER[4], Address("198.51.100.1", 5000), 30.0) == Address("192.168.1.3", 5000)


def test_a_full_table_refuses_until_something_expires() -> None:
    nat = make(NatConfig(max_mappings=2, udp_lifetime=30.0))
    inside = [Address("192.168.1.2", port) for port in range(5000, 5004)]
    leaves(nat, inside[0], SERVER[4], 0.0)
    leaves(nat, inside[1], SERVER[4], 10.0)
    for now in (20.0, 29.0):
        assert nat.outbound(Datagram(inside[2], SERVER[4], b""), now) is None
        assert nat.last_drop is Drop.EXHAUSTED
    leaves(nat, inside[2], SERVER[4], 30.0)
    assert nat.outbound(Datagram(inside[3], SERVER[4], b""), 30.0) is None
    assert [mapping.internal for mapping in nat.mappings(30.0)] == [inside[1], inside[2]]


def test_the_oldest_contact_is_forgotten_when_there_are_too_many() -> None:
    nat = make(NatConfig(filtering=APD, max_filters=2))
    servers = [Address("203.0.113.1", port) for port in (1, 2, 3)]
    for server in servers:
        address = leaves(nat, INSIDE[4], server)
    assert [enters(nat, server, address) for server in servers] == [None, INSIDE[4], INSIDE[4]]


def test_a_reboot_forgets_everything() -> None:
    nat = make()
    address = leaves(nat, INSIDE[4], SERVER[4])
    nat.reboot()
    assert enters(nat, SERVER[4], address) is None
    assert list(nat.mappings(0.0)) == []


def test_the_alg_writes_the_inside_address_into_what_comes_in() -> None:
    nat = make(NatConfig(alg=True))
    mapped = leaves(nat, INSIDE[4], SERVER[4])
    body = bytes.fromhex("0001138cc6336401") + b"rest"
    received = nat.inbound(Datagram(SERVER[4], mapped, body), 0.0)
    assert received is not None
    assert received.data == bytes.fromhex("0001138cc0a80102") + b"rest"


def test_tcp_has_a_table_and_a_lifetime_of_its_own() -> None:
    nat = make(NatConfig(udp_lifetime=30.0, tcp_lifetime=100.0))
    sent = nat.outbound(Datagram(INSIDE[4], SERVER[4], b"", Transport.TCP), 0.0)
    assert sent == Datagram(Address("198.51.100.1", 5000), SERVER[4], b"", Transport.TCP)
    assert enters(nat, SERVER[4], sent.source) is None
    reply = Datagram(SERVER[4], sent.source, b"", Transport.TLS)
    assert nat.inbound(reply, 99.0) == Datagram(SERVER[4], INSIDE[4], b"", Transport.TLS)
    assert nat.inbound(reply, 100.0) is None


@pytest.mark.parametrize(
    ("name", "udp", "tcp", "tcp_443"),
    [
        ("firewall", True, True, True),
        ("udp-blocked", False, True, True),
        ("tcp-443-only", False, False, True),
        ("blocked", False, False, False),
    ],
)
def test_what_a_firewall_lets_out(name: str, udp: bool, tcp: bool, tcp_443: bool) -> None:
    (config,) = preset(name).chain
    hosts = (PUBLIC[4],) if config.translates else ()
    nat = Nat(config, hosts, token_bytes=Random(1).randbytes)
    https = Address("203.0.113.1", 443)
    for transport in Transport:
        stream = transport.is_stream
        passed = nat.outbound(Datagram(INSIDE[4], SERVER[4], b"", transport), 0.0) is not None
        assert passed is (tcp if stream else udp)
        assert (nat.outbound(Datagram(INSIDE[4], https, b"", transport), 0.0) is not None) is (
            tcp_443 if stream else udp
        )


def test_a_firewall_keeps_addresses_and_filters() -> None:
    nat = Nat(NatConfig(translates=False, filtering=AD, mapping=APD), token_bytes=Random(1).randbytes)
    inside = Address("203.0.113.77", 5000)
    assert enters(nat, SERVER[4], inside) is None
    assert leaves(nat, inside, SERVER[4]) == inside
    assert leaves(nat, inside, SERVER_OTHER_PORT[4]) == inside
    assert enters(nat, SERVER_OTHER_PORT[4], inside) == inside
    assert enters(nat, OTHER_SERVER[4], inside) is None


def test_a_family_without_an_external_address_is_only_filtered() -> None:
    nat = make(NatConfig(filtering=APD, mapping=APD))
    inside = Address("2001:db8:3::2", 5000)
    assert leaves(nat, inside, SERVER[6]) == inside
    assert leaves(nat, inside, OTHER_SERVER[6]) == inside
    assert enters(nat, OTHER_SERVER[6], inside) == inside
    assert enters(nat, SERVER_OTHER_PORT[6], inside) is None
    assert nat.translates("192.168.1.2")
    assert not nat.translates("2001:db8:3::2")


@pytest.mark.parametrize(
    "arguments",
    [
        {"port_range": (0, 5)},
        {"port_range": (9, 5)},
        {"port_step": 0},
        {"udp_lifetime": 0.0},
        {"tcp_lifetime": -1.0},
        {"max_mappings": 0},
        {"max_filters": 0},
    ],
)
def test_a_configuration_that_cannot_be(arguments: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(arguments))):
        NatConfig(**arguments)  # type: ignore[arg-type]


def test_external_addresses_belong_to_translation() -> None:
    with pytest.raises(ConfigError, match="at least one external"):
        Nat(NatConfig(), token_bytes=Random(1).randbytes)
    with pytest.raises(ConfigError, match="no external"):
        Nat(NatConfig(translates=False), ("198.51.100.1",), token_bytes=Random(1).randbytes)


HOSTS = st.sampled_from(["192.168.1.2", "192.168.1.3"])
PORTS = st.integers(5000, 5002)
INSIDES = st.builds(Address, HOSTS, PORTS)
REMOTES = st.builds(Address, st.sampled_from(["203.0.113.1", "203.0.113.2"]), st.integers(1, 2))
EXTERNALS = st.builds(Address, st.sampled_from(["198.51.100.1", "198.51.100.2"]), st.integers(40000, 40007))
CONFIGS = st.builds(
    NatConfig,
    mapping=st.sampled_from(Behavior),
    filtering=st.sampled_from(Behavior),
    hairpinning=st.sampled_from(Hairpinning),
    hairpin_filtered=st.booleans(),
    port_assignment=st.sampled_from(PortAssignment),
    port_step=st.sampled_from([-2, -1, 1, 3]),
    collision=st.sampled_from(Collision),
    port_range=st.just((40000, 40007)),
    parity=st.booleans(),
    contiguity=st.booleans(),
    pooling=st.sampled_from(Pooling),
    udp_lifetime=st.just(10.0),
    refresh_inbound=st.booleans(),
    max_mappings=st.integers(1, 12),
    alg=st.booleans(),
)


class NatMachine(RuleBasedStateMachine):
    """Any traffic: bounded, one owner for each external port, stable mappings, and the filter rule as declared."""

    @initialize(config=CONFIGS, seed=st.integers(0, 99))
    def start(self, config: NatConfig, seed: int) -> None:
        self.config = config
        self.nat = make(config, "198.51.100.1", "198.51.100.2", seed=seed)
        self.now = 0.0
        self.known: dict[object, tuple[Address, float]] = {}
        # The last time an inside packet left an external address for a remote one; this is the model of the filter.
        self.contacts: dict[tuple[Address, Address], float] = {}

    def key(self, source: Address, destination: Address) -> object:
        match self.config.mapping:
            case Behavior.ENDPOINT_INDEPENDENT:
                return source
            case Behavior.ADDRESS_DEPENDENT:
                return source, destination.host
            case _:
                return source, destination

    @rule(seconds=st.sampled_from([0.5, 4.0, 11.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(source=INSIDES, destination=REMOTES)
    def send(self, source: Address, destination: Address) -> None:
        sent = self.nat.outbound(Datagram(source, destination, b"x"), self.now)
        key = self.key(source, destination)
        known = self.known.get(key)
        if sent is None:
            assert self.nat.last_drop is Drop.EXHAUSTED
            return
        assert 40000 <= sent.source.port <= 40007
        if self.config.parity and not self.config.contiguity:
            assert (sent.source.port ^ source.port) & 1 == 0
        if known is not None and known[1] > self.now:
            assert sent.source == known[0]
        self.known[key] = (sent.source, self.now + 10.0)
        self.contacts[sent.source, destination] = self.now

    @rule(source=INSIDES, destination=EXTERNALS)
    def hairpin(self, source: Address, destination: Address) -> None:
        sent = self.nat.outbound(Datagram(source, destination, b"x"), self.now)
        if self.config.hairpinning is Hairpinning.NONE:
            assert sent is None
        elif sent is not None:
            assert sent.destination.host.startswith("192.168.")
            internal = self.config.hairpinning is Hairpinning.INTERNAL_SOURCE
            assert (sent.source == source) is internal

    @rule(source=REMOTES, destination=EXTERNALS)
    def receive(self, source: Address, destination: Address) -> None:
        owner = {mapping.external: mapping for mapping in self.nat.mappings(self.now)}.get(destination)
        received = self.nat.inbound(Datagram(source, destination, b"x"), self.now)
        if owner is None:
            assert received is None
            return
        contacted = [
            remote
            for (external, remote), time in self.contacts.items()
            if external == destination and self.now - time < 10.0
        ]
        if received is not None:
            assert received.destination == owner.internal
        if self.config.refresh_inbound:
            return
        match self.config.filtering:
            case Behavior.ENDPOINT_INDEPENDENT:
                admitted = True
            case Behavior.ADDRESS_DEPENDENT:
                admitted = source.host in {remote.host for remote in contacted}
            case _:
                admitted = source in contacted
        assert (received is not None) is admitted

    @rule()
    def reboot(self) -> None:
        self.nat.reboot()
        self.known.clear()
        self.contacts.clear()

    @invariant()
    def one_owner_for_each_external_port(self) -> None:
        if not hasattr(self, "nat"):
            return
        mappings = list(self.nat.mappings(self.now))
        assert len(mappings) <= self.config.max_mappings
        assert len({mapping.external for mapping in mappings}) == len(mappings)


TestNatMachine = NatMachine.TestCase
TestNatMachine.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
