from __future__ import annotations

import ipaddress
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icekit.errors import ConfigError
from icekit.net import Address, Transport
from icekit.resolution import (
    MAX_ENDPOINTS,
    MAX_QUERIES,
    Answer,
    NaptrRecord,
    Query,
    QueryFailure,
    Record,
    RecordType,
    Resolution,
    SrvRecord,
    is_sinkhole,
    nat64_prefixes,
    next_queries,
    resolve,
    srv_order,
)
from icekit.servers import ServerUri

A, AAAA, SRV, NAPTR = RecordType.A, RecordType.AAAA, RecordType.SRV, RecordType.NAPTR
UDP, TCP, TLS, DTLS = Transport.UDP, Transport.TCP, Transport.TLS, Transport.DTLS


def lowest(bound: int) -> int:
    return 0


def run(text: str, zone: dict[tuple[str, RecordType], tuple[Record, ...]]) -> tuple[Resolution, list[list[str]]]:
    """Resolve against a zone; also the rounds of queries, as ``name type``."""
    uri = ServerUri.parse(text)
    answers: dict[Query, Answer] = {}
    rounds = []
    while queries := next_queries(uri, answers):
        rounds.append([f"{query.name} {query.type}" for query in queries])
        for query in queries:
            records = zone.get((query.name, query.type), ())
            answers[query] = Answer(records, None if records else QueryFailure.NO_SUCH_RECORD)
    return resolve(uri, answers, lowest), rounds


def endpoints(result: Resolution) -> list[tuple[str, str]]:
    return [(endpoint.transport.value, str(endpoint.address)) for endpoint in result.endpoints]


ADDRESSES: dict[tuple[str, RecordType], tuple[Record, ...]] = {
    ("a.example", A): ("198.18.0.1", "198.18.0.2"),
    ("a.example", AAAA): ("2a00::1",),
    ("b.example", A): ("198.18.0.3",),
}


@pytest.mark.parametrize(
    ("text", "rounds"),
    [
        ("turn:198.18.0.1", []),
        ("stun:[2a00::1]", []),
        ("stun:a.example:3478", [["a.example AAAA", "a.example A"]]),
        ("turns:a.example:443?transport=tcp", [["a.example AAAA", "a.example A"]]),
        ("stun:localhost", [["localhost AAAA", "localhost A"]]),
        ("stun:a.example", [["_stun._udp.a.example SRV", "a.example AAAA", "a.example A"]]),
        ("stun:a.example.", [["_stun._udp.a.example SRV", "a.example AAAA", "a.example A"]]),
        (
            "stuns:a.example",
            [["_stuns._tcp.a.example SRV", "_stuns._udp.a.example SRV", "a.example AAAA", "a.example A"]],
        ),
        ("turn:a.example?transport=tcp", [["_turn._tcp.a.example SRV", "a.example AAAA", "a.example A"]]),
        ("turns:a.example?transport=udp", [["_turns._udp.a.example SRV", "a.example AAAA", "a.example A"]]),
        (
            "turn:a.example",
            [
                [
                    "a.example NAPTR",
                    "_turn._udp.a.example SRV",
                    "_turn._tcp.a.example SRV",
                    "a.example AAAA",
                    "a.example A",
                ]
            ],
        ),
    ],
)
def test_what_is_asked_in_which_order(text: str, rounds: list[list[str]]) -> None:
    assert run(text, ADDRESSES)[1] == rounds


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("turn:198.18.0.9", [("udp", "198.18.0.9:3478")]),
        ("turns:[2a00::9]:443", [("tls", "[2a00::9]:443")]),
        (
            "turn:a.example:80?transport=tcp",
            [("tcp", "[2a00::1]:80"), ("tcp", "198.18.0.1:80"), ("tcp", "198.18.0.2:80")],
        ),
        (
            "turns:a.example?transport=udp",
            [("dtls", "[2a00::1]:5349"), ("dtls", "198.18.0.1:5349"), ("dtls", "198.18.0.2:5349")],
        ),
        ("turn:b.example", [("udp", "198.18.0.3:3478")]),
        ("turn:c.example", []),
    ],
)
def test_without_srv(text: str, expected: list[tuple[str, str]]) -> None:
    assert endpoints(run(text, ADDRESSES)[0]) == expected


