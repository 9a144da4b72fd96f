"""``PeerConnection`` with itself on loopback; with stock aiortc in tests/interop/test_aiortc.py."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any, Literal

import aiortc
import pytest
from aiortc import (
    RTCBundlePolicy,
    RTCIceCandidate,
    RTCIceServer,
    RTCIceTransportPolicy,
    RTCPeerConnection,
    RTCSessionDescription,
)
from aiortc.mediastreams import AudioStreamTrack, MediaStreamError, MediaStreamTrack
from aiortc.rtcconfiguration import RTCConfiguration
from OpenSSL import SSL

from icekit.aio.server import serve
from icekit.call import IceCandidateError, PeerConnection
from icekit.call.peer_connection import ice_servers
from icekit.errors import ConfigError
from icekit.sdp import read_sdp
from icekit.server import ServerConfig, TurnServerConfig
from icekit.sim import Host, Internet, Link, SimulationRealClock, is_dtls
from tests.call.calls import Echo, closing, negotiate, ours, trickle, until, until_state

USER, PASSWORD = "alice", "secret"


async def test_a_program_of_aiortc() -> None:
    caller, callee = ours(), ours()
    async with closing(caller, callee):
        echo = Echo(caller, callee)
        await negotiate(caller, callee)
        await echo.say("hello")
        for connection in (caller, callee):
            assert await until_state(connection, "completed") == "completed"
            assert connection.connectionState == "connected"
            assert connection.iceGatheringState == "complete"
    assert (caller.iceConnectionState, caller.connectionState) == ("closed", "closed")
    await caller.close()


async def test_what_the_descriptions_say() -> None:
    caller, callee = ours(), ours()
    async with closing(caller, callee):
        caller.createDataChannel("x")
        caller.addTransceiver("audio")
        assert caller.localDescription is None
        offer = await caller.createOffer()
        for description in (offer, *[await _set_local(caller, offer)]):
            read = read_sdp(description.sdp)
            assert read.pacing == 5
            assert [section.options for section in read.media] == [("trickle", "ice2", "renomination")] * 2
        # Nothing is gathered by createOffer; setLocalDescription waits where nobody takes candidates.
        assert [section.end_of_candidates for section in read_sdp(offer.sdp).media] == [False, False]
        assert all(section.candidates and section.end_of_candidates for section in read.media)
        assert caller.canTrickleIceCandidates is None
        await callee.setRemoteDescription(caller.localDescription)
        assert callee.canTrickleIceCandidates is True
        await callee.setRemoteDescription(RTCSessionDescription(_without_options(offer.sdp), "offer"))
        assert callee.canTrickleIceCandidates is False


async def _set_local(connection: PeerConnection, description: RTCSessionDescription) -> RTCSessionDescription:
    await connection.setLocalDescription(description)
    assert connection.localDescription is not None
    return connection.localDescription


def _without_options(sdp: str) -> str:
    return "".join(f"{line}\r\n" for line in sdp.splitlines() if not line.startswith(("a=ice-opt", "a=ice-pac")))


async def test_trickle_both_ways_with_candidates_before_the_description() -> None:
    caller, callee = ours(), ours()
    async with closing(caller, callee):
        echo = Echo(caller, callee)
        told = trickle(caller, callee), trickle(callee, caller)
        await caller.setLocalDescription()
        description = caller.localDescription
        assert description is not None
        # It has returned at once; what the peer gets is an offer without candidates, after some of them.
        assert read_sdp(description.sdp).candidates == ()
        await until(lambda: None in told[0])
        await callee.setRemoteDescription(description)
        await callee.setLocalDescription()
        answer = callee.localDescription
        assert answer is not None
        # An answer has what needs no packet.
        assert [str(candidate.type) for _, candidate in read_sdp(answer.sdp).candidates] == ["host"]
        assert told[1] == []
        await caller.setRemoteDescription(answer)
        await echo.say("hello")
        for candidates, connection in zip(told, (caller, callee), strict=True):
            first, end = candidates
            assert isinstance(first, RTCIceCandidate)
            assert (first.sdpMid, first.sdpMLineIndex, first.ip, first.type) == ("0", 0, "127.0.0.1", "host")
            assert end is None
            # The description catches up.
            assert connection.localDescription is not None
            (section,) = read_sdp(connection.localDescription.sdp).media
            assert [item.port for item in section.candidates] == [first.port]
            assert section.end_of_candidates
            assert connection.iceGatheringState == "complete"


async def test_a_handler_that_fails_costs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    connection = ours()
    async with closing(connection):
        told: list[object] = []

        def fail(candidate: object) -> None:
            told.append(candidate)
            raise RuntimeError("a defect of the program")

        connection.on("icecandidate", fail)
        connection.createDataChannel("x")
        await connection.setLocalDescription()
        await until(lambda: None in told)
        assert len(told) == 2
    assert "the handler of icecandidate has failed" in caplog.text


async def test_an_answer_trickles_only_to_whom_can() -> None:
    caller, callee = ours(), ours()
    async with closing(caller, callee):
        echo = Echo(caller, callee)
        trickle(callee, caller)
        await caller.setLocalDescription()
        assert caller.localDescription is not None
        plain = RTCSessionDescription(_without_options(caller.localDescription.sdp), "offer")
        await callee.setRemoteDescription(plain)
        await callee.setLocalDescription()
        assert callee.localDescription is not None
        (section,) = read_sdp(callee.localDescription.sdp).media
        assert len(section.candidates) == 1
        assert section.end_of_candidates
        await caller.setRemoteDescription(callee.localDescription)
        await echo.say("hello")


async def test_a_dead_server_costs_a_second_at_most() -> None:
    """And nothing with a handler; its failure is an event."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        dead = RTCIceServer(f"stun:127.0.0.1:{silent.getsockname()[1]}")
        waiting, trickling = ours(dead), ours(dead)
        async with closing(waiting, trickling):
            errors: list[IceCandidateError] = []
            trickling.on("icecandidateerror", errors.append)
            trickle(trickling, waiting)
            for connection in (waiting, trickling):
                connection.createDataChannel("x")
            await trickling.setLocalDescription()
            # At once: not even the patience that `waiting` shows below has passed.
            assert trickling.iceGatheringState == "gathering"
            began = time.monotonic()
            await waiting.setLocalDescription()
            assert time.monotonic() - began > 0.25
            assert waiting.localDescription is not None
            (section,) = read_sdp(waiting.localDescription.sdp).media
            assert len(section.candidates) == 1
            assert not section.end_of_candidates
            assert waiting.iceGatheringState == "gathering"
            assert await until_state(trickling, "complete", of="iceGatheringState")
            await until(lambda: bool(errors))
            assert (errors[0].errorCode, errors[0].url) == (701, dead.urls)
            assert "no answer" in errors[0].errorText


