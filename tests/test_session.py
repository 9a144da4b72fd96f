"""Two sessions in virtual time, behind known NATs: who connects, when, on which pair, and what a restart changes."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icekit import attributes as attr
from icekit.candidate import CandidateType
from icekit.gathering_events import CandidateGathered, GatheringComplete, ServerFailed
from icekit.gathering_plan import GatherServer
from icekit.ice import IceConfig
from icekit.ice_events import DataReceived, IceState, PairImproved, PairSelected
from icekit.nat import NatConfig
from icekit.net import Address, Datagram, SocketReleased, SocketWanted, StreamReleased, Transport
from icekit.predict import predict
from icekit.report import Behavior, PathKind
from icekit.resolution import ServerEndpoint
from icekit.session import IceSession
from icekit.sides import Side
from icekit.stun import Class, Method, decode, is_stun
from tests.fake_wire import SEEDS
from tests.ice_world import DEAD_SERVER, HOSTS, RELAY_HOST, SERVER, IceWorld, Network, Peer

PORT_RESTRICTED = NatConfig(filtering=Behavior.ADDRESS_AND_PORT_DEPENDENT)
SHORT = NatConfig(filtering=Behavior.ADDRESS_AND_PORT_DEPENDENT, udp_lifetime=30.0)
BOTH = ("port-restricted", "port-restricted")
# P and T in milliseconds; the relay's round trip is twice T.
PATHS = ((40, 30), (100, 60), (30, 60), (100, 100), (200, 120), (20, 100), (200, 20))


def talk(world: IceWorld) -> None:
    """Data passes both ways."""
    for peer in world.peers.values():
        heard = world.other(peer).data
        world.send(peer, b"hello")
        world.run(world.now + 2.0)
        assert len(world.other(peer).data) == len(heard) + 1


@pytest.mark.parametrize(
    ("nats", "relayed"),
    [
        ((None, None), False),
        (BOTH, False),
        (("symmetric", "restricted"), False),
        (("cgnat", "port-restricted"), False),
        (("firewall", "port-restricted"), False),
        (("firewall", "symmetric"), True),
        (("port-restricted", "symmetric"), True),
        (("symmetric", "symmetric"), True),
    ],
)
def test_the_path_is_direct_where_it_can_be(nats: tuple[str | None, str | None], relayed: bool) -> None:
    world = IceWorld(Network(nats=nats, turn=True))
    world.run_until_settled()
    assert world.is_relayed() is relayed
    assert world.on_same_pair()
    talk(world)
    assert world.a.states == world.b.states == [IceState.CHECKING, IceState.CONNECTED, IceState.COMPLETED]


def test_one_relay_is_used_where_one_is_enough() -> None:
    for nats in (("port-restricted", "symmetric"), ("symmetric", "symmetric")):
        world = IceWorld(Network(nats=nats, turn=True))
        world.run_until_settled()
        pair = world.a.pair
        assert pair is not None
        assert (pair.base.host == RELAY_HOST) != (pair.address.host == RELAY_HOST)


@pytest.mark.parametrize(
    "nats", [("port-restricted", "symmetric"), ("symmetric", "port-restricted"), ("symmetric",) * 2]
)
def test_both_are_on_one_pair_before_it_is_nominated(nats: tuple[str, str]) -> None:
    """There are two ways through one relay, and each side would rather use its own socket."""
    world = IceWorld(Network(nats=nats, turn=True))
    world.run_until_settled()
    for side in (world.a, world.b):
        used = [(event.pair.base, event.pair.address) for _, event in side.events if isinstance(event, PairSelected)]
        assert used[-1] == used[-2]


def test_relay_only_tells_and_checks_nothing_else() -> None:
    world = IceWorld(Network(nats=BOTH, turn=True, relay_only=True))
    world.run_until_settled()
    for peer in world.peers.values():
        assert [candidate.type for candidate in peer.candidates] == [CandidateType.RELAYED]
        assert {pair.local.type for pair in peer.agent.stats()} == {"relay"}
    talk(world)


def test_without_trickle_both_connect_as_well() -> None:
    world = IceWorld(Network(nats=BOTH, turn=True, trickle=False))
    world.run_until_settled()
    assert not world.is_relayed()


def test_runs_are_repeatable() -> None:
    def trace(seed: int) -> list[object]:
        world = IceWorld(Network(nats=("cgnat", "symmetric"), turn=True, loss=0.1, jitter=0.5), seed=seed)
        world.run(20.0)
        return [*world.a.events, *world.b.events, world.sent]

    assert trace(4) == trace(4)
    assert trace(4) != trace(5)


# Time.


def starts(world: IceWorld, peer: Peer) -> list[tuple[float, tuple[Address, Address]]]:
    """When new transactions of ``peer`` begin, with where they lead."""
    seen: dict[bytes, tuple[float, tuple[Address, Address]]] = {}
    leave = world._leave

    def watch(sender: Peer, datagram: Datagram) -> None:
        if sender is peer and is_stun(datagram.data):
            message = decode(datagram.data)
            if message.message_class is Class.REQUEST and message.method in (Method.BINDING, Method.ALLOCATE):
                seen.setdefault(message.transaction_id, (world.now, (datagram.source, datagram.destination)))
        leave(sender, datagram)

    world._leave = watch  # type: ignore[method-assign]
    world.run(3.0)
    return list(seen.values())


@pytest.mark.parametrize("ta", [0.005, 0.02, 0.05])
def test_gathering_and_checks_share_the_slots(ta: float) -> None:
    world = IceWorld(Network(nats=BOTH, dead_hosts=2, signaling=0.0), config=IceConfig(ta=ta))
    begun = starts(world, world.a)
    times = [when for when, _ in begun]
    assert len(times) > 20
    # One transaction in a slot, whoever it is of; consent begins later than this.
    for place, earlier in enumerate(times):
        for index, later in enumerate(times[place + 1 :], 1):
            assert later - earlier >= (index - 1) * ta + min(ta, 0.005) - 1e-9
    # What is new is ta apart: repetitions alone wait for the end of a slot.
    new = sorted({path: when for when, path in reversed(begun)}.values())
    assert len(new) > 5
    assert all(later - earlier >= ta - 1e-9 for earlier, later in itertools.pairwise(new))


@pytest.mark.parametrize(
    ("nats", "first"),
    [
        ((None, None), HOSTS["A"][1]),
        # Our NAT lets the answer in.
        ((None, "port-restricted"), HOSTS["A"][1]),
        # What is private may be anywhere.
        (("port-restricted", None), SERVER.host),
        (BOTH, SERVER.host),
    ],
)
def test_a_check_on_an_open_path_goes_before_the_servers(nats: tuple[str | None, str | None], first: str) -> None:
    """B begins when it knows everything of A."""
    world = IceWorld(Network(nats=nats, turn=True, skew=0.3), config=IceConfig(ta=0.02))
    begun = starts(world, world.b)
    assert begun[0][1][1].host == first
    # And costs one slot.
    servers = [when - begun[0][0] for when, (_, destination) in begun if destination == SERVER]
    assert servers[0] == pytest.approx(0.0 if first == SERVER.host else 0.02)
    assert servers[1] == pytest.approx(servers[0] + 0.02)


# Signaling, server and direct round trips in milliseconds.
TRIPS = ((60, 30, 40), (100, 40, 20), (200, 60, 100), (400, 50, 50), (30, 50, 20))


@pytest.mark.parametrize("kind", ["stun", "turn"])
@pytest.mark.parametrize("nats", [BOTH, ("port-restricted", "symmetric")])
def test_a_dead_server_costs_at_most_two_slots(nats: tuple[str | None, str | None], kind: str) -> None:
    """One on each side, because both ask it first; ``bench_setup.py dead`` has all skews."""
    skews = range(0, 301, 15) if SEEDS >= 1000 else (45, 75, 195)
    # The last one has times that are no whole slots.
    cases = [*itertools.product(TRIPS, skews), ((72, 34, 68), 53)]
    for ta in (0.005, 0.02):
        for (signaling, server, direct), skew in cases:
            network = Network(
                signaling=signaling / 1000,
                server=server / 1000,
                direct=direct / 1000,
                nats=nats,
                turn=True,
                skew=skew / 1000,
            )
            usual = IceWorld(network, config=IceConfig(ta=ta)).run_until_valid()
            world = IceWorld(replace(network, dead_server=kind), config=IceConfig(ta=ta))
            assert world.run_until_valid() - usual <= 2 * ta + 1e-9, network


@pytest.mark.parametrize("ta", [0.005, 0.02])
def test_where_the_only_stun_server_is_dead_turn_tells_the_mapped_address_two_slots_later(ta: float) -> None:
    """One round trip and two Ta after the start of each side, where the relay needs two round trips and a Ta."""
    for signaling, server, direct in TRIPS:
        times = {"signaling": signaling / 1000, "server": server / 1000, "direct": direct / 1000}
        network = Network(nats=BOTH, turn=True, turn_apart=True, **times)
        usual = IceWorld(network, config=IceConfig(ta=ta)).run_until_valid()
        world = IceWorld(replace(network, stun=False, dead_server="stun"), config=IceConfig(ta=ta))
        # The call is as much later, and a repetition that meets a NAT just opened may come a slot later still.
        assert world.run_until_valid() - usual <= (3 if ta == 0.005 else 4.5) * ta + 1e-9, network
        for peer in world.peers.values():
            told = {event.candidate.type: event for _, event in peer.events if isinstance(event, CandidateGathered)}
            assert told["srflx"].seconds <= server / 1000 + 2 * ta + 1e-9, network


@pytest.mark.parametrize("kind", ["stun", "turn"])
def test_a_dead_server_is_given_up_by_name(kind: str) -> None:
    world = IceWorld(Network(nats=BOTH, turn=True, dead_server=kind))
    world.run(10.0)
    failed = [event for _, event in world.a.events if isinstance(event, ServerFailed)]
    assert [event.server for event in failed] == [DEAD_SERVER]
    assert world.on_same_pair()


@pytest.mark.parametrize("nats", [BOTH, ("symmetric", "restricted"), ("port-restricted", "symmetric"), (None, None)])
def test_an_interface_without_a_route_costs_nothing(nats: tuple[str | None, str | None]) -> None:
    network = Network(nats=nats, turn=True)
    usual = IceWorld(network).run_until_valid()
    # Preferred to the address that works: what it takes, it takes first. The peer does not learn of it.
    world = IceWorld(replace(network, dead_hosts=3, no_route=True))
    world.hidden = "172.17."
    assert world.run_until_valid() == pytest.approx(usual, abs=1e-9)
    failed = [event for _, event in world.a.events if isinstance(event, ServerFailed)]
    assert {(event.host, event.error) for event in failed} == {
        (host, "this host has no route to it from there") for host in world.a.dead
    }
    # It is the slots given back that do it: what swallows packets costs some, where servers have to be asked first.
    world = IceWorld(replace(network, dead_hosts=3))
    world.hidden = "172.17."
    assert (world.run_until_valid() > usual + 0.005) == (nats != (None, None))


@pytest.mark.parametrize("ta", [0.005, 0.02])
@pytest.mark.parametrize("count", [1, 2, 5])
def test_an_address_that_swallows_packets_costs_the_slots_of_its_pairs_that_rank_higher(count: int, ta: float) -> None:
    def delay(*, last: bool) -> float:
        """How long the first check of A waits for those of its dead addresses, all candidates known."""
        network = Network(stun=False, dead_hosts=count, dead_sides="A", dead_last=last, signaling=0.0)
        world = IceWorld(network, config=IceConfig(ta=ta))
        world.hidden = "172.17."
        return world.run_until_valid() - IceWorld(replace(network, dead_hosts=0)).run_until_valid()

    assert delay(last=True) == pytest.approx(0.0, abs=1e-9)
    # B is not delayed, and its check triggers that of A at once.
    assert 0.0 <= delay(last=False) <= count * ta + 1e-9


@pytest.mark.parametrize("direct", [0.4, 1.5])
def test_a_slow_path_holds_for_ten_minutes(direct: float) -> None:
    world = IceWorld(Network(direct=direct, nats=BOTH))
    world.run(630.0)
    for peer in world.peers.values():
        assert peer.states == [IceState.CHECKING, IceState.CONNECTED, IceState.COMPLETED]


def test_ten_percent_loss_holds_for_ten_minutes() -> None:
    world = IceWorld(Network(nats=BOTH, turn=True, loss=0.1), seed=7)
    world.run(600.0)
    for peer in world.peers.values():
        assert IceState.FAILED not in peer.states
        assert peer.agent.state is IceState.COMPLETED


def test_silence_is_shown_and_then_the_end() -> None:
    world = IceWorld(Network(nats=BOTH))
    world.run(100.0)
    world.b.blocked = True
    world.run(140.0)
    changes = [(when, event.state) for when, event in world.a.events if hasattr(event, "state")][-2:]
    assert [state for _, state in changes] == [IceState.DISCONNECTED, IceState.FAILED]
    assert changes[0][0] == pytest.approx(105.0, abs=4.0)
    assert changes[1][0] == pytest.approx(130.0, abs=6.1)


def test_a_minute_before_the_answer_outlives_mappings_of_thirty_seconds() -> None:
    world = IceWorld(Network(nats=((SHORT,), (SHORT,)), skew=60.0))
    world.run_until_valid(70.0)
    world.run_until_settled()
    assert world.on_same_pair()
    # It is the keepalives that did it: a NAT with 10 s forgets.
    hasty = NatConfig(filtering=Behavior.ADDRESS_AND_PORT_DEPENDENT, udp_lifetime=10.0)
    world = IceWorld(Network(nats=((hasty,), (hasty,)), skew=60.0))
    world.run(59.0)
    assert list(world.a.nats[0].mappings(world.now)) == []


def test_keepalives_end_with_the_first_pair() -> None:
    world = IceWorld(Network(nats=BOTH))
    world.run(10.0)
    kept = []
    leave = world._leave

    def watch(sender: Peer, datagram: Datagram) -> None:
        if is_stun(datagram.data) and decode(datagram.data).message_class is Class.INDICATION:
            kept.append(datagram)
        leave(sender, datagram)

    world._leave = watch  # type: ignore[method-assign]
    world.run(100.0)
    assert kept == []


# Choice.


@pytest.mark.parametrize(("direct", "server"), PATHS)
@pytest.mark.parametrize("ta", [0.005, 0.02])
def test_direct_wins_where_it_is_not_slower_than_the_relay(direct: int, server: int, ta: float) -> None:
    for skew in range(-300, 301, 60):
        network = Network(direct=direct / 1000, server=server / 1000, nats=BOTH, turn=True, skew=skew / 1000)
        world = IceWorld(network, config=IceConfig(ta=ta))
        world.run_until_settled()
        assert world.on_same_pair(), skew
        if direct <= 2 * server:
            assert not world.is_relayed(), skew


NATS = (None, "full-cone", "restricted", "port-restricted", "symmetric", "symmetric-sequential", "cgnat", "firewall")


def foretold(nats: tuple[str | None, str | None], *, turn: bool) -> PathKind:
    """What the prediction says, which plays ICE over the NAT model and knows nothing of the agent."""
    sides = (Side.from_preset(nat or "open", ("turn:203.0.113.10",) if turn else ()) for nat in nats)
    return predict(*sides).path


def random_world(dice: random.Random, seed: int) -> IceWorld:
    network = Network(
        signaling=dice.uniform(0.01, 0.4),
        server=dice.uniform(0.005, 0.15),
        direct=dice.uniform(0.005, 0.3),
        nats=(dice.choice(NATS), dice.choice(NATS)),
        skew=dice.uniform(-0.3, 0.3),
        loss=dice.choice((0, 0, 0.02, 0.05, 0.1, 0.15)),
        jitter=dice.choice((0, 0.1, 0.5, 1.0)),
        turn=dice.random() < 0.75,
        dead_hosts=dice.choice((0, 0, 1, 2)),
        dead_server="stun" if dice.random() < 0.2 else None,
    )
    return IceWorld(network, seed=seed, config=IceConfig(ta=dice.choice((0.005, 0.02, 0.05))))


def disturb(world: IceWorld, dice: random.Random) -> None:
    """A restart: after a reboot of a NAT, from another address, without a reason, or of both sides at a time."""
    peer = dice.choice((world.a, world.b))
    hosts = None
    change = dice.random()
    if change < 0.3:
        for nat in peer.nats:
            nat.reboot()
    elif change < 0.6 and peer.nats and peer.nats[0].external_hosts:
        hosts = [f"192.168.{1 if peer is world.a else 2}.{dice.randrange(3, 250)}"]
    elif change > 0.9:
        world.restart(world.other(peer))
    world.restart(peer, hosts)


# In blocks, so that the long run can spread them over all cores.
BLOCKS = [range(first, min(first + 200, SEEDS)) for first in range(0, SEEDS, 200)]


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seeds", BLOCKS, ids=lambda seeds: f"{seeds[0]}-{seeds[-1]}")
def test_both_sides_finish_on_the_same_pair(seeds: range) -> None:
    """Random NATs, loss, reordering, dead addresses and servers, reboots, new addresses, restarts.

    No run connects over nothing, and none fails where a path exists.
    """
    for seed in seeds:
        dice = random.Random(f"choice/{seed}")
        world = random_world(dice, seed)
        if foretold(world.network.nats, turn=world.network.turn) is PathKind.NONE:
            world.run(60.0)
            for peer in world.peers.values():
                assert peer.first_valid is None, seed
                assert peer.states == [IceState.CHECKING, IceState.FAILED], seed
            continue
        world.run_until_settled()
        assert world.on_same_pair(), seed
        for _ in range(dice.choice((0, 0, 1, 2))):
            world.run(world.now + dice.uniform(0.01, 3))
            disturb(world, dice)
            world.run(world.now + 0.6 + world.network.signaling)
            world.run_until_settled()
            assert world.on_same_pair(), seed
        for peer in world.peers.values():
            assert IceState.FAILED not in peer.states, seed
            heard = len(world.other(peer).data)
            for _ in range(8):
                world.send(peer, b"hello")
            world.run(world.now + 1.0)
            assert len(world.other(peer).data) > heard, seed


# Several components, and renomination.


@pytest.mark.parametrize("nats", [(None, None), BOTH, ("port-restricted", "symmetric")])
def test_every_component_has_a_pair_of_its_own(nats: tuple[str | None, str | None]) -> None:
    world = IceWorld(Network(nats=nats, turn=True), config=IceConfig(components=2))
    world.run_until_settled()
    a, b = (peer.agent.selected_pairs() for peer in world.peers.values())
    assert [pair.component for pair in a] == [pair.component for pair in b] == [1, 2]
    assert len({pair.base for pair in (*a, *b)}) == 4
    for one, other in zip(a, b, strict=True):
        assert world.inside(world.b, one.address) == other.base
        assert world.inside(world.a, other.address) == one.base
    # A lower component is preferred (RFC 8445 §5.1.2.1), and a server is told of once.
    first, second = ([item for item in world.a.candidates if item.component == number] for number in (1, 2))
    assert [item.priority for item in second] == [item.priority - 1 for item in first]
    assert [item.foundation for item in second] == [item.foundation for item in first]
    world.run(5.0)
    for component in (1, 2):
        world.a.agent.send(component, b"to %d" % component, world.now)
    world.a.session.agent_used(world.now)
    world.pump(world.a)
    world.run(world.now + 1.0)
    assert {(event.component, event.data) for _, event in world.b.events if isinstance(event, DataReceived)} == {
        (1, b"to 1"),
        (2, b"to 2"),
    }
    world.restart(world.a)
    world.run(world.now + 15.0)
    assert [len(peer.agent.selected_pairs()) for peer in world.peers.values()] == [2, 2]
    assert [len(peer.bound) for peer in world.peers.values()] == [2, 2]
    assert world.server.allocations == 4


@pytest.mark.parametrize(("which", "costs"), [(Class.REQUEST, 0.045), (Class.SUCCESS, 0.5)])
def test_what_a_lost_packet_of_a_signed_allocate_costs(which: Class, costs: float) -> None:
    found = []
    for lossy in (False, True):
        world = IceWorld(Network(server=0.03, turn=True, stun=False, relay_only=True), config=IceConfig(ta=0.02))
        seen = []

        def lost(datagram: Datagram, seen: list[bytes] = seen, lossy: bool = lossy) -> bool:
            message = decode(datagram.data) if is_stun(datagram.data) else None
            if message is None or (message.method, message.message_class) != (Method.ALLOCATE, which):
                return False
            seen.append(datagram.data)
            # The first request of each side is not signed.
            hosts = (datagram.source.host, datagram.destination.host)
            return lossy and HOSTS["A"][1] in hosts and message.has_integrity() and len(seen) <= 2

        world.lost = lost
        world.run(3.0)
        found.append(world.a.times(CandidateGathered)[0])
        assert world.server.allocations == 2
    assert found[1] - found[0] == pytest.approx(costs, abs=0.016)


@pytest.mark.parametrize("both", [True, False])
def test_what_becomes_better_later_is_taken_at_once_if_both_renominate(both: bool) -> None:
    world = IceWorld(Network(nats=BOTH, turn=True))
    direct = (HOSTS["A"][1], HOSTS["B"][1])
    opened = 3.0

    def blocked(datagram: Datagram) -> bool:
        return world.now < opened and datagram.source.host in direct and datagram.destination.host in direct

    world.lost = blocked
    for peer in world.peers.values():
        peer.agent.set_renomination(both)
    world.run(opened)
    assert world.is_relayed()
    assert [peer.agent.is_settled() for peer in world.peers.values()] == [True, True]
    world.run(opened + 2.0)
    improved = [event for peer in world.peers.values() for _, event in peer.events if isinstance(event, PairImproved)]
    assert world.is_relayed() is not both
    assert bool(improved) is not both
    assert world.on_same_pair()
    talk(world)
    # Without it, the library offers a restart, which takes it.
    if not both:
        world.restart(world.a)
        world.run(world.now + 2.0)
        assert not world.is_relayed()


def test_both_follow_the_second_nomination_when_the_answers_to_the_first_are_lost() -> None:
    world = IceWorld(Network(turn=True))
    direct = (HOSTS["A"][1], HOSTS["B"][1])
    nominated: dict[bool, set[object]] = {True: set(), False: set()}

    def deaf_to_answers(datagram: Datagram) -> bool:
        """From its first nomination on A gets no answer over the direct path; all else passes."""
        message = decode(datagram.data) if is_stun(datagram.data) else None
        if message is None or datagram.source.host not in direct or datagram.destination.host not in direct:
            return False
        if message.get(attr.USE_CANDIDATE) is True:
            nominated[message.has(attr.NOMINATION)].add(message.transaction_id)
        return (
            bool(nominated[False]) and message.message_class is Class.SUCCESS and datagram.destination.host == direct[0]
        )

    world.lost = deaf_to_answers
    world.run(20.0)
    # B has taken the direct pair, which works for it, and follows all the same.
    assert nominated[False]
    assert not nominated[True]
    assert [peer.agent.is_settled() for peer in world.peers.values()] == [True, True]
    assert world.is_relayed()
    assert world.on_same_pair()
    talk(world)


# Restart.


def recovery(world: IceWorld, peer: Peer, hosts: list[str] | None = None) -> float:
    """Seconds from the arrival of the last candidates to the new pair on both sides."""
    before = len(peer.events), len(world.other(peer).events)
    world.restart(peer, hosts)
    world.run(world.now + 5.0)
    assert world.on_same_pair()
    told, valid = [], []
    for side, seen in zip((peer, world.other(peer)), before, strict=True):
        new = side.events[seen:]
        told += [when for when, event in new if isinstance(event, CandidateGathered)]
        valid.append(next(when for when, event in new if type(event).__name__ == "PairSelected"))
    return max(valid) - (max(told) + world.network.signaling / 2)


def test_a_rebooted_nat_is_recovered_from_within_two_round_trips() -> None:
    world = IceWorld(Network(nats=BOTH))
    world.run(5.0)
    world.a.nats[0].reboot()
    assert recovery(world, world.a) <= 2 * world.network.direct
    talk(world)


def test_a_new_address_is_recovered_from_within_two_round_trips() -> None:
    world = IceWorld(Network(nats=BOTH))
    world.run(5.0)
    assert recovery(world, world.b, ["192.168.2.77"]) <= 2 * world.network.direct
    pair = world.b.pair
    assert pair is not None
    assert pair.base.host == "192.168.2.77"
    talk(world)


def test_the_old_pair_carries_data_until_the_new_one_does() -> None:
    world = IceWorld(Network(nats=BOTH, turn=True))
    world.run(5.0)
    old = world.a.pair
    assert old is not None
    world.restart(world.a)
    world.run(world.now + 0.05)
    assert world.a.agent.uses_old_pair()
    world.send(world.a, b"meanwhile")
    world.run(world.now + 0.05)
    assert world.b.data == [b"meanwhile"]
    world.run(world.now + 2.0)
    new = world.a.pair
    assert new is not None
    assert new.base != old.base
    assert {state for peer in world.peers.values() for state in peer.states} == {
        *(IceState.CHECKING, IceState.CONNECTED, IceState.COMPLETED)
    }
    assert old.base in world.a.bound
    assert world.server.allocations == 4
    # What nobody needs any more is given back.
    world.run(world.now + 10.0)
    assert world.a.bound == {new.base}
    assert len(world.b.bound) == 1
    assert world.server.allocations == 2
    talk(world)


def test_restarts_in_a_row_leave_nothing_behind() -> None:
    world = IceWorld(Network(nats=BOTH, turn=True))
    world.run(3.0)
    for _ in range(6):
        world.restart(world.a)
        world.run(world.now + 0.01)
    world.run(world.now + 20.0)
    assert world.on_same_pair()
    assert (len(world.a.bound), len(world.b.bound)) == (1, 1)
    assert world.server.allocations == 2
    talk(world)


def test_both_may_restart_at_the_same_time() -> None:
    world = IceWorld(Network(nats=BOTH))
    world.run(3.0)
    world.restart(world.a)
    world.restart(world.b)
    world.run(world.now + 5.0)
    assert world.on_same_pair()
    talk(world)


def test_relays_connect_hosts_with_many_addresses_that_lead_nowhere() -> None:
    """There are more pairs than a checklist has room for, and those that work rank last."""
    world = IceWorld(Network(nats=("symmetric", "symmetric"), turn=True, dead_hosts=12))
    world.run_until_valid(5.0)
    assert len(world.a.agent.stats()) == 100
    assert world.is_relayed()


# Sockets and the end.


def session(*servers: str) -> IceSession:
    from icekit.servers import ServerUri

    wanted = [GatherServer(ServerUri.parse(url), ("alice", "secret") if "turn" in url else None) for url in servers]
    return IceSession(True, ["192.168.1.2"], wanted, random.Random(1).randbytes)


def events(core: IceSession) -> list[object]:
    found = []
    while (event := core.next_event()) is not None:
        found.append(event)
    return found


def test_a_restart_asks_for_sockets_of_its_own() -> None:
    core = session()
    core.start(0.0)
    (first,) = events(core)
    assert first == SocketWanted(0, Address("192.168.1.2", 0))
    core.restart(1.0)
    (second,) = [event for event in events(core) if isinstance(event, SocketWanted)]
    assert second.id != 0
    # The first one is not needed any more: it is opened too late.
    core.socket_opened(0, Address("192.168.1.2", 5000), 1.0)
    assert events(core) == [SocketReleased(Address("192.168.1.2", 5000))]
    core.stream_opened(7, Address("192.168.1.2", 1), SERVER, 1.0)
    assert events(core) == [StreamReleased(7)]
    core.socket_opened(second.id, Address("192.168.1.2", 5001), 1.0)
    assert [type(event) for event in events(core)] == [CandidateGathered, GatheringComplete]


def test_after_a_restart_elsewhere_servers_that_cannot_be_asked_as_before_are_looked_up_again() -> None:
    """A network of IPv6 alone has other addresses for a name (DNS64), and one that is back has a name server."""
    core = session("stun:one.example.org", "stun:two.example.org", "stun:three.example.org")
    core.start(0.0)
    assert list(core.unresolved) == [0, 1, 2]
    uris = [server.uri for server in core._servers]
    known = ServerEndpoint(uris[0], Transport.UDP, SERVER, "one.example.org")
    core.server_resolved(0, [known], 0.0)
    core.server_unresolved(1, "the network is down", 0.0)
    assert list(core.unresolved) == [2]
    events(core)
    core.restart(1.0)
    assert list(core.unresolved) == [1, 2]
    assert not [event for event in events(core) if isinstance(event, ServerFailed)]
    core.restart(2.0, ["2001:db8::2"])
    assert list(core.unresolved) == [0, 1, 2]
    there = ServerEndpoint(uris[0], Transport.UDP, Address("2001:db8::10", 3478), "one.example.org")
    core.server_resolved(0, [there], 2.0)
    core.restart(3.0)
    assert list(core.unresolved) == [1, 2]


def test_servers_are_asked_again_at_the_same_addresses() -> None:
    world = IceWorld(Network(nats=BOTH))
    world.run(1.0)
    world.restart(world.a)
    world.run(2.0)
    assert [candidate.type for candidate in world.a.candidates] == ["host", "srflx"]


def test_closing_gives_everything_back() -> None:
    world = IceWorld(Network(nats=BOTH, turn=True))
    world.run(2.0)
    for peer in world.peers.values():
        peer.session.close(world.now)
        peer.session.close(world.now)
        world.pump(peer)
    world.run(world.now + 2.0)
    for peer in world.peers.values():
        assert peer.bound == set()
        assert peer.session.get_timer() is None
        assert peer.agent.state is IceState.CLOSED
    assert world.server.allocations == 0


def test_more_peers_than_an_allocation_takes_do_no_harm() -> None:
    world = IceWorld(Network(nats=("symmetric", "symmetric"), turn=True))
    world.run_until_settled()
    from icekit.candidate import Candidate

    world.restart(world.a)
    world.run(world.now + 1.0)
    for number in range(400):
        host = f"203.0.{114 + number // 200}.{number % 200 + 1}"
        candidate = Candidate(f"x{number}", 1, "udp", 2**30 + number, host, 9, CandidateType.HOST)
        world.a.agent.add_remote_candidate(candidate, world.now)
    world.run(world.now + 20.0)
    assert len(world.a.agent.stats()) <= 100
    assert world.on_same_pair()


def test_data_that_is_too_long_for_a_relay_is_dropped() -> None:
    world = IceWorld(Network(nats=("symmetric", "symmetric"), turn=True))
    world.run_until_settled()
    relaying = next(
        peer for peer in world.peers.values() if peer.pair is not None and peer.pair.base.host == RELAY_HOST
    )
    dropped = relaying.session.dropped
    world.send(relaying, bytes(70_000))
    assert relaying.session.dropped == dropped + 1
    talk(world)


@pytest.mark.parametrize("data", [b"", b"\0", bytes(40), b"\x80RTP", b"A text: as a channel number", b"\xff"])
def test_data_may_begin_with_any_byte(data: bytes) -> None:
    world = IceWorld(Network())
    world.run_until_settled()
    world.send(world.a, data)
    world.run(world.now + 1.0)
    assert world.b.data == [data]


def test_data_of_strangers_and_what_nobody_takes_is_dropped() -> None:
    world = IceWorld(Network(), config=IceConfig(max_events=10))
    world.run_until_settled()
    session, pair = world.b.session, world.b.pair
    assert pair is not None
    dropped = session.dropped
    session.receive_datagram(Datagram(Address("203.0.113.77", 7), pair.base, b"\x80stranger"), world.now)
    assert (session.next_event(), session.dropped) == (None, dropped + 1)
    for _ in range(50):
        session.receive_datagram(Datagram(pair.address, pair.base, b"\x80x"), world.now)
    taken = 0
    while session.next_event() is not None:
        taken += 1
    assert (taken, session.dropped) == (10, dropped + 41)


def test_what_comes_by_a_relay_and_nobody_takes_is_dropped() -> None:
    world = IceWorld(Network(nats=("symmetric", "symmetric"), turn=True), config=IceConfig(max_events=10))
    world.run_until_settled()
    relayed = next(peer for peer in world.peers.values() if peer.pair is not None and peer.pair.base.host == RELAY_HOST)
    pair = relayed.pair
    assert pair is not None
    agent, session, dropped = relayed.agent, relayed.session, relayed.session.dropped
    # One datagram for each time that the session runs, as a server sends them.
    for _ in range(50):
        agent.receive_datagram(Datagram(pair.address, pair.base, b"\x80x"), world.now)
        session.agent_used(world.now)
    taken = 0
    while session.next_event() is not None:
        taken += 1
    assert (taken, session.dropped) == (10, dropped + 40)


# Anything at any time.

_STEPS = st.lists(
    st.tuples(
        st.sampled_from(["garbage", "echo", "from-server", "restart", "time", "reboot", "block", "close"]),
        st.integers(0, 2**16),
        st.booleans(),
    ),
    max_size=25,
)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), _STEPS)
def test_any_order_of_anything(seed: int, steps: list[tuple[str, int, bool]]) -> None:
    world = IceWorld(Network(nats=BOTH, turn=True, loss=0.1, jitter=1.0), seed=seed)
    heard: list[Datagram] = []
    leave = world._leave

    def watch(sender: Peer, datagram: Datagram) -> None:
        heard.append(datagram)
        leave(sender, datagram)

    world._leave = watch  # type: ignore[method-assign]
    world.run(0.2)
    for kind, number, flag in steps:
        dice = random.Random(number)
        peer = world.a if flag else world.b
        bases = sorted(peer.bound) or [Address("192.168.1.2", 5001)]
        match kind:
            case "garbage":
                data = dice.randbytes(dice.randrange(60))
                peer.session.receive_datagram(
                    Datagram(dice.choice([SERVER, *bases]), dice.choice(bases), data), world.now
                )
            case "echo" if heard:
                # What was sent comes back, whole or with a bit changed.
                sent = dice.choice(heard[-30:])
                data = bytearray(sent.data)
                if data and dice.random() < 0.5:
                    data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
                peer.session.receive_datagram(Datagram(sent.source, dice.choice(bases), bytes(data)), world.now)
            case "from-server":
                data = b"\x00\x17" + dice.randbytes(2) + b"\x21\x12\xa4\x42" + dice.randbytes(dice.randrange(40))
                peer.session.receive_datagram(Datagram(SERVER, dice.choice(bases), data), world.now)
            case "restart" if peer.agent.state is not IceState.CLOSED:
                world.restart(peer)
            case "time":
                world.run(world.now + dice.choice((0.001, 0.05, 1.0, 7.0, 40.0)))
            case "reboot":
                peer.nats[0].reboot()
            case "block":
                peer.blocked = not peer.blocked
            case "close":
                peer.session.close(world.now)
        world.pump(peer)
    for peer in world.peers.values():
        peer.session.close(world.now)
        world.pump(peer)
    world.run(world.now + 30.0)
    for peer in world.peers.values():
        assert peer.session.get_timer() is None
        assert peer.bound == set()