def test_srv_records_by_priority() -> None:
    zone = ADDRESSES | {
        ("_turn._udp.x.example", SRV): (SrvRecord(20, 0, 4000, "a.example."), SrvRecord(10, 0, 4001, "b.example.")),
        ("_turn._tcp.x.example", SRV): (SrvRecord(1, 0, 4002, "b.example"), SrvRecord(1, 0, 0, "a.example")),
        # Not used, because there are SRV records.
        ("x.example", A): ("198.18.0.99",),
    }
    result, rounds = run("turn:x.example", zone)
    assert endpoints(result) == [
        ("udp", "198.18.0.3:4001"),
        ("udp", "[2a00::1]:4000"),
        ("udp", "198.18.0.1:4000"),
        ("udp", "198.18.0.2:4000"),
        ("tcp", "198.18.0.3:4002"),
    ]
    assert rounds[1:] == [["b.example AAAA", "b.example A", "a.example AAAA", "a.example A"]]
    # A certificate names the domain that the user wrote, not where DNS led (RFC 8489 §6.2.3).
    assert {endpoint.server_name for endpoint in result.endpoints} == {"x.example"}
    assert endpoints(run("turn:x.example?transport=tcp", zone)[0]) == [("tcp", "198.18.0.3:4002")]


def test_srv_that_says_there_is_no_service() -> None:
    zone = ADDRESSES | {("_turn._udp.a.example", SRV): (SrvRecord(0, 0, 0, "."),)}
    assert endpoints(run("turn:a.example?transport=udp", zone)[0]) == []


def test_naptr_records_by_order_and_preference() -> None:
    zone = ADDRESSES | {
        ("x.example", NAPTR): (
            NaptrRecord(200, 10, "s", "RELAY:turn.udp", "_turn._udp.y.example"),
            NaptrRecord(100, 20, "a", "relay:turn.udp:turn.tcp", "b.example."),
            NaptrRecord(100, 10, "", "RELAY:turn.tcp", "z.example"),
            NaptrRecord(1, 1, "s", "SIP+D2U", "_sip._udp.x.example"),
            NaptrRecord(1, 2, "s", "RELAY:turn.tls", "_turns._tcp.x.example"),
            NaptrRecord(1, 3, "u", "RELAY:turn.udp", "x.example"),
        ),
        ("z.example", NAPTR): (NaptrRecord(1, 1, "A", "RELAY:turn.tcp", "a.example"),),
        ("_turn._udp.y.example", SRV): (SrvRecord(0, 0, 4000, "b.example"),),
        # Not used, because NAPTR found something.
        ("_turn._udp.x.example", SRV): (SrvRecord(0, 0, 4444, "b.example"),),
    }
    result, rounds = run("turn:x.example", zone)
    assert endpoints(result) == [
        ("tcp", "[2a00::1]:3478"),
        ("tcp", "198.18.0.1:3478"),
        ("tcp", "198.18.0.2:3478"),
        ("udp", "198.18.0.3:3478"),
        ("tcp", "198.18.0.3:3478"),
        ("udp", "198.18.0.3:4000"),
    ]
    assert rounds[1][:3] == ["z.example NAPTR", "b.example AAAA", "b.example A"]


def test_naptr_that_leads_nowhere_falls_back() -> None:
    zone = ADDRESSES | {
        ("a.example", NAPTR): (NaptrRecord(1, 1, "", "RELAY:turn.udp", "a.example"),),
    }
    result, rounds = run("turn:a.example", zone)
    assert endpoints(result) == [("udp", "[2a00::1]:3478"), ("udp", "198.18.0.1:3478"), ("udp", "198.18.0.2:3478")]
    assert len(rounds) == 1


def test_naptr_chain_is_bounded() -> None:
    zone: dict[tuple[str, RecordType], tuple[Record, ...]] = {
        (f"{index}.example", NAPTR): (NaptrRecord(1, 1, "", "RELAY:turn.udp", f"{index + 1}.example"),)
        for index in range(100)
    }
    _, rounds = run("turn:0.example", zone)
    assert [queries[0] for queries in rounds] == ["0.example NAPTR", "1.example NAPTR", "2.example NAPTR"]


def test_a_hostile_zone_is_bounded() -> None:
    records = tuple(SrvRecord(0, 0, 3478, f"{index}.example") for index in range(1000))
    zone: dict[tuple[str, RecordType], tuple[Record, ...]] = {("_stun._udp.x.example", SRV): records}
    for index in range(1000):
        zone[f"{index}.example", A] = tuple(f"198.18.{index % 250}.{host}" for host in range(200))
    result, rounds = run("stun:x.example", zone)
    assert sum(len(queries) for queries in rounds) == MAX_QUERIES
    assert len(result.endpoints) == MAX_ENDPOINTS


