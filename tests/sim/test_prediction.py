"""Prediction against outcome: programs that know nothing of it connect exactly where it says so."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from functools import cache
from itertools import combinations_with_replacement, product
from typing import Any

import pytest

from icekit.aio.prober import Prober
from icekit.aio.server import serve
from icekit.nat import Hairpinning, NatConfig
from icekit.nat_presets import PRESETS, declared
from icekit.predict import Prediction, predict
from icekit.report import Behavior, NatReports, PathKind, Pooling, PortAssignment, to_dict
from icekit.server import ServerConfig, TurnServerConfig
from icekit.servers import IceServer
from icekit.sides import Side, read_side
from icekit.sim import Host, Internet, Link
from icekit.sim.internet import NatLike
from tests.sim.stun_peer import connect_aioice

PAIRS = list(product(PRESETS, PRESETS))
SERVER = "203.0.113.10"
# The servers of each run and, for the prediction, the URL that they stand for.
TURN = {
    "udp": (3478, f"turn:{SERVER}:3478?transport=udp"),
    "tcp": (443, f"turn:{SERVER}:443?transport=tcp"),
}


def connect(a: NatLike, b: NatLike, turn: str | None) -> tuple[str, str, str] | None:
    """Stock aioice behind two NATs: kinds of the pair of A, kind of B's remote candidate; ``None``: it failed."""
    net = Internet(1, link=Link(delay=0.02), limit=300.0)
    server = net.host("server", addresses=[SERVER])
    alice, bob = (net.network(nat, external=64).host() if nat != "open" else net.host() for nat in (a, b))
    config = ServerConfig(turn=TurnServerConfig(users={"user": "password"}, relay_ipv4=SERVER))
    servers: dict[str, Any] = {"stun_server": (SERVER, 3478)}
    if turn is not None:
        servers["turn_server"] = (SERVER, TURN[turn][0])
        servers |= {"turn_username": "user", "turn_password": "password", "turn_transport": turn}

    async def service() -> None:
        async with serve(config, hosts=[SERVER], ports=(3478, 443)):
            await asyncio.Event().wait()

    async def main() -> tuple[str, str, str] | None:
        server.run(service())
        await asyncio.sleep(0.01)
        try:
            # Two NATs with another port for every peer and no filter let aioice find new candidates for ever.
            async with asyncio.timeout(8 if turn is None else 80):
                one, other = await connect_aioice(alice, bob, **servers)
        except (ConnectionError, TimeoutError):
            return None
        try:
            async with asyncio.timeout(10):
                await one.send(b"there")
                assert await other.recv() == b"there"
                await other.send(b"and back")
                assert await one.recv() == b"and back"
        except TimeoutError:
            return None
        pair = one._nominated[1]
        return pair.local_candidate.type, pair.remote_candidate.type, other._nominated[1].remote_candidate.type

    return net.run(main())


@cache
def outcome(a: str, b: str, turn: str | None) -> tuple[str, str, str] | None:
    return connect(a, b, turn)


def foretold(a: str, b: str, turn: str | None) -> Prediction:
    urls = () if turn is None else (TURN[turn][1],)
    return predict(Side.from_preset(a, urls), Side.from_preset(b, urls))


@pytest.mark.parametrize("turn", [None, "udp", "tcp"])
def test_stock_aioice_connects_exactly_where_a_path_is_predicted(turn: str | None) -> None:
    wrong = {}
    for a, b in PAIRS:
        prediction = foretold(a, b, turn)
        assert prediction.path is not PathKind.MAYBE
        if (outcome(a, b, turn) is not None) != (prediction.path is not PathKind.NONE):
            wrong[a, b] = prediction.path.value
    assert wrong == {}


def test_without_turn_only_direct_paths_are_predicted_and_aioice_ends_on_the_predicted_kinds() -> None:
    wrong = {}
    for a, b in PAIRS:
        prediction, found = foretold(a, b, None), outcome(a, b, None)
        # aioice never calls its own candidate peer-reflexive, so the kind of each is asked from the other side.
        seen = None if found is None else (found[2], found[1])
        told = None if prediction.path is PathKind.NONE else (prediction.local, prediction.remote)
        if seen != told or prediction.path not in (PathKind.DIRECT, PathKind.NONE):
            wrong[a, b] = (seen, prediction.path.value, told)
    assert wrong == {}


# The first check that succeeds ends all checking in aioice 0.13. A relay of the offerer passes the firewall of the
# answerer a moment before the direct pair does, so it stays on the relay.
STAYS_ON_THE_RELAY = {(name, "firewall") for name in ("full-cone", "restricted", "port-restricted", "cgnat", "alg")}


@pytest.mark.parametrize("turn", ["udp", "tcp"])
def test_with_turn_aioice_relays_exactly_where_no_direct_path_is_predicted(turn: str) -> None:
    wrong = set()
    for a, b in PAIRS:
        found, path = outcome(a, b, turn), foretold(a, b, turn).path
        if found is not None and ("relay" in found) != (path is PathKind.RELAY):
            wrong.add((a, b))
    assert wrong == STAYS_ON_THE_RELAY


@pytest.mark.parametrize("turn", ["udp", "tcp"])
def test_what_connects_only_with_turn_is_predicted_as_relay(turn: str) -> None:
    relayed = {pair for pair in PAIRS if outcome(*pair, turn) is not None and outcome(*pair, None) is None}
    assert relayed == {pair for pair in PAIRS if foretold(*pair, turn).path is PathKind.RELAY}
    # Over TCP on port 443 the two presets that block only UDP are helped, too.
    assert len(relayed) == {"udp": 20, "tcp": 60}[turn]


