"""icekit and other stacks, each a program of its own: which calls there are, making them, and the table of how they
went (``docs/interop.md``).
"""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from icekit.bench.call import CallConfig, CallReport, call
from icekit.bench.engines import ENGINES
from icekit.bench.program import Program
from icekit.errors import ConfigError
from icekit.lab.namespaces import Namespace
from icekit.lab.servers import USERNAME, running_servers, urls
from icekit.lab.tun_lab import SERVER_ADDRESSES, TunLab
from icekit.sim.link import Link

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs" / "interop.md"
RECORD = ROOT / "docs" / "interop.json"

# Each with the program of icekit that it meets: a call, or ICE alone.
OTHERS = {
    "aiortc": "icekit",
    "wrtc": "icekit",
    "libdatachannel": "icekit",
    "chromium": "icekit",
    "aioice": "icekit_ice",
    "libnice": "icekit_ice",
}
OURS = tuple(dict.fromkeys(OTHERS.values()))
# One way: 25 ms to the servers and back, 50 ms to the peer and back, directly or through one relay.
LINK = Link(delay=0.0125)
PASSWORD = "secret"


@dataclass(frozen=True, slots=True)
class Network:
    """``nats`` of the offering and the answering side; without, two programs on this machine as it is."""

    path: str
    nats: tuple[str, str] | None = None
    relay_only: bool = False


NETWORKS = {
    "host": Network("direct"),
    "restricted": Network("direct", ("port-restricted", "port-restricted")),
    "symmetric": Network("relay", ("symmetric", "port-restricted")),
    "relayed": Network("relay", ("port-restricted", "port-restricted"), relay_only=True),
}


@dataclass(frozen=True, slots=True, order=True)
class Case:
    """Who calls whom where; ``trickle``: both tell candidates as they come, if they can."""

    network: str
    trickle: bool
    offerer: str
    answerer: str

    def __str__(self) -> str:
        return f"{self.network}-{'trickle' if self.trickle else 'whole'}-{self.offerer}-{self.answerer}"


# Each stack in each role with and without trickle, half of it behind NATs.
_PLACES = (
    {(True, True): "restricted", (False, False): "symmetric"},
    {(True, False): "symmetric", (False, True): "relayed"},
    {(True, True): "relayed", (False, False): "restricted"},
)


def few_cases() -> list[Case]:
    """For every run of the tests."""
    cases = []
    for number, (other, ours) in enumerate(OTHERS.items()):
        for ours_offers in (True, False):
            for trickle in (True, False):
                pair = (ours, other) if ours_offers else (other, ours)
                place = _PLACES[number % len(_PLACES)].get((ours_offers, trickle), "host")
                cases.append(Case(place, trickle, *pair))
    return sorted(cases)


def all_cases() -> list[Case]:
    """Everything that the page shows: each with icekit in each role, and each with itself."""
    return [
        Case(network, trickle, *pair)
        for network in NETWORKS
        for trickle in (True, False)
        for pair in (
            *((ours, ours) for ours in OURS),
            *(pair for other, ours in OTHERS.items() for pair in ((ours, other), (other, ours), (other, other))),
        )
    ]


def why_not(engine: str) -> str | None:
    """Why this engine cannot run here."""
    try:
        ENGINES[engine].command()
    except ConfigError as error:
        return str(error)
    return None


Outcomes = dict[Case, list[CallReport]]


def make_calls(network: Network, cases: Sequence[Case], runs: int = 1, *, warm: bool = False) -> Outcomes:
    """All calls of one network, one after the other. ``warm``: each program has made one call before."""
    with _places(network) as (places, servers):
        return asyncio.run(_make_calls(network, places, servers, cases, runs, warm))