def test_garbage_for_an_address_is_left_out() -> None:
    uri = ServerUri.parse("stun:a.example:1")
    answers = {
        Query("a.example", A): Answer(("300.1.1.1", SrvRecord(0, 0, 1, "a"), "198.18.0.1")),
        Query("a.example", AAAA): Answer(("::ffff:198.18.0.1", "::ffff:198.18.0.2")),
    }
    assert endpoints(resolve(uri, answers, lowest)) == [("udp", "198.18.0.1:1"), ("udp", "198.18.0.2:1")]


def test_unknown_transport_is_refused() -> None:
    with pytest.raises(ConfigError, match="transport: found 'sctp', allowed: udp or tcp"):
        next_queries(ServerUri.parse("turn:a.example?transport=sctp"), {})


@pytest.mark.parametrize(
    ("a", "aaaa", "expected"),
    [
        (QueryFailure.NO_SUCH_NAME, QueryFailure.NO_SUCH_NAME, QueryFailure.NO_SUCH_NAME),
        (QueryFailure.TIMED_OUT, QueryFailure.NO_SUCH_RECORD, QueryFailure.TIMED_OUT),
        (QueryFailure.TIMED_OUT, QueryFailure.NO_SUCH_NAME, QueryFailure.NO_SUCH_NAME),
        (QueryFailure.SERVER_FAILURE, QueryFailure.SERVER_FAILURE, QueryFailure.SERVER_FAILURE),
        (QueryFailure.NO_SUCH_RECORD, QueryFailure.NO_SUCH_RECORD, QueryFailure.NO_SUCH_RECORD),
    ],
)
def test_failure(a: QueryFailure, aaaa: QueryFailure, expected: QueryFailure) -> None:
    uri = ServerUri.parse("stun:a.example:3478")
    answers = {Query("a.example", A): Answer(failure=a), Query("a.example", AAAA): Answer(failure=aaaa)}
    assert resolve(uri, answers, lowest) == Resolution(uri, (), expected)
    answers[Query("a.example", A)] = Answer(("198.18.0.1",))
    assert resolve(uri, answers, lowest).failure is None


def test_failure_before_any_answer() -> None:
    uri = ServerUri.parse("stun:a.example:3478")
    assert resolve(uri, {}, lowest) == Resolution(uri, (), QueryFailure.TIMED_OUT)


# RFC 2782: a number from 0 to the sum of the weights is drawn, and the first record whose running sum reaches it wins.
@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ([0, 0, 0, 0], ["zero", "one", "three", "last"]),
        ([1, 0, 0, 0], ["one", "zero", "three", "last"]),
        ([2, 1, 0, 0], ["three", "one", "zero", "last"]),
        ([4, 0, 1, 0], ["three", "zero", "one", "last"]),
    ],
)
def test_srv_order(numbers: list[int], expected: list[str]) -> None:
    records = [
        SrvRecord(2, 9, 1, "last"),
        SrvRecord(1, 1, 1, "one"),
        SrvRecord(1, 3, 1, "three"),
        SrvRecord(1, 0, 1, "zero"),
    ]
    draws = iter(numbers)
    assert [record.target for record in srv_order(records, lambda bound: next(draws))] == expected


def test_srv_weights_are_shares() -> None:
    source = random.Random(5)
    records = [SrvRecord(1, 10, 1, "light"), SrvRecord(1, 30, 1, "heavy")]
    first = [srv_order(records, source.randrange)[0].target for _ in range(4000)]
    # 30 of the 41 numbers from 0 to 40 lie above 10.
    assert abs(first.count("heavy") / 4000 - 30 / 41) < 0.03


srv_records = st.builds(
    SrvRecord, st.integers(0, 3), st.integers(0, 65535), st.integers(0, 65535), st.sampled_from([".", "a", "b"])
)


@given(st.lists(srv_records, max_size=8), st.randoms(use_true_random=False))
def test_srv_order_keeps_all_records_by_priority(records: list[SrvRecord], source: random.Random) -> None:
    ordered = srv_order(records, source.randrange)
    assert sorted(ordered, key=repr) == sorted(records, key=repr)
    assert [record.priority for record in ordered] == sorted(record.priority for record in records)


