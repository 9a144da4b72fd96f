"""The association over wires of virtual time: when channels open, what goes with the cookie, and what loss costs."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, Final, TypeVar

import pytest
from aiortc import RTCDataChannel, RTCDataChannelParameters, RTCSctpCapabilities, RTCSctpTransport
from aiortc.rtcsctptransport import Chunk, DataChunk, chunk_type, parse_packet
from hypothesis import given, settings
from hypothesis import strategies as st

from icekit.call.association import SctpTransport
from icekit.call.flights import answer_timeout
from icekit.sim import Internet

T = TypeVar("T")

# What a float can say exactly.
DELAY: Final = 1 / 32
RTT: Final = 2 * DELAY
SEEDS: Final = int(os.environ.get("ICEKIT_SEEDS", "1"))

Fate = Callable[[str, int], tuple[float, ...]]
"""When copies of a packet arrive, in seconds after it was sent: by its sender and its number."""


def on_time(_sender: str, _number: int) -> tuple[float, ...]:
    return (DELAY,)


class Wire:
    """What an association needs of a DTLS transport."""

    state = "connected"

    def __init__(self, name: str, role: str, fate: Fate) -> None:
        self._role = role
        self.name = name
        self.fate = fate
        self.other: Wire = self
        self.receiver: Any = None
        self.sent: list[tuple[float, list[Chunk]]] = []
        self.early: list[bytes] = []
        self.broken: list[BaseException] = []

    def _register_data_receiver(self, receiver: Any) -> None:
        self.receiver = receiver
        early, self.early = self.early, []
        for data in early:
            asyncio.get_running_loop().call_soon(self._take, data)

    def _unregister_data_receiver(self, _receiver: Any) -> None:
        self.receiver = None

    async def _send_data(self, data: bytes) -> None:
        loop = asyncio.get_running_loop()
        self.sent.append((loop.time(), parse_packet(data)[3]))
        for delay in self.fate(self.name, len(self.sent) - 1):
            loop.call_later(delay, self.other._take, data)

    def _take(self, data: bytes) -> None:
        if self.receiver is None:
            self.early.append(data)
        else:
            task = asyncio.ensure_future(self.receiver._handle_data(data))
            task.add_done_callback(self._note)

    def _note(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self.broken.append(error)

    def kinds(self) -> list[str]:
        return ["+".join(map(chunk_type, chunks)) for _, chunks in self.sent]


class Side:
    """One end of a pair: its association, its channels and when they opened, and what it heard."""

    def __init__(self, name: str, role: str, fate: Fate, kind: type[RTCSctpTransport]) -> None:
        self.wire = Wire(name, role, fate)
        self.association: Any = kind(self.wire)  # type: ignore[arg-type]
        self.opened: dict[str, float] = {}
        self.heard: list[tuple[float, Any]] = []
        self.channels: list[RTCDataChannel] = []
        self.association.on("datachannel", self._accept)

    def channel(self, label: str, **more: Any) -> RTCDataChannel:
        channel = RTCDataChannel(self.association, RTCDataChannelParameters(label=label, **more))
        self._follow(channel)
        channel.on("open", lambda: self._opened(label))
        return channel

    async def start(self) -> None:
        await self.association.start(RTCSctpCapabilities(maxMessageSize=65536), 5000)

    def _accept(self, channel: RTCDataChannel) -> None:
        self._opened(channel.label)
        self._follow(channel)

    def _follow(self, channel: RTCDataChannel) -> None:
        self.channels.append(channel)
        channel.on("message", lambda data: self.heard.append((_now(), data)))

    def _opened(self, label: str) -> None:
        self.opened[label] = _now()


def _now() -> float:
    return round(asyncio.get_running_loop().time(), 6)


def pair(
    fate: Fate = on_time, kinds: tuple[type[RTCSctpTransport], type[RTCSctpTransport]] = (SctpTransport, SctpTransport)
) -> tuple[Side, Side]:
    sides = Side("alice", "server", fate, kinds[0]), Side("bob", "client", fate, kinds[1])
    sides[0].wire.other, sides[1].wire.other = sides[1].wire, sides[0].wire
    return sides


def simulate(main: Coroutine[Any, Any, T]) -> T:
    return Internet(seed=1).run(main)


async def begin(alice: Side, bob: Side, *, apart: float = DELAY) -> None:
    """The DTLS server is ready half a round trip before the client."""
    await alice.start()
    await asyncio.sleep(apart)
    await bob.start()


def say(channel: RTCDataChannel, *texts: str | bytes) -> None:
    """As soon as it is open."""

    @channel.on("open")
    def speak() -> None:
        for text in texts:
            channel.send(text)


def test_a_channel_opens_after_a_round_trip_and_its_first_message_arrives_half_of_one_later() -> None:
    async def main() -> None:
        alice, bob = pair()
        say(alice.channel("chat"), "hello", "world")
        await begin(alice, bob)
        await asyncio.sleep(1)
        assert alice.opened == {"chat": RTT}
        assert bob.opened == {"chat": RTT + DELAY}
        assert bob.heard == [(RTT + DELAY, "hello"), (RTT + DELAY, "world")]
        # Bob's own INIT collides (RFC 9260 §5.2.1): both return a cookie.
        assert alice.wire.kinds()[:3] == ["InitChunk", "InitAckChunk", "CookieEchoChunk+DataChunk+DataChunk+DataChunk"]
        assert bob.wire.kinds()[:4] == ["InitChunk", "InitAckChunk", "CookieEchoChunk", "CookieAckChunk"]
        assert [side.association.state for side in (alice, bob)] == ["connected", "connected"]
        # aiortc's own needs two round trips more for each.
        assert await stock_times() == (3 * RTT, 3.5 * RTT)

    simulate(main())


async def stock_times() -> tuple[float, float]:
    alice, bob = pair(kinds=(RTCSctpTransport, RTCSctpTransport))
    began = _now()
    say(alice.channel("chat"), "hello")
    await begin(alice, bob)
    await asyncio.sleep(1)
    return round(alice.opened["chat"] - began, 6), round(bob.heard[0][0] - began, 6)


@pytest.mark.parametrize("apart", [0.0, DELAY, RTT, 3 * RTT])
def test_both_may_call_at_once(apart: float) -> None:
    async def main() -> None:
        alice, bob = pair()
        for side in (alice, bob):
            say(side.channel(side.wire.name), f"{side.wire.name} is here")
        await begin(alice, bob, apart=apart)
        await asyncio.sleep(1)
        for side, other in ((alice, bob), (bob, alice)):
            assert [data for _, data in side.heard] == [f"{other.wire.name} is here"]
            assert side.opened.keys() == {"alice", "bob"}
        assert {channel.id for channel in alice.channels} == {0, 1}
        # Whoever hears of the association first speaks in the same moment.
        assert max(alice.opened.values()) <= apart + 2.5 * RTT

    simulate(main())


@pytest.mark.parametrize("caller", [0, 1])
@pytest.mark.parametrize("kinds", [(SctpTransport, RTCSctpTransport), (RTCSctpTransport, SctpTransport)])
def test_with_stock_aiortc_in_both_roles(
    caller: int, kinds: tuple[type[RTCSctpTransport], type[RTCSctpTransport]]
) -> None:
    async def main() -> None:
        sides = pair(kinds=kinds)
        one, other = sides[caller], sides[1 - caller]
        say(one.channel("chat"), "hello", b"world")
        await begin(*sides)
        await asyncio.sleep(1)
        assert [data for _, data in other.heard] == ["hello", b"world"]
        if kinds[caller] is SctpTransport:
            assert one.opened["chat"] < other.opened["chat"] == other.heard[0][0] <= 2 * RTT

    simulate(main())


def test_a_peer_that_may_not_be_ready_gets_its_messages_after_the_channel() -> None:
    """A program on aiortc whose handler is a coroutine."""

    async def heard_by(kind: type[RTCSctpTransport], *, opens_early: bool) -> tuple[list[str], float]:
        alice, bob = pair(kinds=(SctpTransport, kind))
        alice.association.opens_early = opens_early
        bob.association.remove_all_listeners("datachannel")
        began, heard = _now(), []

        @bob.association.on("datachannel")
        async def accept(channel: RTCDataChannel) -> None:
            channel.on("message", heard.append)

        say(alice.channel("chat"), "hello")
        await begin(alice, bob)
        await asyncio.sleep(1)
        return heard, round(alice.opened["chat"] - began, 6)

    async def main() -> None:
        # What ``opens_early`` is false for.
        assert await heard_by(RTCSctpTransport, opens_early=True) == ([], RTT)
        assert await heard_by(RTCSctpTransport, opens_early=False) == (["hello"], 2 * RTT)
        assert await heard_by(SctpTransport, opens_early=True) == (["hello"], RTT)

    simulate(main())


def test_what_has_no_room_beside_the_cookie_follows_its_acknowledgement() -> None:
    async def main() -> None:
        alice, bob = pair()
        long = bytes(3000)
        say(alice.channel("chat"), "first", long, "last")
        await begin(alice, bob)
        await asyncio.sleep(1)
        assert [data for _, data in bob.heard] == ["first", long, "last"]
        sizes = [sum(len(bytes(chunk)) for chunk in chunks) + 12 for _, chunks in alice.wire.sent]
        assert max(sizes) <= 1189
        # RFC 9260 §5.1 C: nothing else is sent until the cookie is acknowledged.
        times = [moment for moment, _ in alice.wire.sent]
        cookie = next(place for place, kind in enumerate(alice.wire.kinds()) if kind.startswith("CookieEcho"))
        assert times[cookie + 1] - times[cookie] >= RTT - 1e-6

    simulate(main())


def test_channels_that_both_have_open_as_early() -> None:
    async def main() -> None:
        alice, bob = pair()
        for side in (alice, bob):
            say(side.channel("both", negotiated=True, id=7), side.wire.name)
        await begin(alice, bob)
        await asyncio.sleep(1)
        assert alice.opened == {"both": RTT}
        assert bob.heard == [(RTT + DELAY, "alice")]
        assert [data for _, data in alice.heard] == ["bob"]

    simulate(main())


def test_a_channel_made_later_opens_at_once() -> None:
    async def main() -> None:
        alice, bob = pair()
        await begin(alice, bob)
        await asyncio.sleep(1)
        began = _now()
        say(alice.channel("late"), "hello")
        await asyncio.sleep(1)
        assert alice.opened["late"] == began
        assert bob.heard == [(round(began + DELAY, 6), "hello")]

    simulate(main())


def test_unordered_messages_are_in_order_until_the_peer_has_answered() -> None:
    """RFC 8832 §6: none of them may overtake the announcement of its channel."""

    async def main() -> None:
        alice, bob = pair()
        channel = alice.channel("fast", ordered=False, maxRetransmits=0)
        say(channel, "early")
        await begin(alice, bob)
        await asyncio.sleep(1)
        channel.send("late")
        await asyncio.sleep(1)
        assert [data for _, data in bob.heard] == ["early", "late"]
        flags = [chunk.flags & 4 for _, chunks in alice.wire.sent for chunk in chunks if isinstance(chunk, DataChunk)]
        assert flags == [0, 0, 4]

    simulate(main())


@pytest.mark.parametrize("after", [RTT + DELAY / 4, RTT + DELAY / 2, 1.0])
def test_a_channel_closed_before_the_peer_knows_it_is_closed_there_too(after: float) -> None:
    async def main() -> None:
        alice, bob = pair()
        channel = alice.channel("brief")
        asyncio.get_running_loop().call_at(_now() + after, channel.close)
        await begin(alice, bob)
        await asyncio.sleep(2)
        assert channel.readyState == "closed"
        assert [item.readyState for item in bob.channels] == ["closed"]
        assert alice.association._data_channels == bob.association._data_channels == {}

    simulate(main())


def test_closed_by_the_handler_that_is_told_of_its_opening() -> None:
    async def main() -> None:
        alice, bob = pair()
        channel = alice.channel("brief")
        channel.on("open", channel.close)
        await begin(alice, bob)
        await asyncio.sleep(2)
        assert channel.readyState == "closed"
        assert [item.readyState for item in bob.channels] == ["closed"]

    simulate(main())


def test_a_late_copy_of_the_first_packet_changes_nothing() -> None:
    """RFC 9260 §5.2.2; aiortc begins to count the peer's data anew."""

    def fate(sender: str, number: int) -> tuple[float, ...]:
        return (DELAY, 0.5) if (sender, number) == ("alice", 0) else (DELAY,)

    async def heard_by(kind: type[RTCSctpTransport]) -> list[str]:
        alice, bob = pair(fate, (SctpTransport, kind))
        channel = alice.channel("chat")
        say(channel, "before")
        await begin(alice, bob)
        await asyncio.sleep(1)
        channel.send("after")
        await asyncio.sleep(0.5)
        assert alice.wire.broken == bob.wire.broken == []
        sacks = [
            chunk.cumulative_tsn for _, chunks in bob.wire.sent for chunk in chunks if chunk_type(chunk) == "SackChunk"
        ]
        return [data for _, data in bob.heard] if sacks == sorted(sacks) else ["lost count"]

    assert simulate(heard_by(SctpTransport)) == ["before", "after"]
    assert simulate(heard_by(RTCSctpTransport)) == ["lost count"]


