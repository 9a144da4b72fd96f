from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icekit import attributes as attr
from icekit.nat import Hairpinning, NatConfig
from icekit.nat_presets import PRESETS, declared
from icekit.net import Address, Datagram, SocketFailure, SocketReleased, SocketWanted
from icekit.probe import NatObserved, NatProbe
from icekit.probe_plan import ProbeConfig
from icekit.report import Behavior, NatReport, Pooling, PortAssignment
from icekit.stun import Class, Message, decode, failure, success
from tests.fake_wire import EXTERNAL, HOSTS, PRIMARY, SEEDS, Answerer, Wire, discovery_server

EI, AD, APD = Behavior
SERVER = PRIMARY[4]
OTHER = Address(HOSTS[4][1], 3479)
ELSEWHERE = "203.0.113.77"
# What a probe can tell exactly; parity, CGNAT and the number of NATs have tests of their own.
FIELDS = (
    "mapping",
    "filtering",
    "hairpinning",
    "port_assignment",
    "port_step",
    "address_pooling",
    "behind_nat",
    "udp",
    "alg",
)
ASSIGNMENTS = [
    (PortAssignment.PRESERVING, 1),
    (PortAssignment.SEQUENTIAL, 1),
    (PortAssignment.SEQUENTIAL, -3),
    (PortAssignment.SEQUENTIAL, 8),
    (PortAssignment.RANDOM, 1),
]
UNDER_LOSS: dict[str, tuple[Sequence[NatConfig], int]] = {
    name: (PRESETS[name].chain, 1)
    for name in (
        "full-cone",
        "restricted",
        "port-restricted",
        "symmetric",
        "symmetric-sequential",
        "cgnat",
        "firewall",
        "alg",
    )
} | {
    "arbitrary": (
        [
            NatConfig(
                mapping=AD,
                filtering=AD,
                hairpinning=Hairpinning.NONE,
                port_assignment=PortAssignment.SEQUENTIAL,
                port_step=3,
                pooling=Pooling.ARBITRARY,
            )
        ],
        2,
    ),
    "parity": ([NatConfig(filtering=APD, port_assignment=PortAssignment.RANDOM, parity=True)], 1),
}


def differences(report: NatReport, chain: Sequence[NatConfig]) -> dict[str, tuple[object, object]]:
    """What was reported and what is true, where they differ."""
    found, true = asdict(report), asdict(declared(chain))
    return {name: (found[name], true[name]) for name in FIELDS if found[name] != true[name]}


# The identity: what is probed is what is there.


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("filtering", Behavior)
@pytest.mark.parametrize("mapping", Behavior)
def test_every_nat_is_reported_as_it_is(mapping: Behavior, filtering: Behavior, family: int) -> None:
    wrong = []
    pools = [(1, Pooling.PAIRED), (2, Pooling.ARBITRARY)]
    for hairpinning, (assignment, step), (external, pooling) in itertools.product(Hairpinning, ASSIGNMENTS, pools):
        config = NatConfig(
            mapping=mapping,
            filtering=filtering,
            hairpinning=hairpinning,
            port_assignment=assignment,
            port_step=step,
            pooling=pooling,
        )
        wire = Wire([config], family=family, external=external)
        report = wire.run()
        if differences(report, [config]) or wire.now > 0.9:
            wrong.append((config, differences(report, [config]), wire.now))
    assert wrong == []


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_reported_as_it_is(name: str) -> None:
    chain = PRESETS[name].chain
    report = Wire(chain).run()
    if declared(chain).udp:
        assert differences(report, chain) == {}
        assert set(report.reason) >= {field for field in FIELDS if getattr(report, field) is None} - {"port_step"}
    else:
        # One silent server is no proof.
        assert (report.udp, report.mapping, report.filtering, report.behind_nat) == (None, None, None, None)


