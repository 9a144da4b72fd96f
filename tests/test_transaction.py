"""Client transactions in virtual time: retransmission, matching, the long-term credential dance (RFC 8489 §6, §9.2)."""

from __future__ import annotations

import random
from collections.abc import Hashable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icekit import attributes as attr
from icekit.attributes import ErrorCode, Item, PasswordAlgorithm
from icekit.errors import InvalidState
from icekit.long_term_credential import LongTermCredential
from icekit.net import Address, Datagram, Transport
from icekit.pacing import Floor, Pacer
from icekit.stun import (
    Class,
    Integrity,
    IntegrityKey,
    Message,
    Method,
    SecurityFeatures,
    decode,
    failure,
    long_term_key,
    make_nonce,
    success,
)
from icekit.transaction import (
    Challenged,
    Outcome,
    Path,
    Refused,
    Schedule,
    Succeeded,
    TimedOut,
    Transactions,
)

LOCAL = Address("192.0.2.1", 5000)
SERVER = Address("198.51.100.1", 3478)
ELSEWHERE = Address("198.51.100.2", 3479)
MAPPED = Address("203.0.113.5", 6000)
BOTH_FEATURES = SecurityFeatures.PASSWORD_ALGORITHMS | SecurityFeatures.USERNAME_ANONYMITY
SHA256_FIRST = ((2, b""), (1, b""))


class Bench:
    """A table of transactions, a clock, and the other end of the wire."""

    def __init__(self, transport: Transport = Transport.UDP, *, max_open: int = 1024) -> None:
        self.table = Transactions(random.Random(1).randbytes, max_open=max_open)
        self.path = Path(LOCAL, SERVER, transport)
        self.now = 1000.0

    def send(
        self,
        tag: Hashable = "tag",
        credential: LongTermCredential | None = None,
        *,
        schedule: Schedule | None = None,
        any_source: bool = False,
    ) -> Message:
        schedule = schedule or Schedule.exponential()
        method = Method.BINDING if credential is None else Method.ALLOCATE
        self.table.send(tag, method, self.path, (), schedule, self.now, credential=credential, any_source=any_source)
        return self.sent()

    def sent(self) -> Message:
        (datagram,) = self.table.datagrams_to_send()
        assert (datagram.source, datagram.destination, datagram.transport) == tuple(self.path)
        return decode(datagram.data)

    def answer(
        self, response: Message, key: IntegrityKey | None = None, *, source: Address = SERVER, local: Address = LOCAL
    ) -> list[Outcome]:
        data = response.encode(key)
        datagram = Datagram(source, local, data, self.path.transport)
        return self.table.receive(decode(data), datagram, self.now)

    def run(self, until: float) -> tuple[list[float], list[Outcome]]:
        """Timers at their times: when something was sent (after the start), and the outcomes."""
        sent, outcomes = [], []
        while (timer := self.table.get_timer()) is not None and timer <= until:
            self.now = timer
            outcomes += self.table.handle_timer(self.now)
            assert (later := self.table.get_timer()) is None or later > self.now
            sent += [self.now for _ in self.table.datagrams_to_send()]
        self.now = until
        return sent, outcomes


def challenge(
    asked: Message, code: int = 401, *, nonce: bytes = b"n1", realm: str | None = "r", items: tuple[Item, ...] = ()
) -> Message:
    realms = () if realm is None else (attr.REALM(realm),)
    return failure(asked, code, *realms, attr.NONCE(nonce), *items)


def md5_key(password: str = "secret", realm: str = "r") -> IntegrityKey:
    return long_term_key("alice", realm, password)


def alice() -> LongTermCredential:
    return LongTermCredential("alice", "secret")


# Schedules (RFC 8489 §6.2.1: the example with the default values is 0, 500, 1500 … 31500 ms and 39500 ms).


def test_the_default_schedule_is_the_rfcs_example() -> None:
    bench = Bench()
    bench.send()
    sent, outcomes = bench.run(1100.0)
    assert sent == [1000.5, 1001.5, 1003.5, 1007.5, 1015.5, 1031.5]
    assert outcomes == [TimedOut("tag", 7, 39.5)]
    assert bench.table.get_timer() is None
    assert len(bench.table) == 0


@pytest.mark.parametrize("transport", [Transport.TCP, Transport.TLS])
def test_over_a_stream_nothing_is_sent_twice(transport: Transport) -> None:
    bench = Bench(transport)
    bench.send()
    assert bench.run(1100.0) == ([], [TimedOut("tag", 1, 39.5)])


