from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icekit.errors import ConfigError
from icekit.nat import Drop, Hairpinning, NatConfig
from icekit.nat64 import WELL_KNOWN_PREFIX, Nat64, Prefix, reached_by_ipv6
from icekit.net import Address, Datagram, Transport
from icekit.report import Behavior
from icekit.resolution import ServerEndpoint, nat64_prefixes
from icekit.servers import ServerUri

INSIDE, OTHER = Address("2001:db8::6", 5000), Address("2001:db8::7", 5000)
EXTERNAL = "198.51.100.1"
SERVER, STRANGER = Address("203.0.113.10", 3478), Address("203.0.113.11", 3478)


def make(prefix: str = WELL_KNOWN_PREFIX, **config: object) -> Nat64:
    return Nat64(NatConfig(**config), (EXTERNAL,), prefix=prefix, token_bytes=bytes)  # type: ignore[arg-type]


def behind(address: Address, prefix: str = WELL_KNOWN_PREFIX) -> Address:
    return Address(Prefix(prefix).embed(address.host), address.port)


# The table of RFC 6052 §2.4, and its line about the well-known prefix.
VECTORS = [
    ("2001:db8::/32", "2001:db8:c000:221::"),
    ("2001:db8:100::/40", "2001:db8:1c0:2:21::"),
    ("2001:db8:122::/48", "2001:db8:122:c000:2:2100::"),
    ("2001:db8:122:300::/56", "2001:db8:122:3c0:0:221::"),
    ("2001:db8:122:344::/64", "2001:db8:122:344:c0:2:2100:0"),
    ("2001:db8:122:344::/96", "2001:db8:122:344::192.0.2.33"),
    (WELL_KNOWN_PREFIX, "64:ff9b::192.0.2.33"),
]


@pytest.mark.parametrize(("prefix", "address"), VECTORS)
def test_the_addresses_of_rfc_6052(prefix: str, address: str) -> None:
    host = str(ipaddress.IPv6Address(address))
    assert Prefix(prefix).embed("192.0.2.33") == host
    assert Prefix(prefix).extract(host) == "192.0.2.33"
    assert host in Prefix(prefix)
    assert "3fff::1" not in Prefix(prefix)
    assert SERVER.host not in Prefix(prefix)


@given(st.sampled_from([prefix for prefix, _ in VECTORS[:-1]]), st.ip_addresses(v=4).map(str))
def test_every_address_comes_back(prefix: str, host: str) -> None:
    assert Prefix(prefix).extract(Prefix(prefix).embed(host)) == host


@pytest.mark.parametrize("prefix", [prefix for prefix, _ in VECTORS])
def test_a_prefix_is_found_by_what_a_client_asks_for(prefix: str) -> None:
    answers = [Prefix(prefix).embed(host) for host in ("192.0.0.170", "192.0.0.171")]
    assert nat64_prefixes(answers) == (prefix,)


@pytest.mark.parametrize("prefix", ["64:ff9b::/95", "64:ff9b::1/96", "192.0.2.0/24", "word", "2001:db8:0:0:100::/96"])
def test_what_is_no_prefix(prefix: str) -> None:
    with pytest.raises(ConfigError, match="is no NAT64 prefix"):
        Prefix(prefix)


@pytest.mark.parametrize(
    "host", ["10.0.0.1", "192.168.1.1", "100.64.0.1", "127.0.0.1", "169.254.1.1", "0.0.0.0", "224.0.0.1", "240.0.0.1"]
)
def test_the_well_known_prefix_carries_public_addresses_only(host: str) -> None:
    nat = make()
    assert nat.outbound(Datagram(INSIDE, behind(Address(host, 1)), b""), 0) is None
    assert nat.last_drop is Drop.BLOCKED
    own = "2001:db8:122:344::/96"
    leaving = make(own).outbound(Datagram(INSIDE, behind(Address(host, 1), own), b""), 0)
    assert leaving is not None
    assert leaving.destination.host == host


@pytest.mark.parametrize("transport", [Transport.UDP, Transport.TCP])
@pytest.mark.parametrize("prefix", [prefix for prefix, _ in VECTORS])
def test_there_and_back(prefix: str, transport: Transport) -> None:
    nat = make(prefix)
    leaving = nat.outbound(Datagram(INSIDE, behind(SERVER, prefix), b"hello", transport), 0)
    assert leaving == Datagram(Address(EXTERNAL, 5000), SERVER, b"hello", transport)
    arriving = nat.inbound(Datagram(SERVER, Address(EXTERNAL, 5000), b"answer", transport), 1)
    assert arriving == Datagram(behind(SERVER, prefix), INSIDE, b"answer", transport)
    assert [(mapping.internal, mapping.external) for mapping in nat.mappings(1)] == [(INSIDE, Address(EXTERNAL, 5000))]