@pytest.mark.parametrize("name", UNDER_LOSS)
def test_five_percent_loss_each_way_does_not_mislead(name: str) -> None:
    chain, external = UNDER_LOSS[name]
    wrong = []
    for seed in range(SEEDS):
        wire = Wire(chain, seed=seed, loss=0.05, external=external)
        if found := differences(wire.run(), chain):
            wrong.append((seed, found))
        assert wire.now < 1.5
    assert len(wrong) <= SEEDS // 1000, wrong


@pytest.mark.parametrize("name", ["symmetric-sequential", "arbitrary", "symmetric"])
def test_loss_before_the_nat_changes_the_order_and_not_the_answer(name: str) -> None:
    chain, external = UNDER_LOSS[name]
    wrong = []
    for seed in range(SEEDS):
        if found := differences(Wire(chain, seed=seed, first_loss=0.05, external=external).run(), chain):
            wrong.append((seed, found))
    assert len(wrong) <= SEEDS // 500, wrong


@pytest.mark.parametrize("rtt", [0.002, 0.15, 0.3, 0.7, 1.2])
@pytest.mark.parametrize("name", ["restricted", "symmetric-sequential"])
def test_slow_networks_are_waited_for(name: str, rtt: float) -> None:
    wire = Wire(PRESETS[name].chain, delay=rtt / 2)
    assert differences(wire.run(), PRESETS[name].chain) == {}
    assert wire.now < 0.7 + 7.5 * rtt


def test_a_random_port_is_neither_sequential_nor_of_the_same_parity() -> None:
    config = NatConfig(filtering=EI, port_assignment=PortAssignment.RANDOM)
    runs = 10 * SEEDS
    reports = [Wire([config], seed=seed).run() for seed in range(runs)]
    assert Counter(report.port_assignment for report in reports) == {PortAssignment.RANDOM: runs}
    assert sum(report.parity is not False for report in reports) <= runs // 1000


@pytest.mark.parametrize("assignment", [PortAssignment.RANDOM, PortAssignment.PRESERVING])
def test_kept_parity_is_seen(assignment: PortAssignment) -> None:
    config = NatConfig(port_assignment=assignment, parity=True)
    assert [Wire([config], seed=seed).run().parity for seed in range(SEEDS)] == [True] * SEEDS


def test_two_nats_in_a_row() -> None:
    home = NatConfig(filtering=EI, hairpinning=Hairpinning.NONE)
    carrier = NatConfig(mapping=AD, filtering=AD, port_assignment=PortAssignment.RANDOM)
    assert differences(Wire([home, carrier]).run(), [home, carrier]) == {}


def test_a_filtered_hairpin_passes_when_both_sides_send() -> None:
    config = NatConfig(filtering=APD, hairpin_filtered=True)
    assert Wire([config]).run().hairpinning is True


# The plan.


def test_who_is_asked_how_often() -> None:
    wire = Wire(PRESETS["port-restricted"].chain)
    wire.run()
    beside, far = Address(SERVER.host, OTHER.port), Address(OTHER.host, SERVER.port)
    # One for the mapping, two controls, two changes that stay silent (six each), eight ports, two for hairpinning.
    expected = Counter({SERVER: 1 + 2 + 12 + 8 + 2, OTHER: 1, beside: 1, far: 1})
    assert {address: count for address, count in wire.sent.items() if address.host in HOSTS[4]} == expected
    outside = [address.host for address in wire.sent if address.host not in HOSTS[4]]
    # Two mapped addresses of our own, once each: they came back.
    assert outside == [EXTERNAL[4][0]] * 2
    assert len({item.source for item in wire.wire}) == 13 == len(wire.released)


def test_nothing_goes_to_an_alternate_address_before_filtering_is_decided() -> None:
    wire = Wire(PRESETS["restricted"].chain)
    wire.run()
    wanting = [message.get(attr.CHANGE_REQUEST) for message in map(decode, (item.data for item in wire.wire))]
    last = max(index for index, change in enumerate(wanting) if change is not None)
    first = min(index for index, item in enumerate(wire.wire) if item.destination.host == OTHER.host)
    assert last < first
    filter_sockets = {item.source for item, change in zip(wire.wire, wanting, strict=True) if change is not None}
    assert {item.destination for item in wire.wire if item.source in filter_sockets} == {SERVER}