names = st.sampled_from(["a.example", "_turn._udp.a.example", "_turn._tcp.a.example", "b.example", "."])
records = st.one_of(
    st.sampled_from(["198.18.0.1", "2a00::1", "nonsense"]),
    st.builds(SrvRecord, st.integers(0, 2), st.integers(0, 2), st.integers(0, 9), names),
    st.builds(
        NaptrRecord,
        st.integers(0, 2),
        st.integers(0, 2),
        st.sampled_from(["", "s", "a", "u", "ß"]),
        st.sampled_from(["RELAY:turn.udp", "RELAY:turn.tcp:turn.udp", "RELAY", ""]),
        names,
    ),
)


@given(
    st.sampled_from(["turn:a.example", "turn:a.example?transport=tcp", "stun:a.example", "stun:a.example:1"]),
    st.dictionaries(st.tuples(names, st.sampled_from(RecordType)), st.lists(records, max_size=4).map(tuple)),
)
def test_any_zone_resolves_in_few_rounds(text: str, zone: dict[tuple[str, RecordType], tuple[Record, ...]]) -> None:
    result, rounds = run(text, zone)
    assert len(rounds) <= 5
    asked = [query for queries in rounds for query in queries]
    assert len(asked) == len(set(asked))
    assert len({(endpoint.transport, endpoint.address) for endpoint in result.endpoints}) == len(result.endpoints)


@pytest.mark.parametrize(
    ("name", "host", "expected"),
    [
        ("a.example", "0.0.0.0", True),
        ("a.example", "127.0.0.1", True),
        ("a.example", "127.1.2.3", True),
        ("a.example", "::1", True),
        ("a.example", "::", True),
        ("a.example", "192.0.2.1", True),
        ("a.example", "2001:db8::1", True),
        ("a.example", "10.0.0.1", False),
        ("a.example", "198.18.0.1", False),
        ("a.example", "8.8.8.8", False),
        ("192.0.2.1", "192.0.2.1", False),
        ("::1", "::1", False),
        ("localhost", "127.0.0.1", False),
        ("x.localhost.", "::1", False),
    ],
)
def test_sinkhole(name: str, host: str, expected: bool) -> None:
    assert is_sinkhole(name, host) is expected


def test_a_sinkhole_is_a_value_of_the_result_and_no_error() -> None:
    result, _ = run("turn:a.example:3478", {("a.example", A): ("0.0.0.0", "198.18.0.1")})
    assert endpoints(result) == [("udp", "0.0.0.0:3478"), ("udp", "198.18.0.1:3478")]
    assert [endpoint.address for endpoint in result.sinkholes] == [Address("0.0.0.0", 3478)]
    assert run("turn:127.0.0.1", {})[0].sinkholes == ()


@pytest.mark.parametrize(
    ("answers", "prefixes"),
    [
        ([], ()),
        (["64:ff9b::c000:aa", "64:ff9b::c000:ab"], ("64:ff9b::/96",)),
        # The rows of RFC 6052 §2.4 with the well-known address of RFC 7050 in place of 192.0.2.33.
        (["2001:db8:c000:aa::"], ("2001:db8::/32",)),
        (["2001:db8:1c0:0:aa::"], ("2001:db8:100::/40",)),
        (["2001:db8:122:c000:0:aa00::"], ("2001:db8:122::/48",)),
        (["2001:db8:122:3c0:0:aa::"], ("2001:db8:122:300::/56",)),
        (["2001:db8:122:344:c0:0:aa00::"], ("2001:db8:122:344::/64",)),
        (["2001:db8:122:344::192.0.0.171"], ("2001:db8:122:344::/96",)),
        (["2a00::1", "192.0.0.170", "no address"], ()),
        # In two places: RFC 7050 §3 forbids to guess.
        (["2001:db8:c000:aa::192.0.0.170"], ()),
    ],
)
def test_nat64_prefixes(answers: list[str], prefixes: tuple[str, ...]) -> None:
    assert nat64_prefixes(answers) == prefixes


@given(st.lists(st.one_of(st.text(max_size=20), st.ip_addresses(v=6).map(str)), max_size=5))
def test_any_answers_give_prefixes(answers: list[str]) -> None:
    assert all(ipaddress.ip_network(prefix).version == 6 for prefix in nat64_prefixes(answers))
