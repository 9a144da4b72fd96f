"""The identity: the binding lifetime of a simulated NAT is found, whatever kind it is."""

from __future__ import annotations

import asyncio

import pytest

from icekit.aio.prober import Prober, ProberConfig
from icekit.aio.relay_check import drive
from icekit.aio.server import serve
from icekit.lifetime import LifetimeConfig, LifetimeObserved, LifetimeProbe, TrialEnded, idle_times
from icekit.nat import NatConfig
from icekit.nat_observations import LifetimeTrial
from icekit.net import Address
from icekit.report import Behavior, NatReport, Pooling, PortAssignment
from icekit.server import ServerConfig
from icekit.servers import IceServer
from icekit.sim import Internet, Link

SERVERS = ("203.0.113.10", "203.0.113.11")
EI, AD, APD = Behavior


def watch(
    config: NatConfig | None, *, seed: int = 1, loss: float = 0.0, longest: float = 180.0, external: int = 1
) -> tuple[tuple[LifetimeTrial, ...], str, float]:
    """Trials, reason, and how many virtual seconds it took."""
    net = Internet(seed, link=Link(delay=0.01, loss=loss))
    server = net.host("server", addresses=SERVERS)
    client = net.network(config, external=external).host("client") if config is not None else net.host("client")
    ended: list[LifetimeObserved] = []

    async def service() -> None:
        async with serve(ServerConfig(), hosts=SERVERS, ports=(3478, 3479)):
            await asyncio.Event().wait()

    async def watching() -> None:
        core = LifetimeProbe(
            client.addresses[0],
            [Address(host, 3478) for host in SERVERS],
            net.token_bytes("probe"),
            config=LifetimeConfig(longest=longest),
        )
        told: list[TrialEnded] = []

        def take(event: object) -> None:
            if isinstance(event, TrialEnded):
                told.append(event)
            else:
                assert isinstance(event, LifetimeObserved)
                ended.append(event)

        await drive(core, LifetimeObserved, take)
        known = {item.idle: item.alive for item in told}
        assert all(known[trial.idle] in (trial.alive, None) for trial in ended[0].trials)

    async def main() -> float:
        server.run(service())
        await asyncio.sleep(0.1)
        began = asyncio.get_running_loop().time()
        await client.run(watching())
        return asyncio.get_running_loop().time() - began

    seconds = net.run(main())
    [observed] = ended
    return observed.trials, observed.reason, seconds


def expected(lifetime: float, longest: float = 180.0) -> tuple[LifetimeTrial, ...]:
    """Every idle time below the lifetime passes, and the next two do not."""
    below = [idle for idle in idle_times(longest) if idle < lifetime]
    above = [idle for idle in idle_times(longest) if idle >= lifetime][:2]
    return tuple([LifetimeTrial(idle, True) for idle in below] + [LifetimeTrial(idle, False) for idle in above])


@pytest.mark.parametrize("lifetime", [30.0, 60.0, 120.0])
@pytest.mark.parametrize("assignment", [PortAssignment.PRESERVING, PortAssignment.RANDOM])
@pytest.mark.parametrize("behavior", [EI, AD, APD])
def test_the_lifetime_is_found(lifetime: float, assignment: PortAssignment, behavior: Behavior) -> None:
    nat = NatConfig(mapping=behavior, filtering=behavior, port_assignment=assignment, udp_lifetime=lifetime)
    trials, reason, seconds = watch(nat)
    assert (trials, reason) == (expected(lifetime), "")
    # It ends with the second binding that is gone, not with the longest idle time.
    assert trials[-1].idle < seconds < trials[-1].idle + 5.0


@pytest.mark.parametrize("lifetime", [30.0, 60.0, 120.0])
@pytest.mark.parametrize("seed", range(8))
def test_loss_does_not_change_the_answer(lifetime: float, seed: int) -> None:
    nat = NatConfig(filtering=APD, port_assignment=PortAssignment.RANDOM, udp_lifetime=lifetime)
    trials, reason, _ = watch(nat, seed=seed, loss=0.05)
    assert (trials, reason) == (expected(lifetime), "")


@pytest.mark.parametrize("outbound", [False, True])
def test_a_nat_that_answers_renew(outbound: bool) -> None:
    nat = NatConfig(filtering=APD, udp_lifetime=30.0, refresh_inbound=True, refresh_outbound=outbound)
    assert watch(nat)[0] == expected(30.0)


def test_a_firewall_without_translation() -> None:
    assert watch(NatConfig(translates=False, filtering=APD, udp_lifetime=30.0))[0] == expected(30.0)


def test_no_nat_forgets_nothing() -> None:
    trials, reason, seconds = watch(None, longest=60.0)
    assert (trials, reason) == (tuple(LifetimeTrial(idle, True) for idle in idle_times(60.0)), "")
    assert seconds < 65.0


def test_a_lifetime_beyond_the_longest_wait() -> None:
    trials, _, _ = watch(NatConfig(udp_lifetime=300.0), longest=60.0)
    assert trials == tuple(LifetimeTrial(idle, True) for idle in idle_times(60.0))


def test_sockets_with_different_public_addresses_are_watched_by_their_own_requests() -> None:
    nat = NatConfig(pooling=Pooling.ARBITRARY, port_assignment=PortAssignment.RANDOM, udp_lifetime=30.0)
    trials, reason, _ = watch(nat, external=4)
    assert (trials, reason) == (expected(30.0), "")


def report(*, wait: float, interrupt: float | None = None) -> tuple[NatReport, list[str]]:
    """The whole probe behind a symmetric NAT that forgets after 30 s, and what it said on the way."""
    net = Internet(1, link=Link(delay=0.01))
    server = net.host("server", addresses=SERVERS)
    client = net.network(NatConfig(mapping=APD, filtering=APD, udp_lifetime=30.0)).host("client")
    said: list[str] = []
    prober = Prober([IceServer(urls=f"stun:{SERVERS[0]}")], config=ProberConfig(lifetime=wait), on_progress=said.append)

    async def service() -> None:
        async with serve(ServerConfig(), hosts=SERVERS, ports=(3478, 3479)):
            await asyncio.Event().wait()

    async def probing() -> None:
        try:
            async with asyncio.timeout(interrupt):
                await prober.run()
        except TimeoutError:
            assert interrupt is not None

    async def main() -> None:
        server.run(service())
        await asyncio.sleep(0.1)
        await client.run(probing())

    net.run(main())
    nat = prober.report.nat.ipv4
    assert nat is not None
    return nat, said


def test_in_the_report() -> None:
    nat, said = report(wait=180.0)
    assert (nat.binding_lifetime, nat.reason["binding_lifetime"]) == (25.0, "between 25 and 30 s")
    # The many sockets of the lifetime test come after the test of the ports.
    assert (nat.mapping, nat.port_assignment) == (APD, PortAssignment.PRESERVING)
    told = [line for line in said if "binding" in line]
    assert told[:2] == [
        "IPv4: binding lifetime, waiting up to 180 s",
        "IPv4: binding after 5 s of silence: still there",
    ]
    assert told[-1] == "IPv4: binding after 35 s of silence: gone"


def test_an_interrupted_probe_tells_what_is_known() -> None:
    nat, _ = report(wait=180.0, interrupt=18.0)
    assert nat.mapping is APD
    assert (nat.binding_lifetime, nat.reason["binding_lifetime"]) == (
        None,
        "more than 15 s, the longest time that was waited",
    )