async def test_relays_of_all_urls_and_nothing_else() -> None:
    config = ServerConfig(
        turn=TurnServerConfig(users={USER: PASSWORD}, relay_ipv4="127.0.0.1", allow_peers=("127.0.0.0/8",))
    )
    async with serve(config, hosts=["127.0.0.1"], ports=(0,)) as running:
        urls = [f"turn:{running.udp[0]}?transport=udp", f"turn:{running.tcp[0]}?transport=tcp"]
        good = RTCIceServer(urls, USER, PASSWORD)
        wrong = RTCIceServer(f"turn:localhost:{running.tcp[0].port}?transport=tcp", USER, "wrong")
        policy = RTCIceTransportPolicy.RELAY
        caller, callee = ours(good, wrong, iceTransportPolicy=policy), ours(good, iceTransportPolicy=policy)
        async with closing(caller, callee):
            errors: list[IceCandidateError] = []
            caller.on("icecandidateerror", errors.append)
            echo = Echo(caller, callee)
            told = trickle(caller, callee)
            await negotiate(caller, callee)
            await echo.say("hello")
            assert [candidate and (candidate.type, candidate.relatedAddress) for candidate in told] == [
                ("relay", "0.0.0.0"),
                ("relay", "0.0.0.0"),
                None,
            ]
            assert [error.errorCode for error in errors] == [401]
            report = (await caller.getStats()).values()
            locals_ = [item for item in report if item.type == "local-candidate"]
            assert {(item.candidateType, item.url) for item in locals_} == {("relay", url) for url in urls}
        assert running.core.allocations == 0


