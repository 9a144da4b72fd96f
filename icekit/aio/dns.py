"""Name resolution with a record of every query: ``icekit.resolution`` says what to ask, this asks it.

Three sources. The hosts file has the first and the last word on the names in it. DNS itself, by dnspython, for names
that DNS owns: it tells NXDOMAIN from silence from an empty answer, has SRV and NAPTR, and takes time per query. The
system (``loop.getaddrinfo``) for what only the system knows: ``localhost``, ``.local`` (mDNS), names without a dot
(search domains); and for everything when the host has no resolver configuration, or when told ``system_only`` (a
simulated event loop has nothing else). Hosts file and system give addresses alone: SRV and NAPTR are then not asked and
not reported.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from icekit.aio.interfaces import host_of
from icekit.net import canonical_host
from icekit.report import DnsReport
from icekit.resolution import (
    DNS64_QUERY,
    Answer,
    NaptrRecord,
    Query,
    QueryFailure,
    Record,
    RecordType,
    Resolution,
    SrvRecord,
    nat64_prefixes,
    next_queries,
    resolve,
)
from icekit.servers import is_literal, is_localhost

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from icekit.aio.nameserver import NameServers
    from icekit.net import Address
    from icekit.servers import ServerUri

# Home routers that swallow SRV and NAPTR are common; addresses, which the fallback needs, get the whole time.
_DISCOVERY_SECONDS = 2.5
# No real server has more; what is left out changes nothing.
_MAX_RECORDS = 64

_FAMILIES = {RecordType.A: socket.AF_INET, RecordType.AAAA: socket.AF_INET6}


def _system_hosts_file() -> Path:
    if os.name == "nt":
        return Path(os.environ.get("SYSTEMROOT", r"C:\Windows"), "System32", "drivers", "etc", "hosts")
    return Path("/etc/hosts")


@dataclass(frozen=True, slots=True)
class _Outcome:
    answer: Answer
    report: DnsReport


class Resolver:
    """Resolves server URIs and names. A name that does not resolve is a result, never an exception.

    ``timeout`` limits one call, in seconds, over all its queries. ``nameservers`` replaces the system's. Each question
    is asked once until ``forget``; ``reports`` has all of them, in the order of asking.
    """

    def __init__(
        self,
        *,
        timeout: float = 5.0,
        nameservers: Sequence[Address] = (),
        system_only: bool = False,
        hosts_file: Path | None = None,
        randbelow: Callable[[int], int] = secrets.randbelow,
    ) -> None:
        self._timeout = timeout
        self._randbelow = randbelow
        self._hosts_file = hosts_file
        self._system_only = system_only
        self._nameservers = nameservers
        self._tasks: dict[Query, asyncio.Task[_Outcome]] = {}
        # How many calls wait for an answer.
        self._awaited: Counter[asyncio.Task[_Outcome]] = Counter()

    @cached_property
    def _hosts(self) -> dict[str, list[str]]:
        return _names_in(self._hosts_file or _system_hosts_file())

    @property
    def reports(self) -> tuple[DnsReport, ...]:
        """Every query that has ended."""
        ended = [task for task in self._tasks.values() if task.done() and not task.cancelled()]
        return tuple(task.result().report for task in ended)

    def forget(self) -> None:
        """Ask everything anew, and those name servers that the system has now: the network may be another one."""
        self._tasks = {}
        for known in ("_dns", "_hosts"):
            self.__dict__.pop(known, None)

    def prepare(self, uris: Iterable[ServerUri]) -> None:
        """Load what the names in ``uris`` need, before a clock starts: the first time it blocks for 0.15 s."""
        for uri in uris:
            if not uri.is_literal:
                self._is_for_system(uri.host)

    async def resolve(self, uri: ServerUri) -> Resolution:
        """Where ``uri`` leads, after as many rounds of queries as it takes, or after ``timeout``.

        ConfigError if nothing speaks the transport of the URI.
        """
        deadline = asyncio.get_running_loop().time() + self._timeout
        answers: dict[Query, Answer] = {}
        while (queries := next_queries(uri, answers)) and asyncio.get_running_loop().time() < deadline:
            answers.update(await self._ask(queries, deadline))
        return resolve(uri, answers, self._randbelow)

    async def addresses(self, name: str) -> tuple[str, ...]:
        """The IPv6 and then the IPv4 addresses of a name; none if it has none, or none in time."""
        deadline = asyncio.get_running_loop().time() + self._timeout
        answers = await self._ask([Query(name, kind) for kind in (RecordType.AAAA, RecordType.A)], deadline)
        return tuple(record for answer in answers.values() for record in answer.records if isinstance(record, str))

    async def nat64_prefixes(self) -> tuple[str, ...]:
        """The NAT64 prefixes of this network, by DNS64 (RFC 7050 §3)."""
        deadline = asyncio.get_running_loop().time() + self._timeout
        answers = await self._ask([DNS64_QUERY], deadline)
        return nat64_prefixes(record for record in answers[DNS64_QUERY].records if isinstance(record, str))

    async def _ask(self, queries: Iterable[Query], deadline: float) -> dict[Query, Answer]:
        answers: dict[Query, Answer] = {}
        waiting: dict[Query, asyncio.Task[_Outcome]] = {}
        for query in queries:
            if query.type not in _FAMILIES and self._is_for_system(query.name):
                answers[query] = Answer(failure=QueryFailure.NO_SUCH_RECORD)
                continue
            if query not in self._tasks:
                self._tasks[query] = asyncio.get_running_loop().create_task(self._run(query, deadline))
            waiting[query] = self._tasks[query]
        self._awaited.update(waiting.values())
        try:
            # Another call may wait for the same query: who is cancelled here must not take it away.
            outcomes = await asyncio.gather(*(asyncio.shield(task) for task in waiting.values()))
        finally:
            for query, task in waiting.items():
                self._leave(query, task)
        return answers | {query: outcome.answer for query, outcome in zip(waiting, outcomes, strict=True)}

    def _leave(self, query: Query, task: asyncio.Task[_Outcome]) -> None:
        """An answer that nobody waits for any more is not asked for: it would keep a socket open until it comes."""
        self._awaited[task] -= 1
        if self._awaited[task]:
            return
        del self._awaited[task]
        if not task.done():
            task.cancel()
            if self._tasks.get(query) is task:
                del self._tasks[query]

    @cached_property
    def _dns(self) -> NameServers | None:
        # dnspython costs 0.15 s to import, which a probe of literal addresses can do without.
        from icekit.aio.nameserver import NameServers

        return NameServers.configured(self._nameservers)

    def _listed(self, name: str) -> list[str] | None:
        """The addresses of a name in the hosts file.

        The system asks DNS for the family that the file does not have, and a silent name server then costs seconds
        (and holds up the end of the program); who wants any address of the name takes what the file has.
        """
        return None if self._system_only or is_localhost(name) else self._hosts.get(name.lower().removesuffix("."))

    def _is_for_system(self, name: str) -> bool:
        # The host of _turn._udp.host.
        host = ".".join(label for label in name.lower().removesuffix(".").split(".") if not label.startswith("_"))
        known = "." not in host or host.endswith(".local") or is_localhost(host) or host in self._hosts
        return self._system_only or known or self._dns is None

    async def _run(self, query: Query, deadline: float) -> _Outcome:
        loop = asyncio.get_running_loop()
        # Before the clock starts: what dnspython takes to load is no time of a name server.
        is_for_system = self._is_for_system(query.name)
        started = loop.time()
        if query.type not in _FAMILIES:
            deadline = min(deadline, started + _DISCOVERY_SECONDS)
        records: Sequence[Record] = ()
        failure: QueryFailure | None = None
        detail = ""
        try:
            async with asyncio.timeout_at(deadline):
                if (listed := self._listed(query.name)) is not None:
                    records = [host for host in listed if (":" in host) == (query.type is RecordType.AAAA)]
                elif is_for_system:
                    records = await _by_system(query)
                else:
                    assert self._dns is not None
                    # Our own limit ends it, on the clock of the loop; dnspython looks at the wall clock.
                    records, failure, detail = await self._dns.ask(query, deadline - started + 1)
            failure = None if records else failure or QueryFailure.NO_SUCH_RECORD
        except TimeoutError:
            failure = QueryFailure.TIMED_OUT
        except (OSError, UnicodeError) as error:
            failure, detail = _failure_of(error)
        if failure is QueryFailure.TIMED_OUT:
            detail = f" after {loop.time() - started:.1f} s"
        records = tuple(records[:_MAX_RECORDS])
        texts = tuple(_text_of(record) for record in records)
        report = DnsReport(
            query.name, query.type.value, texts, loop.time() - started, None if failure is None else failure + detail
        )
        return _Outcome(Answer(records, failure), report)


def _names_in(hosts_file: Path) -> dict[str, list[str]]:
    try:
        lines = hosts_file.read_text(encoding="utf-8", errors="replace").lower().splitlines()
    except OSError:
        return {}
    found: dict[str, list[str]] = {}
    for line in lines:
        address, *names = line.partition("#")[0].split() or [""]
        if is_literal(address):
            for name in names:
                found.setdefault(name.removesuffix("."), []).append(canonical_host(address))
    return found


async def _by_system(query: Query) -> list[Record]:
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(query.name, None, family=_FAMILIES[query.type], type=socket.SOCK_DGRAM)
    return list(dict.fromkeys(host_of(sockaddr) for *_, sockaddr in found))


def _text_of(record: Record) -> str:
    match record:
        case SrvRecord():
            return f"{record.priority} {record.weight} {record.port} {record.target}"
        case NaptrRecord():
            return f"{record.order} {record.preference} {record.flags!r} {record.service!r} {record.replacement}"
        case _:
            return record


# What getaddrinfo says when there is no such name, and when there is one without such an address. Not all systems
# know all of them.
_NO_NAME = {getattr(socket, name, None) for name in ("EAI_NONAME",)}
_NO_ADDRESS = {getattr(socket, name, None) for name in ("EAI_NODATA", "EAI_ADDRFAMILY", "EAI_FAMILY")}


def _failure_of(error: OSError | UnicodeError) -> tuple[QueryFailure, str]:
    """Why, and what to write behind it."""
    match error:
        case socket.gaierror() if error.errno in _NO_NAME:
            return QueryFailure.NO_SUCH_NAME, ""
        case socket.gaierror() if error.errno in _NO_ADDRESS:
            return QueryFailure.NO_SUCH_RECORD, ""
        case OSError():
            return QueryFailure.SERVER_FAILURE, f": {error.strerror or error}"
        case _:
            return QueryFailure.NO_SUCH_NAME, ": this cannot be a name"