@pytest.mark.parametrize("mapping", Behavior)
@pytest.mark.parametrize("filtering", Behavior)
def test_it_maps_and_filters_as_its_config_says(mapping: Behavior, filtering: Behavior) -> None:
    nat = make(mapping=mapping, filtering=filtering)
    targets = (SERVER, SERVER._replace(port=9), STRANGER)
    leaving = [nat.outbound(Datagram(INSIDE, behind(target), b""), 0) for target in targets]
    ports = [datagram.source.port for datagram in leaving if datagram is not None]
    expected = {Behavior.ENDPOINT_INDEPENDENT: 1, Behavior.ADDRESS_DEPENDENT: 2}.get(mapping, 3)
    assert (len(ports), len(set(ports))) == (3, expected)

    nat.reboot()
    assert nat.outbound(Datagram(INSIDE, behind(SERVER), b""), 1) is not None
    heard = [nat.inbound(Datagram(source, Address(EXTERNAL, 5000), b""), 2) is not None for source in targets]
    assert heard == [True, filtering is not Behavior.ADDRESS_AND_PORT_DEPENDENT, filtering is _EI]


_EI = Behavior.ENDPOINT_INDEPENDENT


@pytest.mark.parametrize(
    ("hairpinning", "source"),
    [(Hairpinning.EXTERNAL_SOURCE, behind(Address(EXTERNAL, 5001))), (Hairpinning.INTERNAL_SOURCE, OTHER)],
)
def test_hairpinning_stays_ipv6(hairpinning: Hairpinning, source: Address) -> None:
    nat = make(hairpinning=hairpinning)
    assert nat.outbound(Datagram(INSIDE, behind(SERVER), b""), 0) is not None
    sent = Datagram(OTHER, behind(Address(EXTERNAL, 5000)), b"neighbour")
    assert nat.outbound(sent, 0) == Datagram(source, INSIDE, b"neighbour")


def test_no_hairpinning() -> None:
    nat = make(hairpinning=Hairpinning.NONE)
    assert nat.outbound(Datagram(OTHER, behind(Address(EXTERNAL, 5000)), b""), 0) is None
    assert nat.last_drop is Drop.HAIRPIN


def test_other_ipv6_is_filtered_and_not_translated() -> None:
    nat = make(filtering=Behavior.ADDRESS_AND_PORT_DEPENDENT)
    far = Address("2001:db8:1::1", 7)
    answer = Datagram(far, INSIDE, b"answer")
    assert nat.inbound(answer, 0) is None
    assert nat.last_drop is Drop.NO_MAPPING
    packet = Datagram(INSIDE, far, b"hello")
    assert nat.outbound(packet, 0) is packet
    assert nat.inbound(answer, 0) == answer
    assert nat.inbound(Datagram(far._replace(port=8), INSIDE, b""), 0) is None
    assert nat.last_drop is Drop.FILTERED
    assert nat.dropped == {**dict.fromkeys(Drop, 0), Drop.NO_MAPPING: 1, Drop.FILTERED: 1}
    nat.reboot()
    assert nat.inbound(answer, 0) is None
    assert [nat.translates(host) for host in (INSIDE.host, SERVER.host)] == [False, True]


def test_ipv4_does_not_leave() -> None:
    nat = make()
    assert nat.outbound(Datagram(Address("192.168.1.1", 1), SERVER, b""), 0) is None
    assert nat.last_drop is Drop.BLOCKED


@pytest.mark.parametrize(
    ("config", "hosts"),
    [
        (NatConfig(alg=True), (EXTERNAL,)),
        (NatConfig(translates=False), (EXTERNAL,)),
        (NatConfig(), ("2001:db8::1",)),
        (NatConfig(), ()),
    ],
)
def test_what_cannot_be(config: NatConfig, hosts: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError):
        Nat64(config, hosts, token_bytes=bytes)


def server_at(host: str) -> ServerEndpoint:
    uri = ServerUri.parse("stun:203.0.113.10")
    return ServerEndpoint(uri, Transport.UDP, Address(host, 3478), uri.host)


@pytest.mark.parametrize(
    ("servers", "hosts", "prefixes", "added"),
    [
        (["203.0.113.10"], ["2001:db8::1"], [WELL_KNOWN_PREFIX], ["64:ff9b::cb00:710a"]),
        (["203.0.113.10"], ["2001:db8::1"], ["2001:db8:64::/96"], ["2001:db8:64::cb00:710a"]),
        (["203.0.113.10"], ["2001:db8::1"], [], []),
        (["203.0.113.10"], ["2001:db8::1", "10.0.0.1"], [WELL_KNOWN_PREFIX], []),
        (["203.0.113.10", "2001:db8::9"], ["2001:db8::1"], [WELL_KNOWN_PREFIX], []),
        # RFC 6052 §3.1: the well-known prefix has no private addresses; a prefix of the network's own may have.
        (["10.0.0.9"], ["2001:db8::1"], [WELL_KNOWN_PREFIX], []),
        (["10.0.0.9"], ["2001:db8::1"], ["2001:db8:64::/96"], ["2001:db8:64::a00:9"]),
    ],
)
def test_servers_without_ipv6(servers: list[str], hosts: list[str], prefixes: list[str], added: list[str]) -> None:
    endpoints = [server_at(host) for host in servers]
    found = reached_by_ipv6(endpoints, hosts, prefixes)
    assert list(found[: len(endpoints)]) == endpoints
    assert [item.address for item in found[len(endpoints) :]] == [Address(host, 3478) for host in added]