def test_over_dtls_requests_are_repeated() -> None:
    bench = Bench(Transport.DTLS)
    bench.send()
    assert len(bench.run(1100.0)[0]) == 6


def test_an_even_schedule() -> None:
    bench = Bench()
    bench.send(schedule=Schedule.even(4, 0.25, 1.0))
    sent, outcomes = bench.run(1100.0)
    assert sent == [1000.25, 1000.5, 1000.75]
    assert outcomes == [TimedOut("tag", 4, 1.75)]


def test_a_late_timer_neither_bursts_nor_gives_up_unasked() -> None:
    bench = Bench()
    bench.send()
    # The process was stopped for a minute.
    assert bench.table.handle_timer(1060.0) == []
    assert len(bench.table.datagrams_to_send()) == 1
    assert bench.table.get_timer() == 1061.0
    sent, outcomes = bench.run(2000.0)
    assert sent == [1061.0, 1063.0, 1067.0, 1075.0, 1091.0]
    assert outcomes == [TimedOut("tag", 7, 99.0)]


def test_an_early_timer_is_harmless() -> None:
    bench = Bench()
    bench.send()
    assert bench.table.handle_timer(1000.4) == []
    assert bench.table.datagrams_to_send() == []


# Matching.


def test_a_success_has_its_round_trip_time() -> None:
    bench = Bench()
    asked = bench.send()
    bench.now = 1000.125
    response = success(asked, attr.XOR_MAPPED_ADDRESS(MAPPED))
    (outcome,) = bench.answer(response)
    assert isinstance(outcome, Succeeded)
    assert (outcome.tag, outcome.source, outcome.path, outcome.sent) == ("tag", SERVER, bench.path, 1)
    assert (outcome.rtt, outcome.seconds) == (0.125, 0.125)
    assert outcome.response.get(attr.XOR_MAPPED_ADDRESS) == MAPPED


def test_after_a_retransmission_the_round_trip_time_is_unknown() -> None:
    bench = Bench()
    asked = bench.send()
    bench.run(1000.75)
    (outcome,) = bench.answer(success(asked))
    assert isinstance(outcome, Succeeded)
    assert (outcome.rtt, outcome.seconds, outcome.sent) == (None, 0.75, 2)


def test_duplicates_and_late_answers_are_dropped() -> None:
    bench = Bench()
    first, second = bench.send("one"), bench.send("two")
    assert len(bench.answer(success(first))) == 1
    assert bench.answer(success(first)) == []
    bench.run(1100.0)
    assert bench.answer(success(second)) == []
    assert bench.table.dropped == 2


def test_what_is_not_the_answer_is_dropped() -> None:
    bench = Bench()
    asked = bench.send()
    other_id = Message(asked.method, Class.SUCCESS, bytes(12))
    other_method = Message(Method.REFRESH, Class.SUCCESS, asked.transaction_id)
    for message in (other_id, other_method, asked, Message(asked.method, Class.INDICATION, asked.transaction_id)):
        assert bench.answer(message) == []
    assert bench.answer(success(asked), source=ELSEWHERE) == []
    assert bench.answer(success(asked), local=Address("192.0.2.1", 5001)) == []
    data = success(asked).encode()
    assert bench.table.receive(decode(data), Datagram(SERVER, LOCAL, data, Transport.TCP), bench.now) == []
    assert bench.table.dropped == 7
    assert len(bench.answer(success(asked))) == 1


def test_an_answer_from_elsewhere_where_that_was_asked_for() -> None:
    bench = Bench()
    asked = bench.send(any_source=True)
    (outcome,) = bench.answer(success(asked), source=ELSEWHERE)
    assert isinstance(outcome, Succeeded)
    assert outcome.source == ELSEWHERE


def test_an_error_without_credentials_is_told_at_once() -> None:
    bench = Bench()
    asked = bench.send()
    bench.now += 0.5
    response = failure(asked, 400)
    assert bench.answer(response) == [Refused("tag", response, ErrorCode(400, "Bad Request"), False, 1, 0.5)]


@pytest.mark.parametrize("kind", [Class.SUCCESS, Class.ERROR])
def test_an_attribute_that_must_be_known_fails_the_request(kind: Class) -> None:
    bench = Bench()
    asked = bench.send()
    (outcome,) = bench.answer(Message(asked.method, kind, asked.transaction_id, ((0x7001, b""),)))
    assert isinstance(outcome, Refused)
    assert outcome.error == ErrorCode(500, "the answer has attributes that we must know and do not: 0x7001")
    assert len(bench.table) == 0


