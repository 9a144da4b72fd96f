"""An engine in a process of its own, spoken to in lines of JSON (``docs/programs.md``)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import IO

from icekit.bench.lines import MAX_LINE, Event, Failed, Ready, Request, Start, decode_event, encode
from icekit.errors import DecodeError, InvalidState, ProgramError
from icekit.lab.namespaces import Namespace

_TOLD_OF_STDERR = 600


@dataclass(frozen=True, kw_only=True, slots=True)
class ProgramConfig:
    """Deadlines in seconds: until it is ready, and for each step of its end (stdin closed, SIGTERM)."""

    ready_within: float = 30.0
    ends_within: float = 5.0


class Program:
    """Runs ``command`` while it is entered, in ``namespace`` if one is given.

    ProgramError if it does not become ready, says what the protocol does not allow, or ends by itself; with the end of
    its stderr. When the ``async with`` block is left, the program has ended, of its own accord or not.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        namespace: Namespace | None = None,
        config: ProgramConfig | None = None,
    ) -> None:
        self.name = name
        self._command = list(command) if namespace is None else namespace.command(command)
        self._config = config or ProgramConfig()
        self._process: asyncio.subprocess.Process | None = None
        self._ready: Ready | None = None
        self._stderr: IO[bytes] | None = None
        self._secrets: set[str] = set()

    @property
    def ready(self) -> Ready:
        """What it has said of itself."""
        if self._ready is None:
            raise InvalidState(f"the program {self.name} is not running: use it in an async with block")
        return self._ready

    @property
    def pid(self) -> int:
        """Of its process, for whoever measures what it costs."""
        return self._running().pid

    async def __aenter__(self) -> Program:
        # A file and not a pipe: nobody has to read it, and a program that talks much cannot be held up.
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115  # closed in __aexit__
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=self._stderr,
                limit=MAX_LINE,
                # Ctrl-C is for us; the program ends with its stdin.
                start_new_session=True,
            )
            try:
                async with asyncio.timeout(self._config.ready_within):
                    event = await self.next_event()
            except TimeoutError:
                raise self._error(
                    f'not ready after {self._config.ready_within:g} s: it has written no line {{"type": "ready", …}}'
                ) from None
            if not isinstance(event, Ready):
                raise self._error(f"its first event is no ready event but {type(event).__name__}")
        except OSError as error:
            self._stderr.close()
            raise ProgramError(self.name, f"it cannot be started: {error}") from None
        except BaseException:
            await self._end()
            raise
        self._ready = event
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._end()

    async def send(self, request: Request) -> None:
        """Say something to it; waits while it does not read."""
        stdin = self._running().stdin
        assert stdin is not None
        if isinstance(request, Start):
            self._secrets |= {str(item["credential"]) for item in request.ice_servers if item.get("credential")}
        try:
            stdin.write(encode(request))
            await stdin.drain()
        except ConnectionError:
            raise self._error("it reads no more") from None

    async def next_event(self) -> Event:
        """The next thing that it says. Cancelling loses nothing."""
        stdout = self._running().stdout
        assert stdout is not None
        while True:
            try:
                line = await stdout.readline()
            except ValueError:
                raise self._error(f"it has written a line of more than {MAX_LINE} bytes") from None
            if not line.endswith(b"\n"):
                raise self._error("it has ended")
            try:
                event = decode_event(line)
            except DecodeError as error:
                raise self._error(f"it has written what is no event: {error}") from None
            if isinstance(event, Failed):
                raise self._error(f"it has failed: {event.message}")
            if event is not None:
                return event

    def _running(self) -> asyncio.subprocess.Process:
        if self._process is None:
            raise InvalidState(f"the program {self.name} is not running: use it in an async with block")
        return self._process

    def _error(self, reason: str) -> ProgramError:
        assert self._stderr is not None
        size = self._stderr.seek(0, 2)
        self._stderr.seek(max(0, size - _TOLD_OF_STDERR))
        text = self._stderr.read().decode(errors="replace")
        output = " ".join("".join(char if char.isprintable() else " " for char in text).split())
        for secret in self._secrets:
            reason, output = reason.replace(secret, "…"), output.replace(secret, "…")
        return ProgramError(self.name, reason, output)

    async def _end(self) -> None:
        process, self._process, self._ready = self._process, None, None
        try:
            if process is not None:
                await self._end_process(process)
        finally:
            assert self._stderr is not None
            self._stderr.close()

    async def _end_process(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        # What it still says would fill the pipe and keep it from ending.
        draining = asyncio.ensure_future(_drain(process.stdout))
        try:
            for number in (signal.SIGTERM, signal.SIGKILL):
                try:
                    async with asyncio.timeout(self._config.ends_within):
                        await process.wait()
                    return
                except TimeoutError:
                    _signal_all(process.pid, number)
            await process.wait()
        except BaseException:
            _signal_all(process.pid, signal.SIGKILL)
            await process.wait()
            raise
        finally:
            draining.cancel()
            await asyncio.gather(draining, return_exceptions=True)


def _signal_all(leader: int, number: int) -> None:
    # It and what it has started: a session of its own.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, number)


async def _drain(stream: asyncio.StreamReader) -> None:
    while await stream.read(65536):
        pass