@pytest.mark.parametrize("chain", [[NatConfig(filtering=kind)] for kind in Behavior], ids=list(Behavior))
def test_two_given_servers_may_be_each_others_alternate(chain: list[NatConfig]) -> None:
    for servers in ([SERVER, OTHER], [SERVER, Address(OTHER.host, SERVER.port)], [OTHER, SERVER, SERVER]):
        wire = Wire(chain)
        assert differences(wire.run(wire.probe(servers)), chain) == {}


def test_mapping_is_compared_between_two_plain_servers() -> None:
    plain = {host: discovery_server(hosts=[host], ports=[3478]) for host in HOSTS[4]}
    servers = [Address(host, 3478) for host in HOSTS[4]]
    for mapping, expected in ((EI, EI), (APD, AD)):
        wire = Wire([NatConfig(mapping=mapping)], answerers=plain)
        report = wire.run(wire.probe(servers))
        assert report.mapping is expected
        assert report.filtering is None
        assert report.reason["filtering"] == f"server {servers[1]} has no OTHER-ADDRESS (RFC 5780)"
        # Nobody waits for an answer that such a server cannot give.
        assert wire.now < 0.2 or report.hairpinning is False
        assert ("at least" in report.reason.get("mapping", "")) == (expected is AD)
    report = Wire([NatConfig()], answerers=plain).run()
    assert report.mapping is None
    assert report.reason["mapping"] == "only one server address answered: name a second server on another IP address"


def test_a_dead_server_among_good_ones_costs_a_second_and_no_answer() -> None:
    chain = PRESETS["port-restricted"].chain
    wire = Wire(chain)
    report = wire.run(wire.probe([Address(ELSEWHERE, 3478), SERVER]))
    assert differences(report, chain) == {}
    assert wire.now == pytest.approx(0.5 + 2.5 * 0.05 + 0.1 + 0.3)


def test_a_far_server_is_waited_for() -> None:
    chain = PRESETS["restricted"].chain
    far = dict.fromkeys(HOSTS[4], 0.2)
    answerers = {ELSEWHERE: discovery_server(hosts=[ELSEWHERE], ports=[3478]), **Wire().answerers}
    wire = Wire(chain, delay=0.005, far=far, answerers=answerers)
    assert differences(wire.run(wire.probe([Address(ELSEWHERE, 3478), SERVER])), chain) == {}


# Servers that cannot, will not, or lie.


def changed(change: str) -> Answerer:
    """A server with RFC 5780 that breaks it in one way."""
    good = discovery_server()

    def answer(datagram: Datagram) -> Sequence[Datagram]:
        request = decode(datagram.data)
        wanted = request.get(attr.CHANGE_REQUEST)
        match change:
            case "ignores CHANGE-REQUEST":
                bare = Message(request.method, request.message_class, request.transaction_id)
                return good(Datagram(datagram.source, datagram.destination, bare.encode()))
            case "refuses CHANGE-REQUEST" if wanted is not None:
                refusal = failure(request, 420, attr.UNKNOWN_ATTRIBUTES((attr.CHANGE_REQUEST.type,)))
                return [Datagram(datagram.destination, datagram.source, refusal.encode())]
            case "silent alternate" if datagram.destination.host == OTHER.host:
                return []
            case "silent alternate":
                return [item for item in good(datagram) if item.source.host != OTHER.host]
            case "silent other port":
                beside = Address(SERVER.host, OTHER.port)
                answers = [] if datagram.destination == beside else good(datagram)
                return [item for item in answers if item.source != beside]
            case "only the port changes" if wanted is not None:
                answers = good(datagram)
                return [Datagram(Address(SERVER.host, OTHER.port), item.destination, item.data) for item in answers]
            case _:
                return good(datagram)

    return answer


