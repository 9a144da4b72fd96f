"""Datagrams on a byte stream, each behind its length in two bytes (RFC 4571 §2), for ICE-TCP (RFC 6544 §3)."""

from __future__ import annotations

from typing import Final

from icekit.errors import ConfigError, DecodeError

MAX_FRAME: Final = 65_535


def frame(data: bytes) -> bytes:
    """``data`` with its length; ConfigError for more than 65,535 bytes."""
    if len(data) > MAX_FRAME:
        raise ConfigError(f"{len(data)} bytes do not fit into a frame; {MAX_FRAME} do")
    return len(data).to_bytes(2) + data


class FrameDecoder:
    """Cuts a byte stream into datagrams. Between two calls it holds less than one frame of ``limit`` bytes."""

    __slots__ = ("_buffer", "limit")

    def __init__(self, limit: int = MAX_FRAME) -> None:
        self.limit = limit
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """The datagrams that are complete now; empty ones are left out (RFC 4571 §2 allows them).

        DecodeError for a longer one than ``limit``. What came whole before it is returned first; the error follows with
        the next call, and with each one after it.
        """
        buffer = self._buffer
        buffer += data
        position = 0
        found: list[bytes] = []
        while len(buffer) - position >= 2:
            length = int.from_bytes(buffer[position : position + 2])
            if length > self.limit:
                # Its length stays, and nothing behind it: the stream cannot be read on.
                del buffer[position + 2 :], buffer[:position]
                if found:
                    return found
                raise DecodeError(f"a frame of {length} bytes on a stream that may have {self.limit}")
            if len(buffer) - position < 2 + length:
                break
            if length:
                found.append(bytes(buffer[position + 2 : position + 2 + length]))
            position += 2 + length
        del buffer[:position]
        return found
