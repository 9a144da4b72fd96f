"""Questions through a relay: the first answer, then larger ones; what is no answer."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icekit.echo import EchoPeer
from icekit.net import Address
from icekit.path_mtu import PathMtu
from icekit.relay_echo import RelayEcho

SERVER = Address("203.0.113.10", 3478)


def made(server: Address = SERVER) -> RelayEcho:
    peer = EchoPeer(1, "192.168.1.2", [server], random.Random(1).randbytes, lambda local: pytest.fail("not needed"))
    return RelayEcho(peer, server)


def answer(echo: RelayEcho, question: bytes) -> bytes:
    """As the peer makes it."""
    peer = echo._peer
    assert question.startswith(peer.question)
    return peer.answer + question[len(peer.question) :]


def run(echo: RelayEcho, limit: int, seconds: float = 20.0, rtt: float = 0.03) -> list[int]:
    """Until it is silent; the lengths of the questions. What fits into ``limit`` bytes is answered."""
    now, sent, waiting = 0.0, list[int](), list[tuple[float, bytes]]()
    echo.begin(now)
    while (timer := echo.get_timer()) is not None and now < seconds:
        now = max(now, min(timer, *(when for when, _ in waiting[:1]), timer))
        if waiting and waiting[0][0] <= now:
            assert echo.hear(waiting.pop(0)[1], now)
            if echo.rtt is not None and echo.mtu is None and not echo.is_measuring:
                echo.measure(now)
        elif (question := echo.next_question(now)) is not None:
            sent.append(len(question))
            if len(question) <= limit:
                waiting.append((now + rtt, answer(echo, question)))
    return sent


def test_it_asks_until_the_answer_comes_and_then_with_a_large_packet() -> None:
    echo = made()
    sent = run(echo, 1500)
    assert echo.rtt == pytest.approx(0.03)
    # IP, UDP and the header of the channel.
    assert sent == [24, 1200 - 28 - 4]
    assert echo.mtu == PathMtu(1200)
    assert not echo.is_measuring


def test_a_question_that_left_late_was_not_waited_for() -> None:
    echo = made()
    assert echo.unanswered_for(7.0) == 0.0
    echo.begin(7.0)
    assert echo.next_question(7.0) is not None
    assert echo.next_question(7.05) is not None
    assert echo.unanswered_for(7.05) == pytest.approx(0.05)
    question = echo.next_question(9.0)
    assert question is not None
    assert echo.unanswered_for(9.0) == pytest.approx(0.1)
    assert echo.hear(answer(echo, question), 9.01)
    assert echo.unanswered_for(9.01) == 0.0


@pytest.mark.parametrize(("server", "headers"), [(SERVER, 32), (Address("2001:db8::10", 3478), 52)])
def test_a_narrow_relay(server: Address, headers: int) -> None:
    echo = made(server)
    sent = run(echo, 900 - headers)
    assert echo.mtu is not None
    assert echo.mtu.passed <= 900 < (echo.mtu.lost or 0)
    assert max(sent) == 1200 - headers


def test_without_an_answer_it_goes_on_until_it_is_stopped() -> None:
    echo = made()
    assert len(run(echo, 0, seconds=0.97)) == 21
    assert echo.rtt is None
    echo.stop()
    assert echo.get_timer() is None
    assert echo.next_question(5.0) is None


@given(st.binary(max_size=40), st.booleans())
def test_what_is_no_answer_counts_for_nothing(data: bytes, marked: bool) -> None:
    echo = made()
    echo.begin(0.0)
    question = echo.next_question(0.0)
    assert question is not None
    data = echo._peer.answer + data if marked else data
    if data != answer(echo, question):
        assert not echo.hear(data, 0.1)
        assert echo.rtt is None
    assert echo.hear(answer(echo, question), 0.1)


def test_an_answer_of_another_length_is_none() -> None:
    echo = made()
    run(echo, 1500)
    number = (1).to_bytes(2)
    assert not echo.hear(echo._peer.answer + number, 9.0)
    assert not echo.hear(echo._peer.answer + number + bytes(2000), 9.0)
    assert echo.mtu == PathMtu(1200)
