"""``stdio:``: people carry the messages. One line for each side to copy: the description with all its candidates.

The lines to copy are printed on stdout, what to do with them on stderr.
"""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import os
import sys
from collections import deque
from typing import TextIO

from icekit.errors import ConfigError, DecodeError
from icekit.signaling.message import Answer, Message, Offer, TrickledCandidate, decode, encode
from icekit.signaling.paste import MAX_PACKED, Pasted, pack
from icekit.signaling.transport import Traits

GATHERING = 5.0
"""How long a line waits for the end of candidates, in seconds."""


def transport(url: str, *, name: str, token: str | None) -> StdioTransport:
    """``stdio:``, and nothing behind it."""
    if url.rstrip("/") not in ("stdio", "stdio:"):
        raise ConfigError(f"stdio: takes nothing behind it, found {url[6:40]!r}")
    return StdioTransport(sys.stdin, sys.stdout, sys.stderr)


class StdioTransport:
    """A person with two windows."""

    traits = Traits(resumes=False, pair=True)

    def __init__(self, stdin: TextIO, stdout: TextIO, stderr: TextIO) -> None:
        self._streams = stdin, stdout, stderr

    async def open(self) -> StdioLink:
        """Begin to read."""
        return StdioLink(*self._streams)


class StdioLink:
    """Reads stdin and writes stdout."""

    def __init__(self, stdin: TextIO, stdout: TextIO, stderr: TextIO) -> None:
        self._stdin = stdin.fileno()
        self._stdout = stdout
        self._stderr = stderr
        self._held: list[str] = []
        self._timer: asyncio.TimerHandle | None = None
        self._asked = False
        self._pasted = Pasted()
        self._text = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._messages: deque[Message] = deque()
        self._ended = False
        self._arrived = asyncio.Event()
        self._watched = False
        self._watch()

    async def send(self, line: str) -> None:
        """Hold the line until the description and its candidates are complete, then print them as one."""
        self._held.append(line)
        loop = asyncio.get_running_loop()
        if _completes(decode(line)) or len(self._held) == MAX_PACKED:
            self._print()
        elif self._timer is None:
            self._timer = loop.call_later(GATHERING, self._print)

    async def receive(self) -> str | None:
        """The next message that was pasted; None at the end of stdin."""
        if not self._asked:
            self._asked = True
            self._say("Paste here what the other side gives you, and press Enter:")
        while not self._messages:
            if self._ended:
                return None
            self._arrived.clear()
            await self._arrived.wait()
        return encode(self._messages.popleft())

    async def close(self) -> None:
        """Print what is held, and leave stdin alone."""
        self._print()
        if self._watched:
            self._watched = False
            asyncio.get_running_loop().remove_reader(self._stdin)

    def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            loop.add_reader(self._stdin, self._on_readable)
            self._watched = True
        except PermissionError:
            # A regular file is always readable, so the selector will not have it.
            while not self._ended:
                self._on_readable()

    def _on_readable(self) -> None:
        try:
            data = os.read(self._stdin, 2**16)
        except OSError:
            data = b""
        self._text += self._decoder.decode(data, final=not data)
        *lines, self._text = self._text.split("\n")
        if not data:
            lines.append(self._text)
        for line in lines:
            self._take(line)
        if not data:
            self._finish()
        self._arrived.set()

    def _take(self, line: str) -> None:
        try:
            self._messages += self._pasted.add(line)
        except DecodeError as error:
            self._say(f"This was not understood: {error}")

    def _finish(self) -> None:
        try:
            self._messages += self._pasted.end()
        except DecodeError as error:
            self._say(f"This was not understood: {error}")
        self._ended = True
        if self._watched:
            self._watched = False
            asyncio.get_running_loop().remove_reader(self._stdin)

    def _print(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._held:
            self._say("Give this line to the other side:")
            with contextlib.suppress(OSError):
                print(pack(self._held), file=self._stdout, flush=True)
            self._held.clear()

    def _say(self, text: str) -> None:
        with contextlib.suppress(OSError):
            print(text, file=self._stderr, flush=True)


def _completes(message: Message) -> bool:
    match message:
        case Offer(sdp=sdp) | Answer(sdp=sdp):
            return "a=end-of-candidates" in sdp
        case TrickledCandidate(candidate=line):
            return not line
    return True