async def exchange(
    fate: Fate,
    kinds: tuple[type[RTCSctpTransport], type[RTCSctpTransport]] = (SctpTransport, SctpTransport),
    *,
    rtt: float | None = None,
) -> tuple[Side, Side]:
    """A message each way on a channel that opens early, and one each way later; all heard once, and nothing broke.

    ``rtt`` is what ICE has measured.
    """
    alice, bob = pair(fate, kinds)
    for side in (alice, bob):
        side.association.round_trip = lambda: rtt
    channel = alice.channel("chat")
    say(channel, "first")
    bob.association.on("datachannel", lambda heard: heard.send("second"))
    await begin(alice, bob)
    answered = asyncio.Event()
    channel.on("message", lambda _: answered.set())
    async with asyncio.timeout(60):
        await answered.wait()
    channel.send("third")
    bob.channels[0].send("fourth")
    await asyncio.sleep(10)
    assert [data for _, data in bob.heard] == ["first", "third"]
    assert [data for _, data in alice.heard] == ["second", "fourth"]
    assert alice.wire.broken == bob.wire.broken == []
    return alice, bob


@pytest.mark.parametrize("sender", ["alice", "bob"])
def test_the_loss_of_any_packet_costs_no_more_than_a_timeout(sender: str) -> None:
    """One second (RFC 9260 §16), and the packet with the cookie is sent again with all that was in it."""

    def fate(lost: int) -> Fate:
        return lambda name, number: () if (name, number) == (sender, lost) else (DELAY,)

    for lost in range(9):
        alice, bob = simulate(exchange(fate(lost)))
        assert bob.heard[0][0] <= 1 + 4 * RTT
        assert alice.heard[0][0] <= 1 + 4 * RTT