async def test_statistics_name_the_pair_in_use() -> None:
    caller, callee = ours(), ours()
    async with closing(caller, callee):
        echo = Echo(caller, callee)
        await negotiate(caller, callee)
        await echo.say("hello")
        await until_state(caller, "completed")
        report = await caller.getStats()
        kinds = [item.type for item in report.values()]
        assert sorted(kinds) == ["candidate-pair", "local-candidate", "remote-candidate", "transport"]
        (pair,) = [item for item in report.values() if item.type == "candidate-pair"]
        assert (pair.state, pair.nominated, pair.selected) == ("succeeded", True, True)
        assert 0 < pair.currentRoundTripTime < 1
        assert pair.bytesSent > 0
        assert pair.bytesReceived > 0
        assert pair.requestsSent >= pair.responsesReceived >= 1
        assert report[pair.localCandidateId].type == "local-candidate"
        assert report[pair.remoteCandidateId].type == "remote-candidate"
        assert report[pair.transportId].dtlsState == "connected"


async def test_restart_keeps_the_channel_and_changes_the_pair() -> None:
    caller, callee = ours(), ours()
    async with closing(caller, callee):
        echo = Echo(caller, callee)
        await negotiate(caller, callee)
        await echo.say("before")
        await until_state(caller, "completed")
        before = _facts(caller)
        caller.restartIce()
        assert _facts(caller) == before
        await negotiate(caller, callee)
        after = _facts(caller)
        assert after[0] != before[0]
        assert after[1] != before[1]
        for _ in range(20):
            await echo.say("while it changes")
        await until(lambda: all(_used_port(item) == _facts(item)[1] for item in (caller, callee)))
        await echo.say("after")
        assert caller.connectionState == "connected"
        # The next offer is an ordinary one.
        assert read_sdp((await caller.createOffer()).sdp).media[0].ufrag == after[0]


def _facts(connection: PeerConnection) -> tuple[str | None, int]:
    """User name fragment and port of the local description."""
    assert connection.localDescription is not None
    (section,) = read_sdp(connection.localDescription.sdp).media
    return section.ufrag, section.candidates[0].port


def _used_port(connection: PeerConnection) -> int | None:
    pair = connection.ice_transports[0].connection.selected_pair
    return None if pair is None else pair.local.port


async def test_the_answerer_may_restart_and_trickle() -> None:
    caller, callee = ours(), ours()
    async with closing(caller, callee):
        echo = Echo(caller, callee)
        told = trickle(caller, callee), trickle(callee, caller)
        await negotiate(caller, callee)
        await echo.say("before")
        callee.restartIce()
        await negotiate(callee, caller)
        await until(lambda: all(_used_port(item) == _facts(item)[1] for item in (caller, callee)))
        await echo.say("after")
        for candidates in told:
            assert [item is None for item in candidates] == [False, True, False, True]
            assert candidates[0].port != candidates[2].port


async def test_audio_and_data_on_one_transport_and_on_several() -> None:
    for policy in (RTCBundlePolicy.MAX_BUNDLE, RTCBundlePolicy.MAX_COMPAT):
        caller, callee = ours(bundlePolicy=policy), ours()
        async with closing(caller, callee):
            # First the track: aiortc itself does not bundle a channel that was there before it.
            caller.addTrack(AudioStreamTrack())
            echo = Echo(caller, callee)
            told = trickle(caller, callee), trickle(callee, caller)
            received: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            callee.on("track", received.set_result)
            await negotiate(caller, callee)
            track = await received
            frame = await track.recv()
            assert frame.sample_rate == 48000
            await echo.say("hello")
            assert len(caller.ice_transports) == 1
            mids = [candidate.sdpMid for candidate in told[0] if candidate is not None]
            assert "0" in mids
            assert told[0].count(None) == 1
            assert told[1][-1] is None
        await _until_the_end(track)


async def _until_the_end(track: MediaStreamTrack) -> None:
    with suppress(MediaStreamError):
        while True:
            await track.recv()


async def test_who_says_goodbye_ends_it_for_both() -> None:
    caller, callee = ours(), ours()
    async with closing(caller, callee):
        echo = Echo(caller, callee)
        await negotiate(caller, callee)
        await echo.say("hello")
        await caller.close()
        assert await until_state(callee, "closed", of="connectionState")


