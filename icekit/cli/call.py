"""``icekit call``: a call with whoever calls the same signaling URL."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from icekit.cli.command import run
from icekit.cli.completion import engines
from icekit.cli.options import Credential, JsonOutput, ServersFile, Username, read_servers, read_value
from icekit.errors import CallFailed, ConfigError
from icekit.printable import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from icekit.call.call import Call
    from icekit.call.config import CallConfig
    from icekit.call.measure import CallStats
    from icekit.call.mesh import Mesh
    from icekit.call.outcome import CallOutcome
    from icekit.servers import IceServer
    from icekit.signaling.channel import Channel

SignalingUrl = Annotated[
    str,
    typer.Argument(
        metavar="URL",
        help="Where both sides meet: ws://HOST:PORT/ROOM (of icekit serve), tcp://HOST:PORT, unix:/PATH, stdio: (copy "
        "and paste), a broker (mqtt:, redis:, nats:, stomp:), or https://HOST/PATH of a WHIP or WHEP server.",
    ),
]
IceUrls = Annotated[
    list[str] | None,
    typer.Option(
        "--ice",
        metavar="URL",
        help="A server: stun:HOST, turn:HOST[:PORT][?transport=udp|tcp], turns:…; or none. May be given several times.",
    ),
]
MediaWords = Annotated[
    str,
    typer.Option(
        "--media",
        metavar="WORDS",
        help="What to send, with commas: tone, bars, file:PATH, camera[:DEVICE], microphone[:DEVICE], screen, or none.",
    ),
]
RecordFile = Annotated[
    Path | None, typer.Option("--record", metavar="FILE", help="Write what the other side sends: .mp4, .webm, .wav …")
]
Duration = Annotated[
    float | None, typer.Option("--duration", metavar="SECONDS", help="Hang up so many seconds after it is connected.")
]
Wait = Annotated[float | None, typer.Option("--wait", metavar="SECONDS", help="Give up when nobody comes for so long.")]
RelayOnly = Annotated[bool, typer.Option("--relay-only", help="Use TURN servers only, whatever else would work.")]
EngineName = Annotated[
    str, typer.Option("--engine", metavar="icekit|aioice", help="Whose ICE to use.", autocompletion=engines)
]
OwnName = Annotated[str | None, typer.Option("--name", metavar="NAME", help="What the other side knows us as.")]
Token = Annotated[
    str | None,
    typer.Option(
        "--token", metavar="TOKEN", envvar="ICEKIT_TOKEN", help="What the signaling server asks for; @FILE reads it."
    ),
]
TraceForm = Annotated[
    str, typer.Option("--trace", metavar="table|mermaid|none", help="How to print the thirteen steps of the call.")
]
Group = Annotated[bool, typer.Option("--group", help="Call everybody in the room, up to eight people, instead of one.")]
LocalAddresses = Annotated[
    list[str] | None,
    typer.Option("--local-address", metavar="ADDRESS", help="Use this address of this host only; several times."),
]


def call(
    url: SignalingUrl,
    ice: IceUrls = None,
    servers: ServersFile = None,
    username: Username = None,
    credential: Credential = None,
    media: MediaWords = "tone,bars",
    record: RecordFile = None,
    duration: Duration = None,
    wait: Wait = None,
    relay_only: RelayOnly = False,
    engine: EngineName = "icekit",
    name: OwnName = None,
    token: Token = None,
    trace: TraceForm = "table",
    group: Group = False,
    local_address: LocalAddresses = None,
    json: JsonOutput = False,
) -> None:
    """Call whoever calls the same URL, with sound, pictures and data. Run it on two machines, or twice on one.

    Exit code 1: no call came about, or it broke; the findings of both sides say where. 3: nothing answers at URL.
    """
    if trace not in ("table", "mermaid", "none"):
        raise ConfigError(f"--trace: {trace!r} is not known; write table, mermaid or none")
    if engine not in ("icekit", "aioice"):
        raise ConfigError(f"--engine: {engine!r} is not known; write icekit or aioice")
    for option, value in (("--duration", duration), ("--wait", wait)):
        if value is not None and not 0 < value < float("inf"):
            raise ConfigError(f"{option}: {value} is no number of seconds above 0")
    asked = () if ice == ["none"] else read_servers(ice, servers, username, credential)
    if relay_only and not any(uri.is_turn for server in asked for uri in server.urls):
        raise ConfigError("--relay-only needs a TURN server: name one with --ice turn:HOST, or in --servers FILE")

    # --help does without them.
    from icekit.call.config import CallConfig
    from icekit.phases import Deadlines
    from icekit.signaling import connect

    config = CallConfig(
        engine="icekit" if engine == "icekit" else "aioice",
        relay_only=relay_only,
        deadlines=Deadlines(peer=wait),
        local_addresses=tuple(local_address) if local_address else None,
        record=record,
    )
    words = () if media == "none" else tuple(word.strip() for word in media.split(","))
    channel = connect(url, name=name, token=read_value("--token", token))
    order = _Order(channel=channel, servers=asked, media=words, config=config, duration=duration)
    if group:
        _call_group(_Group(order, wait), json)
        return
    line = _Line(order)

    def finish() -> None:
        if line.outcome is not None:
            _print(line.outcome, line.shown_trace(trace), json)

    run(line.run(), finish)
    finish()
    assert line.outcome is not None
    if not line.outcome.ok:
        raise typer.Exit(CallFailed.exit_code)


def _say(text: str) -> None:
    """How it goes, beside the result."""
    typer.echo(text, err=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Order:
    """What the options ask for; ``duration``: seconds until it hangs up."""

    channel: Channel
    servers: Sequence[IceServer]
    media: Sequence[str]
    config: CallConfig
    duration: float | None


class _Line:
    """The call of this command; ``outcome`` is what is known of it so far."""

    def __init__(self, order: _Order) -> None:
        self.order = order
        self.call: Call | None = None
        self.outcome: CallOutcome | None = None
        self.sent = self.received = 0

    async def run(self) -> None:
        """Until the call is over."""
        from icekit.call.call import Call
        from icekit.call.outcome import CallOutcome

        reason, failure = "interrupted", None
        async with (
            self.order.channel as channel,
            Call(channel, ice_servers=self.order.servers, media=self.order.media, config=self.order.config) as call,
        ):
            self.call = call
            try:
                reason = await self._talk(call)
            except CallFailed as error:
                failure = error
            finally:
                self.outcome = CallOutcome.of(call, reason, sent=self.sent, received=self.received, failure=failure)

    async def _talk(self, call: Call) -> str:
        import asyncio

        _say(f"{call.phase} …")
        await call.connected()
        _say(f"connected to {printable(call.peer or 'a peer without a name')}")
        work = [asyncio.ensure_future(item) for item in (self._ping(call), self._listen(call), self._show(call))]
        try:
            async with asyncio.timeout(self.order.duration):
                return await call.ended()
        except TimeoutError:
            await call.hang_up()
            return "hung up"
        finally:
            for task in work:
                task.cancel()
            await asyncio.gather(*work, return_exceptions=True)

    async def _ping(self, call: Call) -> None:
        """A message each second, to see the data channel work."""
        import asyncio

        await call.opened()
        while True:
            call.send(f"icekit {self.sent + 1}")
            self.sent += 1
            await asyncio.sleep(1)

    async def _listen(self, call: Call) -> None:
        while True:
            await call.receive()
            self.received += 1

    async def _show(self, call: Call) -> None:
        import asyncio

        level = await call.first_media()
        _say(f"first {level.kind} after {_ms(call.trace.first_media)}")
        shown = None
        while True:
            await asyncio.sleep(self.order.config.interval)
            if call.stats is not None and call.stats is not shown:
                shown = call.stats
                _say(_line(shown))

    def shown_trace(self, form: str) -> str:
        """The thirteen steps as text."""
        # Where nobody came there are no steps of two sides.
        if self.call is None or form == "none" or (self.outcome is not None and self.outcome.code == "CALL-PEER"):
            return ""
        trace = self.call.trace
        return f"{trace.to_table()}\n{trace.sides}" if form == "table" else trace.to_mermaid()


class _Group:
    """Calls with everybody in the room; ``outcomes`` by the name of the peer."""

    def __init__(self, order: _Order, wait: float | None) -> None:
        self.order = order
        self.wait = wait
        self.outcomes: dict[str, CallOutcome] = {}

    async def run(self) -> None:
        """Until ``duration`` after the first is connected, or for ever."""
        import asyncio

        from icekit.call.mesh import Mesh

        async with self.order.channel as channel:
            mesh = Mesh(channel, ice_servers=self.order.servers, media=self.order.media, config=self.order.config)
            try:
                async with mesh:
                    _say("waiting for others …")
                    try:
                        async with asyncio.timeout(self.wait):
                            await mesh.connected()
                        async with asyncio.timeout(self.order.duration):
                            await self._show(mesh)
                    except TimeoutError:
                        pass
            finally:
                self.outcomes = dict(mesh.ended)

    async def _show(self, mesh: Mesh) -> None:
        import asyncio

        number = 0
        while True:
            number += 1
            mesh.send(f"icekit {number}")
            for name, call in sorted(mesh.calls.items()):
                if call.stats is not None:
                    _say(f"{printable(name)}: {_line(call.stats)}")
            await asyncio.sleep(1)


def _call_group(group: _Group, json: bool) -> None:
    def finish() -> None:
        from icekit.cli import render
        from icekit.report import to_dict

        if json:
            calls = [to_dict(outcome) for outcome in group.outcomes.values()]
            render.print_json({"schema": "icekit/calls/1", "calls": calls})
            return
        for name, outcome in group.outcomes.items():
            typer.echo(f"{printable(name)}: {printable(_summary(outcome))}")
            if outcome.findings:
                render.print_findings(outcome.findings)
        if not group.outcomes:
            typer.echo("Nobody came.")

    run(group.run(), finish)
    finish()
    if not any(outcome.ok for outcome in group.outcomes.values()):
        raise typer.Exit(CallFailed.exit_code)


def _print(outcome: CallOutcome, trace: str, json: bool) -> None:
    from icekit.cli import render

    if json:
        render.print_json(outcome)
        return
    typer.echo("")
    typer.echo(printable(_summary(outcome)))
    if outcome.findings:
        typer.echo("")
        render.print_findings(outcome.findings)
    if trace:
        typer.echo("")
        typer.echo(trace)


def _summary(outcome: CallOutcome) -> str:
    if outcome.code is not None:
        return f"The call failed ({outcome.code}): {outcome.reason}."
    if outcome.connected is None:
        return "No call came about."
    words = [f"Connected after {_ms(outcome.connected)}, first media after {_ms(outcome.first_media)}"]
    if outcome.pair is not None:
        pair = outcome.pair
        words.append(f"{'relayed' if pair.is_relayed else 'direct'}, {pair.local} to {pair.remote}")
    if outcome.sent or outcome.received:
        words.append(f"{outcome.sent} messages sent, {outcome.received} received")
    words += [f"{level.frames} {level.kind} frames" for level in outcome.levels]
    return f"{'; '.join(words)}; {outcome.reason}."


def _line(stats: CallStats) -> str:
    """One second in one line."""
    parts = [
        f"{stats.time:6.1f} s",
        f"RTT {_ms(stats.rtt)}",
        f"loss {_percent(stats.loss)}",
        f"jitter {_ms(stats.jitter)}",
        f"in {_rate(stats.bitrate_in)}",
        f"out {_rate(stats.bitrate_out)}",
    ]
    if stats.pair is not None:
        parts.append(f"{stats.pair.local}–{stats.pair.remote}")
    parts += [f"{level.kind} {level.frames}" for level in stats.levels]
    return "  ".join(parts)


def _ms(seconds: float | None) -> str:
    return "–" if seconds is None else f"{seconds * 1000:.0f} ms"


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{share * 100:.1f} %"


def _rate(bits: float | None) -> str:
    return "–" if bits is None else f"{bits / 1000:.0f} kbit/s"
