"""Two calls with each other, and one with peers and channels that do not do what they should."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import pytest
from aiortc import RTCRtpTransceiver
from aiortc.mediastreams import AudioStreamTrack

from icekit.aio.connection import IceConnection
from icekit.aio.server import serve
from icekit.call import Call
from icekit.call.leg import Leg
from icekit.call.trace import Mark
from icekit.catalogue import CODES
from icekit.errors import CallFailed, ConfigError, InvalidState
from icekit.ice_config import IceConfig
from icekit.pacing import Floor
from icekit.phases import Deadlines, Phase
from icekit.sdp import read_sdp
from icekit.server import ServerConfig, TurnServerConfig
from icekit.servers import IceServer
from icekit.signaling import Answer, Bye, Fault, Message, Offer, Presence, Report, TrickledCandidate, connect
from icekit.signaling.server import serve as serve_signaling
from tests.call.calls import until
from tests.call.rooms import SECONDS, Through, both, config, room, talk, two_calls

LONG = Deadlines(peer=20, answer=20, candidates=20, path=20, nomination=20, dtls=20)


def short(**deadlines: float) -> Deadlines:
    """Only what is tested may end soon: the machine may be busy."""
    return replace(LONG, **deadlines)


async def failure(call: Call) -> CallFailed:
    with pytest.raises(CallFailed) as caught:
        await call.connected()
    assert caught.value.code in CODES
    assert caught.value.findings
    assert caught.value.exit_code == 1
    return caught.value


async def test_sound_pictures_and_data_both_ways() -> None:
    async with two_calls(media=("tone", "bars")) as (caller, callee):
        # The other one may have been seen already, and offers.
        assert caller.phase in (Phase.PEER, Phase.OFFER)
        await both(caller.connected(), callee.connected())
        await talk(caller, callee)
        await both(caller.first_media(), callee.first_media())
        await until(lambda: all(level.frames > 3 for call in (caller, callee) for level in call.levels))
        for call in (caller, callee):
            levels = {level.kind: level for level in call.levels}
            assert levels["video"].size == (320, 240)
            assert 0.3 < (levels["video"].level or 0) < 0.6
            # The root mean square of a sine with an amplitude of 8000, after the Opus codec.
            assert 0.1 < (levels["audio"].level or 0) < 0.25
            assert call.phase is Phase.CONNECTED
            assert call.findings == ()
        assert (caller.peer, callee.peer) == ("bob", "alice")
        await until(lambda: caller.trace.is_complete and callee.trace.is_complete)
        assert caller.trace.offers is not callee.trace.offers
        await caller.hang_up("enough")
        assert await caller.ended() == "hung up"
        assert await callee.ended() == "the other side hung up: enough"
        with pytest.raises(CallFailed, match="hung up"):
            await callee.receive() if not callee._texts else await callee.opened()


async def test_who_is_cancelled_while_a_call_ends_ends_it_all_the_same() -> None:
    """Nobody else can: whoever leaves the block has no other name for the call."""
    before = asyncio.all_tasks()
    for turns in range(0, 24, 3):
        async with room("alice", "bob") as (one, other):
            leaving = asyncio.Event()

            async def caller(one: Any = one, leaving: asyncio.Event = leaving) -> None:
                async with Call(one, media=["tone"], config=config()) as call:
                    await call.connected()
                    leaving.set()

            async with Call(other, config=config()) as callee:
                task = asyncio.create_task(caller())
                await both(callee.connected(), leaving.wait())
                for _ in range(turns):
                    await asyncio.sleep(0)
                task.cancel()
                await asyncio.wait([task])
        # What was begun goes on without who was cancelled, and ends.
        async with asyncio.timeout(SECONDS):
            while left := asyncio.all_tasks() - before:
                await asyncio.wait(left)


async def test_whoever_was_there_first_is_called_by_whoever_comes() -> None:
    for names in (("alice", "bob"), ("bob", "alice")):
        async with room(*names) as (one, other), Call(one, media=["tone"], config=config()) as waiting:
            await asyncio.sleep(0.05)
            async with Call(other, media=["tone"], config=config()) as coming:
                await both(waiting.connected(), coming.connected())
                assert waiting.trace.offers is (waiting.peer == "alice")
                await talk(waiting, coming)


async def test_when_both_offer_the_greater_name_wins() -> None:
    async with two_calls() as (caller, callee):
        for call in (caller, callee):
            call._running.offer()
        await both(caller.connected(), callee.connected())
        # The greater name wins.
        assert (caller.trace.offers, callee.trace.offers) == (False, True)
        await talk(caller, callee)
        await both(caller.first_media(), callee.first_media())


def descriptions_last() -> Callable[[Message], list[Message]]:
    """Candidates come before the description that they belong to."""
    held: list[Message] = []

    def change(message: Message) -> list[Message]:
        if isinstance(message, Offer | Answer):
            held.append(message)
            return []
        if isinstance(message, TrickledCandidate) and not message.candidate:
            out = [message, *held]
            held.clear()
            return out
        return [message]

    return change


def candidates_late() -> Callable[[Message], list[Message]]:
    """Candidates come only when the report of the connected side comes, but the last one."""
    return lambda message: [] if isinstance(message, TrickledCandidate) and message.candidate else [message]


def twice(message: Message) -> list[Message]:
    return [message, message]


def with_stale_ones(message: Message) -> list[Message]:
    if isinstance(message, TrickledCandidate):
        line = "candidate:1 1 udp 2130706431 192.0.2.77 9 typ host"
        return [replace(message, candidate=line, username_fragment="stale"), message]
    return [message]


@pytest.mark.parametrize(
    "change", [descriptions_last(), candidates_late(), twice, with_stale_ones], ids=["early", "lost", "twice", "stale"]
)
async def test_messages_that_come_early_twice_or_not_at_all(change: Callable[[Message], list[Message]]) -> None:
    async with two_calls(change=change) as (caller, callee):
        assert await both(caller.connected(), callee.connected()) == [None, None]
        await talk(caller, callee)
        for call in (caller, callee):
            leg = call.leg
            assert leg is not None
            remote = leg.connection.ice_transports[0].connection.remote_candidates
            assert "192.0.2.77" not in {item.host for item in remote}


async def test_an_answer_that_is_lost_is_asked_for_again() -> None:
    lost: list[Message] = []

    def change(message: Message) -> list[Message]:
        if isinstance(message, Answer) and not lost:
            lost.append(message)
            return []
        return [message]

    # The first channel is that of the side that offers.
    async with two_calls(names=("bob", "alice"), change=change) as (caller, callee):
        assert await both(caller.connected(), callee.connected()) == [None, None]
    assert lost


def no_candidates(message: Message) -> list[Message]:
    if isinstance(message, Answer):
        return [replace(message, sdp=re.sub(r"a=(candidate:.*|end-of-candidates)\r\n", "", message.sdp))]
    return [] if isinstance(message, TrickledCandidate) else [message]


def only_stale(message: Message) -> list[Message]:
    if isinstance(message, TrickledCandidate) and message.candidate:
        return [replace(message, username_fragment="stale")]
    if isinstance(message, Answer):
        lines = re.findall(r"a=(candidate:.*)\r\n", message.sdp)
        told = [
            TrickledCandidate(candidate=line, sdp_mid="0", username_fragment="stale", sender=message.sender)
            for line in lines
        ]
        return [*no_candidates(message), *told]
    return [message]


def other_certificate(message: Message) -> list[Message]:
    if isinstance(message, Answer):
        sdp = re.sub(r"(a=fingerprint:\S+) \S\S:", r"\1 00:", message.sdp)
        assert sdp != message.sdp
        return [replace(message, sdp=sdp)]
    return [message]


def without_media(message: Message) -> list[Message]:
    if isinstance(message, Answer):
        sdp = re.sub(r"m=(\w+) \d+", r"m=\1 0", message.sdp)
        return [replace(message, sdp="".join(line for line in sdp.splitlines(True) if "BUNDLE" not in line))]
    return [message]


def other_sections(message: Message) -> list[Message]:
    if isinstance(message, Answer):
        return [replace(message, sdp=message.sdp.replace("a=mid:0", "a=mid:zero"))]
    return [message]


def cut_password(message: Message) -> list[Message]:
    if isinstance(message, Answer):
        return [replace(message, sdp=re.sub(r"a=ice-pwd:(.).*", r"a=ice-pwd:\1", message.sdp))]
    return [message]


def no_answer(message: Message) -> list[Message]:
    return [] if isinstance(message, Answer) else [message]


@pytest.mark.parametrize(
    ("change", "code", "deadlines"),
    [
        (no_answer, "CALL-ANSWER", short(answer=0.5)),
        (other_sections, "CALL-DESCRIPTION", short(answer=4)),
        (cut_password, "CALL-DESCRIPTION", short(answer=4)),
        (without_media, "CALL-NO-MEDIA", LONG),
        (other_certificate, "CALL-FINGERPRINT", LONG),
    ],
)
async def test_answers_that_end_a_call(
    change: Callable[[Message], list[Message]], code: str, deadlines: Deadlines
) -> None:
    async with two_calls(
        config(deadlines=deadlines), config(deadlines=LONG), names=("bob", "alice"), change=change
    ) as (
        caller,
        callee,
    ):
        error = await failure(caller)
        assert error.code == code
        if change is other_sections:
            # What is wrong with the answer comes first.
            assert [finding.code for finding in error.findings] == ["ICE025", code]
            assert str(error).startswith("Section 0 is audio (mid 0) in the offer and audio (mid zero) in the answer.")
        if change is cut_password:
            # RFC 8839 §5.4: at least 22 characters.
            assert [finding.code for finding in error.findings] == ["ICE026", code]
        # The other side gets to know, which may have been content so far.
        with pytest.raises(CallFailed) as other:
            await callee.ended()
        assert other.value.code in ("CALL-BYE", "CALL-DTLS")
        assert code in [finding.code for finding in other.value.findings]
        evidence = [line for finding in other.value.findings for line in finding.evidence]
        assert any(line.startswith("the other side:") for line in evidence)


@pytest.mark.parametrize(("change", "code"), [(no_candidates, "CALL-CANDIDATES"), (only_stale, "CALL-UFRAG")])
async def test_without_candidates(change: Callable[[Message], list[Message]], code: str) -> None:
    # The other side knows this one's, but may not use them: their checks would tell what the candidates do not.
    async with room("bob", "alice", change=change) as (one, other):
        deaf = Through(other, no_candidates)
        caller, callee = (
            Call(one, media=["tone"], config=config(deadlines=short(candidates=0.5, path=0.5))),
            Call(deaf, config=config()),
        )
        async with caller, callee:
            error = await failure(caller)
            assert error.code == code
            assert (await failure(callee)).code == "CALL-BYE"


async def test_a_peer_that_is_silent() -> None:
    async with room("alice", "zoe") as (one, other):
        async with Call(one, media=["tone"], config=config(deadlines=short(answer=0.3))) as call:
            assert other.name == "zoe"
            error = await failure(call)
            assert error.code == "CALL-OFFER"


async def test_nobody_comes() -> None:
    async with room("alice") as (one,), Call(one, config=config(deadlines=short(peer=0.3))) as call:
        error = await failure(call)
        assert error.code == "CALL-PEER"
        assert "room" in str(error)


async def test_a_peer_that_hangs_up_before() -> None:
    async with room("bob", "alice") as (one, other), Call(one, config=config()) as call:
        await other.send(Bye(reason="not now"))
        error = await failure(call)
        assert (error.code, error.reason) == ("CALL-BYE", "not now")


async def test_a_peer_that_never_nominates() -> None:
    """It is controlling, answers every check, and does neither nominate nor begin DTLS."""
    async with room("alice", "zoe") as (one, other):
        async with Call(one, media=["tone"], config=config(deadlines=short(nomination=0.5))) as call:
            template = Call(other, media=["tone"], config=config())
            leg = Leg(
                template.config.connection(()), [AudioStreamTrack()], offers=True,
                candidate=lambda found: None, changed=lambda: None,
            )  # fmt: skip
            leg.open(template.config, lambda track: None, lambda channel: None)
            sdp = await leg.make_offer(restart=False, defer=True, created=lambda: None)
            section = read_sdp(sdp).media[0]
            slow = IceConfig(settle_factor=1e9, settle_limit=1e9)
            ice = IceConnection(
                True, local_username=section.ufrag, local_password=section.pwd, local_addresses=["127.0.0.1"],
                config=slow, floor=Floor(),
            )  # fmt: skip
            await ice.gather_candidates()
            await other.send(Offer(sdp=sdp))
            # A name in its place that says it is not there yet keeps the agent from nominating at once.
            for candidate in ice.gathered:
                await other.send(TrickledCandidate(candidate=str(candidate), sdp_mid="0", sdp_mline_index=0))
            answer = None
            async for message in other:
                if isinstance(message, Answer):
                    answer = read_sdp(message.sdp).media[0]
                    break
            assert answer is not None
            ice.remote_username, ice.remote_password = answer.ufrag, answer.pwd
            checking = asyncio.ensure_future(ice.connect())
            try:
                error = await failure(call)
            finally:
                checking.cancel()
                await asyncio.gather(checking, return_exceptions=True)
                await ice.close()
                await leg.close()
            assert error.code == "CALL-NOMINATION"


async def test_no_path() -> None:
    """Relays that do not relay to each other."""
    turn = TurnServerConfig(users={"alice": "secret"}, relay_ipv4="127.0.0.1")
    async with serve(ServerConfig(turn=turn), hosts=["127.0.0.1"], ports=(0,)) as running:
        server = IceServer(urls=f"turn:{running.udp[0]}", username="alice", credential="secret")
        wanted = config(deadlines=short(path=3), relay_only=True)
        async with room("alice", "bob") as (one, other):
            async with (
                Call(one, ice_servers=[server], media=["tone"], config=wanted) as caller,
                Call(other, ice_servers=[server], media=["tone"], config=wanted) as callee,
            ):
                errors = [await failure(call) for call in (caller, callee)]
        for error in errors:
            codes = {finding.code for finding in error.findings}
            assert "CALL-PATH" in codes
            (path,) = [finding for finding in error.findings if finding.code == "CALL-PATH"]
            assert any("none reached" in line for line in path.evidence), path.evidence
        assert running.core.allocations == 0


async def test_the_channel_ends_before_the_call_is_connected() -> None:
    async with room("alice") as (one,), Call(one, config=config()) as call:
        closing = asyncio.ensure_future(one.close())
        error = await failure(call)
        await closing
        assert error.code == "CALL-SIGNALING"


async def test_the_channel_ends_in_the_middle_of_a_call(caplog: pytest.LogCaptureFixture) -> None:
    async with two_calls() as (caller, callee):
        await both(caller.connected(), callee.connected())
        await callee._channel.close()  # type: ignore[attr-defined]
        await talk(caller, callee)
        assert caller.phase is Phase.CONNECTED
        await caller.hang_up()
        assert "the other side hung up" in await callee.ended()
    assert "the signaling of a connected call has ended" in caplog.text


async def test_the_server_is_restarted_in_the_middle_of_a_call() -> None:
    """Media go on without it, and what is said afterwards arrives."""
    async with AsyncExitStack() as first:
        running = await first.enter_async_context(serve_signaling(port=0))
        url = running.url("lobby")
        async with (
            asyncio.timeout(SECONDS),
            connect(url, name="alice") as one,
            connect(url, name="bob") as other,
            Call(one, media=["tone"], config=config()) as caller,
            Call(other, media=["tone"], config=config()) as callee,
        ):
            await both(caller.connected(), callee.connected())
            await first.aclose()
            await talk(caller, callee)
            caller.hold()
            async with serve_signaling(port=running.port):
                for call in (caller, callee):
                    await until_direction(call, "inactive")
                await talk(caller, callee)
                assert [call.phase for call in (caller, callee)] == [Phase.CONNECTED] * 2
                await caller.hang_up("done")
                assert await callee.ended() == "the other side hung up: done"


async def test_bad_changes_are_told_once() -> None:
    async with two_calls() as (caller, callee):
        await both(caller.connected(), callee.connected())
        for number in range(5):
            broken = f"v=0\r\no=- 1 {number}\r\nm=audio 9 X 0\r\na=mid:0\r\na=ice-ufrag:abcd\r\n"
            await callee._say(Offer(sdp=broken))
        await until(lambda: bool(caller.findings))
        await talk(caller, callee)
        # It has no password.
        assert [finding.code for finding in caller.findings] == ["ICE026", "CALL-DESCRIPTION"]
        assert caller.phase is Phase.CONNECTED


async def test_hold_and_resume() -> None:
    async with two_calls() as (caller, callee):
        with pytest.raises(InvalidState, match="wait for connected"):
            caller.hold()
        await both(caller.connected(), callee.connected())
        await both(caller.first_media(), callee.first_media())
        caller.hold()
        await until_direction(caller, "inactive")
        await until_direction(callee, "inactive")
        frames = callee.levels[0].frames
        await talk(caller, callee)
        assert callee.levels[0].frames <= frames + 10
        caller.hold(False)
        await until_direction(callee, "sendrecv")
        frames = callee.levels[0].frames
        await until(lambda: callee.levels[0].frames >= frames + 5)


def sound(call: Call) -> RTCRtpTransceiver:
    assert call.leg is not None
    return next(item for item in call.leg.connection.getTransceivers() if item.kind == "audio")


async def until_direction(call: Call, direction: str) -> None:
    await until(lambda: sound(call).currentDirection == direction)


async def test_both_hold_at_once() -> None:
    """Glare in a renegotiation: the greater name's offer wins, and the other change is offered afterwards."""
    async with two_calls() as (caller, callee):
        await both(caller.connected(), callee.connected())
        caller.hold()
        callee.hold()
        for call in (caller, callee):
            await until_direction(call, "inactive")
        await talk(caller, callee)
        assert caller.findings == callee.findings == ()