def test_what_a_lost_cookie_costs() -> None:
    alice, bob = simulate(exchange(lambda name, number: () if (name, number) == ("alice", 2) else (DELAY,)))
    # Bob's cookie establishes the association; what went with Alice's is sent again when its time is over.
    assert alice.wire.kinds()[2] == "CookieEchoChunk+DataChunk+DataChunk"
    assert bob.heard[0][0] <= RTT + DELAY + 1 + 2 * DELAY
    # If both are lost, it goes again with them.
    lost = {("alice", 2), ("bob", 2)}
    alice, bob = simulate(exchange(lambda name, number: () if (name, number) in lost else (DELAY,)))
    assert alice.wire.kinds()[2:4] == ["CookieEchoChunk+DataChunk+DataChunk"] * 2
    assert bob.heard[0][0] == RTT + 1 + DELAY


@pytest.mark.parametrize("kinds", [(SctpTransport, RTCSctpTransport), (RTCSctpTransport, SctpTransport)])
def test_stock_aiortc_survives_a_lost_cookie(kinds: tuple[type[RTCSctpTransport], type[RTCSctpTransport]]) -> None:
    lost = {("alice", 2), ("bob", 2)}
    alice, bob = simulate(exchange(lambda name, number: () if (name, number) in lost else (DELAY,), kinds))
    # Whichever side is ours sends its cookie again after one second, aiortc after three.
    assert bob.heard[0][0] <= 1 + 4 * RTT
    assert alice.heard[0][0] <= 1 + 5 * RTT