@pytest.mark.parametrize(
    ("change", "filtering", "reason"),
    [
        ("ignores CHANGE-REQUEST", APD, f"server {SERVER} ignores CHANGE-REQUEST and answers from the same address"),
        ("refuses CHANGE-REQUEST", APD, f"server {SERVER} refuses CHANGE-REQUEST (error 420)"),
        ("silent alternate", APD, f"the other address of server {SERVER}, {OTHER}, does not answer at all"),
        ("silent other port", APD, f"the other port of server {SERVER}, 203.0.113.10:3479, does not answer at all"),
        (
            "only the port changes",
            EI,
            f"server {SERVER} answers from 203.0.113.10:3479 when it is asked to answer from {OTHER}",
        ),
        ("silent alternate", AD, f"the other address of server {SERVER}, {OTHER}, does not answer at all"),
    ],
)
def test_a_server_that_cannot_test_filtering_gives_null(change: str, filtering: Behavior, reason: str) -> None:
    server = changed(change)
    wire = Wire([NatConfig(filtering=filtering)], answerers=dict.fromkeys(HOSTS[4], server))
    report = wire.run()
    assert (report.filtering, report.reason["filtering"]) == (None, reason)
    if not change.startswith("silent"):
        assert report.mapping is EI


def answering(*items: attr.Item, mapped: bool = True) -> Answerer:
    """A plain server that adds ``items`` to each answer."""

    def answer(datagram: Datagram) -> Sequence[Datagram]:
        own = (attr.XOR_MAPPED_ADDRESS(datagram.source),) if mapped else ()
        response = success(decode(datagram.data), *own, *items)
        return [Datagram(datagram.destination, datagram.source, response.encode())]

    return answer


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (SERVER, "which does not differ in IP and port"),
        (Address(SERVER.host, 9999), "which does not differ in IP and port"),
        (Address("203.0.113.11", SERVER.port), "which does not differ in IP and port"),
        (Address("0.0.0.0", 0), "which is no address of a server"),
        (Address("203.0.113.11", 0), "which is no address of a server"),
        (Address("224.0.0.1", 9999), "which is no address of a server"),
        (Address("255.255.255.255", 9999), "which is no address of a server"),
        (Address("10.0.0.5", 3479), "which cannot be reached from outside its network"),
        (Address("127.0.0.1", 3479), "which cannot be reached from outside its network"),
        (Address("2001:db8:1::11", 3479), "of another family"),
    ],
)
def test_an_impossible_other_address_is_told_and_never_asked(other: Address, reason: str) -> None:
    wire = Wire([NatConfig(filtering=EI)], answerers={SERVER.host: answering(attr.OTHER_ADDRESS(other))})
    report = wire.run()
    assert report.filtering is None
    assert report.reason["filtering"] == f"server {SERVER} names {other} as its other address, {reason}"
    assert {address.host for address in wire.sent} == {SERVER.host, EXTERNAL[4][0]}


def test_a_third_partys_address_gets_few_packets_and_proves_nothing() -> None:
    victim = Address(ELSEWHERE, 3479)
    liar = answering(attr.OTHER_ADDRESS(victim))

    def mute(datagram: Datagram) -> Sequence[Datagram]:
        # Silent when asked to change, so that only the third party could make the silence look right.
        return [] if decode(datagram.data).has(attr.CHANGE_REQUEST) else liar(datagram)

    wire = Wire([NatConfig(filtering=EI)], answerers={SERVER.host: mute})
    assert wire.run().filtering is None
    assert sum(count for address, count in wire.sent.items() if address.host == ELSEWHERE) == 12
    for stranger in (answering(), answering(attr.OTHER_ADDRESS(Address("203.0.113.99", 1234)))):
        wire = Wire([NatConfig(filtering=EI)], answerers={SERVER.host: mute, ELSEWHERE: stranger})
        report = wire.run()
        assert report.filtering is None
        assert (
            report.reason["filtering"]
            == f"server {SERVER} names {victim} as its other address, which is another server"
        )