def test_an_error_response_without_a_code_is_a_500() -> None:
    bench = Bench()
    asked = bench.send()
    (outcome,) = bench.answer(Message(asked.method, Class.ERROR, asked.transaction_id))
    assert isinstance(outcome, Refused)
    assert outcome.error.code == 500


def test_cancel_tag_of_and_tags() -> None:
    bench = Bench()
    one = bench.send("one")
    bench.send("two")
    bench.run(1000.6)
    assert bench.table.tag_of(one.transaction_id) == "one"
    assert bench.table.tag_of(bytes(12)) is None
    assert bench.table.tags() == {"one", "two"}
    assert bench.table.cancel("one") == 2
    assert bench.table.cancel("one") == 0
    assert bench.table.tags() == {"two"}


def test_the_table_is_bounded() -> None:
    bench = Bench(max_open=2)
    bench.send("one")
    bench.send("two")
    with pytest.raises(InvalidState):
        bench.send("three")
    assert len(bench.table) == 2


def test_hush_listens_and_sends_nothing() -> None:
    bench = Bench()
    asked = bench.send("allocate", alice())
    bench.run(1000.6)
    bench.table.hush("allocate", bench.now, 2.0)
    assert bench.run(1002.5) == ([], [])
    # A challenge is an answer now, and not followed.
    (outcome,) = bench.answer(challenge(asked))
    assert isinstance(outcome, Refused)
    assert bench.table.datagrams_to_send() == []
    bench.send("allocate", alice())
    bench.table.hush("allocate", bench.now, 2.0)
    sent, (timed_out,) = bench.run(1100.0)
    assert sent == []
    assert timed_out == TimedOut("allocate", 1, 2.0)


# The long-term credential mechanism (RFC 8489 §9.2).


def signed_in(bench: Bench, credential: LongTermCredential | None = None) -> tuple[LongTermCredential, Message]:
    """After 401: the credential and the signed request."""
    credential = credential or alice()
    asked = bench.send("tag", credential)
    assert bench.answer(challenge(asked)) == [Challenged("tag", "r", 0.0)]
    return credential, bench.sent()


def test_a_challenge_is_answered_with_a_new_transaction() -> None:
    bench = Bench()
    asked = bench.send("tag", alice())
    assert not asked.has_integrity()
    assert [number for number, _ in asked.attributes] == []
    bench.now += 0.25
    assert bench.answer(challenge(asked)) == [Challenged("tag", "r", 0.25)]
    signed = bench.sent()
    assert signed.transaction_id != asked.transaction_id
    assert (signed.get(attr.USERNAME), signed.get(attr.REALM), signed.get(attr.NONCE)) == ("alice", "r", b"n1")
    assert not signed.has(attr.USERHASH)
    assert not signed.has(attr.PASSWORD_ALGORITHM)
    assert signed.verify(md5_key())
    bench.now += 0.25
    (outcome,) = bench.answer(success(signed), md5_key())
    assert isinstance(outcome, Succeeded)
    assert (outcome.seconds, outcome.rtt) == (0.5, 0.25)


def test_later_requests_are_signed_at_once() -> None:
    bench = Bench()
    credential, signed = signed_in(bench)
    bench.answer(success(signed), md5_key())
    assert bench.send("next", credential).verify(md5_key())


def test_a_second_401_is_final() -> None:
    bench = Bench()
    _, signed = signed_in(bench)
    response = challenge(signed, nonce=b"n2")
    assert bench.answer(response) == [Refused("tag", response, ErrorCode(401, "Unauthenticated"), True, 1, 0.0)]
    assert bench.table.datagrams_to_send() == []


def test_a_stale_nonce_is_followed_once() -> None:
    bench = Bench()
    credential, signed = signed_in(bench)
    assert bench.answer(challenge(signed, 438, nonce=b"n2", realm=None)) == [Challenged("tag", "r", 0.0)]
    again = bench.sent()
    assert again.get(attr.NONCE) == b"n2"
    assert again.verify(md5_key())
    (outcome,) = bench.answer(challenge(again, 438, nonce=b"n3"))
    assert isinstance(outcome, Refused)
    assert (outcome.error.code, outcome.signed) == (438, True)
    # Each request has its own attempt.
    later = bench.send("later", credential)
    assert bench.answer(challenge(later, 438, nonce=b"n4")) == [Challenged("later", "r", 0.0)]