CONFIGS = [
    NatConfig(mapping=mapping, filtering=filtering, pooling=pooling, port_assignment=PortAssignment.RANDOM)
    for mapping, filtering, pooling in product(Behavior, Behavior, Pooling)
]


def test_every_pair_of_behaviours() -> None:
    """What no preset has: mapping and filtering that do not fit together, several public addresses."""
    wrong = []
    for a, b in combinations_with_replacement(CONFIGS, 2):
        prediction = predict(*(Side(nat=NatReports(ipv4=declared((config,)))) for config in (a, b)))
        if (connect(a, b, None) is not None) != (prediction.path is PathKind.DIRECT):
            wrong.append((a.mapping, a.filtering, a.pooling, b.mapping, b.filtering, b.pooling, prediction.path))
    assert wrong == []


# --- from reports ----------------------------------------------------------------------------------------------------

STUN = f"stun:{SERVER}"


class World:
    """A server with everything, and hosts that are measured and then called."""

    def __init__(self, *, seed: int = 1, delay: float = 0.02) -> None:
        self.net = Internet(seed, link=Link(delay=delay), limit=300.0)
        self.server = self.net.host("server", addresses=[SERVER, "203.0.113.11"])

    async def serve(self) -> None:
        turn = TurnServerConfig(users={"user": "password"}, relay_ipv4=SERVER)
        async with serve(ServerConfig(turn=turn), hosts=self.server.addresses, ports=(3478, 443)):
            await asyncio.Event().wait()

    def measure(self, *hosts: Host, urls: tuple[str, ...] = (STUN,)) -> tuple[Side, ...]:
        """Each host's report, written as JSON and read again, as a side."""
        servers = [IceServer(urls=url, username="user", credential="password") for url in urls]

        async def main() -> tuple[Side, ...]:
            self.server.run(self.serve())
            await asyncio.sleep(0.01)
            reports = [await host.run(Prober(servers).run()) for host in hosts]
            return tuple(read_side(json.dumps(to_dict(report)), "report.json") for report in reports)

        return self.net.run(main())

    def connects(self, one: Host, other: Host) -> bool:
        """Whether stock aioice connects without TURN."""

        async def main() -> bool:
            self.server.run(self.serve())
            await asyncio.sleep(0.01)
            try:
                await connect_aioice(one, other, stun_server=(SERVER, 3478))
            except ConnectionError:
                return False
            return True

        return self.net.run(main())


@cache
def measured(name: str, urls: tuple[str, ...]) -> Side:
    world = World()
    return world.measure(world.net.host("client", nat=name), urls=urls)[0]


@pytest.mark.parametrize("urls", [(STUN,), (STUN, TURN["udp"][1], TURN["tcp"][1])], ids=["stun", "turn"])
def test_reports_predict_the_same_as_presets(urls: tuple[str, ...]) -> None:
    # Behind "blocked" nothing answers, so the probe does not know whether UDP passes: see below.
    names = [name for name in PRESETS if name != "blocked"]
    wrong = {}
    for a, b in product(names, repeat=2):
        # Every report comes from a world of its own, where the first client gets the same public address.
        sides = [measured(name, urls) for name in (a, b)]
        found = predict(replace(sides[0], public_hosts=frozenset()), sides[1])
        told = predict(*(Side.from_preset(name, urls[1:]) for name in (a, b)))
        if (found.path, found.local, found.remote) != (told.path, told.local, told.remote):
            wrong[a, b] = (found.path.value, told.path.value)
    assert wrong == {}


def test_what_a_silent_network_does_is_not_known() -> None:
    prediction = predict(measured("blocked", (STUN,)), measured("open", (STUN,)))
    assert prediction.path is PathKind.MAYBE
    assert prediction.why == ("It depends on what was not measured, whether UDP passes at A: a direct path or no path.")


@pytest.mark.parametrize("hairpinning", list(Hairpinning))
@pytest.mark.parametrize("home", ["none", "full-cone", "port-restricted", "symmetric"])
def test_two_behind_one_nat(hairpinning: Hairpinning, home: str) -> None:
    world = World()
    shared = world.net.network(NatConfig(filtering=Behavior.ENDPOINT_INDEPENDENT, hairpinning=hairpinning))
    if home == "none":
        one, other = shared.host("one"), shared.host("other")
    else:
        one, other = (world.net.network(home, outside=shared).host(name) for name in ("one", "other"))
    prediction = predict(*world.measure(one, other))
    assert prediction.path is (PathKind.DIRECT if world.connects(one, other) else PathKind.NONE)
    if home == "none":
        assert (prediction.local, prediction.remote) == ("host", "host")
    elif home == "symmetric" or hairpinning is Hairpinning.NONE:
        assert prediction.path is PathKind.NONE
    elif hairpinning is Hairpinning.EXTERNAL_SOURCE:
        assert (prediction.local, prediction.remote) == ("srflx", "srflx")
    else:
        # The inside address as the source is of no use where the homes filter by it.
        assert prediction.path is (PathKind.DIRECT if home == "full-cone" else PathKind.NONE)


def test_a_direct_path_takes_the_predicted_time() -> None:
    world = World()
    one, other = (world.net.host(name, nat="port-restricted") for name in ("one", "other"))
    prediction = predict(*world.measure(one, other), signaling_rtt=0.1)
    # The simulator's members are all the same 20 ms apart.
    assert prediction.peer_rtt == pytest.approx(0.04)
    assert prediction.setup is not None
    assert prediction.setup.a == pytest.approx(0.1 + 0.04 + 0.04)
    assert prediction.setup.b == pytest.approx(0.1 + 0.04 + 0.06)