async def test_a_restart_changes_both_fragments() -> None:
    async with two_calls() as (caller, callee):
        await both(caller.connected(), callee.connected())
        ufrags = [_ufrag(call) for call in (caller, callee)]
        callee.restart()
        await until(lambda: all(_ufrag(call) != ufrag for call, ufrag in zip((caller, callee), ufrags, strict=True)))
        await talk(caller, callee)
        # Both at once, too.
        caller.restart()
        callee.restart()
        await talk(caller, callee)


def _ufrag(call: Call) -> str:
    assert call.leg is not None
    return call.leg.connection.ice_transports[0].connection.local_username


async def test_a_peer_that_begins_anew_is_taken_back() -> None:
    """Its program was restarted: another certificate, the same room and name."""
    async with room("alice", "bob") as (one, other), Call(one, media=["tone"], config=config()) as call:
        first = Call(other, media=["tone"], config=config())
        async with first:
            await both(call.connected(), first.connected())
            old = call.leg
            await other.close()
            async with (
                connect(f"memory:{one._transport._room}", name="bob") as again,
                Call(again, media=["tone"], config=config()) as second,
            ):
                await second.connected()
                assert call.leg is not old
                await second.opened()
                second.send("again")
                assert await call.receive() == "again"
                await call.first_media()
                assert Mark.CONNECTED in call.trace.marks