@pytest.mark.parametrize(
    "items",
    [
        (attr.REALM("r"),),
        (attr.NONCE(b"n"),),
        (),
        (attr.REALM("r"), (attr.NONCE.type, bytes(764))),
        ((attr.REALM.type, b"\xff"), attr.NONCE(b"n")),
        # The realm is not one (RFC 8265: control characters).
        (attr.REALM("a\x00b"), attr.NONCE(b"n")),
    ],
    ids=["no nonce", "no realm", "neither", "long nonce", "no utf-8", "control character"],
)
def test_a_challenge_that_cannot_be_answered_is_a_refusal(items: tuple[Item, ...]) -> None:
    bench = Bench()
    asked = bench.send("tag", alice())
    (outcome,) = bench.answer(failure(asked, 401, *items))
    assert isinstance(outcome, Refused)
    assert (outcome.error.code, outcome.signed) == (401, False)


def test_an_empty_realm_is_answered() -> None:
    bench = Bench()
    asked = bench.send("tag", alice())
    assert bench.answer(challenge(asked, realm="")) == [Challenged("tag", "", 0.0)]
    assert bench.sent().verify(md5_key(realm=""))


def test_without_a_credential_401_is_a_refusal() -> None:
    bench = Bench()
    (outcome,) = bench.answer(challenge(bench.send()))
    assert isinstance(outcome, Refused)


@pytest.mark.parametrize("wrong", ["absent", "wrong key", "wrong kind"])
def test_a_success_without_right_integrity_is_ignored_over_udp(wrong: str) -> None:
    bench = Bench()
    _, signed = signed_in(bench)
    keys = {
        "absent": None,
        "wrong key": md5_key("guess"),
        "wrong kind": long_term_key("alice", "r", "secret", PasswordAlgorithm.SHA256, Integrity.SHA256),
    }
    assert bench.answer(success(signed), keys[wrong]) == []
    assert bench.table.dropped == 1
    assert len(bench.answer(success(signed), md5_key())) == 1


def test_when_nothing_better_comes_the_violated_integrity_is_told() -> None:
    bench = Bench()
    _, signed = signed_in(bench)
    assert bench.answer(success(signed)) == []
    _, (outcome,) = bench.run(1100.0)
    assert isinstance(outcome, Refused)
    assert not outcome.authentic
    assert outcome.error == ErrorCode(500, "the answer's MESSAGE-INTEGRITY is missing or wrong")
    assert (outcome.sent, outcome.seconds) == (7, 39.5)


def test_an_unsigned_error_is_told_when_nothing_better_comes() -> None:
    bench = Bench()
    _, signed = signed_in(bench)
    assert bench.answer(failure(signed, 486)) == []
    assert bench.answer(failure(signed, 400)) == []
    _, (outcome,) = bench.run(1100.0)
    assert isinstance(outcome, Refused)
    assert (outcome.error.code, outcome.signed, outcome.authentic) == (400, True, False)


def test_a_signed_error_is_told_at_once() -> None:
    bench = Bench()
    _, signed = signed_in(bench)
    (outcome,) = bench.answer(failure(signed, 486), md5_key())
    assert isinstance(outcome, Refused)
    assert (outcome.error.code, outcome.authentic) == (486, True)


def test_over_a_stream_violated_integrity_ends_the_request() -> None:
    bench = Bench(Transport.TCP)
    _, signed = signed_in(bench)
    (outcome,) = bench.answer(success(signed), md5_key("guess"))
    assert isinstance(outcome, Refused)
    assert not outcome.authentic
    assert len(bench.table) == 0


# PASSWORD-ALGORITHMS and USERHASH.


@pytest.mark.parametrize(
    ("offer", "chosen"),
    [(SHA256_FIRST, PasswordAlgorithm.SHA256), (((1, b""), (2, b"")), 1), (((9, b"xy"), (2, b"")), 2)],
)
def test_the_first_known_algorithm_is_taken(offer: tuple[tuple[int, bytes], ...], chosen: int) -> None:
    bench = Bench()
    asked = bench.send("tag", alice())
    nonce = make_nonce(SecurityFeatures.PASSWORD_ALGORITHMS, b"rest")
    bench.answer(challenge(asked, nonce=nonce, items=(attr.PASSWORD_ALGORITHMS(offer),)))
    signed = bench.sent()
    assert signed.get(attr.PASSWORD_ALGORITHMS) == offer
    assert signed.get(attr.PASSWORD_ALGORITHM) == (chosen, b"")
    assert signed.get(attr.USERNAME) == "alice"
    key = long_term_key("alice", "r", "secret", PasswordAlgorithm(chosen), Integrity.SHA256)
    assert signed.verify(key)
    # RFC 8489 §9.2.5: SHA-256 only, from now on.
    assert not signed.has_integrity(Integrity.SHA1)
    assert bench.answer(success(signed), md5_key()) == []
    assert len(bench.answer(success(signed), key)) == 1


