from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icekit import attributes as attr
from icekit.net import (
    Address,
    Datagram,
    SocketFailure,
    SocketReleased,
    SocketWanted,
    StreamFailure,
    StreamReleased,
    StreamWanted,
    Transport,
)
from icekit.reachability import CheckEvent, ServerCheck, ServerChecked, Target
from icekit.report import ServerReport
from icekit.stun import Class, Message, decode, failure, success

SERVER = Address("203.0.113.10", 3478)
LOCAL = Address("192.168.1.2", 5000)
MAPPED = Address("198.51.100.2", 40_000)
UDP, TCP, TLS = Transport.UDP, Transport.TCP, Transport.TLS


def started(transport: Transport = UDP, **changes: object) -> ServerCheck:
    target = Target("stun:x", SERVER, transport, "stun.example.org")
    check = ServerCheck(replace(target, **changes), LOCAL.host, Random(1).randbytes, interface="eth0")  # type: ignore[arg-type]
    check.start(10.0)
    return check


def opened(transport: Transport = UDP, **changes: object) -> ServerCheck:
    """Started, with its socket or stream open 50 ms later."""
    check = started(transport, **changes)
    check.next_event()
    if transport is UDP:
        check.socket_opened(0, LOCAL, 10.05)
    else:
        check.stream_opened(0, LOCAL, SERVER, 10.05)
    return check


def asked(check: ServerCheck) -> Message:
    [datagram] = check.datagrams_to_send()
    assert (datagram.source, datagram.destination) == (LOCAL, SERVER)
    return decode(datagram.data)


def answer(check: ServerCheck, data: bytes, transport: Transport = UDP, source: Address = SERVER) -> None:
    check.receive_datagram(Datagram(source, LOCAL, data, transport), 10.07)


def drain(check: ServerCheck) -> list[CheckEvent]:
    events = []
    while (event := check.next_event()) is not None:
        events.append(event)
    return events


def result(check: ServerCheck) -> ServerReport:
    """The report of a check that is over: its socket is given back, and nothing more comes."""
    check.datagrams_to_send()
    [*released, checked] = drain(check)
    assert isinstance(checked, ServerChecked)
    assert len(released) <= 1
    assert all(isinstance(event, (SocketReleased, StreamReleased)) for event in released)
    assert check.get_timer() is None
    check.handle_timer(99.0)
    check.close(99.0)
    assert (drain(check), check.datagrams_to_send()) == ([], [])
    return checked.report


def run_out(check: ServerCheck) -> float:
    """Let the time pass; when it gave up."""
    now = 10.0
    while (timer := check.get_timer()) is not None:
        assert timer > now or now == 10.0
        now = timer
        check.handle_timer(now)
    return now


def test_an_answer_over_udp() -> None:
    check = started()
    assert check.next_event() == SocketWanted(0, Address(LOCAL.host, 0), SERVER)
    check.socket_opened(0, LOCAL, 10.05)
    items = (attr.XOR_MAPPED_ADDRESS(MAPPED), attr.SOFTWARE("test"), attr.OTHER_ADDRESS(Address("203.0.113.11", 3479)))
    answer(check, success(asked(check), *items).encode())
    assert result(check) == ServerReport(
        "stun:x",
        "203.0.113.10:3478",
        "udp",
        True,
        pytest.approx(0.02),
        str(MAPPED),
        True,
        None,
        "eth0",
        "test",
        pytest.approx(0.07),
    )


@pytest.mark.parametrize("transport", [TCP, TLS])
def test_an_answer_over_a_stream_in_pieces(transport: Transport) -> None:
    check = started(transport)
    assert check.next_event() == StreamWanted(0, LOCAL.host, SERVER, transport, "stun.example.org")
    check.stream_connected(0, 10.03)
    check.stream_opened(0, LOCAL, SERVER, 10.05)
    data = success(asked(check), attr.MAPPED_ADDRESS(MAPPED)).encode()
    for byte in data:
        answer(check, bytes([byte]), transport)
    events = drain(check)
    assert events[0] == StreamReleased(0)
    checked = events[1]
    assert isinstance(checked, ServerChecked)
    assert checked.connected == pytest.approx(0.05)
    report = checked.report
    assert (report.reachable, report.mapped_address, report.behavior_discovery) == (True, str(MAPPED), False)


def test_an_open_port_is_enough_if_that_was_the_question() -> None:
    check = opened(TCP, connect_only=True)
    assert check.datagrams_to_send() == []
    report = result(check)
    assert (report.reachable, report.rtt, report.seconds, report.error) == (True, None, pytest.approx(0.05), None)


def test_a_refusal_is_an_answer() -> None:
    check = opened()
    answer(check, failure(asked(check), 401).encode())
    report = result(check)
    assert (report.reachable, report.error) == (True, "401: Unauthenticated")


@pytest.mark.parametrize("failed", SocketFailure)
def test_icmp_and_local_policy(failed: SocketFailure) -> None:
    check = opened()
    check.socket_failed(0, failed, 10.06)
    report = result(check)
    assert report.reachable is False
    assert (report.error or "").startswith(f"{failed}: ")


@pytest.mark.parametrize("transport", [TCP, TLS])
def test_a_stream_that_fails_or_hangs_up(transport: Transport) -> None:
    closed = started(transport)
    closed.stream_closed(0, StreamFailure.REFUSED, 10.05, "connection refused")
    assert result_after_wanted(closed).error == "refused: connection refused"
    hung_up = opened(transport)
    hung_up.stream_closed(0, StreamFailure.CLOSED, 10.06)
    report = result(hung_up)
    assert (report.reachable, report.error) == (False, "closed: the server hung up without an answer")