@contextmanager
def _places(network: Network) -> Iterator[tuple[tuple[Namespace | None, Namespace | None], tuple[Any, ...]]]:
    if network.nats is None:
        yield (None, None), ()
        return
    turn = {"urls": list(urls(SERVER_ADDRESSES[0])[1:2]), "username": USERNAME, "credential": PASSWORD}
    servers = ({"urls": [urls(SERVER_ADDRESSES[0])[0]]}, turn)
    with ExitStack() as stack:
        lab = stack.enter_context(TunLab(network.nats, seed=1, link=LINK))
        stack.enter_context(running_servers(lab.server, SERVER_ADDRESSES, PASSWORD, coturn=True))
        yield (lab.clients[0].namespace, lab.clients[1].namespace), servers


async def _make_calls(
    network: Network,
    places: tuple[Namespace | None, Namespace | None],
    servers: tuple[Mapping[str, Any], ...],
    cases: Sequence[Case],
    runs: int,
    warm: bool,
) -> Outcomes:
    names = ({case.offerer for case in cases}, {case.answerer for case in cases})
    outcomes: Outcomes = {case: [] for case in cases}
    async with AsyncExitStack() as stack:
        programs = [
            {name: Program(name, ENGINES[name].command(), namespace=place) for name in sorted(side)}
            for side, place in zip(names, places, strict=True)
        ]
        starting = (stack.enter_async_context(item) for side in programs for item in side.values())
        # All have started or failed before the first failure is told: none comes up behind the back of the stack.
        for started in await asyncio.gather(*starting, return_exceptions=True):
            if isinstance(started, BaseException):
                raise started
        if warm:
            for name in sorted(names[0] & names[1]):
                await call(
                    *(side[name] for side in programs), CallConfig(ice_servers=servers, relay_only=network.relay_only)
                )
        # What the machine does besides meets all cases alike.
        for _ in range(runs):
            for case in cases:
                config = CallConfig(ice_servers=servers, trickle=case.trickle, relay_only=network.relay_only)
                pair = programs[0][case.offerer], programs[1][case.answerer]
                outcomes[case].append(await call(*pair, config))
    return outcomes


# The record, and the page.


def write_record(outcomes: Outcomes) -> None:
    """Put these calls in the place of the same ones before, and make the page anew."""
    record = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else {"versions": {}, "calls": []}
    changed = _git("status", "--porcelain", "--", "icekit", "tests")
    commit = _git("rev-parse", "--short", "HEAD") + (" with changes" if changed else "")
    known = {_case(item): item for item in record["calls"]}
    for case, reports in outcomes.items():
        for side in (reports[0].offerer, reports[0].answerer):
            record["versions"][side.engine] = side.version
        names = {"network": case.network, "trickle": case.trickle, "offerer": case.offerer, "answerer": case.answerer}
        known[case] = {**names, "commit": commit, "runs": [_run(report) for report in reports]}
    record["versions"] = dict(sorted(record["versions"].items()))
    record["calls"] = [known[case] for case in all_cases() if case in known]
    RECORD.write_text(_dump(record), encoding="utf-8")
    if len(record["calls"]) == len(all_cases()):
        PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8"), record), encoding="utf-8")


def _case(item: Mapping[str, Any]) -> Case:
    return Case(item["network"], item["trickle"], item["offerer"], item["answerer"])


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def _run(report: CallReport) -> dict[str, Any]:
    return {
        "connected": _milliseconds(report.connected),
        "opened": _milliseconds(report.opened),
        "path": report.path,
        "relays": report.relays,
        "same_pair": report.same_pair,
        "failure": report.failure,
    }


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(1000 * seconds, 1)


def _dump(record: Mapping[str, Any]) -> str:
    """A call in a line, so that a change of it is one in a line."""
    lines = ",\n".join(json.dumps(item) for item in record["calls"])
    return f'{{"versions": {json.dumps(record["versions"])},\n"calls": [\n{lines}\n]}}\n'


def read_record() -> dict[str, Any]:
    return dict(json.loads(RECORD.read_text(encoding="utf-8")))