async def test_one_side_has_more_media_than_the_other() -> None:
    async with (
        room("alice", "bob") as (one, other),
        Call(one, media=["tone", "bars"], config=config()) as caller,
        Call(other, config=config(receive=())) as callee,
    ):
        await both(caller.connected(), callee.connected())
        # Bob offered data only; Alice's media follow in a second exchange.
        assert callee.trace.offers
        await callee.first_media()
        await until(lambda: {level.kind for level in callee.levels if level.frames} == {"audio", "video"})
        await talk(caller, callee)


async def test_a_peer_that_sends_nothing_is_told_of() -> None:
    async with room("alice", "bob") as (one, other):
        async with Call(one, media=["tone"], config=config()) as caller, Call(other, config=config()) as callee:
            await both(caller.connected(), callee.connected())
            await callee.first_media()
            await until(lambda: caller.findings)
            assert [finding.code for finding in caller.findings] == ["CALL-SILENT"]
            assert "audio" in caller.findings[0].evidence[0]
            assert callee.findings == ()


async def test_who_is_muted_is_silent_and_heard_again() -> None:
    async with two_calls() as (caller, callee):
        await both(caller.connected(), callee.connected())
        await callee.first_media()
        caller.mute("audio")
        await until(lambda: (callee.levels[0].level or 0) <= 0.001)
        caller.mute("audio", False)
        await until(lambda: (callee.levels[0].level or 0) >= 0.1)


