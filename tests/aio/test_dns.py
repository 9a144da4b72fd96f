from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest
import pytest_asyncio

from icekit.aio.dns import Resolver
from icekit.errors import ConfigError
from icekit.net import Address
from icekit.report import DnsReport
from icekit.resolution import QueryFailure, Resolution
from icekit.servers import ServerUri

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

ROOT = Path(__file__).resolve().parents[2]

ZONE: dict[tuple[str, str], list[str]] = {
    ("a.example.", "A"): ["198.18.0.1", "198.18.0.2"],
    ("a.example.", "AAAA"): ["2a00::1"],
    ("b.example.", "A"): ["198.18.0.3"],
    ("sink.example.", "A"): ["0.0.0.0"],
    ("_turn._udp.x.example.", "SRV"): ["10 5 4000 b.example."],
    ("y.example.", "NAPTR"): ['10 20 "s" "RELAY:turn.udp" "" _turn._udp.x.example.'],
    ("ipv4only.arpa.", "AAAA"): ["64:ff9b::c000:aa", "64:ff9b::c000:ab"],
    ("wide.example.", "A"): [f"198.18.1.{index}" for index in range(1, 73)],
    ("late.example.", "A"): ["198.18.0.4"],
    ("half-lost.example.", "A"): ["198.18.0.5"],
}


class NameServer(asyncio.DatagramProtocol):
    """A name server for ``ZONE``: other names do not exist, ``lost`` never answers, ``late`` at the second try."""

    def __init__(self) -> None:
        self.queries: Counter[tuple[str, str]] = Counter()
        self.asked = asyncio.Event()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.address = Address(*transport.get_extra_info("sockname"))

    def datagram_received(self, data: bytes, source: tuple[str | Any, int]) -> None:
        response = self.answer(data)
        if response is not None:
            self.transport.sendto(response.to_wire(want_shuffle=False), source)

    def answer(self, data: bytes) -> dns.message.Message | None:
        query = dns.message.from_wire(data)
        question = query.question[0]
        name, kind = question.name.to_text(), dns.rdatatype.to_text(question.rdtype)
        self.queries[name, kind] += 1
        self.asked.set()
        if f".{name}".endswith(".lost.example.") or (name, kind) == ("half-lost.example.", "AAAA"):
            return None
        if name.startswith("late") and self.queries[name, kind] == 1:
            return None
        response = dns.message.make_response(query)
        records = ZONE.get((name, kind), [])
        if records:
            response.answer.append(dns.rrset.from_text_list(name, 60, "IN", kind, records))
        elif name.startswith("broken"):
            response.set_rcode(dns.rcode.SERVFAIL)
        elif name not in {known for known, _ in ZONE}:
            response.set_rcode(dns.rcode.NXDOMAIN)
        return response


@pytest_asyncio.fixture
async def server() -> AsyncIterator[NameServer]:
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_datagram_endpoint(NameServer, local_addr=("127.0.0.1", 0))
    yield protocol
    transport.close()


def resolver_at(server: NameServer, **options: Any) -> Resolver:
    return Resolver(nameservers=[server.address], **options)


def addresses(result: Resolution) -> list[str]:
    return [str(endpoint.address) for endpoint in result.endpoints]


def without_times(reports: Sequence[DnsReport]) -> list[tuple[str, str, tuple[str, ...], str | None]]:
    assert all(report.seconds is not None and 0 <= report.seconds < 5 for report in reports)
    return [(report.name, report.type, report.answers, report.error) for report in reports]


async def test_a_name_with_a_port(server: NameServer) -> None:
    resolver = resolver_at(server)
    result = await resolver.resolve(ServerUri.parse("turn:a.example:80"))
    assert addresses(result) == ["[2a00::1]:80", "198.18.0.1:80", "198.18.0.2:80"]
    assert without_times(resolver.reports) == [
        ("a.example", "AAAA", ("2a00::1",), None),
        ("a.example", "A", ("198.18.0.1", "198.18.0.2"), None),
    ]


