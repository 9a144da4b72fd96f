"""How fast the simulator is: packets through one NAT, and whole aioice handshakes through two NATs, per CPU second.

    python benchmarks/bench_sim.py [HANDSHAKES]

CPU time of one core, best of five. Every handshake is an Internet of its own: a STUN server, two hosts behind
port-restricted NATs, 20 ms one way, stock aioice.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).parents[1]))

from icekit.nat import Nat, preset
from icekit.net import Address, Datagram
from icekit.sim import Internet, Link
from tests.sim.stun_peer import connect_aioice, serve_stun

GOAL = 500


def per_second(work: Callable[[], int]) -> float:
    """Units of work per CPU second."""
    best = 0.0
    for _ in range(5):
        began = time.process_time()
        done = work()
        best = max(best, done / (time.process_time() - began))
    return best


def packets(name: str) -> int:
    nat = Nat(preset(name).chain[0], ("198.51.100.1",), token_bytes=Random(1).randbytes)
    inside = [Address("192.168.1.2", port) for port in range(5000, 5100)]
    sent = [Datagram(source, Address("203.0.113.5", 3478 + port), bytes(100)) for source in inside for port in range(5)]
    for _ in range(50):
        for datagram in sent:
            translated = nat.outbound(datagram, 1.0)
            assert translated is not None
            assert nat.inbound(Datagram(translated.destination, translated.source, b""), 1.0) is not None
    return 50 * 2 * len(sent)


def handshakes(count: int) -> int:
    for seed in range(count):
        net = Internet(seed, link=Link(delay=0.02))
        server = net.host("stun")
        alice, bob = net.host("alice", nat="port-restricted"), net.host("bob", nat="port-restricted")
        net.run(handshake(net, server, alice, bob))
    return count


async def handshake(net: Internet, server, alice, bob) -> None:  # type: ignore[no-untyped-def]
    await server.run(serve_stun(server.address))
    one, other = await connect_aioice(alice, bob, stun_server=(server.address, 3478))
    assert abs(net.now - 0.1) < 1e-9
    await one.close()
    await other.close()


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    for name in ("full-cone", "symmetric"):
        print(f"packets through one {name} NAT: {per_second(lambda name=name: packets(name)):,.0f} /s")
    rate = per_second(lambda: handshakes(count))
    print(f"aioice handshakes through two NATs: {rate:,.0f} /s (goal {GOAL})")