async def test_statistics_each_second() -> None:
    async with two_calls(config(interval=0.2), config(interval=0.2)) as (caller, callee):
        await both(caller.connected(), callee.connected())
        await until(lambda: len(caller.history) >= 3)
        stats = caller.stats
        assert stats is not None
        assert stats.pair is not None
        assert (stats.pair.local, stats.pair.remote, stats.pair.is_relayed) == ("host", "host", False)
        assert 0 < (stats.rtt or 0) < 1
        assert (stats.bitrate_in or 0) > 1000
        assert (stats.bitrate_out or 0) > 1000
        assert stats.loss is not None


async def test_what_cannot_be_is_told_on_entering() -> None:
    async with room("alice") as (one,):
        for more, text in (
            ({"media": ["radio"]}, "'radio' is not known"),
            ({"ice_servers": [IceServer(urls="turn:192.0.2.1")]}, "username and credential"),
        ):
            with pytest.raises(ConfigError, match=text):
                async with Call(one, config=config(), **more):  # type: ignore[arg-type]
                    pass


async def test_leaving_in_the_middle_of_everything() -> None:
    for turns in range(0, 60, 6):
        async with two_calls():
            for _ in range(turns):
                await asyncio.sleep(0.002)
        assert not [task for task in asyncio.all_tasks() if "Call." in repr(task.get_coro())]


async def test_a_server_that_complains_and_a_third_one_who_talks(caplog: pytest.LogCaptureFixture) -> None:
    async with room("alice", "bob", "carl") as (one, other, third):
        async with Call(one, config=config()) as caller, Call(other, config=config()) as callee:
            await both(caller.connected(), callee.connected())
            caller._take(Fault(code="too-fast", text="slower, please"))
            caller._take(Presence(joined=("dora",), peers=("dora",)))
            await third.send(Bye(reason="not yours"))
            await third.send(Report(report={"schema": "icekit/call-report/1"}))
            await talk(caller, callee)
            assert caller.peer == "bob"
    assert "slower, please" in caplog.text


async def test_a_peer_that_goes_away_makes_room_for_the_next() -> None:
    async with room("alice", "zoe") as (one, other), Call(one, media=["tone"], config=config()) as call:
        await until(lambda: call.peer is not None)
        await other.close()
        await until(lambda: call.peer is None)
        place = f"memory:{one._transport._room}"
        async with connect(place, name="bob") as third, Call(third, media=["tone"], config=config()) as next_one:
            await both(call.connected(), next_one.connected())
            assert call.peer == "bob"