def test_an_alternate_that_names_itself_is_accepted() -> None:
    """coturn 4.6.1 does so: asked at its alternate address it names that one with the other port."""
    good = discovery_server()

    def coturn(datagram: Datagram) -> Sequence[Datagram]:
        if datagram.destination.host == SERVER.host:
            return good(datagram)
        return answering(attr.OTHER_ADDRESS(OTHER))(datagram)

    chain = PRESETS["restricted"].chain
    assert differences(Wire(chain, answerers=dict.fromkeys(HOSTS[4], coturn)).run(), chain) == {}


@pytest.mark.parametrize(
    "answerer",
    [
        lambda datagram: [Datagram(datagram.destination, datagram.source, b"garbage")],
        lambda datagram: [Datagram(datagram.destination, datagram.source, datagram.data)],
        lambda datagram: [Datagram(datagram.destination, datagram.source, bytes(65_507))],
        lambda datagram: [Datagram(datagram.destination, datagram.source, b"\x01\x01\xff\xfc" + bytes(60_000))],
        answering(mapped=False),
        answering((attr.XOR_MAPPED_ADDRESS.type, b"\x00\x09\x00\x00"), mapped=False),
        answering(attr.XOR_MAPPED_ADDRESS(Address("0.0.0.0", 0)), mapped=False),
        lambda datagram: [
            Datagram(datagram.destination, datagram.source, failure(decode(datagram.data), 401).encode())
        ],
    ],
    ids=["garbage", "echo", "huge", "wrong length", "nothing mapped", "malformed", "unspecified", "error 401"],
)
def test_an_answer_without_use_shows_that_udp_passes_and_nothing_else(answerer: Answerer) -> None:
    wire = Wire([NatConfig()], answerers={SERVER.host: answerer})
    report = wire.run()
    assert report.udp is True
    assert (report.mapping, report.filtering, report.behind_nat, report.port_assignment) == (None, None, None, None)
    assert {"mapping", "filtering", "behind_nat", "port_assignment", "alg", "parity"} <= set(report.reason)
    assert sum(wire.sent.values()) <= 5 * 6


def test_answers_to_other_requests_are_no_answers() -> None:
    def confused(datagram: Datagram) -> Sequence[Datagram]:
        response = Message(1, Class.SUCCESS, bytes(12), (attr.XOR_MAPPED_ADDRESS(datagram.source),))
        return [Datagram(datagram.destination, datagram.source, response.encode())]

    wire = Wire([NatConfig()], answerers={SERVER.host: confused})
    report = wire.run()
    assert (report.udp, report.mapping) == (None, None)


def test_a_malformed_attribute_beside_a_good_one_costs_nothing() -> None:
    broken = [(kind.type, b"\x00") for kind in (attr.OTHER_ADDRESS, attr.MAPPED_ADDRESS, attr.SOFTWARE)]
    report = Wire([NatConfig()], answerers={SERVER.host: answering(*broken)}).run()
    assert (report.udp, report.behind_nat, report.alg) == (True, True, None)


def test_a_mapped_address_of_another_family_is_not_sent_to() -> None:
    nat64 = answering(attr.XOR_MAPPED_ADDRESS(Address("2001:db8::64", 4000)), mapped=False)
    wire = Wire([NatConfig()], answerers={SERVER.host: nat64})
    report = wire.run()
    assert report.behind_nat is True
    assert report.hairpinning is None
    assert {address.host for address in wire.sent} == {SERVER.host}


# Time, sockets, the end.


def test_silence_without_a_measure_takes_the_whole_patience() -> None:
    wire = Wire(PRESETS["udp-blocked"].chain)
    wire.run()
    assert wire.now == pytest.approx(0.5 + 2.0)
    # One mapping, two controls, two changes, six times each.
    assert wire.sent == {SERVER: 30}


