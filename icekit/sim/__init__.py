"""A deterministic Internet in one process: unmodified asyncio programs, virtual time, NATs, loss and delay.

For example::

    net = Internet(seed=7, link=Link(delay=0.025, loss=0.05))
    server = net.host("server", addresses=("203.0.113.10", "203.0.113.11"))
    alice = net.host("alice", nat="port-restricted")

    async def main():
        server.run(serve())
        return await alice.run(probe())

    result = net.run(main())
"""

from icekit.errors import SimulationDeadlock, SimulationRealClock, SimulationTimeLimit
from icekit.sim.host import Host, current_host
from icekit.sim.internet import Internet
from icekit.sim.link import Bursts, Link, is_dtls
from icekit.sim.loop import SimLoop
from icekit.sim.network import Gateway, Network
from icekit.sim.timeline import Record, Timeline

__all__ = [
    "Bursts",
    "Gateway",
    "Host",
    "Internet",
    "Link",
    "Network",
    "Record",
    "SimLoop",
    "SimulationDeadlock",
    "SimulationRealClock",
    "SimulationTimeLimit",
    "Timeline",
    "current_host",
    "is_dtls",
]