async def test_close_in_the_middle_of_everything() -> None:
    for steps in range(5):
        caller, callee = ours(), ours()
        async with closing(caller, callee):
            Echo(caller, callee)
            trickle(caller, callee)
            work: list[Any] = [
                caller.setLocalDescription,
                lambda caller=caller, callee=callee: callee.setRemoteDescription(caller.localDescription),
                callee.setLocalDescription,
                lambda caller=caller, callee=callee: caller.setRemoteDescription(callee.localDescription),
            ]
            for step in work[:steps]:
                await step()
        assert (caller.connectionState, callee.connectionState) == ("closed", "closed")
        await callee.addIceCandidate(None)


@pytest.mark.parametrize("engine", ["icekit", "aioice"])
async def test_who_is_cancelled_while_it_closes_leaves_it_closing(engine: Literal["icekit", "aioice"]) -> None:
    """At whatever step: the next who closes it waits until everything is closed, and not for ever."""
    for turns in range(12):
        caller, callee = (PeerConnection(local_addresses=["127.0.0.1"], engine=engine) for _ in range(2))
        async with closing(callee):
            echo = Echo(caller, callee)
            await negotiate(caller, callee)
            await echo.say("hello")
            leaving = [asyncio.create_task(caller.close()) for _ in range(2)]
            for _ in range(turns):
                await asyncio.sleep(0)
            for task in leaving:
                task.cancel()
            await asyncio.wait(leaving)
            await caller.close()
            assert {item.state for item in (*caller.dtls_transports, *caller.ice_transports)} <= {"closed"}
            assert caller.connectionState == "closed"


async def test_a_handshake_that_ends_behind_close_leaves_nothing_running() -> None:
    """aiortc then starts senders and receivers, which it has just stopped, and nobody would stop them any more."""
    caller, callee = ours(), ours()
    caller.addTrack(AudioStreamTrack())
    async with closing(caller, callee):
        await caller.setLocalDescription()
        (dtls,) = caller.dtls_transports
        shake_hands, ended = dtls._do_handshake, asyncio.Event()
        leaving: list[asyncio.Task[None]] = []

        async def late() -> None:
            await shake_hands()
            leaving.append(asyncio.create_task(caller.close()))
            while not caller.is_closed:  # noqa: ASYNC110  # it is in one of the next turns
                await asyncio.sleep(0)
            ended.set()

        dtls._do_handshake = late  # type: ignore[method-assign]
        await callee.setRemoteDescription(caller.localDescription)
        await callee.setLocalDescription()
        await caller.setRemoteDescription(callee.localDescription)
        await ended.wait()
        await asyncio.gather(*leaving)
        assert caller.connecting == set()
        running = {task.get_coro().__qualname__ for task in asyncio.all_tasks()}  # type: ignore[union-attr]
        assert not {name for name in running if name.startswith(("RTCRtpSender", "RTCRtpReceiver"))}


async def test_stock_engine() -> None:
    """Nothing of ours is left: neither in the description, nor in the transports."""
    connection = PeerConnection(RTCConfiguration(iceServers=[]), engine="aioice")
    stock = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    async with closing(connection, stock):
        for item in (connection, stock):
            item.createDataChannel("x")
            await item.setLocalDescription()
        assert connection.localDescription is not None
        assert "ice-options" not in connection.localDescription.sdp
        shapes = [
            [line.partition(":")[0] for line in item.localDescription.sdp.splitlines()[2:]]
            for item in (connection, stock)
        ]
        assert [line.partition(" ")[0] for line in shapes[0]] == [line.partition(" ")[0] for line in shapes[1]]
        assert type(connection.sctp.transport.transport) is aiortc.RTCIceTransport
        assert connection.ice_transports == []
        connection.restartIce()
        assert dict(await connection.getStats()) == {}
    assert connection.iceConnectionState == "closed"
    with pytest.raises(ConfigError, match="choose icekit or aioice"):
        PeerConnection(engine="other")  # type: ignore[arg-type]


def test_servers_that_cannot_be() -> None:
    assert [str(url) for server in ice_servers(None) for url in server.urls] == ["stun:stun.l.google.com:19302"]
    urls = ["stun:[2001:db8::1]", "stuns:stun.example.org", "turns:turn.example.org?transport=udp"]
    (server,) = ice_servers([RTCIceServer(urls, "a", "b")])
    assert [str(url) for url in server.urls] == urls
    for bad, text in (
        (RTCIceServer("turn:turn.example.org"), "needs a username and credential"),
        (RTCIceServer("stun:stun.example.org:99999"), "port"),
        (RTCIceServer("turn:a", "a", "b", credentialType="oauth"), "credentialType"),
    ):
        with pytest.raises(ValueError, match=text):
            PeerConnection(RTCConfiguration(iceServers=[bad]))