def test_what_tcp_needed_is_a_measure_for_silence() -> None:
    wire = Wire(PRESETS["udp-blocked"].chain)
    probe = wire.probe()
    wire._later(0.05, lambda: probe.expect_rtt(0.05))
    wire.run(probe)
    assert wire.now == pytest.approx(0.5 + 2.5 * 0.05 + 0.1 + 0.3)


def test_a_host_that_stood_still_does_not_take_that_for_silence() -> None:
    class Suspended(Wire):
        """After 0.15 s no timer is served for 30 s."""

        def run_timer(self, core: NatProbe) -> None:
            if 0.15 < self.now < 30.0:
                self.now += 30.0
            super().run_timer(core)

    wire = Suspended(PRESETS["port-restricted"].chain)
    assert wire.run().filtering is APD
    assert wire.now < 32.0


@pytest.mark.parametrize(
    ("failing", "missing"),
    [
        ({0}, {"mapping", "mapped_addresses"}),
        ({1}, {"filtering"}),
        ({2}, {"filtering"}),
        ({11}, {"hairpinning"}),
        (set(range(3, 11)), {"port_assignment", "parity"}),
    ],
    ids=["mapping", "far", "near", "hairpin", "ports"],
)
def test_a_test_without_its_socket_is_not_measured(failing: set[int], missing: set[str]) -> None:
    chain = [NatConfig(port_assignment=PortAssignment.RANDOM, parity=True)]
    wire = Wire(chain)
    wire.failing_sockets = failing
    report = wire.run()
    found = asdict(report)
    names = ("mapping", "filtering", "hairpinning", "port_assignment", "parity", "udp", "behind_nat")
    assert {name for name in names if found[name] is None} == missing - {"mapped_addresses"}
    assert (report.mapped_addresses == ()) == ("mapped_addresses" in missing)


def test_no_socket_at_all() -> None:
    wire = Wire([NatConfig()])
    wire.failing_sockets = set(range(20))
    report = wire.run()
    assert (report.udp, report.reason["udp"]) == (None, "no server of this family to ask")


def test_no_server_at_all() -> None:
    probe = NatProbe("192.168.1.2", [], Random(1).randbytes)
    probe.start(5.0)
    assert isinstance(probe.next_event(), NatObserved)
    assert (probe.get_timer(), probe.next_event()) == (None, None)


def test_more_servers_than_allowed_are_left_out() -> None:
    servers = [Address(f"203.0.113.{number}", 3478) for number in range(100, 200)]
    wire = Wire([NatConfig()])
    wire.run(wire.probe(servers, ProbeConfig(max_servers=2)))
    assert set(wire.sent) == set(servers[:2])
    assert sum(wire.sent.values()) == 2 * 5 * 6


def test_closed_early_it_tells_what_is_known() -> None:
    wire = Wire(PRESETS["port-restricted"].chain)
    report = wire.run(until=0.25)
    assert wire.observed is not None
    assert wire.observed.seconds == 0.25
    assert (report.udp, report.behind_nat, report.port_assignment) == (True, True, PortAssignment.PRESERVING)
    assert (report.mapping, report.filtering) == (None, None)
    assert {trial.sent for trial in wire.observed.filters} == {3}
    before = wire.now
    silent = Wire(PRESETS["udp-blocked"].chain)
    report = silent.run(until=before)
    assert (report.udp, report.reason["udp"]) == (None, "the test was cut short")


def test_a_socket_that_comes_too_late_is_given_back() -> None:
    probe = NatProbe("192.168.1.2", [SERVER], Random(1).randbytes)
    probe.start(0.0)
    wanted = []
    while isinstance(event := probe.next_event(), SocketWanted):
        wanted.append(event)
    assert [(item.id, item.local, item.remote) for item in wanted] == [
        (number, Address("192.168.1.2", 0), None) for number in range(3)
    ]
    local = Address("192.168.1.2", 5000)
    probe.close(0.1)
    assert isinstance(probe.next_event(), NatObserved)
    probe.socket_opened(0, local, 0.2)
    probe.socket_failed(1, SocketFailure.UNAVAILABLE, 0.2)
    assert probe.next_event() == SocketReleased(local)
    assert probe.next_event() is None
    probe.close(0.3)
    assert (probe.next_event(), probe.get_timer(), probe.datagrams_to_send()) == (None, None, [])