async def test_srv_records_lead_to_hosts_and_ports(server: NameServer) -> None:
    resolver = resolver_at(server)
    result = await resolver.resolve(ServerUri.parse("turn:x.example?transport=udp"))
    assert addresses(result) == ["198.18.0.3:4000"]
    assert without_times(resolver.reports) == [
        ("_turn._udp.x.example", "SRV", ("10 5 4000 b.example.",), None),
        ("x.example", "AAAA", (), "no such name"),
        ("x.example", "A", (), "no such name"),
        ("b.example", "AAAA", (), "no answer of that type"),
        ("b.example", "A", ("198.18.0.3",), None),
    ]


async def test_naptr_records_lead_to_srv_records(server: NameServer) -> None:
    resolver = resolver_at(server)
    result = await resolver.resolve(ServerUri.parse("turn:y.example"))
    assert addresses(result) == ["198.18.0.3:4000"]
    assert without_times(resolver.reports)[0] == (
        "y.example",
        "NAPTR",
        ("10 20 's' 'RELAY:turn.udp' _turn._udp.x.example.",),
        None,
    )


async def test_a_literal_asks_nothing(server: NameServer) -> None:
    resolver = resolver_at(server)
    assert addresses(await resolver.resolve(ServerUri.parse("stun:[2a00::9]"))) == ["[2a00::9]:3478"]
    assert resolver.reports == ()
    assert server.queries.total() == 0


async def test_no_such_name(server: NameServer) -> None:
    resolver = resolver_at(server)
    uri = ServerUri.parse("stun:none.example:3478")
    assert await resolver.resolve(uri) == Resolution(uri, (), QueryFailure.NO_SUCH_NAME)
    assert {report.error for report in resolver.reports} == {"no such name"}


async def test_a_broken_name_server(server: NameServer) -> None:
    resolver = resolver_at(server)
    uri = ServerUri.parse("stun:broken.example:3478")
    assert await resolver.resolve(uri) == Resolution(uri, (), QueryFailure.SERVER_FAILURE)
    assert {report.error for report in resolver.reports} == {"the name server failed: SERVFAIL"}


async def test_silence_ends_at_the_time_limit(server: NameServer) -> None:
    resolver = resolver_at(server, timeout=0.2)
    uri = ServerUri.parse("stun:lost.example")
    assert await resolver.resolve(uri) == Resolution(uri, (), QueryFailure.TIMED_OUT)
    assert {(report.type, report.error) for report in resolver.reports} == {
        (kind, "timed out after 0.2 s") for kind in ("SRV", "AAAA", "A")
    }


async def test_a_slow_family_does_not_hide_the_other(server: NameServer) -> None:
    resolver = resolver_at(server, timeout=0.2)
    result = await resolver.resolve(ServerUri.parse("stun:half-lost.example:3478"))
    assert addresses(result) == ["198.18.0.5:3478"]
    assert result.failure is None
    assert without_times(resolver.reports) == [
        ("half-lost.example", "AAAA", (), "timed out after 0.2 s"),
        ("half-lost.example", "A", ("198.18.0.5",), None),
    ]


async def test_a_lost_query_is_sent_again(server: NameServer) -> None:
    resolver = resolver_at(server)
    assert await resolver.addresses("late.example") == ("198.18.0.4",)
    assert server.queries["late.example.", "A"] == 2


async def test_a_long_answer_is_cut(server: NameServer) -> None:
    resolver = resolver_at(server)
    assert len(await resolver.addresses("wide.example")) == 64
    assert len(resolver.reports[1].answers) == 64


async def test_each_question_is_asked_once(server: NameServer) -> None:
    resolver = resolver_at(server)
    texts = ["turn:a.example:80", "turn:a.example:81?transport=tcp", "turns:a.example:443"]
    results = await asyncio.gather(*(resolver.resolve(ServerUri.parse(text)) for text in texts))
    assert [len(result.endpoints) for result in results] == [3, 3, 3]
    assert set(server.queries.values()) == {1}
    assert len(resolver.reports) == 2


