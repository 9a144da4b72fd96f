"""What a room may be called, hold and refuse: the bounds, names, faults and counters of ``rooms.py``."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum

from icekit.signaling.message import MAX_MESSAGE

ROOM_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""A room: letters, digits, ``-`` and ``_``, which need no escape in a URL, in Redis or in NATS."""

MAX_NAME = 64
"""Longest name of a member, in characters."""

SESSION = re.compile(r"[A-Za-z0-9_-]{16,128}")
"""A session: as ``secrets.token_urlsafe`` makes it."""


class FaultCode(StrEnum):
    """Why the server refuses something (``Fault.code``)."""

    BAD_ROOM = "bad-room"
    BAD_NAME = "bad-name"
    BAD_SESSION = "bad-session"
    MALFORMED = "malformed"
    NAME_TAKEN = "name-taken"
    REPLACED = "replaced"
    ROOM_FULL = "room-full"
    SERVER_FULL = "server-full"
    SLOW = "slow"
    TOKEN = "token"  # noqa: S105 - the name of a fault


@dataclass(frozen=True, slots=True, kw_only=True)
class RoomsConfig:
    """Every bound of the rooms; sizes in bytes, times in seconds."""

    max_rooms: int = 10_000
    max_members: int = 8
    """In one room; a mesh of calls has eight."""
    max_message: int = MAX_MESSAGE
    max_queued: int = 12 * 2**20
    """What may wait for one member; a member that is slower has lost messages and is put out of the room."""
    max_queued_lines: int = 4096
    max_queued_total: int = 256 * 2**20
    """What may wait for all of them."""
    resume_seconds: float = 30.0
    message_rate: float = 200.0
    """Messages per second that one member may send for long; faster ones are read later, not lost."""
    message_burst: int = 2000
    byte_rate: float = 2 * 2**20
    byte_burst: int = 16 * 2**20


@dataclass(slots=True)
class RoomCounters:
    """What happened since the start; ``faults`` by code."""

    joins: int = 0
    resumes: int = 0
    leaves: int = 0
    received: int = 0
    received_bytes: int = 0
    delivered: int = 0
    delivered_bytes: int = 0
    undeliverable: int = 0
    """Messages to a name that is not in the room."""
    faults: Counter[FaultCode] = field(default_factory=Counter)


def is_member_name(name: str) -> bool:
    """Whether a member may have this name."""
    return 0 < len(name) <= MAX_NAME and name.isprintable() and name == name.strip()