def result_after_wanted(check: ServerCheck) -> ServerReport:
    assert isinstance(check.next_event(), (SocketWanted, StreamWanted))
    return result(check)


def test_silence_over_udp() -> None:
    check = opened()
    assert run_out(check) == pytest.approx(10.05 + 3.0)
    assert len(check.datagrams_to_send()) == 6
    report = result(check)
    assert (report.reachable, report.error, report.seconds) == (False, "timeout: no answer", pytest.approx(3.05))


def test_silence_over_tcp() -> None:
    check = started(TCP)
    assert run_out(check) == pytest.approx(13.0)
    assert result_after_wanted(check).error == "timeout: no answer"
    mute = opened(TCP)
    assert run_out(mute) == pytest.approx(10.05 + 3.0)
    assert len(mute.datagrams_to_send()) == 1
    assert result(mute).error == "timeout: connected, but no answer to STUN"


@pytest.mark.parametrize(
    ("transport", "server", "seconds"),
    [
        (UDP, SERVER, 0.5 + 2.5 * 0.04 + 0.1),
        (UDP, Address(SERVER.host, 443), 0.5 + 2.5 * 0.04 + 0.1),
        (UDP, Address("203.0.113.99", 3478), 0.5 + 2.5 * 0.04 + 0.1 + 0.3),
        # The second SYN leaves after a second.
        (TCP, SERVER, 1.0 + 2.5 * 0.04 + 0.1),
        (TLS, Address("203.0.113.99", 3478), 1.0 + 2.5 * 0.04 + 0.1 + 0.3),
    ],
)
def test_the_answer_of_another_shortens_the_wait(transport: Transport, server: Address, seconds: float) -> None:
    check = started(transport)
    check.next_event()
    if transport is UDP:
        check.socket_opened(0, LOCAL, 10.0)
    check.expect_rtt(server, 0.04)
    check.expect_rtt(Address("203.0.113.98", 1), 0.5)
    assert run_out(check) == pytest.approx(10.0 + seconds)
    assert len(check.datagrams_to_send()) in ((5, 6) if transport is UDP else (0,))
    assert result(check).error == "timeout: no answer"


def test_tls_that_has_begun_has_its_own_time() -> None:
    check = started(TLS)
    check.stream_connected(0, 10.9)
    check.expect_rtt(SERVER, 0.001)
    assert check.get_timer() == pytest.approx(13.9)
    mute = opened(TCP)
    mute.expect_rtt(SERVER, 0.001)
    assert mute.get_timer() == pytest.approx(13.05)


def test_closed_early_it_is_not_measured() -> None:
    check = opened()
    check.close(10.06)
    report = result(check)
    assert (report.reachable, report.error) == (None, "interrupted")
    late = started()
    late.close(10.01)
    drain(late)
    late.socket_opened(0, LOCAL, 10.02)
    assert drain(late) == [SocketReleased(LOCAL)]
    stream = started(TCP)
    stream.close(10.01)
    drain(stream)
    stream.stream_connected(0, 10.02)
    stream.stream_opened(0, LOCAL, SERVER, 10.02)
    stream.stream_closed(0, StreamFailure.CLOSED, 10.03)
    assert (drain(stream), stream.get_timer()) == ([], None)


@pytest.mark.parametrize("number", [attr.XOR_MAPPED_ADDRESS.type, attr.MAPPED_ADDRESS.type, attr.SOFTWARE.type])
def test_a_malformed_attribute_does_not_hang_the_check(number: int) -> None:
    check = opened()
    answer(check, success(asked(check), (number, b"\xff")).encode())
    report = result(check)
    assert (report.reachable, report.mapped_address, report.software) == (True, None, None)


def test_garbage_over_udp_is_dropped_and_over_a_stream_ends_it() -> None:
    check = opened()
    request = asked(check)
    answer(check, b"garbage")
    answer(check, success(request).encode(), source=Address("203.0.113.99", 3478))
    answer(check, Message(1, Class.SUCCESS, bytes(12)).encode())
    assert (drain(check), check.dropped) == ([], 1)
    answer(check, success(request).encode())
    assert result(check).reachable is True
    stream = opened(TCP)
    stream.datagrams_to_send()
    answer(stream, b"SSH-2.0-OpenSSH_9.2\r\n", TCP)
    report = result(stream)
    assert report.reachable is False
    assert (report.error or "").startswith("not-stun: ")


@pytest.mark.parametrize("kind", ["garbage", "echo", "foreign"])
@pytest.mark.parametrize("hurried", [True, False])
def test_what_answers_but_not_stun_over_udp_is_no_silence(kind: str, hurried: bool) -> None:
    check = opened()
    request = asked(check)
    data = {"garbage": b"garbage", "echo": request.encode(), "foreign": Message(1, Class.SUCCESS, bytes(12)).encode()}
    answer(check, data[kind])
    if hurried:
        check.expect_rtt(SERVER, 0.05)
    run_out(check)
    report = result(check)
    assert (report.reachable, report.error) == (False, "not-stun: it answers, but not STUN")


def test_a_stranger_does_not_speak_for_the_server() -> None:
    check = opened()
    answer(check, b"garbage", source=Address("203.0.113.10", 3479))
    run_out(check)
    assert result(check).error == "timeout: no answer"


@given(st.sampled_from([UDP, TCP]), st.lists(st.binary(max_size=64), max_size=5), st.binary(max_size=30))
@settings(max_examples=100, deadline=None)
def test_any_input(transport: Transport, pieces: list[bytes], tail: bytes) -> None:
    check = opened(transport)
    request = asked(check)
    for piece in pieces:
        answer(check, piece, transport)
    answer(check, success(request, (0x8022, tail)).encode(), transport)
    assert run_out(check) <= 13.1
    check.datagrams_to_send()
    assert result(check).seconds is not None