async def test_cancelling_one_call_leaves_the_other(server: NameServer) -> None:
    resolver = resolver_at(server)
    first = asyncio.create_task(resolver.addresses("a.example"))
    second = asyncio.create_task(resolver.addresses("a.example"))
    await asyncio.sleep(0)
    first.cancel()
    assert await second == ("2a00::1", "198.18.0.1", "198.18.0.2")
    with pytest.raises(asyncio.CancelledError):
        await first


@pytest.mark.parametrize("forgotten", [False, True])
async def test_a_query_ends_with_the_last_who_waits_for_it(server: NameServer, forgotten: bool) -> None:
    """Nothing is left of who is cancelled: no task, and no socket to the name server."""
    resolver = resolver_at(server)
    before = asyncio.all_tasks()
    calls = [asyncio.create_task(resolver.addresses("x.lost.example")) for _ in range(2)]
    await server.asked.wait()
    if forgotten:
        resolver.forget()
    calls[0].cancel()
    await asyncio.wait(calls[:1])
    assert asyncio.all_tasks() - before - {calls[1]}
    calls[1].cancel()
    await asyncio.wait(calls)
    # A cancelled task ends in one of the next turns of the loop.
    for _ in range(10):
        await asyncio.sleep(0)
    assert asyncio.all_tasks() == before
    # Who asks later asks anew.
    server.asked.clear()
    again = asyncio.create_task(resolver.addresses("x.lost.example"))
    await server.asked.wait()
    again.cancel()
    await asyncio.wait([again])


async def test_an_unspecified_address_is_a_sinkhole(server: NameServer) -> None:
    result = await resolver_at(server).resolve(ServerUri.parse("stun:sink.example:3478"))
    assert [str(endpoint.address) for endpoint in result.sinkholes] == ["0.0.0.0:3478"]


async def test_the_prefix_of_nat64_is_found_by_its_name(server: NameServer) -> None:
    assert await resolver_at(server).nat64_prefixes() == ("64:ff9b::/96",)


