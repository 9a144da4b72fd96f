from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from icekit.attributes import Change
from icekit.nat_classification import classify
from icekit.nat_observations import FilterTrial, HairpinTrial, NatObservations, Sample, Silence
from icekit.net import Address
from icekit.report import Behavior, NatTest, Pooling, PortAssignment, ServerReport

EI, AD, APD = Behavior
BOTH = Change.IP | Change.PORT
LOCAL = "192.168.1.2"
A, B = "203.0.113.10", "203.0.113.11"
SERVER, BESIDE, FAR, OTHER = Address(A, 3478), Address(A, 3479), Address(B, 3478), Address(B, 3479)
MAPPED = Address("198.51.100.2", 40_000)


def sample(
    server: Address = SERVER,
    mapped: Address = MAPPED,
    *,
    test: str = "mapping",
    local: int = 5000,
    order: int = 1,
    plain: Address | None = None,
) -> Sample:
    return Sample(test, Address(LOCAL, local), server, mapped, plain, order, 1, 0.02)


def seen(*samples: Sample, **changes: object) -> NatObservations:
    values: dict[str, object] = {
        "local_hosts": (LOCAL,),
        "samples": samples,
        "others": ((SERVER, OTHER), (OTHER, SERVER)),
    }
    return NatObservations(**(values | changes))  # type: ignore[arg-type]


def port(number: int) -> Address:
    return Address(MAPPED.host, number)


# Mapping: what four addresses see of one socket, in the order SERVER, BESIDE, FAR, OTHER; None: no answer.


@pytest.mark.parametrize(
    ("ports", "mapping", "reason"),
    [
        ((1, 1, 1, 1), EI, None),
        ((1, None, None, 1), EI, None),
        ((1, 1, 2, 2), AD, None),
        ((1, None, 2, 2), AD, None),
        ((1, 2, 3, 4), APD, None),
        ((1, None, 2, 3), APD, None),
        ((1, 2, None, None), APD, None),
        ((1, 1, 2, None), AD, None),
        (
            (1, None, 2, None),
            AD,
            "address-dependent at least: no server answered on a second port, which would tell more",
        ),
        ((1, 1, None, None), None, "only one server address answered: name a second server on another IP address"),
        ((1, None, None, None), None, "only one server address answered: name a second server on another IP address"),
        ((None, None, None, None), None, "no STUN server answered over UDP"),
    ],
)
def test_mapping(ports: tuple[int | None, ...], mapping: Behavior | None, reason: str | None) -> None:
    answered = [
        sample(server, port(40_000 + number))
        for server, number in zip((SERVER, BESIDE, FAR, OTHER), ports, strict=True)
        if number is not None
    ]
    report = classify(seen(*answered))
    assert (report.mapping, report.reason.get("mapping")) == (mapping, reason)


def test_another_public_address_is_another_mapping() -> None:
    report = classify(seen(sample(), sample(FAR, Address("198.51.100.3", MAPPED.port))))
    assert (report.mapping, report.behind_nat) == (AD, True)


# Filtering: what became of the two trials.

SILENT = FilterTrial(SERVER, BOTH, 6, None, True, OTHER, None, 0.7)
SILENT_NEAR = replace(SILENT, change=Change.PORT)
CONTROLS = (sample(), sample(BESIDE), sample(FAR), sample(OTHER))


@pytest.mark.parametrize(
    ("far", "near", "answered", "filtering", "reason"),
    [
        ({"source": OTHER, "sent": 1}, {"source": BESIDE, "sent": 1}, CONTROLS, EI, None),
        # What got through is proof; nobody else need answer.
        ({"source": OTHER, "sent": 1}, {}, (), EI, None),
        ({"source": FAR, "sent": 1}, {}, (), EI, None),
        ({}, {"source": BESIDE, "sent": 1}, CONTROLS, AD, None),
        ({}, {"source": OTHER, "sent": 1}, CONTROLS, EI, None),
        ({}, {}, CONTROLS, APD, None),
        ({}, {"source": BESIDE}, (sample(), sample(OTHER)), AD, None),
        (
            {},
            {},
            (sample(), sample(FAR)),
            None,
            f"the other address of server {SERVER}, {OTHER}, does not answer at all",
        ),
        (
            {},
            {},
            (sample(), sample(OTHER)),
            None,
            f"the other port of server {SERVER}, {BESIDE}, does not answer at all",
        ),
        ({"sent": 3}, {}, CONTROLS, None, f"the test with server {SERVER} was cut short"),
        ({"sent": 4}, {"sent": 4}, CONTROLS, APD, None),
        ({}, {"sent": 3}, CONTROLS, None, f"the test with server {SERVER} was cut short"),
        ({"control": False}, {}, CONTROLS, None, f"server {SERVER} did not answer"),
        ({"control": False, "error": 401}, {}, CONTROLS, None, f"server {SERVER} answers with error 401"),
        ({"error": 420}, {"error": 420}, CONTROLS, None, f"server {SERVER} refuses CHANGE-REQUEST (error 420)"),
        (
            {"other": None},
            {"other": None},
            CONTROLS,
            None,
            f"server {SERVER} has no OTHER-ADDRESS (RFC 5780)",
        ),
        (
            {"source": SERVER},
            {},
            CONTROLS,
            None,
            f"server {SERVER} ignores CHANGE-REQUEST and answers from the same address",
        ),
        (
            {"source": BESIDE},
            {"source": BESIDE},
            CONTROLS,
            None,
            f"server {SERVER} answers from {BESIDE} when it is asked to answer from {OTHER}",
        ),
    ],
)
def test_filtering(
    far: dict[str, object],
    near: dict[str, object],
    answered: tuple[Sample, ...],
    filtering: Behavior | None,
    reason: str | None,
) -> None:
    trials = (replace(SILENT, **far), replace(SILENT_NEAR, **near))  # type: ignore[arg-type]
    report = classify(seen(*answered, filters=trials))
    assert (report.filtering, report.reason.get("filtering")) == (filtering, reason)