# Any input.

ADDRESSES = st.builds(
    Address, st.sampled_from([SERVER.host, OTHER.host, ELSEWHERE, "::", "10.0.0.1"]), st.integers(0, 65535)
)
ADDRESS_KINDS = (attr.XOR_MAPPED_ADDRESS, attr.MAPPED_ADDRESS, attr.OTHER_ADDRESS, attr.CHANGED_ADDRESS)
RAW_ITEMS = st.tuples(st.sampled_from([0x0001, 0x0020, 0x802C, 0x8022, 0x0009]), st.binary(max_size=8))
ITEMS = st.lists(st.one_of(st.builds(lambda kind, at: kind(at), st.sampled_from(ADDRESS_KINDS), ADDRESSES), RAW_ITEMS))
# How an answer is made, and the address that it comes from (None: the one that was asked).
ANSWERS = st.tuples(
    st.one_of(
        ITEMS.map(lambda items: lambda datagram: success(decode(datagram.data), *items).encode()),
        st.sampled_from([400, 401, 420, 500]).map(
            lambda code: lambda asked: failure(decode(asked.data), code).encode()
        ),
        st.binary(max_size=40).map(lambda data: lambda _: data),
        st.just(lambda datagram: datagram.data),
    ),
    st.sampled_from([None, SERVER, OTHER, Address(ELSEWHERE, 3478)]),
)


@given(st.lists(ANSWERS, min_size=1, max_size=12), st.integers(0, 1000), st.booleans())
@settings(max_examples=100, deadline=None)
def test_any_answers(answers: list[tuple[Callable[[Datagram], bytes], Address | None]], seed: int, nat: bool) -> None:
    """It ends, in bounded time, with a bounded number of packets, whatever comes in."""
    dice = Random(seed)

    def answer(datagram: Datagram) -> Sequence[Datagram]:
        make, source = dice.choice(answers)
        return [Datagram(source or datagram.destination, datagram.source, make(datagram))]

    wire = Wire([NatConfig()] if nat else [], answerers=dict.fromkeys([*HOSTS[4], ELSEWHERE], answer))
    report = wire.run(wire.probe([SERVER, OTHER]))
    assert wire.now < 6
    # 2 for the mapping and 6 alternates, 4 filter requests with their controls, 10 sockets and 2 hairpins.
    assert sum(wire.sent.values()) <= 6 * (2 + 6 + 4 * 2 + 10 + 2)
    assert NatReport() != report


@pytest.mark.parametrize("name", ["alg", "port-restricted"])
def test_a_gateway_that_rewrites_what_has_a_fingerprint(name: str) -> None:
    """As coturn answers with its option fingerprint: what the gateway has changed cannot be used, and tells on it."""
    answer = discovery_server()

    def sealed(datagram: Datagram) -> Sequence[Datagram]:
        return [replace(item, data=decode(item.data).encode(fingerprint=True)) for item in answer(datagram)]

    report = Wire(PRESETS[name].chain, answerers=dict.fromkeys(HOSTS[4], sealed)).run()
    assert report.alg is (name == "alg")


def test_garbage_with_a_wrong_fingerprint_is_no_sign_of_a_gateway() -> None:
    answer = discovery_server()

    def broken(datagram: Datagram) -> Sequence[Datagram]:
        sealed = [(item, decode(item.data).encode(fingerprint=True)) for item in answer(datagram)]
        return [replace(item, data=data[:-1] + bytes([data[-1] ^ 1])) for item, data in sealed]

    assert Wire(PRESETS["port-restricted"].chain, answerers=dict.fromkeys(HOSTS[4], broken)).run().alg is None