def test_an_offer_without_the_nonce_bit_is_an_offer() -> None:
    bench = Bench()
    asked = bench.send("tag", alice())
    bench.answer(challenge(asked, items=(attr.PASSWORD_ALGORITHMS(SHA256_FIRST),)))
    assert bench.sent().get(attr.PASSWORD_ALGORITHM) == (2, b"")


@pytest.mark.parametrize(
    "items",
    [
        (),
        (attr.PASSWORD_ALGORITHMS(((9, b""),)),),
        (attr.PASSWORD_ALGORITHMS(()),),
        (attr.PASSWORD_ALGORITHMS(((2, b"parameters"),)),),
        ((attr.PASSWORD_ALGORITHMS.type, b"\0\2\0\7x"),),
        # It would have to be sent back, and would not fit.
        (attr.PASSWORD_ALGORITHMS(((2, b""), (9, bytes(60000)))),),
    ],
    ids=["removed", "unknown", "empty", "parameters", "malformed", "huge"],
)
@pytest.mark.parametrize("code", [401, 438])
def test_bidding_down_is_not_followed(items: tuple[Item, ...], code: int) -> None:
    bench = Bench()
    asked = bench.send("tag", alice())
    nonce = make_nonce(SecurityFeatures.PASSWORD_ALGORITHMS, b"rest")
    (outcome,) = bench.answer(challenge(asked, code, nonce=nonce, items=items))
    assert isinstance(outcome, Refused)
    assert outcome.error.code == code
    assert bench.table.datagrams_to_send() == []


def test_a_stale_nonce_without_an_offer_does_not_bid_down_what_was_offered_before() -> None:
    """RFC 8489 §9.2.5: after PASSWORD-ALGORITHMS only MESSAGE-INTEGRITY-SHA256; anybody on the way can write a 438."""
    bench = Bench()
    credential = alice()
    asked = bench.send("tag", credential)
    nonce = make_nonce(SecurityFeatures.PASSWORD_ALGORITHMS, b"rest")
    bench.answer(challenge(asked, nonce=nonce, items=(attr.PASSWORD_ALGORITHMS(SHA256_FIRST),)))
    key = long_term_key("alice", "r", "secret", PasswordAlgorithm.SHA256, Integrity.SHA256)
    bench.answer(success(bench.sent()), key)
    stale = bench.send("next", credential)
    assert bench.answer(challenge(stale, 438, nonce=b"plain")) == [Challenged("next", "r", 0.0)]
    again = bench.sent()
    assert (again.get(attr.NONCE), again.get(attr.PASSWORD_ALGORITHM)) == (b"plain", (2, b""))
    assert again.verify(key)
    assert not again.has_integrity(Integrity.SHA1)


def test_other_answers_with_the_bit_but_no_offer_are_ignored() -> None:
    bench = Bench()
    _, signed = signed_in(bench)
    nonce = attr.NONCE(make_nonce(SecurityFeatures.PASSWORD_ALGORITHMS, b"rest"))
    assert bench.answer(success(signed, nonce), md5_key()) == []
    assert len(bench.answer(success(signed, nonce, attr.PASSWORD_ALGORITHMS(SHA256_FIRST)), md5_key())) == 1