def test_filtering_without_a_trial() -> None:
    assert classify(seen(sample())).reason["filtering"] == "no server with RFC 5780 answered"
    assert classify(seen()).reason["filtering"] == "no STUN server answered over UDP"
    alone = classify(seen(*CONTROLS, filters=(SILENT,)))
    assert alone.reason["filtering"] == f"server {SERVER} was not asked"


def test_of_two_servers_the_one_that_got_through_is_believed() -> None:
    second = [replace(trial, server=FAR, other=BESIDE) for trial in (SILENT, SILENT_NEAR)]
    second[0] = replace(second[0], source=BESIDE)
    others = ((SERVER, OTHER), (OTHER, SERVER), (FAR, BESIDE), (BESIDE, FAR))
    trials = (SILENT, SILENT_NEAR, *second)
    assert classify(seen(*CONTROLS, filters=trials, others=others)).filtering is EI
    silent = (SILENT, SILENT_NEAR, second[1])
    assert classify(seen(*CONTROLS, filters=silent, others=others)).filtering is APD


@pytest.mark.parametrize(
    ("names", "filtering"),
    [(SERVER, APD), (Address(B, 3478), APD), (Address("203.0.113.99", 3478), None), (None, None)],
)
def test_the_alternate_address_must_know_its_primary(names: Address | None, filtering: Behavior | None) -> None:
    others = ((SERVER, OTHER),) if names is None else ((SERVER, OTHER), (OTHER, names))
    report = classify(seen(*CONTROLS, filters=(SILENT, SILENT_NEAR), others=others))
    assert report.filtering is filtering
    if filtering is None:
        why = f"server {SERVER} names {OTHER} as its other address, which is another server"
        assert report.reason["filtering"] == why


# Ports: the mapped ports of a burst, local ports 5000, 5007, 5014 …


def burst(ports: list[int], hosts: tuple[str, ...] = (MAPPED.host,)) -> NatObservations:
    return seen(
        *(
            sample(mapped=Address(hosts[index % len(hosts)], number), test="port", local=5000 + 7 * index, order=index)
            for index, number in enumerate(ports)
        )
    )


@pytest.mark.parametrize(
    ("ports", "assignment", "step"),
    [
        ([5000, 5007, 5014, 5021], PortAssignment.PRESERVING, None),
        ([5000, 5007, 5014, 40_000], PortAssignment.PRESERVING, None),
        ([5000, 5007, 5014], PortAssignment.PRESERVING, None),
        ([5000, 5007, 30_000, 40_000], PortAssignment.RANDOM, None),
        ([100, 101, 102, 103], PortAssignment.SEQUENTIAL, 1),
        ([100, 102, 104, 106], PortAssignment.SEQUENTIAL, 2),
        ([106, 103, 100, 97], PortAssignment.SEQUENTIAL, -3),
        # Others behind the same NAT took a port in between.
        ([100, 101, 104, 105, 110], PortAssignment.SEQUENTIAL, 1),
        # The end of the port range.
        ([65_534, 65_535, 1024, 1025, 1026], PortAssignment.SEQUENTIAL, 1),
        # One first transmission was lost before the NAT, so that socket came last.
        ([100, 108, 101, 102, 103, 104, 105], PortAssignment.SEQUENTIAL, 1),
        ([40_000, 2000, 30_000, 9000, 50_000], PortAssignment.RANDOM, None),
        ([100, 164, 228, 292], PortAssignment.SEQUENTIAL, 64),
        ([100, 165, 230, 295], PortAssignment.RANDOM, None),
        # Up and down in a small block of ports is no step.
        ([100, 140, 90, 130, 95, 120, 105], PortAssignment.RANDOM, None),
        ([100, 101, 102], None, None),
        ([], None, None),
    ],
)
def test_port_assignment(ports: list[int], assignment: PortAssignment | None, step: int | None) -> None:
    report = classify(burst(ports))
    assert (report.port_assignment, report.port_step) == (assignment, step)
    assert ("port_assignment" in report.reason) == (assignment is None)