@pytest.mark.parametrize("wrong", [["stun:stun.example.org"], [], {"iceServers": []}])
def test_what_is_no_configuration_is_told_what_would_be(wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"aiortc's RTCConfiguration, not (list|dict): RTCConfiguration\(iceServers="):
        PeerConnection(wrong)


async def test_early_candidates_are_bounded_and_checked() -> None:
    connection = ours()
    async with closing(connection):
        with pytest.raises(ValueError, match="must have either sdpMid or sdpMLineIndex"):
            await connection.addIceCandidate(RTCIceCandidate(1, "1", "192.0.2.1", 1, 1, "udp", "host"))
        for port in range(1, 1000):
            await connection.addIceCandidate(RTCIceCandidate(1, "1", "192.0.2.1", port, 1, "udp", "host", sdpMid="0"))
        assert len(connection._early) == 256


# On a simulated network, in virtual time.


def simulated(test: Callable[[PeerConnection, PeerConnection, tuple[Host, Host]], Awaitable[None]]) -> None:
    net = Internet(seed=1, link=Link(delay=0.01))
    hosts = net.host("alice"), net.host("bob")

    async def make() -> PeerConnection:
        return PeerConnection(RTCConfiguration(iceServers=[]))

    async def main() -> None:
        caller, callee = [await host.run(make()) for host in hosts]
        try:
            async with asyncio.timeout(600):
                await test(caller, callee, hosts)
        finally:
            await asyncio.gather(caller.close(), callee.close())

    net.run(main())


def call_with_loss(link: Link, seed: int, engine: Literal["icekit", "aioice"] = "icekit") -> float:
    """When both are connected, in virtual seconds."""
    net = Internet(seed=seed, link=link)
    hosts = net.host("alice"), net.host("bob")

    async def make() -> PeerConnection:
        return PeerConnection(RTCConfiguration(iceServers=[]), engine=engine)

    async def main() -> float:
        caller, callee = [await host.run(make()) for host in hosts]
        try:
            with hosts[0]:
                caller.createDataChannel("chat")
            connected = asyncio.Event()
            caller.on("connectionstatechange", lambda: caller.connectionState == "connected" and connected.set())
            await negotiate_on(caller, callee, hosts)
            await connected.wait()
            return asyncio.get_running_loop().time()
        finally:
            await asyncio.gather(caller.close(), callee.close())

    return net.run(main())


def test_a_lost_dtls_record_of_stock_aiortc_ends_the_run_with_a_clear_error() -> None:
    """OpenSSL repeats it by the real clock, which would cost thousands of virtual seconds."""
    assert call_with_loss(Link(delay=0.01, loss=0.3, lossless=is_dtls), 3, "aioice") < 30
    with pytest.raises(SimulationRealClock, match="lossless=is_dtls"):
        call_with_loss(Link(delay=0.01, loss=0.3), 1, "aioice")


def test_a_lost_dtls_record_costs_icekit_milliseconds(monkeypatch: pytest.MonkeyPatch) -> None:
    # OpenSSL's timer is for peers of another make.
    monkeypatch.setattr(SSL.Connection, "DTLSv1_get_timeout", lambda _: None)
    taken = sorted(call_with_loss(Link(delay=0.01, loss=0.2), seed) for seed in range(20))
    # 55 ms if nothing is lost.
    assert taken[10] < 0.3
    assert taken[-1] < 3


async def negotiate_on(caller: PeerConnection, callee: PeerConnection, hosts: tuple[Host, Host]) -> None:
    await hosts[0].run(caller.setLocalDescription())
    assert caller.localDescription is not None
    await hosts[1].run(callee.setRemoteDescription(caller.localDescription))
    await hosts[1].run(callee.setLocalDescription())
    assert callee.localDescription is not None
    await hosts[0].run(caller.setRemoteDescription(callee.localDescription))


