"""STOMP 1.2 frames as bytes, in and out; no input or output (https://stomp.github.io/stomp-specification-1.2.html)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from icekit.errors import DecodeError

MAX_HEADERS = 64
"""Most headers of one frame."""

MAX_HEAD = 2**14
"""Longest command with headers, in bytes."""

_ESCAPES = {"\\": "\\\\", "\r": "\\r", "\n": "\\n", ":": "\\c"}
_ORIGINALS = {escape: character for character, escape in _ESCAPES.items()}
_to_escape = re.compile(r"[\\\r\n:]")
_escaped = re.compile(r"\\(?s:.)|\\$")
# "CONNECT and CONNECTED frames do not escape", so that STOMP 1.0 can read them.
_UNESCAPED = ("CONNECT", "CONNECTED")
_is_command = re.compile("[A-Z]{1,20}").fullmatch


@dataclass(frozen=True, slots=True)
class Frame:
    """A command, its headers in order, and a body."""

    command: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""

    def header(self, name: str) -> str | None:
        """The first header of that name counts."""
        return next((value for key, value in self.headers if key == name), None)

    def __bytes__(self) -> bytes:
        """The frame as it is sent. DecodeError for a header that CONNECT cannot hold."""
        headers = self.headers
        if self.body and self.header("content-length") is None:
            headers = (*headers, ("content-length", str(len(self.body))))
        lines = [self.command, *(f"{self._escape(key)}:{self._escape(value)}" for key, value in headers)]
        return "\n".join(lines).encode() + b"\n\n" + self.body + b"\0"

    def _escape(self, text: str) -> str:
        if self.command not in _UNESCAPED:
            return _to_escape.sub(lambda match: _ESCAPES[match[0]], text)
        if "\n" in text or "\r" in text:
            raise DecodeError(f"{self.command}: a header has a line break")
        return text


class FrameReader:
    """Takes bytes as they come; gives whole frames. ``limit`` is the longest body, in bytes."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._buffer = bytearray()
        self._looked = 0
        self._frame: Frame | None = None
        self._length: int | None = None

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that ``data`` completes; line ends between frames are heart-beats. DecodeError: no STOMP."""
        self._buffer += data
        frames = []
        while (frame := self._next()) is not None:
            frames.append(frame)
        return frames

    def _next(self) -> Frame | None:
        if self._frame is None and not self._read_head():
            return None
        frame = self._frame
        assert frame is not None
        end = self._length
        if end is None:
            end = self._buffer.find(b"\0", self._looked)
            if end < 0:
                self._looked = len(self._buffer)
                if self._looked > self._limit:
                    raise DecodeError(f"STOMP frame: a body of more than {self._limit} bytes")
                return None
            if end > self._limit:
                raise DecodeError(f"STOMP frame: a body of more than {self._limit} bytes")
        elif len(self._buffer) <= end:
            return None
        elif self._buffer[end]:
            raise DecodeError("STOMP frame: no NUL after the body")
        body = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        self._frame = self._length = None
        self._looked = 0
        return Frame(frame.command, frame.headers, body)

    def _read_head(self) -> bool:
        del self._buffer[: len(self._buffer) - len(self._buffer.lstrip(b"\r\n"))]
        match = re.search(rb"\n\r?\n", self._buffer[:MAX_HEAD])
        if match is None:
            if len(self._buffer) >= MAX_HEAD:
                raise DecodeError(f"STOMP frame: command and headers of more than {MAX_HEAD} bytes")
            return False
        try:
            command, *lines = self._buffer[: match.start()].decode().split("\n")
        except UnicodeDecodeError:
            raise DecodeError("STOMP frame: headers are not UTF-8") from None
        command = command.removesuffix("\r")
        if not _is_command(command):
            raise DecodeError(f"STOMP frame: found the command {command[:40]!r}")
        if len(lines) > MAX_HEADERS:
            raise DecodeError(f"STOMP frame: {len(lines)} headers, at most {MAX_HEADERS} are read")
        self._frame = Frame(command, tuple(_header(line.removesuffix("\r"), command) for line in lines))
        self._length = self._content_length(self._frame)
        self._looked = 0
        del self._buffer[: match.end()]
        return True

    def _content_length(self, frame: Frame) -> int | None:
        text = frame.header("content-length")
        if text is None:
            return None
        if not (text.isascii() and text.isdigit() and len(text) <= 10 and int(text) <= self._limit):
            raise DecodeError(f"STOMP frame, content-length: found {text[:40]!r}, allowed: 0 to {self._limit}")
        return int(text)


def _header(line: str, command: str) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    if not colon:
        raise DecodeError(f"STOMP frame, header: found {line[:40]!r}, allowed: name:value")
    if command in _UNESCAPED:
        return name, value
    return _escaped.sub(_original, name), _escaped.sub(_original, value)


def _original(match: re.Match[str]) -> str:
    # "Undefined escape sequences MUST be treated as a fatal protocol error."
    if match[0] not in _ORIGINALS:
        raise DecodeError(f"STOMP frame, header: found the escape {match[0]!r}")
    return _ORIGINALS[match[0]]