async def test_names_of_the_hosts_file_need_nobody(
    server: NameServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_text(
        "198.18.0.7  Mine.Example other # comment.example\n\n# 198.18.0.8 b.example\nbroken\n1.2 b.example\n"
    )
    asked = answer_by_system(monkeypatch, socket.gaierror(socket.EAI_AGAIN, "not to be asked"))
    resolver = resolver_at(server, hosts_file=hosts)
    result = await resolver.resolve(ServerUri.parse("turn:mine.example"))
    assert addresses(result) == ["198.18.0.7:3478"]
    assert await resolver.addresses("b.example") == ("198.18.0.3",)
    assert asked == []
    assert set(server.queries) == {("b.example.", "A"), ("b.example.", "AAAA")}
    assert without_times(resolver.reports)[:2] == [
        ("mine.example", "AAAA", (), "no answer of that type"),
        ("mine.example", "A", ("198.18.0.7",), None),
    ]


@pytest.mark.parametrize("name", ["localhost", "x.localhost", "printer", "printer.local", "printer."])
async def test_names_that_dns_does_not_own(server: NameServer, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    answer_by_system(monkeypatch, {socket.AF_INET: ["127.0.0.1"], socket.AF_INET6: ["::1"]})
    assert await resolver_at(server).addresses(name) == ("::1", "127.0.0.1")
    assert server.queries.total() == 0


async def test_localhost_of_this_machine() -> None:
    assert "127.0.0.1" in await Resolver().addresses("localhost")


async def test_system_only_needs_nothing_but_getaddrinfo(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = answer_by_system(monkeypatch, {socket.AF_INET: ["198.18.0.1"], socket.AF_INET6: ["2a00::1"]})

    def refuse(*arguments: object, **options: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(asyncio.get_running_loop(), "create_datagram_endpoint", refuse)
    resolver = Resolver(system_only=True)
    result = await resolver.resolve(ServerUri.parse("turn:a.example"))
    assert addresses(result) == ["[2a00::1]:3478", "198.18.0.1:3478"]
    assert [name for name, _ in asked] == ["a.example", "a.example"]
    assert [report.type for report in resolver.reports] == ["AAAA", "A"]


@pytest.mark.parametrize(
    ("error", "failure", "text"),
    [
        (socket.gaierror(socket.EAI_NONAME, "x"), QueryFailure.NO_SUCH_NAME, "no such name"),
        (socket.gaierror(socket.EAI_FAMILY, "x"), QueryFailure.NO_SUCH_RECORD, "no answer of that type"),
        (socket.gaierror(socket.EAI_AGAIN, "busy"), QueryFailure.SERVER_FAILURE, "the name server failed: busy"),
        (OSError(5, "bad"), QueryFailure.SERVER_FAILURE, "the name server failed: bad"),
        (UnicodeError("label too long"), QueryFailure.NO_SUCH_NAME, "no such name: this cannot be a name"),
    ],
)
async def test_failures_of_the_system(
    monkeypatch: pytest.MonkeyPatch, error: Exception, failure: QueryFailure, text: str
) -> None:
    answer_by_system(monkeypatch, error)
    resolver = Resolver(system_only=True)
    result = await resolver.resolve(ServerUri.parse("stun:a.example:1"))
    assert (result.endpoints, result.failure) == ((), failure)
    assert [report.error for report in resolver.reports] == [text, text]


async def test_a_system_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    async def hang(*arguments: object, **options: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", hang)
    resolver = Resolver(system_only=True, timeout=0.05)
    assert (await resolver.resolve(ServerUri.parse("stun:a.example:1"))).failure is QueryFailure.TIMED_OUT


@pytest.mark.parametrize("name", ["", "a..example", "x" * 64 + ".example", ".".join(["abcdefgh"] * 40)])
async def test_what_cannot_be_a_name_has_no_address(server: NameServer, name: str) -> None:
    resolver = resolver_at(server, timeout=1.0)
    assert await resolver.addresses(name) == ()
    assert all(report.error for report in resolver.reports)
    assert server.queries.total() == 0


async def test_unknown_transport(server: NameServer) -> None:
    with pytest.raises(ConfigError):
        await resolver_at(server).resolve(ServerUri.parse("turn:a.example?transport=sctp"))


def answer_by_system(
    monkeypatch: pytest.MonkeyPatch, hosts: dict[socket.AddressFamily, list[str]] | Exception
) -> list[tuple[str, int]]:
    """Replace ``loop.getaddrinfo``; the list collects what is asked."""
    asked: list[tuple[str, int]] = []

    async def getaddrinfo(host: str, port: None, *, family: int, type: int) -> list[Any]:
        asked.append((host, family))
        if isinstance(hosts, Exception):
            raise hosts
        found = hosts.get(socket.AddressFamily(family), [])
        if not found:
            raise socket.gaierror(socket.EAI_NODATA, "No address associated with hostname")
        return [(family, type, 17, "", (item, 0)) for item in found]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    return asked


PREPARED = """
import sys
from icekit.aio.dns import Resolver
from icekit.net import Address
from icekit.servers import ServerUri

resolver = Resolver(nameservers=[Address("192.0.2.53", 53)])
loaded = []
for uri in ("stun:192.0.2.1", "stun:localhost", "stun:stun.example.org"):
    resolver.prepare([ServerUri.parse(uri)])
    loaded.append("dns" in sys.modules)
print(loaded)
"""


def test_only_names_that_dns_owns_load_dnspython_and_before_any_clock_starts() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PREPARED], capture_output=True, text=True, timeout=30, check=False, cwd=ROOT
    )
    assert (done.stdout, done.stderr) == ("[False, False, True]\n", "")


async def test_what_is_forgotten_is_asked_anew(server: NameServer, tmp_path: Path) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_text("")
    resolver = resolver_at(server, hosts_file=hosts)
    for asked in (1, 1):
        assert await resolver.addresses("nothing.example") == ()
        assert server.queries["nothing.example.", "A"] == asked
    resolver.forget()
    assert resolver.reports == ()
    assert await resolver.addresses("nothing.example") == ()
    assert server.queries["nothing.example.", "A"] == 2
    hosts.write_text("192.0.2.7 nothing.example")
    resolver.forget()
    assert await resolver.addresses("nothing.example") == ("192.0.2.7",)