def follow(connection: PeerConnection) -> list[tuple[float, str, str]]:
    states: list[tuple[float, str, str]] = []

    def note() -> None:
        now = (round(asyncio.get_running_loop().time(), 1), connection.iceConnectionState, connection.connectionState)
        if not states or states[-1][1:] != now[1:]:
            states.append(now)

    connection.on("iceconnectionstatechange", note)
    connection.on("connectionstatechange", note)
    return states


def test_silence_is_shown_then_fails_and_a_restart_recovers() -> None:
    async def test(caller: PeerConnection, callee: PeerConnection, hosts: tuple[Host, Host]) -> None:
        with hosts[0]:
            echo = Echo(caller, callee)
        await negotiate_on(caller, callee, hosts)
        await echo.say("before")
        await until_state(caller, "completed")
        states = follow(caller)
        hosts[1].down()
        await until_state(caller, "disconnected")
        assert caller.connectionState == "disconnected"
        hosts[1].up()
        await until_state(caller, "completed")
        assert caller.connectionState == "connected"
        hosts[1].down()
        await until_state(caller, "failed")
        await until_state(callee, "failed")
        assert [state[1:] for state in states] == [
            ("disconnected", "connected"),
            ("disconnected", "disconnected"),
            ("completed", "disconnected"),
            ("completed", "connected"),
            ("disconnected", "connected"),
            ("disconnected", "disconnected"),
            ("failed", "disconnected"),
            ("failed", "failed"),
        ]
        hosts[1].up()
        caller.restartIce()
        await negotiate_on(caller, callee, hosts)
        await echo.say("after")
        assert (caller.connectionState, callee.connectionState) == ("connected", "connected")

    simulated(test)


def test_what_nobody_restarts_is_closed() -> None:
    async def test(caller: PeerConnection, callee: PeerConnection, hosts: tuple[Host, Host]) -> None:
        with hosts[0]:
            echo = Echo(caller, callee)
        await negotiate_on(caller, callee, hosts)
        await echo.say("before")
        hosts[1].down()
        await until_state(caller, "failed")
        began = asyncio.get_running_loop().time()
        await until_state(caller, "closed", of="connectionState")
        assert asyncio.get_running_loop().time() - began == pytest.approx(30, abs=0.1)

    simulated(test)


def test_a_peer_that_is_not_there_fails() -> None:
    """After the patience (RFC 8863), and close ends it."""

    async def test(caller: PeerConnection, callee: PeerConnection, hosts: tuple[Host, Host]) -> None:
        with hosts[0]:
            caller.createDataChannel("x")
        hosts[1].down()
        await negotiate_on(caller, callee, hosts)
        await until_state(caller, "failed")
        assert caller.connectionState == "failed"
        assert 39 < asyncio.get_running_loop().time() < 41

    simulated(test)


async def test_pacing_is_ours_until_the_peer_has_proposed_something() -> None:
    def used(connection: PeerConnection) -> set[float]:
        return {item.connection._agent.pacer.ta for item in connection.ice_transports}

    caller, callee = ours(), ours()
    async with closing(caller, callee):
        caller.createDataChannel("x")
        await caller.setLocalDescription(await caller.createOffer())
        assert used(caller) == {0.005}
        await callee.setRemoteDescription(caller.localDescription)
        assert used(callee) == {0.005}
        await callee.setLocalDescription(await callee.createAnswer())
        # Stock aiortc and every browser propose nothing.
        sdp = callee.localDescription.sdp.replace("a=ice-pacing:5\r\n", "")
        await caller.setRemoteDescription(RTCSessionDescription(sdp, "answer"))
        assert used(caller) == {0.02}


def test_a_channel_is_open_three_round_trips_after_ice() -> None:
    """Two for DTLS 1.2, of which its server needs one and a half, and as many for SCTP with all that it carries."""
    delay = 0.025
    moments: dict[str, float] = {}

    def note(name: str, *_: object) -> None:
        moments.setdefault(name, asyncio.get_running_loop().time())

    async def make(name: str) -> PeerConnection:
        connection = PeerConnection(RTCConfiguration(iceServers=[]))
        connection.on(
            "iceconnectionstatechange", lambda: connection.iceConnectionState == "connected" and note(f"{name} ice")
        )
        return connection

    async def main() -> None:
        caller, callee = [await host.run(make(name)) for host, name in zip(hosts, "ab", strict=True)]
        try:
            with hosts[0]:
                channel = caller.createDataChannel("chat")
            channel.on("open", lambda: (note("a open"), channel.send("hello")))
            callee.on("datachannel", lambda heard: (note("b open"), heard.on("message", partial(note, "b heard"))))
            await negotiate_on(caller, callee, hosts)
            await asyncio.sleep(1)
        finally:
            await asyncio.gather(caller.close(), callee.close())

    net = Internet(seed=3, link=Link(delay=delay))
    hosts = net.host("alice"), net.host("bob")
    net.run(main())
    # The callee, which is the DTLS client, was there first; both share the 5 ms of all agents of a process.
    began = moments["b ice"]
    assert 0 <= moments["a ice"] - began <= 0.0051
    passed = {name: round((moment - began) / delay, 6) for name, moment in moments.items() if name != "a ice"}
    assert passed == {"b ice": 0, "a open": 5, "b open": 6, "b heard": 6}


