"""Which sockets are opened, on which ports, and what is told of them."""

from __future__ import annotations

import random

from icekit.candidate import CandidateType
from icekit.gathering_events import LocalAddressFailed
from icekit.gathering_plan import MAX_SERVERS
from icekit.local_candidates import LocalCandidates
from icekit.local_sockets import Found, LocalSockets
from icekit.net import Address, ListenerReleased, ListenerWanted, SocketFailure, SocketReleased, SocketWanted, Transport
from icekit.network_config import NetworkConfig

ETHERNET, WIFI, PUBLIC = "10.0.0.5", "192.168.1.7", "203.0.113.7"
LOCAL = Address(ETHERNET, 50000)


def sockets(network: NetworkConfig, *hosts: str, seed: int = 1) -> LocalSockets:
    hosts = hosts or (ETHERNET,)
    return LocalSockets(hosts, network, LocalCandidates(hosts, MAX_SERVERS), random.Random(seed).randbytes)


def told(found: Found) -> list[str]:
    return [str(candidate).partition(" udp ")[2].partition(" ")[2] or str(candidate) for candidate, _ in found]


def test_without_a_configuration_the_system_chooses_ports_and_nothing_listens() -> None:
    core = sockets(NetworkConfig(), ETHERNET, WIFI)
    assert core.wanted() == [SocketWanted(0, Address(ETHERNET, 0)), SocketWanted(1, Address(WIFI, 0))]
    assert core.active() == []
    assert told(core.opened(0, LOCAL)) == [f"{ETHERNET} 50000 typ host"]
    assert not core.is_decided()
    assert core.socket_failed(1, SocketFailure.UNAVAILABLE, 0.5) == [
        LocalAddressFailed(WIFI, SocketFailure.UNAVAILABLE, 0.5)
    ]
    assert core.is_decided()
    assert core.released() == [SocketReleased(LOCAL)]


def test_every_port_of_the_range_is_tried_once_from_a_random_one_on() -> None:
    first = set()
    for seed in range(8):
        core = sockets(NetworkConfig(port_range=(50000, 50003)), seed=seed)
        tried = [item.local.port for item in core.wanted()]
        first.add(tried[0])
        end: list[SocketWanted | LocalAddressFailed] = []
        while not end or isinstance(end[0], SocketWanted):
            end = core.socket_failed(0, SocketFailure.IN_USE, 0.1)
            tried += [item.local.port for item in end if isinstance(item, SocketWanted)]
        assert sorted(tried) == [50000, 50001, 50002, 50003]
        assert end == [LocalAddressFailed(ETHERNET, SocketFailure.IN_USE, 0.1, Transport.UDP, (50000, 50003))]
        assert isinstance(end[0], LocalAddressFailed)
        assert end[0].error == (
            "all UDP ports from 50000 to 50003 are in use; widen the port range, or end what uses it"
        )
        # What an earlier attempt still tells changes nothing.
        assert core.socket_failed(0, SocketFailure.IN_USE, 0.2) == []
    assert len(first) > 1


def test_an_address_that_is_not_ours_is_not_tried_on_every_port() -> None:
    core = sockets(NetworkConfig(port_range=(50000, 60000)))
    core.wanted()
    (failed,) = core.socket_failed(0, SocketFailure.UNAVAILABLE, 0.0)
    assert isinstance(failed, LocalAddressFailed)
    assert failed.error == "it is no address of this host"


def test_an_announced_address_beside_the_local_one_or_instead_of_it() -> None:
    beside = sockets(NetworkConfig(announced=[PUBLIC], tcp=True))
    assert told(beside.opened(0, LOCAL)) == [
        f"{ETHERNET} 50000 typ host",
        f"{PUBLIC} 50000 typ srflx raddr {ETHERNET} rport 50000",
    ]
    passive = [str(candidate).split(" tcp ")[1].split(" ", 1)[1] for candidate, _ in beside.listener_opened(0, LOCAL)]
    assert passive == [
        f"{ETHERNET} 50000 typ host tcptype passive",
        f"{PUBLIC} 50000 typ srflx raddr {ETHERNET} rport 50000 tcptype passive",
    ]
    instead = sockets(NetworkConfig(announced=[PUBLIC], announced_as=CandidateType.HOST, tcp=True))
    found = instead.opened(0, LOCAL) + instead.listener_opened(0, LOCAL)
    assert [(candidate.address, candidate.type, base) for candidate, base in found] == [
        (PUBLIC, CandidateType.HOST, LOCAL),
        (PUBLIC, CandidateType.HOST, LOCAL),
    ]


def test_tcp_has_an_active_candidate_at_once_and_a_listener() -> None:
    core = sockets(NetworkConfig(tcp=True, port_range=(50000, 50001)), ETHERNET, WIFI)
    wanted = core.wanted()
    assert [type(item) for item in wanted] == [SocketWanted, ListenerWanted] * 2
    ((active, base), (other, _)) = core.active()
    assert str(active).endswith(f"{ETHERNET} 9 typ host tcptype active")
    assert base == Address(ETHERNET, 9)
    assert other.priority < active.priority
    core.opened(0, LOCAL)
    ((passive, listens),) = core.listener_opened(0, LOCAL)
    assert listens == LOCAL
    assert (passive.tcptype, passive.address, passive.port) == ("passive", ETHERNET, 50000)
    assert passive.priority < active.priority
    core.socket_failed(1, SocketFailure.UNREACHABLE, 0.0)
    assert [type(item) for item in core.listener_failed(1, SocketFailure.IN_USE, 0.0)] == [ListenerWanted]
    assert not core.is_decided()
    (failed,) = core.listener_failed(1, SocketFailure.IN_USE, 0.0)
    assert isinstance(failed, LocalAddressFailed)
    assert failed.error.startswith("all TCP ports from 50000 to 50001 are in use")
    assert core.listener_failed(1, SocketFailure.IN_USE, 0.0) == []
    assert core.is_decided()
    assert core.released() == [SocketReleased(LOCAL), ListenerReleased(LOCAL)]