def recorded(record: Mapping[str, Any], case: Case) -> list[dict[str, Any]]:
    """The runs of a case, none if there is no record of it."""
    return next((list(item["runs"]) for item in record["calls"] if _case(item) == case), [])


def with_tables(page: str, record: Mapping[str, Any]) -> str:
    """The page with the tables of ``record`` between its marks."""
    for name in NETWORKS:
        page = _between(page, name, table(record, name))
    versions = ", ".join(f"{engine} {version}" for engine, version in record["versions"].items())
    return _between(page, "versions", f"{versions}.\n")


def _between(page: str, name: str, text: str) -> str:
    start, end = f"<!-- table: {name} -->\n", f"<!-- end: {name} -->"
    before, _, rest = page.partition(start)
    _, _, after = rest.partition(end)
    return f"{before}{start}{text}{end}{after}"


def table(record: Mapping[str, Any], name: str) -> str:
    """The table of one network; milliseconds are medians, as connected / open."""
    lines = [
        "| stack | candidates | with itself | icekit calls it | it calls icekit | path | same pair |",
        "|---|---|---|---|---|---|---|",
    ]
    for stack in sorted({*OURS, *OTHERS}, key=_order):
        ours = OTHERS.get(stack, stack)
        for trickle in (True, False):
            pairs = ((stack, stack),) if stack in OURS else ((stack, stack), (ours, stack), (stack, ours))
            runs = [recorded(record, Case(name, trickle, *pair)) for pair in pairs]
            mixed = [run for item in runs[1:] or runs for run in item]
            cells = [*map(_times, runs), "", ""][:3]
            words = [_TITLES.get(stack, stack), "as they come" if trickle else "at once", *cells]
            lines.append(f"| {' | '.join([*words, _paths(mixed), _same(mixed)])} |")
    calls = [item for item in record["calls"] if item["network"] == name]
    counts = sorted({len(item["runs"]) for item in calls})
    count = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    commits = ", ".join(sorted({item["commit"] for item in calls}))
    lines += ["", f"Medians of {count} calls each, commit {commits}."]
    return "\n".join(lines) + "\n"


_TITLES = {"icekit_ice": "icekit, ICE only", "aioice": "aioice, ICE only", "libnice": "libnice, ICE only"}


def _order(stack: str) -> tuple[int, bool, str]:
    """Calls before ICE alone, icekit before the others."""
    return OURS.index(OTHERS.get(stack, stack)), stack not in OURS, stack


def _times(runs: Sequence[Mapping[str, Any]]) -> str:
    whole = [run for run in runs if run["failure"] is None]
    if not whole:
        return "fails"
    text = " / ".join(f"{statistics.median(run[key] for run in whole):.0f}" for key in ("connected", "opened"))
    failed = len(runs) - len(whole)
    return text if not failed else f"{text}, {failed} failed"


def _paths(runs: Sequence[Mapping[str, Any]]) -> str:
    counts: dict[str, int] = {}
    for run in runs:
        kinds = sorted({_RELAYS.get(count, "unknown") for count in run["relays"]})
        word = "fails" if run["failure"] else " one way, ".join(kinds) + (" the other" if len(kinds) > 1 else "")
        counts[word] = counts.get(word, 0) + 1
    if len(counts) == 1:
        return next(iter(counts))
    return ", ".join(
        f"{word} {count} of {len(runs)}" for word, count in sorted(counts.items(), key=lambda item: -item[1])
    )


_RELAYS = {0: "direct", 1: "one relay", 2: "two relays"}


def seen_same(runs: Sequence[Mapping[str, Any]]) -> bool:
    """Whether both sides of all runs ended on one pair."""
    return all(run["same_pair"] is True for run in runs)


def _same(runs: Sequence[Mapping[str, Any]]) -> str:
    same = sum(run["same_pair"] is True for run in runs)
    return "yes" if same == len(runs) else f"{same} of {len(runs)}"