async def test_the_loss_of_any_flight_of_dtls_costs_no_more_than_a_timeout() -> None:
    """That of the flight; OpenSSL repeats them after a second, too. With stock aiortc what we send is lost."""

    async def call(loser: int, lost: int, others: Callable[[], Any]) -> None:
        connections = (others(), ours()) if loser else (ours(), others())
        async with closing(*connections):
            echo = Echo(*connections)
            await connections[0].setLocalDescription(await connections[0].createOffer())
            await connections[1].setRemoteDescription(connections[0].localDescription)
            transport = connections[loser].sctp.transport.transport.connection
            send, sent = transport.send, 0

            async def lossy(data: bytes) -> None:
                nonlocal sent
                sent += 1
                if sent - 1 != lost:
                    await send(data)

            transport.send = lossy
            await connections[1].setLocalDescription(await connections[1].createAnswer())
            await connections[0].setRemoteDescription(connections[1].localDescription)
            await echo.say("hello")
            assert sent > lost

    def stock() -> RTCPeerConnection:
        return RTCPeerConnection(RTCConfiguration(iceServers=[]))

    await asyncio.gather(*(call(loser, lost, kind) for loser in (0, 1) for lost in range(4) for kind in (ours, stock)))


async def test_a_connection_is_told_before_dtls_computes_and_finds_its_context_made() -> None:
    caller, callee = ours(), ours()
    told: dict[PeerConnection, tuple[str, bool]] = {}

    def note(connection: PeerConnection) -> None:
        if connection.iceConnectionState == "connected":
            dtls = connection.sctp.transport
            told[connection] = dtls.state, "_context" in vars(connection._certificate)

    async with closing(caller, callee):
        echo = Echo(caller, callee)
        for connection in (caller, callee):
            connection.on("iceconnectionstatechange", partial(note, connection))
        trickle(caller, callee)
        await caller.setLocalDescription()
        await asyncio.gather(*(item.gatherer.first_candidate() for item in caller.ice_transports))
        # While the answer is under way there is nothing else to do.
        await until(lambda: "_context" in vars(caller._certificate))
        await callee.setRemoteDescription(caller.localDescription)
        await callee.setLocalDescription()
        await caller.setRemoteDescription(callee.localDescription)
        await echo.say("hello")
    assert {connection: state for connection, (state, _) in told.items()} == {caller: "new", callee: "new"}
    # The check of the callee is answered in no time on one machine, before there is anything to wait for.
    assert told[caller] == ("new", True)


async def test_the_peer_is_known_before_gathering_so_that_its_first_check_can_leave_with_the_socket() -> None:
    caller, callee = ours(), ours()
    async with closing(caller, callee):
        caller.createDataChannel("x")
        trickle(caller, callee)
        await caller.setLocalDescription()
        await callee.setRemoteDescription(caller.localDescription)
        (transport,) = callee.ice_transports
        await until(lambda: transport.connection.remote_username is not None)
        assert transport.gatherer.state == "new"
        # Another offer before the answer counts instead.
        caller.restartIce()
        await caller.setLocalDescription(await caller.createOffer())
        await callee.setRemoteDescription(caller.localDescription)
        (offering,) = caller.ice_transports
        await until(lambda: transport.connection.remote_username == offering.connection.local_username)
        await callee.setLocalDescription()
        await caller.setRemoteDescription(callee.localDescription)
        await until(lambda: (caller.iceConnectionState, callee.iceConnectionState) == ("completed", "completed"))
