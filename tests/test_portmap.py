"""What the gateway offers: the three readers, the questions in time, and what the report makes of the answers."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icekit.errors import DecodeError
from icekit.nat_classification import classify
from icekit.nat_observations import NatObservations, Sample
from icekit.net import Address, Datagram, SocketFailure, SocketReleased, SocketWanted
from icekit.portmap import (
    NAT_PMP_REQUEST,
    SSDP,
    NatPmpAnswer,
    PcpAnswer,
    PortmapObserved,
    PortmapProbe,
    SsdpAnswer,
    pcp_request,
    read_nat_pmp,
    read_pcp,
    read_ssdp,
    ssdp_request,
)
from icekit.report import NatReport, PortmapReport

HOST, GATEWAY = "192.168.1.2", "192.168.1.1"
SERVER = Address(GATEWAY, 5351)
EPOCH = (1234).to_bytes(4)
NAT_PMP = bytes((0, 128, 0, 0)) + EPOCH + bytes((198, 51, 100, 1))
PCP = bytes((2, 0x80, 0, 0)) + bytes(4) + EPOCH + bytes(12)
# An answer of miniupnpd 2.3.1.
IGD = (
    b"HTTP/1.1 200 OK\r\nCACHE-CONTROL: max-age=120\r\nST: urn:schemas-upnp-org:device:InternetGatewayDevice:1\r\n"
    b"USN: uuid:12345678-1234-1234-1234-123456789abc::urn:schemas-upnp-org:device:InternetGatewayDevice:1\r\nEXT:\r\n"
    b'SERVER: Debian UPnP/1.1 MiniUPnPd/2.3.1\r\nLOCATION: http://192.168.1.1:35321/rootDesc.xml\r\nOPT: "http://'
    b'schemas.upnp.org/upnp/1/0/"; ns=01\r\n01-NLS: 1795337005\r\nBOOTID.UPNP.ORG: 1795337005\r\n\r\n'
)
URL = "http://192.168.1.1:35321/rootDesc.xml"

# The readers.


def test_nat_pmp_answers() -> None:
    assert read_nat_pmp(NAT_PMP) == NatPmpAnswer(0, 0, "198.51.100.1")
    assert read_nat_pmp(bytes((0, 128, 0, 3)) + EPOCH) == NatPmpAnswer(0, 3, None)
    assert read_nat_pmp(bytes((0, 128, 1, 2)) + EPOCH + bytes(4)) == NatPmpAnswer(0, 258, None)
    assert read_nat_pmp(bytes((2, 128, 0, 1)) + bytes(20)) == NatPmpAnswer(2, 1, None)


@pytest.mark.parametrize("address", [(0, 0, 0, 0), (127, 0, 0, 1), (224, 0, 0, 1), (255, 255, 255, 255)])
def test_an_address_that_no_interface_has(address: tuple[int, ...]) -> None:
    assert read_nat_pmp(NAT_PMP[:8] + bytes(address)) == NatPmpAnswer(0, 0, None)


@pytest.mark.parametrize(
    "data", [b"", NAT_PMP[:7], NAT_PMP[:11], b"\0\0" + NAT_PMP[2:], b"\x02" + NAT_PMP[1:], NAT_PMP + bytes(1100)]
)
def test_no_nat_pmp_answer(data: bytes) -> None:
    with pytest.raises(DecodeError):
        read_nat_pmp(data)


def test_the_pcp_request() -> None:
    """RFC 6887 §7.1: version, opcode, reserved, lifetime, client address."""
    assert pcp_request("192.168.1.2").hex() == "02000000" + "00000000" + "00000000000000000000ffffc0a80102"


def test_pcp_answers() -> None:
    assert read_pcp(PCP) == PcpAnswer(2, 0)
    assert read_pcp(PCP + bytes(4)) == PcpAnswer(2, 0)
    assert read_pcp(bytes((1, 0x80, 0, 1)) + bytes(20)) == PcpAnswer(1, 1)
    assert read_pcp(bytes((0, 0x80, 0, 1)) + EPOCH) == PcpAnswer(0, 1)


@pytest.mark.parametrize("data", [b"", PCP[:23], PCP + bytes(2), pcp_request(HOST), PCP + bytes(1100)])
def test_no_pcp_answer(data: bytes) -> None:
    with pytest.raises(DecodeError):
        read_pcp(data)


def test_the_search() -> None:
    target = "ST: urn:schemas-upnp-org:device:InternetGatewayDevice:1"
    head = 'M-SEARCH * HTTP/1.1\r\nHOST: {}:1900\r\nMAN: "ssdp:discover"\r\n'
    assert ssdp_request(SSDP).decode() == head.format("239.255.255.250") + f"MX: 1\r\n{target}\r\n\r\n"
    assert ssdp_request(Address(GATEWAY, 1900)).decode() == head.format(GATEWAY) + f"{target}\r\n\r\n"


def test_ssdp_answers() -> None:
    answer = read_ssdp(IGD)
    assert answer == SsdpAnswer("urn:schemas-upnp-org:device:InternetGatewayDevice:1", URL)
    assert answer.is_gateway
    assert not read_ssdp(b"HTTP/1.1 200 OK\r\nst:upnp:rootdevice\r\n\r\n").is_gateway


@pytest.mark.parametrize(
    "url",
    [
        "",
        "https://192.168.1.1/x",
        "file:///etc/passwd",
        "http://192.168.1.1/a b",
        "http://192.168.1.1/\x1b[2J",
        "http://192.168.1.1/<x>",
        "http://192.168.1.1/é",
        "http://192.168.1.1/" + 300 * "a",
    ],
)
def test_a_url_that_is_not_passed_on(url: str) -> None:
    assert read_ssdp(IGD.replace(URL.encode(), url.encode("latin-1"))).location is None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"HTTP/1.1 404 Not Found\r\nST: x\r\n\r\n",
        ssdp_request(SSDP),
        b"HTTP/1.1 200 OK\r\n\r\n",
        IGD + bytes(5000),
    ],
)
def test_no_ssdp_answer(data: bytes) -> None:
    with pytest.raises(DecodeError):
        read_ssdp(data)


@given(st.binary(max_size=200) | st.builds(bytes.__add__, st.sampled_from([NAT_PMP, PCP, IGD]), st.binary(max_size=40)))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    for read in (read_nat_pmp, read_pcp, read_ssdp):
        try:
            read(data)
        except DecodeError:
            continue


# The questions.


class World:
    """A probe whose sockets open at once, on ports 40000 (NAT-PMP), 40001 (PCP) and 40002 (UPnP)."""

    def __init__(self) -> None:
        self.now = 0.0
        self.probe = PortmapProbe(HOST, GATEWAY)
        self.remotes: dict[int, Address | None] = {}
        self.open: set[Address] = set()
        self.sent: list[tuple[float, Datagram]] = []
        self.reports: list[PortmapReport] = []
        self.probe.start(self.now)
        self.pump()

    @property
    def report(self) -> PortmapReport:
        [found] = self.reports
        return found

    def pump(self) -> None:
        self.sent += [(self.now, datagram) for datagram in self.probe.datagrams_to_send()]
        while (event := self.probe.next_event()) is not None:
            match event:
                case SocketWanted(id=number, local=local, remote=remote):
                    assert local == Address(HOST, 0)
                    self.remotes[number] = remote
                    self.open.add(Address(HOST, 40_000 + number))
                    self.probe.socket_opened(number, Address(HOST, 40_000 + number), self.now)
                case SocketReleased(local=local):
                    self.open.remove(local)
                case PortmapObserved(report=report):
                    self.reports.append(report)
        self.sent += [(self.now, datagram) for datagram in self.probe.datagrams_to_send()]

    def answer(self, number: int, data: bytes, source: Address = SERVER) -> None:
        self.probe.receive_datagram(Datagram(source, Address(HOST, 40_000 + number), data), self.now)
        self.pump()

    def run(self) -> World:
        while (timer := self.probe.get_timer()) is not None:
            self.now = max(self.now, timer)
            self.probe.handle_timer(self.now)
            after = self.probe.get_timer()
            assert after is None or after > self.now
            self.pump()
        assert not self.open
        return self


def test_a_gateway_that_answers_everything_needs_no_second_question() -> None:
    world = World()
    assert world.remotes == {0: SERVER, 1: SERVER, 2: None}
    assert [(item.source.port, item.destination, item.data) for _, item in world.sent] == [
        (40_000, SERVER, NAT_PMP_REQUEST),
        (40_001, SERVER, pcp_request(HOST)),
        (40_002, SSDP, ssdp_request(SSDP)),
        (40_002, Address(GATEWAY, 1900), ssdp_request(Address(GATEWAY, 1900))),
    ]
    world.answer(0, NAT_PMP)
    world.answer(1, PCP)
    assert world.reports == []
    world.answer(2, IGD, Address(GATEWAY, 1900))
    assert world.report == PortmapReport(
        GATEWAY, upnp=True, nat_pmp=True, pcp=True, external_address="198.51.100.1", description_url=URL
    )
    assert world.run().now == 0.0


def test_silence_after_four_questions() -> None:
    world = World().run()
    why = "no answer to 4 requests"
    assert world.report == PortmapReport(
        GATEWAY, upnp=False, nat_pmp=False, pcp=False, reason={"upnp": why, "nat_pmp": why, "pcp": why}
    )
    assert [when for when, item in world.sent if item.data == NAT_PMP_REQUEST] == [0.0, 0.25, 0.75, 1.75]
    assert [when for when, item in world.sent if item.destination == SSDP] == [0.0, 0.5, 1.0, 1.5]
    assert world.now == 3.0


def test_a_late_answer_counts() -> None:
    world = World()
    world.now = 2.7
    world.probe.handle_timer(world.now)
    world.answer(0, NAT_PMP)
    assert world.run().report.nat_pmp is True


@pytest.mark.parametrize(
    ("number", "data", "field", "value", "reason"),
    [
        (0, bytes((0, 128, 0, 3)) + EPOCH, "nat_pmp", True, "it is there, but tells no address (result 3)"),
        (0, NAT_PMP[:8] + bytes(4), "nat_pmp", True, "it is there, but has no address outside"),
        (0, bytes((0, 128, 0, 1)) + EPOCH, "nat_pmp", False, "the gateway speaks PCP only"),
        (0, bytes((2, 128, 0, 1)) + bytes(20), "nat_pmp", False, "the gateway speaks PCP only"),
        (1, bytes((0, 128, 0, 1)) + EPOCH, "pcp", False, "the gateway speaks NAT-PMP only"),
        (1, bytes((2, 128, 0, 2)) + bytes(20), "pcp", True, "it is there, but refuses (result 2)"),
        (
            1,
            bytes((2, 128, 0, 12)) + bytes(20),
            "pcp",
            True,
            "a NAT lies between this host and the gateway (ADDRESS_MISMATCH)",
        ),
    ],
)
def test_answers_that_need_a_word(number: int, data: bytes, field: str, value: bool, reason: str) -> None:
    world = World()
    world.answer(number, data)
    report = world.run().report
    assert (getattr(report, field), report.reason[field]) == (value, reason)
    assert report.external_address is None


def test_another_device_is_not_the_gateway() -> None:
    world = World()
    world.answer(2, b"HTTP/1.1 200 OK\r\nST: upnp:rootdevice\r\n\r\n", Address(GATEWAY, 1900))
    world.answer(2, IGD, Address("192.168.1.77", 1900))
    report = world.run().report
    assert (report.upnp, report.description_url) == (False, None)
    assert report.reason["upnp"] == "the Internet gateway device at 192.168.1.77 is not the default gateway"


def test_icmp_says_that_nobody_listens() -> None:
    world = World()
    world.probe.socket_failed(0, SocketFailure.REFUSED, 0.1)
    world.probe.socket_failed(1, SocketFailure.UNREACHABLE, 0.1)
    report = world.run().report
    assert (report.nat_pmp, report.reason["nat_pmp"]) == (False, "refused (ICMP)")
    assert (report.pcp, report.reason["pcp"]) == (None, "the gateway cannot be asked: unreachable")


def test_without_a_socket_nothing_is_measured() -> None:
    probe = PortmapProbe(HOST, GATEWAY)
    probe.start(0.0)
    for number in range(3):
        assert isinstance(probe.next_event(), SocketWanted)
        probe.socket_failed(number, SocketFailure.DENIED, 0.0)
    why = "the gateway cannot be asked: denied"
    assert probe.next_event() == PortmapObserved(
        PortmapReport(GATEWAY, reason={"upnp": why, "nat_pmp": why, "pcp": why})
    )
    assert probe.get_timer() is None


def test_closed_early_the_rest_was_not_measured() -> None:
    world = World()
    world.answer(0, NAT_PMP)
    world.probe.close(0.1)
    world.probe.close(0.1)
    world.pump()
    why = "the test was cut short"
    assert world.report == PortmapReport(
        GATEWAY, nat_pmp=True, external_address="198.51.100.1", reason={"upnp": why, "pcp": why}
    )
    assert not world.open
    world.probe.socket_opened(1, Address(HOST, 40_009), 0.2)
    assert world.probe.next_event() == SocketReleased(Address(HOST, 40_009))


@pytest.mark.parametrize("source", [Address(GATEWAY, 5350), Address("192.168.1.77", 5351)])
def test_strangers_are_not_believed(source: Address) -> None:
    world = World()
    world.answer(0, NAT_PMP, source)
    world.answer(1, PCP, source)
    report = world.run().report
    assert (report.nat_pmp, report.pcp, report.external_address) == (False, False, None)
    assert world.probe.dropped == 2


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 3),
            st.binary(max_size=60) | st.sampled_from([NAT_PMP, PCP, IGD]),
            st.sampled_from([SERVER, Address("192.168.1.77", 1900)]),
        ),
        max_size=8,
    )
)
def test_any_input_ends_in_one_report(arrivals: list[tuple[int, bytes, Address]]) -> None:
    world = World()
    for number, data, source in arrivals:
        world.answer(number, data, source)
    assert world.run().report.gateway == GATEWAY


# What it tells about the NATs.


def behind(gateway: str | None, mapped: str) -> NatReport:
    sample = Sample(
        "mapping", Address(HOST, 40_000), Address("203.0.113.10", 3478), Address(mapped, 9), None, 1, 1, 0.02
    )
    return classify(NatObservations(local_hosts=(HOST,), samples=(sample,), gateway_address=gateway))


def test_the_gateway_has_the_public_address() -> None:
    report = behind("198.51.100.1", "198.51.100.1")
    assert (report.nats, report.cgnat) == (1, False)
    assert not {"nats", "cgnat"} & report.reason.keys()


def test_the_gateway_has_a_shared_address() -> None:
    report = behind("100.64.0.2", "198.51.100.1")
    assert (report.nats, report.cgnat) == (2, True)
    assert report.reason["nats"] == (
        "two at least: the gateway's own address outside is 100.64.0.2, which is not public"
    )


def test_the_gateway_has_a_private_address() -> None:
    report = behind("192.168.0.7", "198.51.100.1")
    assert (report.nats, report.cgnat) == (2, None)
    assert report.reason["cgnat"] == (
        "the gateway's own address outside is 192.168.0.7; what follows may be a carrier's NAT"
    )


def test_the_gateway_has_another_public_address() -> None:
    report = behind("198.51.100.9", "198.51.100.1")
    assert (report.nats, report.cgnat) == (None, None)
    assert report.reason["nats"] == (
        "the gateway says that its address is 198.51.100.9, a server saw 198.51.100.1: two, or two uplinks"
    )


def test_the_server_is_in_the_same_site() -> None:
    report = behind("10.0.0.7", "10.0.0.7")
    assert (report.nats, report.cgnat) == (1, None)


def test_a_gateway_that_tells_nothing() -> None:
    report = behind(None, "198.51.100.1")
    assert (report.nats, report.cgnat) == (None, None)


def test_without_a_nat() -> None:
    report = behind("192.168.0.7", HOST)
    assert (report.nats, report.cgnat) == (0, False)
