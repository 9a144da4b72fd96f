"""The two-sided probe: both ends probe, tell each other, run real checks on every pair, and merge what both saw.

Each end sends four reports over the channel, in this order: that it is there, its probe, its candidates with the
ufrag and password of this one session, and what it saw of the checks. The end with the lesser name is A, and controls.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from icekit.aio.connection import IceConnection
from icekit.aio.dns import Resolver
from icekit.aio.prober import Prober, ProberConfig
from icekit.call.attendance import Attendance, Change
from icekit.candidate import Candidate
from icekit.errors import CandidateError, ConnectivityError, DecodeError, IceFailed, IcekitError
from icekit.generation import credential_flaw
from icekit.ice import IceConfig
from icekit.ice_events import PairStats
from icekit.report import ProbeReport, from_dict, to_dict
from icekit.servers import IceServer
from icekit.signaling.channel import Channel
from icekit.signaling.message import Answer, Bye, Message, Offer, Presence, Report
from icekit.two_sided import EndChecks, TwoSidedReport, end_checks, merge, plain_line, read_end_checks

SCHEMA: Final = "icekit/probe-end/1"

_HELLO, _PROBE, _ICE, _CHECKS = "hello", "probe", "ice", "checks"
_STEPS = (_HELLO, _PROBE, _ICE, _CHECKS)
# How long, in seconds, the other end may take for a step, and what to say when it has not come by then. Its probe may
# wait for dead servers, or for --lifetime.
_PATIENCE: Final = {
    _PROBE: (4000.0, "the other end fell silent before it told its probe"),
    _ICE: (20.0, "the other end fell silent before it told its candidates"),
    _CHECKS: (20.0, "the other end fell silent before it told what it saw of the checks"),
}
# Seconds: checks go on for so long; less, but _GRACE more, where every pair is answered before, so that the last
# answers count; so much longer where it is still measured how large a packet may be; pause between two looks; for
# gathering; for a farewell.
_CHECKING, _GRACE, _MEASURING, _LOOK, _GATHERING = 4.0, 0.5, 4.0, 0.05, 5.0
_FAREWELL = 1.0
_MAX_CANDIDATES = 64
# A nomination ends the checks of the other pairs; so late it ends none that is of interest.
_CONFIG: Final = IceConfig(settle_factor=1e9, settle_limit=_CHECKING - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class TwoSidedConfig:
    """``probe``: what each end measures. ``wait``: seconds until the other end has to be there."""

    probe: ProberConfig = field(default_factory=ProberConfig)
    wait: float = 60.0


class TwoSidedProbe:
    """One end. ``on_progress`` gets a short line whenever something is known.

    ``run`` raises ConnectivityError when the other end does not come, leaves, or tells what cannot be read.
    """

    def __init__(
        self,
        channel: Channel,
        servers: Sequence[IceServer],
        *,
        config: TwoSidedConfig | None = None,
        resolver: Resolver | None = None,
        on_progress: Callable[[str], None] | None = None,
    ) -> None:
        self._channel = channel
        self._servers = tuple(servers)
        self._config = config or TwoSidedConfig()
        self._resolver = resolver
        self._progress = on_progress or (lambda _: None)
        self._attendance = Attendance(channel.name)
        # By step; the first of each counts.
        self._told: dict[str, dict[str, Any]] = {}
        self._changed = asyncio.Event()
        self._failure: ConnectivityError | None = None

    async def run(self) -> TwoSidedReport:
        """Probe, exchange, check, merge."""
        prober = Prober(self._servers, config=self._config.probe, resolver=self._resolver, on_progress=self._progress)
        reader = asyncio.create_task(self._read(), name="icekit-two-sided")
        probing = asyncio.create_task(prober.run(), name="icekit-probe")
        try:
            await self._say(_HELLO)
            self._progress("waiting for the other end")
            await self._hear(
                _HELLO,
                self._config.wait,
                f"the other end did not come within {self._config.wait:g} s: run icekit probe --with on the other "
                "machine with the same URL, or wait longer with --wait",
            )
            ours = from_dict(ProbeReport, to_dict(await probing))
            await self._say(_PROBE, report=to_dict(ours))
            self._progress("waiting for the probe of the other end")
            theirs = self._read_report(await self._hear(_PROBE, *_PATIENCE[_PROBE]))
            our_checks, their_checks = await self._check()
        except BaseException:
            # Or the other end would wait for what does not come; also after Ctrl-C.
            with contextlib.suppress(IcekitError, TimeoutError):
                async with asyncio.timeout(_FAREWELL):
                    await self._channel.send(Bye())
            raise
        finally:
            for task in (reader, probing):
                task.cancel()
            await asyncio.gather(reader, probing, return_exceptions=True)
        if self._is_a:
            return merge("A", ours, theirs, our_checks, their_checks)
        return merge("B", theirs, ours, their_checks, our_checks)

    @property
    def _is_a(self) -> bool:
        # A peer without a name cannot be B: it does not run this.
        return self._channel.name < (self._attendance.peer or "")

    # The channel.

    async def _say(self, step: str, **content: Any) -> None:
        await self._channel.send(Report(report={"schema": SCHEMA, "step": step, **content}))

    async def _hear(self, step: str, seconds: float, silence: str) -> dict[str, Any]:
        """What the other end tells in this step; ConnectivityError with the sentence ``silence`` after ``seconds``."""
        try:
            async with asyncio.timeout(seconds):
                while step not in self._told:
                    if self._failure is not None:
                        raise self._failure
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise ConnectivityError(silence) from None
        return self._told[step]

    async def _read(self) -> None:
        try:
            async for message in self._channel:
                self._take(message)
                self._changed.set()
            self._fail("the signaling channel was closed before both ends were done")
        except IcekitError as error:
            self._fail(str(error))

    def _take(self, message: Message) -> None:
        match message:
            case Presence():
                if self._attendance.see(message) is Change.LEFT:
                    self._fail("the other end has left before both were done")
            case _ if not self._attendance.admits(message):
                pass
            case Report(report={"schema": schema, "step": str(step)} as told) if schema == SCHEMA and step in _STEPS:
                self._told.setdefault(step, told)
            case Offer() | Answer():
                self._fail("the other end is in a call; both ends have to run icekit probe --with")
            case Bye():
                self._fail("the other end has left before both were done")

    def _fail(self, sentence: str) -> None:
        self._failure = self._failure or ConnectivityError(sentence)
        self._changed.set()

    def _read_report(self, told: dict[str, Any]) -> ProbeReport:
        try:
            return from_dict(ProbeReport, told.get("report"), "report")
        except DecodeError as error:
            raise ConnectivityError(f"the report of the other end cannot be read: {error}") from None

    # The checks.

    async def _check(self) -> tuple[EndChecks, EndChecks]:
        """Ours and theirs, after real checks; the connection answers until both are done."""
        connection = IceConnection(
            self._is_a,
            ice_servers=self._servers,
            local_addresses=("127.0.0.1",) if self._config.probe.local else None,
            config=_CONFIG,
            resolver=self._resolver,
        )
        try:
            self._progress("gathering candidates")
            await self._gather(connection)
            await self._say(
                _ICE,
                ufrag=connection.local_username,
                pwd=connection.local_password,
                candidates=[plain_line(candidate) for candidate in connection.gathered],
            )
            await self._add_remote(connection, await self._hear(_ICE, *_PATIENCE[_ICE]))
            self._progress("checking every pair with the other end")
            await self._run_checks(connection)
            ours = end_checks(connection.gathered, connection.stats())
            await self._say(_CHECKS, checks=to_dict(ours))
            told = (await self._hear(_CHECKS, *_PATIENCE[_CHECKS])).get("checks")
            try:
                return ours, read_end_checks(told if isinstance(told, dict) else {})
            except DecodeError as error:
                raise ConnectivityError(f"the checks of the other end cannot be read: {error}") from None
        finally:
            await connection.close()

    async def _gather(self, connection: IceConnection) -> None:
        # A server that is silent has been told of by the probe.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_GATHERING):
                async for _ in connection.candidates():
                    pass

    async def _add_remote(self, connection: IceConnection, told: dict[str, Any]) -> None:
        ufrag, pwd, lines = (told.get(key) for key in ("ufrag", "pwd", "candidates"))
        if not isinstance(ufrag, str) or not isinstance(pwd, str) or credential_flaw(ufrag, pwd) is not None:
            raise ConnectivityError("the other end told no ufrag and password for the checks")
        connection.remote_username, connection.remote_password = ufrag, pwd
        for line in lines[:_MAX_CANDIDATES] if isinstance(lines, list) else ():
            try:
                await connection.add_remote_candidate(Candidate.parse(line, strict=False))
            except (CandidateError, TypeError):
                continue
        # No end of candidates: after it A would nominate a pair at once, and that ends the checks of the others.

    async def _run_checks(self, connection: IceConnection) -> None:
        """Until every pair has an answer, or for ``_CHECKING`` seconds, and until the path in use is measured."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        until = began + _CHECKING
        connecting = asyncio.create_task(connection.connect(), name="icekit-connect")
        try:
            while (now := loop.time()) < began + _CHECKING + _MEASURING:
                pairs = connection.stats()
                if pairs and all(pair.state == "succeeded" and pair.checks_received for pair in pairs):
                    until = min(until, now + _GRACE)
                if now >= until and all(pair.mtu is not None for pair in pairs if _is_measured(pair)):
                    break
                await asyncio.sleep(_LOOK)
        finally:
            connecting.cancel()
            (result,) = await asyncio.gather(connecting, return_exceptions=True)
        if isinstance(result, BaseException) and not isinstance(result, (IceFailed, asyncio.CancelledError)):
            raise result


def _is_measured(pair: PairStats) -> bool:
    """Whether packets of different sizes are tried on it."""
    return pair.selected and pair.local.transport.lower() == "udp"