def test_channels_close_if_the_cookie_is_never_acknowledged() -> None:
    async def main() -> None:
        alice, bob = pair(lambda name, number: (DELAY,) if number < 2 else ())
        channel = alice.channel("chat")
        await begin(alice, bob)
        await asyncio.sleep(1)
        assert (channel.readyState, alice.association.state) == ("open", "connecting")
        await asyncio.sleep(28)
        assert alice.association.state == "connecting"
        await asyncio.sleep(10)
        assert (channel.readyState, alice.association.state) == ("closed", "closed")

    simulate(main())


@pytest.mark.parametrize("rtt", [0.0001, RTT, 0.3])
def test_an_outage_that_ice_survives_ends_no_association(rtt: float) -> None:
    async def main() -> None:
        cut = True
        alice, bob = pair(lambda _name, _number: () if cut else (DELAY,))
        for side in (alice, bob):
            side.association.round_trip = lambda: rtt
        alice.channel("chat")
        await begin(alice, bob)
        await asyncio.sleep(29)
        cut = False
        await asyncio.sleep(4)
        assert alice.association.state == bob.association.state == "connected"

    simulate(main())


def test_a_repeated_init_of_both_is_heard() -> None:
    """RFC 9260 §8.5.1; aiortc sends the tag of the peer with it, which the peer drops, for ever."""
    lost = {("alice", 1), ("bob", 1)}
    alice, bob = simulate(exchange(lambda name, number: () if (name, number) in lost else (DELAY,)))
    assert alice.wire.kinds()[:3] == ["InitChunk", "InitAckChunk", "InitChunk"]
    assert bob.heard[0][0] == 1 + RTT + DELAY