def test_secrets_are_in_no_text(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    bench = Bench()
    credential, signed = signed_in(bench, LongTermCredential("alice", "hunter2hunter2"))
    bench.answer(success(signed))
    bench.run(1100.0)
    texts = [caplog.text, repr(credential), repr(credential.key), str(bench.table.tags())]
    assert "ALLOCATE" in caplog.text
    assert not any("hunter2" in text for text in texts)


@st.composite
def answers(draw: st.DrawFn) -> tuple[int, Class, tuple[Item, ...], int]:
    numbers = st.sampled_from([attr.ERROR_CODE.type, attr.REALM.type, attr.NONCE.type, 0x8002, 0x0020, 0x7FFF, 0x8888])
    items = draw(st.lists(st.tuples(numbers, st.binary(max_size=24)), max_size=5))
    code = draw(st.sampled_from([300, 400, 401, 437, 438, 500]))
    known: list[Item] = [
        attr.ERROR_CODE(ErrorCode(code, "x")),
        attr.REALM("r"),
        attr.NONCE(draw(st.binary(max_size=20))),
    ]
    mixed = draw(st.permutations([*items, *known]))
    kind = draw(st.sampled_from([Class.SUCCESS, Class.ERROR]))
    return draw(st.integers(0, 3)), kind, tuple(mixed), draw(st.integers(0, 2))


@settings(max_examples=150, deadline=None)
@given(st.lists(answers(), max_size=12))
def test_whatever_a_server_answers_nothing_is_raised_and_every_request_ends(
    script: list[tuple[int, Class, tuple[Item, ...], int]],
) -> None:
    bench = Bench()
    credential = alice()
    for tag in range(3):
        bench.send(tag, credential)
    asked: list[Message] = []
    ended: list[Hashable] = []
    keys = [None, md5_key(), md5_key("guess")]
    for which, kind, items, key in script:
        asked += [decode(datagram.data) for datagram in bench.table.datagrams_to_send()]
        opened = list(bench.table._open)
        if opened:
            transaction_id = opened[which % len(opened)]
            for outcome in bench.answer(Message(Method.ALLOCATE, kind, transaction_id, items), keys[key]):
                ended += [] if isinstance(outcome, Challenged) else [outcome.tag]
    _, outcomes = bench.run(2000.0)
    assert sorted([*ended, *(outcome.tag for outcome in outcomes)]) == [0, 1, 2]
    assert bench.table.get_timer() is None


# Fresh transactions of the same request.

FRESH = Schedule((0.0, 0.5), 2.0, (0.05, 0.1, 0.2))


def times_of_sending(bench: Bench, until: float) -> list[tuple[float, bytes]]:
    """Seconds and identifier of everything that leaves by timer; nobody answers."""
    began, found = bench.now, []
    while (timer := bench.table.get_timer()) is not None and timer - began <= until:
        bench.now = timer
        bench.table.handle_timer(timer)
        left = bench.table.get_timer()
        assert left is None or left > timer
        found += [
            (round(timer - began, 6), decode(item.data).transaction_id) for item in bench.table.datagrams_to_send()
        ]
    return found


def test_without_an_answer_the_request_is_sent_as_further_transactions() -> None:
    bench = Bench()
    first = bench.send(schedule=FRESH).transaction_id
    sent = times_of_sending(bench, 1.0)
    assert [when for when, _ in sent] == [0.05, 0.1, 0.2, 0.5]
    # Each is a transaction of its own; what is sent again is the first.
    assert len({first, *(name for _, name in sent)}) == 4
    assert sent[-1][1] == first


def test_fresh_transactions_wait_for_a_slot_that_nobody_else_took() -> None:
    bench = Bench()
    pacer = Pacer(0.08, Floor(0.0))
    bench.table = Transactions(random.Random(1).randbytes, pacer=pacer)
    pacer.take(bench.now)
    bench.send(schedule=FRESH)
    assert [when for when, _ in times_of_sending(bench, 1.0)] == [0.155, 0.235, 0.5]


def test_an_answer_to_any_of_them_counts_and_tells_its_round_trip_time() -> None:
    for index in range(3):
        bench = Bench()
        asked = [bench.send(schedule=FRESH)]
        for _ in range(2):
            bench.now = bench.table.get_timer() or 0.0
            bench.table.handle_timer(bench.now)
            asked.append(bench.sent())
        bench.now += 0.02
        (outcome,) = bench.answer(success(asked[index], attr.XOR_MAPPED_ADDRESS(MAPPED)))
        assert isinstance(outcome, Succeeded)
        assert (outcome.sent, outcome.rtt) == (3, pytest.approx((0.12, 0.07, 0.02)[index]))
        assert bench.table.get_timer() is None
        for other in asked:
            assert bench.answer(success(other, attr.XOR_MAPPED_ADDRESS(MAPPED))) == []
            assert bench.table.tag_of(other.transaction_id) is None


def test_a_request_that_nobody_answers_ends_once() -> None:
    bench = Bench()
    bench.send(schedule=FRESH)
    times_of_sending(bench, 1.0)
    bench.now = 1002.0
    assert bench.table.handle_timer(bench.now) == [TimedOut("tag", 5, 2.0)]
    assert bench.table.get_timer() is None


def test_a_cancelled_request_has_no_transaction_left() -> None:
    bench = Bench()
    bench.send(schedule=FRESH)
    sent = times_of_sending(bench, 0.3)
    assert bench.table.cancel("tag") == 4
    assert all(bench.table.tag_of(name) is None for _, name in sent)


def signed_allocate(bench: Bench, rtt: float) -> Message:
    """It leaves when a challenge comes ``rtt`` seconds after the request."""
    asked = bench.send(credential=alice(), schedule=FRESH)
    bench.now += rtt
    assert isinstance(bench.answer(challenge(asked))[0], Challenged)
    return bench.sent()


@pytest.mark.parametrize(("rtt", "spacing"), [(0.001, 0.02), (0.04, 0.06)])
def test_a_signed_allocate_is_asked_anew_when_the_server_could_have_answered(rtt: float, spacing: float) -> None:
    bench = Bench()
    signed = signed_allocate(bench, rtt)
    assert signed.has_integrity()
    sent = times_of_sending(bench, 0.8)
    fresh = [round(spacing * number, 6) for number in (1, 2, 4)]
    # RFC 8445 §14.3: no transaction is repeated before 500 ms.
    assert [when for when, _ in sent] == [*fresh, 0.5, *(round(when + 0.5, 6) for when in fresh)]
    names = [name for _, name in sent]
    assert len({*names}) == 4
    assert names[3:] == [signed.transaction_id, *names[:3]]


def test_the_round_trip_of_a_challenge_counts_from_the_packet_that_it_answers() -> None:
    bench = Bench()
    asked = bench.send(credential=alice(), schedule=FRESH)
    bench.now += 0.05
    bench.table.handle_timer(bench.now)
    twin = bench.sent()
    bench.now += 0.04
    (outcome,) = bench.answer(challenge(twin))
    assert isinstance(outcome, Challenged)
    bench.sent()
    # The other challenge comes late and changes nothing.
    assert bench.answer(challenge(asked)) == []
    assert times_of_sending(bench, 0.1)[0][0] == 0.06


def test_without_a_round_trip_time_a_signed_allocate_is_one_transaction() -> None:
    bench = Bench()
    asked = bench.send(credential=alice(), schedule=FRESH)
    times_of_sending(bench, 0.6)
    # Sent twice: it cannot be told which one was answered.
    assert isinstance(bench.answer(challenge(asked))[0], Challenged)
    signed = bench.sent()
    assert times_of_sending(bench, 1.0) == [(0.5, signed.transaction_id)]


def test_437_for_one_of_several_transactions_is_no_refusal() -> None:
    bench = Bench()
    first = signed_allocate(bench, 0.04)
    bench.now += 0.06
    bench.table.handle_timer(bench.now)
    twin = bench.sent()
    # The server has made the allocation for the first one, and its answer is lost.
    assert bench.answer(failure(twin, 437), md5_key()) == []
    assert bench.table.tag_of(twin.transaction_id) is None
    assert times_of_sending(bench, 0.5) == [(0.44, first.transaction_id)]
    (outcome,) = bench.answer(success(first), md5_key())
    assert isinstance(outcome, Succeeded)
    assert (outcome.sent, outcome.rtt) == (3, None)
    assert bench.table.get_timer() is None


def test_the_allocation_of_a_later_transaction_is_found_by_repeating_that_one() -> None:
    bench = Bench()
    first = signed_allocate(bench, 0.04)
    bench.now += 0.06
    bench.table.handle_timer(bench.now)
    twin = bench.sent()
    assert bench.answer(failure(first, 437), md5_key()) == []
    assert times_of_sending(bench, 0.5) == [(0.5, twin.transaction_id)]
    (outcome,) = bench.answer(success(twin), md5_key())
    assert isinstance(outcome, Succeeded)
    assert bench.table.get_timer() is None


def test_437_for_all_transactions_is_a_refusal() -> None:
    bench = Bench()
    asked = [signed_allocate(bench, 0.04)]
    for _ in range(3):
        bench.now = bench.table.get_timer() or 0.0
        bench.table.handle_timer(bench.now)
        asked.append(bench.sent())
    for which in (1, 0, 3):
        assert bench.answer(failure(asked[which], 437), md5_key()) == []
    (outcome,) = bench.answer(failure(asked[2], 437), md5_key())
    assert isinstance(outcome, Refused)
    assert (outcome.error.code, outcome.sent) == (437, 4)
    assert len(bench.table) == 0


def test_437_for_another_request_is_a_refusal_at_once() -> None:
    bench = Bench()
    credential = alice()
    bench.send(credential=credential)
    credential.take_challenge(challenge(Message(Method.ALLOCATE, Class.REQUEST, bytes(12))))
    bench.table.cancel("tag")
    bench.table.send("permission", Method.CREATE_PERMISSION, bench.path, (), FRESH, bench.now, credential=credential)
    bench.sent()
    bench.now += 0.05
    bench.table.handle_timer(bench.now)
    (outcome,) = bench.answer(failure(bench.sent(), 437), md5_key())
    assert isinstance(outcome, Refused)
    assert outcome.tag == "permission"


def test_a_late_timer_sends_one_fresh_transaction() -> None:
    bench = Bench()
    bench.send(schedule=FRESH)
    bench.now += 0.3
    bench.table.handle_timer(bench.now)
    assert len(bench.table.datagrams_to_send()) == 1
    assert [when for when, _ in times_of_sending(bench, 1.0)] == [0.2]


def test_fresh_transactions_let_new_ones_of_others_pass() -> None:
    bench = Bench()
    claimed = True
    pacer = Pacer(0.005, Floor(0.0), is_claimed=lambda: claimed)
    bench.table = Transactions(random.Random(1).randbytes, pacer=pacer)
    bench.send(schedule=FRESH)
    bench.now += 0.06
    bench.table.handle_timer(bench.now)
    assert bench.table.datagrams_to_send() == []
    claimed = False
    bench.table.handle_timer(bench.now)
    assert len(bench.table.datagrams_to_send()) == 1


def test_fresh_transactions_are_for_addresses_that_reach_somebody() -> None:
    bench = Bench()
    pacer = Pacer(0.005, Floor(0.0))
    bench.table = Transactions(random.Random(1).randbytes, pacer=pacer)
    pacer.reached.add("192.0.2.99")
    asked = bench.send(schedule=FRESH)
    assert [when for when, _ in times_of_sending(bench, 1.0)] == [0.5]
    bench.answer(success(asked, attr.XOR_MAPPED_ADDRESS(MAPPED)))
    assert pacer.reached == {"192.0.2.99", LOCAL.host}
    pacer.answered.clear()
    bench.send(schedule=FRESH)
    assert [when for when, _ in times_of_sending(bench, 1.0)] == [0.05, 0.1, 0.2, 0.5]


def test_who_knows_the_mapped_address_does_not_hurry_to_ask_for_it_again() -> None:
    bench = Bench()
    pacer = Pacer(0.005, Floor(0.0))
    bench.table = Transactions(random.Random(1).randbytes, pacer=pacer)
    bench.answer(success(bench.send(schedule=FRESH), attr.XOR_MAPPED_ADDRESS(MAPPED)))
    assert pacer.answered == {(LOCAL, Method.BINDING)}
    bench.send(schedule=FRESH)
    assert [when for when, _ in times_of_sending(bench, 1.0)] == [0.5]


def test_who_is_heard_by_one_relay_server_does_not_hurry_to_ask_another() -> None:
    bench = Bench()
    pacer = Pacer(0.005, Floor(0.0))
    bench.table = Transactions(random.Random(1).randbytes, pacer=pacer)
    asked = bench.send(credential=alice(), schedule=FRESH)
    other = bench.send(credential=alice(), schedule=FRESH, tag="other")
    assert isinstance(bench.answer(challenge(asked))[0], Challenged)
    assert pacer.answered == {(LOCAL, Method.ALLOCATE)}
    signed = bench.sent().transaction_id
    names = [name for _, name in times_of_sending(bench, 1.0)]
    # The one that has answered is asked anew, and the silent one has its retransmission only.
    assert names.count(other.transaction_id) == 1
    assert names.count(signed) == 1
    assert len(names) > 2


def test_a_refusal_is_no_reason_to_ask_others_at_leisure() -> None:
    bench = Bench()
    pacer = Pacer(0.005, Floor(0.0))
    bench.table = Transactions(random.Random(1).randbytes, pacer=pacer)
    assert isinstance(bench.answer(failure(bench.send(schedule=FRESH), 401))[0], Refused)
    assert pacer.answered == set()
    assert pacer.reached == {LOCAL.host}
