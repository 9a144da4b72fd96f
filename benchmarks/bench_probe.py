"""NAT classification behind the kernel's NATs: icekit beside two foreign tools, in one run (Linux, root).

    python benchmarks/bench_probe.py [ROUNDS]

Each tool asks coturn (RFC 5780, two addresses) from behind each NAT of ``icekit.lab``; RTT is below a millisecond. A
cell says what the tool got right (m: mapping, f: filtering, "-": it does not say, "x": wrong), and the median of wall
seconds of the whole process.
Needs coturn, stun-client, nftables and iproute2.
"""

from __future__ import annotations

import json
import os
import re
import statistics
import sys
import time
from collections.abc import Callable

from icekit.lab import KernelNat, Lab, Place
from icekit.lab.topology import SERVER_ADDRESSES
from icekit.report import Behavior, NatReport
from tests.interop.coturn import STANDARD_PORTS, Coturn, CoturnConfig

SERVER = SERVER_ADDRESSES[0]
BLOCKED = "blocked"
# What a tool said: mapping, filtering, or that UDP is blocked. None: it does not say.
Answer = tuple[str | None, str | None]
_WORDS = {
    "endpoint-independent": Behavior.ENDPOINT_INDEPENDENT,
    "address-dependent": Behavior.ADDRESS_DEPENDENT,
    "address-and-port-dependent": Behavior.ADDRESS_AND_PORT_DEPENDENT,
}


def icekit(output: str) -> Answer:
    nat = json.loads(output)["nat"]["ipv4"]
    if nat["udp"] is False:
        return BLOCKED, BLOCKED
    return nat["mapping"], nat["filtering"]


def vovida(output: str) -> Answer:
    if "Blocked" in output:
        return BLOCKED, BLOCKED
    # "Dependent Mapping" does not say on what.
    mapping = "endpoint-independent" if "Independent Mapping" in output else None
    for words, behavior in (
        ("Independent Filter", "endpoint-independent"),
        ("Address Dependent Filter", "address-dependent"),
        ("Port Dependent Filter", "address-and-port-dependent"),
    ):
        if words in output:
            return mapping, behavior
    return mapping, None


def natdiscovery(output: str) -> Answer:
    def find(what: str) -> str | None:
        found = re.search(rf"NAT with (.*?) {what}", output, re.IGNORECASE)
        if found is None:
            return None
        words = found[1].lower()
        if "endpoint" in words:
            return "endpoint-independent"
        return "address-and-port-dependent" if "port" in words else "address-dependent"

    return find("mapping"), find("filtering")


TOOLS: dict[str, tuple[list[str], Callable[[str], Answer]]] = {
    # A second address, so that silence can be told from a server that is down.
    "icekit probe": (
        [sys.executable, "-m", "icekit", "probe", "--json", f"stun:{SERVER}", f"stun:{SERVER_ADDRESSES[1]}"],
        icekit,
    ),
    "stun (vovida)": (["stun", SERVER], vovida),
    "turnutils_natdiscovery": (["turnutils_natdiscovery", "-m", "-f", SERVER], natdiscovery),
}


def judge(answer: Answer, declared: NatReport) -> str:
    truth = (BLOCKED, BLOCKED) if declared.udp is False else (declared.mapping, declared.filtering)
    marks = ""
    for letter, said, true in zip("mf", answer, truth, strict=True):
        marks += "-" if said is None else letter if said == true else "x"
    return marks


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    print(f"| NAT | {' | '.join(TOOLS)} |")
    print(f"|---|{'---|' * len(TOOLS)}")
    right = dict.fromkeys(TOOLS, 0)
    totals: dict[str, list[float]] = {tool: [] for tool in TOOLS}
    for nat in KernelNat:
        cells = []
        config = CoturnConfig(hosts=SERVER_ADDRESSES, ports=STANDARD_PORTS)
        with Lab(nat) as lab, Coturn(config, command=lab.namespace(Place.SERVER).command):
            for tool, (command, parse) in TOOLS.items():
                seconds, marks = [], set()
                for _ in range(rounds):
                    began = time.perf_counter()
                    done = lab.run(Place.CLIENT, command, timeout=60, env=environment)
                    seconds.append(time.perf_counter() - began)
                    marks.add(judge(parse(done.stdout), nat.declared))
                verdict = marks.pop() if len(marks) == 1 else f"varies: {sorted(marks)}"
                right[tool] += verdict == "mf"
                totals[tool].append(statistics.median(seconds))
                cells.append(f"{verdict} {statistics.median(seconds):.1f} s")
        print(f"| {nat.value} | {' | '.join(cells)} |", flush=True)
    summary = [f"{right[tool]} of {len(KernelNat)}, {sum(totals[tool]):.1f} s" for tool in TOOLS]
    print(f"| both right, total time | {' | '.join(summary)} |")


if __name__ == "__main__":
    main()