@settings(max_examples=40 * SEEDS, deadline=None)
@given(st.lists(st.lists(st.sampled_from([1, 2, 3, 5, 40]), max_size=2), max_size=16))
def test_loss_delay_and_copies_of_the_first_packets(fates: list[list[int]]) -> None:
    """Both sides give up after nine of their own (Max.Init.Retransmits, RFC 9260 §16)."""
    left: Iterator[list[int]] = iter(fates)
    simulate(exchange(lambda _name, _number: tuple(DELAY * item for item in next(left, [1]))))


# Where ICE has measured the round trip.


@pytest.mark.parametrize("delay", [0.0, 0.001, DELAY, 0.15, 1.0])
def test_nothing_is_sent_twice_where_nothing_is_lost(delay: float) -> None:
    alice, bob = simulate(exchange(lambda _name, _number: (delay,), rtt=2 * delay))
    for side in (alice, bob):
        kinds = side.wire.kinds()
        assert len([kind for kind in kinds if "DataChunk" in kind]) <= 4
        assert [kinds.count("InitChunk"), sum(kind.startswith("CookieEcho") for kind in kinds)] in ([1, 1], [1, 0])
        numbers = [chunk.tsn for _, chunks in side.wire.sent for chunk in chunks if isinstance(chunk, DataChunk)]
        assert len(numbers) == len(set(numbers))


@pytest.mark.parametrize("held_back", [0.1, 0.2, 0.3])
def test_an_acknowledgement_that_is_held_back_is_waited_for(held_back: float) -> None:
    """RFC 9260 §6.2: up to 200 ms with most peers."""

    async def main() -> None:
        def fate(name: str, number: int) -> tuple[float, ...]:
            is_sack = name == "bob" and bob.wire.kinds()[number].startswith("Sack")
            return (DELAY + held_back * is_sack,)

        alice, bob = pair(fate)
        for side in (alice, bob):
            side.association.round_trip = lambda: RTT
        say(alice.channel("chat"), "hello")
        await begin(alice, bob)
        await asyncio.sleep(5)
        assert sum("DataChunk" in kind for kind in alice.wire.kinds()) == 1

    simulate(main())


