from __future__ import annotations

from icekit.candidate import Candidate, TcpType
from icekit.gathering_plan import MAX_HOSTS, MAX_SERVERS
from icekit.local_candidates import LocalCandidates, Source
from icekit.net import Address, Transport

ETHERNET, WIFI, IPV6 = "192.168.1.2", "192.168.2.2", "2001:db8::2"
SERVER = Address("203.0.113.10", 3478)
OTHER = Address("203.0.113.20", 3478)
UDP = Source(0, Transport.UDP, SERVER)


def test_what_the_lines_say() -> None:
    gathered = LocalCandidates([ETHERNET, WIFI, IPV6], 32)
    local, mapped, relayed = Address(ETHERNET, 5000), Address("198.51.100.1", 6000), Address("203.0.113.10", 50000)
    lines = [
        gathered.host(ETHERNET, local),
        gathered.server_reflexive(ETHERNET, local, mapped, UDP),
        gathered.relayed(ETHERNET, relayed, mapped, UDP),
    ]
    # IPv6 has local preference 65535 (RFC 8421), ethernet the next.
    assert [str(line).partition(" ")[2] for line in lines] == [
        f"1 udp {(126 << 24) + (65534 << 8) + 255} 192.168.1.2 5000 typ host",
        f"1 udp {(100 << 24) + (65534 << 8) + 255} 198.51.100.1 6000 typ srflx raddr 192.168.1.2 rport 5000",
        f"1 udp {(0 << 24) + (65534 << 8) + 255} 203.0.113.10 50000 typ relay raddr 198.51.100.1 rport 6000",
    ]


def test_redundant_is_what_has_the_same_address_and_the_same_base() -> None:
    gathered = LocalCandidates([ETHERNET, WIFI], 32)
    local, wifi, mapped = Address(ETHERNET, 5000), Address(WIFI, 5001), Address("198.51.100.1", 6000)
    other = Source(1, Transport.UDP, OTHER)
    assert gathered.host(ETHERNET, local) is not None
    assert gathered.server_reflexive(ETHERNET, local, local, UDP) is None
    assert gathered.server_reflexive(ETHERNET, local, mapped, UDP) is not None
    assert gathered.server_reflexive(ETHERNET, local, mapped, other) is None
    assert gathered.server_reflexive(ETHERNET, local, Address("198.51.100.1", 6001), other) is not None
    assert gathered.server_reflexive(WIFI, wifi, mapped, UDP) is not None


def test_which_candidates_have_one_foundation() -> None:
    """RFC 8445 §5.1.1.3: the same for the same type, base, server and transport to it."""
    gathered = LocalCandidates([ETHERNET, WIFI], 32)
    base, mapped = Address(ETHERNET, 5000), "198.51.100.1"
    ports = iter(range(1, 100))

    def reflexive(host: str, source: Source) -> str:
        candidate = gathered.server_reflexive(host, base, Address(mapped, next(ports)), source)
        assert candidate is not None
        return candidate.foundation

    first = reflexive(ETHERNET, UDP)
    assert reflexive(ETHERNET, Source(5, Transport.UDP, Address(SERVER.host, 9))) == first
    assert reflexive(WIFI, UDP) != first
    assert reflexive(ETHERNET, Source(0, Transport.UDP, OTHER)) != first
    assert reflexive(ETHERNET, Source(0, Transport.TCP, SERVER)) != first


def test_relays_over_udp_come_before_tcp_before_tls_whatever_the_order_of_servers() -> None:
    gathered = LocalCandidates([ETHERNET], MAX_SERVERS)
    ports = iter(range(1, 100))
    found = [
        gathered.relayed(ETHERNET, Address(SERVER.host, next(ports)), None, Source(place, transport, SERVER))
        for transport in (Transport.UDP, Transport.TCP, Transport.TLS)
        for place in (0, MAX_SERVERS - 1)
    ]
    priorities = [candidate.priority for candidate in found if candidate is not None]
    assert priorities == sorted(set(priorities), reverse=True)
    assert len(priorities) == 6


def test_priorities_of_one_type_differ_at_the_bounds() -> None:
    hosts = [f"10.0.0.{number}" for number in range(1, MAX_HOSTS + 1)]
    gathered = LocalCandidates(hosts, MAX_SERVERS)
    ports = iter(range(1, 65000))
    found: list[Candidate | None] = [
        gathered.relayed(host, Address(SERVER.host, next(ports)), None, Source(place, transport, SERVER), second=second)
        for host in hosts
        for place in range(MAX_SERVERS)
        for transport in (Transport.UDP, Transport.TCP, Transport.TLS)
        for second in (False, True)
    ]
    assert len({candidate.priority for candidate in found if candidate is not None}) == MAX_HOSTS * MAX_SERVERS * 6


def test_tcp_candidates_as_rfc_6544_writes_and_ranks_them() -> None:
    gathered = LocalCandidates([ETHERNET, WIFI], 32)
    local, public = Address(ETHERNET, 5000), "198.51.100.1"
    active = gathered.tcp(TcpType.ACTIVE, ETHERNET, Address(ETHERNET, 9))
    passive = gathered.tcp(TcpType.PASSIVE, ETHERNET, local)
    second = gathered.tcp(TcpType.ACTIVE, WIFI, Address(WIFI, 9))
    announced = gathered.tcp_announced(ETHERNET, local, public)
    assert [str(line).partition(" ")[2] for line in (active, passive, second, announced)] == [
        f"1 tcp {(90 << 24) + ((6 << 13 | 8191) << 8) + 255} {ETHERNET} 9 typ host tcptype active",
        f"1 tcp {(90 << 24) + ((4 << 13 | 8191) << 8) + 255} {ETHERNET} 5000 typ host tcptype passive",
        f"1 tcp {(90 << 24) + ((6 << 13 | 8190) << 8) + 255} {WIFI} 9 typ host tcptype active",
        (
            f"1 tcp {(70 << 24) + ((2 << 13 | 8191) << 8) + 255} {public} 5000 typ srflx"
            f" raddr {ETHERNET} rport 5000 tcptype passive"
        ),
    ]
    assert gathered.tcp(TcpType.PASSIVE, ETHERNET, local) is None
    # The UDP socket with the same port is another candidate, and above all of them.
    udp = gathered.server_reflexive(ETHERNET, local, Address(public, 5000), UDP)
    assert udp is not None
    assert all(udp.priority > line.priority for line in (active, passive, second, announced) if line is not None)
    assert len({line.foundation for line in (active, passive, second, announced, udp) if line is not None}) == 5


def test_an_announced_address_has_a_preference_of_its_own() -> None:
    hosts = [f"10.0.0.{number}" for number in range(1, MAX_HOSTS + 1)]
    gathered = LocalCandidates(hosts, MAX_SERVERS)
    found: list[Candidate | None] = []
    for index, host in enumerate(hosts):
        local = Address(host, 5000 + index)
        found.append(gathered.announced(host, local, "198.51.100.1"))
        for place in (0, MAX_SERVERS - 1):
            mapped = Address("198.51.100.1", 10000 + 100 * place + index)
            found.append(gathered.server_reflexive(host, local, mapped, Source(place, Transport.UDP, SERVER)))
    priorities = [line.priority for line in found if line is not None]
    assert len(set(priorities)) == len(found)
    # A server that names the announced address tells nothing new.
    again = Address("198.51.100.1", 5000)
    assert gathered.server_reflexive(hosts[0], Address(hosts[0], 5000), again, UDP) is None