def test_two_public_addresses_may_count_together_or_apart() -> None:
    hosts = (MAPPED.host, "198.51.100.3")
    together = classify(burst([100, 103, 106, 109, 112], hosts))
    apart = classify(burst([100, 900, 101, 901, 102, 902, 103, 903], hosts))
    assert (together.port_assignment, together.port_step) == (PortAssignment.SEQUENTIAL, 3)
    assert (apart.port_assignment, apart.port_step) == (PortAssignment.SEQUENTIAL, 1)
    assert apart.address_pooling is together.address_pooling is Pooling.ARBITRARY


def test_only_sockets_of_the_burst_tell_a_sequence() -> None:
    samples = [replace(item, test="control") for item in burst([100, 101, 102, 103, 104]).samples]
    report = classify(seen(*samples))
    assert report.port_assignment is None
    assert report.reason["port_assignment"] == "fewer than 4 sockets were answered"


def test_random_ports_are_called_random() -> None:
    """Also where a carrier gives each customer a block of 1,024 ports."""
    dice = Random(5)
    for first, last, limit in ((1024, 65_535, 0), (2048, 3071, 2)):
        wrong = [
            ports
            for ports in ([dice.randint(first, last) for _ in range(10)] for _ in range(2000))
            if classify(burst(ports)).port_assignment is not PortAssignment.RANDOM
        ]
        assert len(wrong) <= limit


@pytest.mark.parametrize(
    ("parities", "expected"),
    [([0] * 10, True), ([0] * 9 + [1], False), ([0] * 9, None), ([1], False), ([], None)],
)
def test_parity(parities: list[int], expected: bool | None) -> None:
    report = classify(burst([5000 + 7 * index + 200 * (index % 5) + odd for index, odd in enumerate(parities)]))
    assert report.parity is expected
    assert ("parity" in report.reason) == (expected is None)


def test_several_public_addresses_are_arbitrary_pooling() -> None:
    assert classify(burst([1, 2, 3])).address_pooling is Pooling.PAIRED
    assert classify(burst([1, 2, 3], (MAPPED.host, "198.51.100.3"))).address_pooling is Pooling.ARBITRARY
    few = classify(burst([1, 2]))
    assert (few.address_pooling, few.reason["address_pooling"]) == (None, "fewer than three sockets were answered")


# Whether there is a NAT at all, and of what kind.


def test_a_local_mapped_address_means_no_nat_and_filtering_is_the_firewalls() -> None:
    samples = [replace(item, mapped=item.local) for item in CONTROLS]
    report = classify(seen(*samples, filters=(SILENT, SILENT_NEAR)))
    assert (report.behind_nat, report.udp, report.filtering, report.cgnat, report.nats) == (False, True, APD, False, 0)
    for field in ("mapping", "hairpinning", "port_assignment", "address_pooling", "parity", "binding_lifetime"):
        assert getattr(report, field) is None
        assert report.reason[field] == "no NAT"


def test_nothing_answered() -> None:
    report = classify(seen())
    assert report.udp is None
    for field in ("behind_nat", "mapping", "filtering", "hairpinning", "port_assignment", "parity", "alg", "nats"):
        assert getattr(report, field) is None
        assert report.reason[field] == "no STUN server answered over UDP"


@pytest.mark.parametrize(
    ("trial", "hairpinning", "reason"),
    [
        (HairpinTrial(2, 1, 0.01), True, None),
        (HairpinTrial(12, 0, 0.7), False, None),
        (HairpinTrial(3, 0, 0.2), None, "the test was cut short"),
        (None, None, "the two sockets of the test did not learn their mapped addresses"),
    ],
)
def test_hairpinning(trial: HairpinTrial | None, hairpinning: bool | None, reason: str | None) -> None:
    report = classify(seen(sample(), hairpin=trial))
    assert (report.hairpinning, report.reason.get("hairpinning")) == (hairpinning, reason)


def test_a_rewritten_address_is_an_alg() -> None:
    assert classify(seen(sample(plain=MAPPED))).alg is False
    assert classify(seen(sample(plain=Address(LOCAL, 40_000)))).alg is True
    assert classify(replace(seen(), rewritten=True)).alg is True
    without = classify(seen(sample()))
    assert without.alg is None
    assert without.reason["alg"] == "no server sent MAPPED-ADDRESS beside XOR-MAPPED-ADDRESS"