@pytest.mark.parametrize("delay", [DELAY, 0.1, 0.15])
def test_after_many_prompt_acknowledgements_one_that_is_held_back_is_waited_for(delay: float) -> None:
    """Steady round trips leave no variation, and so nothing for the 200 ms."""

    async def main() -> None:
        held_back = 0.0

        def fate(name: str, number: int) -> tuple[float, ...]:
            is_sack = name == "bob" and bob.wire.kinds()[number].startswith("Sack")
            return (delay + held_back * is_sack,)

        alice, bob = pair(fate)
        for side in (alice, bob):
            side.association.round_trip = lambda: 2 * delay
        channel = alice.channel("chat")
        await begin(alice, bob, apart=delay)
        for _ in range(30):
            await asyncio.sleep(1)
            channel.send("prompt")
        await asyncio.sleep(1)
        held_back, before = 0.2, len(alice.wire.sent)
        channel.send("late")
        await asyncio.sleep(3)
        assert alice.wire.kinds()[before:] == ["DataChunk"]

    simulate(main())


@pytest.mark.parametrize("sender", ["alice", "bob"])
@pytest.mark.parametrize("delay", [0.01, DELAY, 0.15])
def test_the_loss_of_any_early_packet_costs_one_and_a_half_round_trips_and_of_data_400_ms(
    sender: str, delay: float
) -> None:
    def fate(lost: int) -> Fate:
        return lambda name, number: () if (name, number) == (sender, lost) else (delay,)

    rtt = 2 * delay
    for lost in range(9):
        alice, bob = simulate(exchange(fate(lost), rtt=rtt))
        assert bob.heard[0][0] <= DELAY + 2 * rtt + answer_timeout(rtt)
        assert alice.heard[0][0] <= DELAY + 3 * rtt + max(0.4, 3 * rtt)


def test_a_cookie_that_may_be_lost_goes_again_with_its_data_until_one_of_them_is_acknowledged() -> None:
    """The peer's own cookie has established the association; data alone would need a packet for each message."""

    async def main() -> None:
        def fate(name: str, number: int) -> tuple[float, ...]:
            cookies = [place for place, kind in enumerate(alice.wire.kinds()) if kind.startswith("CookieEcho")]
            return () if name == "alice" and number in cookies[:2] else (DELAY,)

        alice, bob = pair(fate)
        for side in (alice, bob):
            side.association.round_trip = lambda: RTT
        say(alice.channel("chat"), "hello", "world")
        await begin(alice, bob)
        await asyncio.sleep(5)
        cookies = [kind for kind in alice.wire.kinds() if "DataChunk" in kind]
        assert cookies == ["CookieEchoChunk+DataChunk+DataChunk+DataChunk"] * 3
        assert bob.heard[-1][0] == pytest.approx(RTT + 3 * answer_timeout(RTT) + DELAY)
        assert [text for _, text in bob.heard] == ["hello", "world"]

    simulate(main())


def test_data_that_nobody_acknowledges_are_sent_ever_less_often() -> None:
    """RFC 9260 §6.3.3 E2; up to three seconds, so that it goes on soon after an outage."""

    async def main() -> list[float]:
        cut = False
        alice, bob = pair(lambda _name, _number: () if cut else (DELAY,))
        for side in (alice, bob):
            side.association.round_trip = lambda: RTT
        channel = alice.channel("chat")
        await begin(alice, bob)
        await asyncio.sleep(2)
        cut, began, before = True, _now(), len(alice.wire.sent)
        channel.send("hello")
        await asyncio.sleep(20)
        return [round(moment - began, 1) for moment, _ in alice.wire.sent[before:]]

    assert simulate(main()) == [0.0, 0.4, 1.2, 2.8, 5.8, 8.8, 11.8, 14.8, 17.8]


def test_a_fifth_lost_each_way() -> None:
    runs = 100 * SEEDS
    heard = []
    for seed in range(runs):
        dice = random.Random(seed)
        _, bob = simulate(
            exchange(lambda _name, _number, dice=dice: () if dice.random() < 0.2 else (DELAY,), rtt=RTT)  # type: ignore[misc]
        )
        heard.append(bob.heard[0][0])
    heard.sort()
    assert heard[runs // 2] <= 3 * RTT
    assert heard[runs * 9 // 10] <= 0.8
