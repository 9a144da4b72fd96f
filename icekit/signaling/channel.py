"""The channel: ``Delivery`` on a transport, with reconnecting and back-pressure."""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
from collections import deque
from types import TracebackType

from icekit.errors import DecodeError, IcekitError, SignalingError
from icekit.signaling.broker import reason
from icekit.signaling.delivery import Delivery, DeliveryConfig
from icekit.signaling.message import MAX_MESSAGE, Message, decode, encode
from icekit.signaling.transport import Link, Transport

logger = logging.getLogger(__name__)

INBOX = 64
"""Most messages that wait for the application; then nothing more is read from the transport."""

LINGER = 2.0
"""How long ``close`` waits until everything is sent and acknowledged, in seconds."""

PATIENCE = 120.0
"""How long a channel without a connection tries to get one again, in seconds."""

OPENING = 15.0
"""How long one attempt to connect may take, in seconds."""

_FIRST_PAUSE = 0.05
_LONGEST_PAUSE = 5.0
_INSIST = 0.5


class Channel:
    """Messages to and from the others in a room. Made by ``connect``.

    ``async for message in channel`` ends when the channel is closed for good: by ``close``, or by the other side where
    there is only one. It raises SignalingError when the connection is lost and cannot be made again.
    """

    def __init__(self, transport: Transport, name: str, where: str) -> None:
        """``where`` is the URL without secrets, for errors."""
        traits = transport.traits
        self._transport = transport
        self._where = where
        self._pair = traits.pair
        self._delivery = Delivery(
            name, secrets.token_hex(6), DeliveryConfig(resumes=traits.resumes, presence=traits.presence)
        )
        self._inbox: deque[Message] = deque()
        self._arrived = asyncio.Event()
        self._taken = asyncio.Event()
        self._waiting = asyncio.Event()
        self._progress = asyncio.Event()
        self._finished = asyncio.Event()
        self._error: IcekitError | None = None
        self._closing = False
        self._timer: asyncio.TimerHandle | None = None
        self._runner: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        """Our name in the room, the ``from`` of what we send."""
        return self._delivery.name

    async def __aenter__(self) -> Channel:
        """Connect. SignalingError: it is not possible, and why."""
        try:
            async with asyncio.timeout(OPENING):
                link = await self._transport.open()
        except OSError as error:
            raise SignalingError(f"{self._where}: no connection: {reason(error)}") from error
        self._runner = asyncio.create_task(self._run(link), name=f"signaling {self._where}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def send(self, message: Message) -> None:
        """Send ``message``; ``sender``, ``seq`` and ``id`` are ours to set.

        Waits while the transport or a peer cannot take more. SignalingError after ``close``, when the channel has
        ended, or when the message cannot be written.
        """
        while not self._finished.is_set() and not self._closing and not self._delivery.writable:
            self._progress.clear()
            await self._progress.wait()
        if self._closing or self._finished.is_set():
            raise SignalingError(f"{self._where}: the channel is closed") from self._error
        self._delivery.send(message, self._now())
        self._pump()

    def __aiter__(self) -> Channel:
        return self

    async def __anext__(self) -> Message:
        while not self._inbox:
            if self._finished.is_set():
                if self._error is not None:
                    raise self._error
                raise StopAsyncIteration
            self._arrived.clear()
            await self._arrived.wait()
        self._taken.set()
        return self._inbox.popleft()

    async def close(self) -> None:
        """Send what waits, say farewell, and free everything; may be called twice."""
        if not self._closing and not self._finished.is_set():
            self._closing = True
            self._taken.set()
            self._delivery.farewell(self._now())
            self._pump()
            try:
                async with asyncio.timeout(LINGER):
                    while not self._delivery.drained and not self._finished.is_set():
                        self._progress.clear()
                        await self._progress.wait()
            except TimeoutError:
                logger.debug("= %s: closed before everything was acknowledged", self._where)
            finally:
                self._finish(None)
        if self._runner is not None:
            self._runner.cancel()
            await asyncio.wait({self._runner})

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    async def _run(self, link: Link) -> None:
        """One connection after the other, until the end."""
        try:
            # A transport that swallowed the cancellation of close() comes here once more.
            while not self._finished.is_set():
                self._delivery.connected(self._now())
                self._pump()
                try:
                    await self._serve(link)
                    self._finish(None)
                    return
                except OSError as error:
                    logger.debug("= %s: connection lost: %s", self._where, reason(error))
                finally:
                    self._delivery.disconnected()
                    await link.close()
                if self._pair and self._delivery.said_farewell:
                    self._finish(None)
                    return
                link = await self._open_again()
            await link.close()
        except IcekitError as error:
            self._finish(error)
        except Exception as error:
            # A client library may raise anything, and people wait for this task.
            logger.exception("signaling over %s failed", self._where)
            self._finish(SignalingError(f"{self._where}: {type(error).__name__}: {error}"))

    async def _open_again(self) -> Link:
        pause = _FIRST_PAUSE
        end = self._now() + PATIENCE
        while True:
            # Everybody lost the same server at once: they must not all come back at once.
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311
            pause = min(2 * pause, _LONGEST_PAUSE)
            try:
                async with asyncio.timeout(OPENING):
                    return await self._transport.open()
            except OSError as error:
                if self._now() > end:
                    raise SignalingError(
                        f"{self._where}: the connection was lost, and for {PATIENCE:.0f} s none could be made: "
                        f"{reason(error)}"
                    ) from error

    async def _serve(self, link: Link) -> None:
        """Read and write until the other side has ended; OSError when the connection breaks."""
        tasks = {asyncio.create_task(self._read(link)), asyncio.create_task(self._write(link))}
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await _cancel(*tasks)
        failures = [task.exception() for task in tasks if not task.cancelled()]
        for failure in failures:
            if failure is not None:
                raise failure

    async def _read(self, link: Link) -> None:
        while (line := await link.receive()) is not None:
            try:
                message = decode(line, limit=MAX_MESSAGE)
            except DecodeError as error:
                logger.debug("! %s: %s", self._where, error)
                continue
            logger.debug("< %s: %s", self._where, message)
            self._delivery.receive(message, self._now())
            self._pump()
            while len(self._inbox) >= INBOX and not self._closing:
                self._taken.clear()
                await self._taken.wait()

    async def _write(self, link: Link) -> None:
        while True:
            message = self._delivery.next_to_send()
            if message is None:
                self._waiting.clear()
                await self._waiting.wait()
                continue
            logger.debug("> %s: %s", self._where, message)
            try:
                await link.send(encode(message))
            except BaseException:
                # Whether it has arrived is not known; where peers count, a duplicate does no harm.
                self._delivery.not_sent(message)
                raise
            self._progress.set()

    def _pump(self) -> None:
        """After every change: hand over what arrived, wake who waits, arm the one timer."""
        while (message := self._delivery.next_message()) is not None:
            if not self._closing:
                self._inbox.append(message)
                self._arrived.set()
        self._waiting.set()
        self._progress.set()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        when = self._delivery.get_timer()
        if when is not None and not self._finished.is_set():
            self._timer = asyncio.get_running_loop().call_at(when, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._delivery.handle_timer(self._now())
        self._pump()

    def _finish(self, error: IcekitError | None) -> None:
        if self._finished.is_set():
            return
        self._error = error
        self._finished.set()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for event in (self._arrived, self._progress, self._taken):
            event.set()


async def _cancel(*tasks: asyncio.Task[None]) -> None:
    """Cancel until they have ended: client libraries swallow a cancellation now and then (``wait_for`` before 3.12)."""
    left = {task for task in tasks if not task.done()}
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=_INSIST)
    for task in tasks:
        # Asked for, so that nobody complains about an error that nobody saw.
        _ = task.cancelled() or task.exception()