def test_a_shared_address_is_a_carriers_nat() -> None:
    assert classify(seen(sample(), local_hosts=(LOCAL, "100.64.3.4"))).cgnat is True
    assert classify(seen(sample(mapped=Address("100.127.255.1", 1)))).cgnat is True
    assert classify(seen(sample())).cgnat is None


# udp, the rule of three answers.


def silence(address: Address, sent: int = 6, heard: str = "") -> Silence:
    return Silence("mapping", address, sent, 2.5, heard)


def server(address: Address, transport: str, reachable: bool | None, error: str | None = None) -> ServerReport:
    return ServerReport("stun:x", str(address), transport, reachable, error=error)


SAME_HOST_TCP = server(SERVER, "tcp", True)
TIMEOUT = "timeout: no answer"
NOT_STUN = "not-stun: it answers, but not STUN"


@pytest.mark.parametrize(
    ("silences", "servers", "udp", "reason"),
    [
        # True: any server answered over UDP, if only with an error.
        ([silence(SERVER)], [server(SERVER, "udp", True)], True, None),
        ([silence(SERVER, heard="error 401"), silence(FAR)], [SAME_HOST_TCP], True, None),
        # What answers, but not STUN, is no silence.
        ([silence(SERVER)], [server(SERVER, "udp", False, NOT_STUN), SAME_HOST_TCP], True, None),
        (
            [silence(SERVER), silence(FAR)],
            [server(SERVER, "udp", False, NOT_STUN), server(FAR, "udp", False, TIMEOUT)],
            True,
            None,
        ),
        (
            [silence(SERVER)],
            [server(SERVER, "tcp", False, NOT_STUN)],
            None,
            "one silent server: it may be down; name a second one",
        ),
        # False: at least four transmissions to every address, and the same host answers over TCP or TLS.
        ([silence(SERVER)], [SAME_HOST_TCP], False, "silent over UDP, while the same host answers over TCP"),
        ([silence(SERVER, 4)], [SAME_HOST_TCP], False, "silent over UDP, while the same host answers over TCP"),
        (
            [silence(SERVER)],
            [server(Address(A, 443), "tls", True)],
            False,
            "silent over UDP, while the same host answers over TCP",
        ),
        ([silence(SERVER, 3)], [SAME_HOST_TCP], None, "the test was cut short"),
        ([silence(SERVER), silence(FAR, 3)], [SAME_HOST_TCP], None, "the test was cut short"),
        (
            [silence(SERVER)],
            [server(FAR, "tcp", True), server(SERVER, "tcp", False, "refused")],
            None,
            "one silent server: it may be down; name a second one",
        ),
        # False: at least two addresses are silent without ICMP.
        ([silence(SERVER), silence(FAR)], [], False, "2 servers are silent"),
        (
            [],
            [server(SERVER, "udp", False, TIMEOUT), server(FAR, "udp", False, TIMEOUT)],
            False,
            "2 servers are silent",
        ),
        (
            [silence(SERVER), silence(FAR)],
            [server(FAR, "udp", False, "refused: ICMP")],
            None,
            "the server is there and refuses (ICMP): it may be down",
        ),
        # Two ports of one host that is down.
        ([silence(SERVER), silence(BESIDE)], [], None, "one silent server: it may be down; name a second one"),
        # Null: the server refused, or nothing else tells.
        (
            [silence(SERVER)],
            [server(SERVER, "udp", False, "refused: ICMP"), SAME_HOST_TCP],
            None,
            "the server is there and refuses (ICMP): it may be down",
        ),
        ([silence(SERVER)], [], None, "one silent server: it may be down; name a second one"),
        ([], [server(SERVER, "udp", None, "interrupted"), SAME_HOST_TCP], None, "the test was cut short"),
        ([], [], None, "no server of this family to ask"),
    ],
)
def test_udp(silences: list[Silence], servers: list[ServerReport], udp: bool | None, reason: str | None) -> None:
    report = classify(seen(silences=tuple(silences)), servers)
    assert (report.udp, report.reason.get("udp")) == (udp, reason)


def test_a_sample_is_an_answer_over_udp() -> None:
    assert classify(seen(sample(), silences=(silence(FAR), silence(BESIDE)))).udp is True


def test_the_tests_are_summed() -> None:
    observations = seen(
        sample(),
        sample(FAR),
        silences=(silence(OTHER),),
        filters=(replace(SILENT, source=OTHER, sent=2, seconds=0.1), SILENT_NEAR),
        hairpin=HairpinTrial(12, 0, 0.7),
    )
    assert classify(observations).tests == (
        NatTest("mapping", 8, 2, 2.5),
        NatTest("filtering-address", 2, 1, 0.1),
        NatTest("filtering-port", 6, 0, 0.7),
        NatTest("hairpinning", 12, 0, 0.7),
    )
    assert classify(observations).mapped_addresses == (str(MAPPED),)
