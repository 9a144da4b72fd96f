"""The rooms of a signaling server, without input or output: who is in them, and the lines that wait for each member.

The server gives what arrives to ``join``, ``receive`` and ``lost``; the core answers with events. ``Waiting``: call
``take`` until it gives None, and send what it gives. ``Dismissed``: send the fault, then close. Time is an argument.

A member that gave a session (a secret of its own) keeps its place for ``resume_seconds`` after its connection was lost;
what is sent to it meanwhile waits. Lines that were taken but never arrived are the business of the peers (``seq``).
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TypeAlias

from icekit.errors import DecodeError, SignalingError
from icekit.signaling.message import MAX_MESSAGE, Fault, Message, Presence, decode, encode

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


class Seat:
    """One connection of one member; after ``lost``, ``leave`` or ``Dismissed`` it is of no more use."""

    __slots__ = ("greeting", "member")

    def __init__(self, member: _Member, greeting: bytes) -> None:
        self.member = member
        self.greeting: bytes | None = greeting

    @property
    def name(self) -> str:
        """The member's name, given or made up."""
        return self.member.name

    @property
    def room(self) -> str:
        """The room's name."""
        return self.member.room.name


@dataclass(frozen=True, slots=True)
class Waiting:
    """A line waits for this seat."""

    seat: Seat


@dataclass(frozen=True, slots=True)
class Dismissed:
    """This seat has lost its place: send the fault, then close."""

    seat: Seat
    fault: Fault


RoomEvent: TypeAlias = Waiting | Dismissed


class _Room:
    __slots__ = ("members", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.members: dict[str, _Member] = {}


class _Member:
    __slots__ = ("bytes_at", "key", "lines", "messages_at", "name", "queued", "room", "seat")

    def __init__(self, room: _Room, name: str, key: bytes | None, now: float) -> None:
        self.room = room
        self.name = name
        self.key = key
        self.seat: Seat | None = None
        self.lines: deque[bytes] = deque()
        self.queued = 0
        # When all that was sent so far would have been sent at the allowed rate.
        self.messages_at = now
        self.bytes_at = now


class Rooms:
    """All rooms; ``token_hex(n)`` gives n random bytes as hexadecimal digits, for names of members that gave none."""

    def __init__(self, config: RoomsConfig | None = None, *, token_hex: Callable[[int], str]) -> None:
        self.config = config or RoomsConfig()
        self.counters = RoomCounters()
        self._token_hex = token_hex
        self._rooms: dict[str, _Room] = {}
        # Everyone waits for the same time, so the first in is the first out.
        self._away: dict[_Member, float] = {}
        self._slow: deque[_Member] = deque()
        self._events: deque[RoomEvent] = deque()
        self._queued = 0
        self._members = 0

    @property
    def rooms(self) -> int:
        """Rooms with somebody in them."""
        return len(self._rooms)

    @property
    def members(self) -> int:
        """Members, with those whose connection is lost."""
        return self._members

    @property
    def away(self) -> int:
        """Members whose connection is lost, and who may come back."""
        return len(self._away)

    @property
    def queued(self) -> int:
        """Bytes that wait for all members."""
        return self._queued

    def join(
        self,
        room_name: str,
        now: float,
        *,
        name: str | None = None,
        session: str | None = None,
        owns_name: bool = False,
    ) -> Seat | Fault:
        """Enter a room, or come back to it with the same name and session.

        ``owns_name``: the caller proved that this name is its own, so whoever has it goes.
        """
        if not ROOM_NAME.fullmatch(room_name):
            return self._refuse(FaultCode.BAD_ROOM, "a room has 1 to 64 letters, digits, - or _")
        if name is None:
            name = f"peer-{self._token_hex(4)}"
        elif not is_member_name(name):
            return self._refuse(FaultCode.BAD_NAME, f"a name has 1 to {MAX_NAME} printable characters, no space around")
        if session is not None and not SESSION.fullmatch(session):
            return self._refuse(FaultCode.BAD_SESSION, "a session has 16 to 128 letters, digits, - or _")
        key = None if session is None else hashlib.sha256(session.encode()).digest()
        room = self._rooms.get(room_name)
        before = None if room is None else room.members.get(name)
        if room is not None and before is not None:
            if before.key is not None and key is not None and hmac.compare_digest(before.key, key):
                return self._resume(before)
            if before.seat is not None and not owns_name:
                return self._refuse(FaultCode.NAME_TAKEN, "somebody with this name is in the room; choose another name")
        elif room is not None and len(room.members) >= self.config.max_members:
            return self._refuse(FaultCode.ROOM_FULL, f"this room is full: it holds {self.config.max_members} members")
        elif room is None and len(self._rooms) >= self.config.max_rooms:
            return self._refuse(FaultCode.SERVER_FULL, "this server has no more rooms; try again later")
        if room is None:
            room = self._rooms[room_name] = _Room(room_name)
        if before is not None:
            self._dismiss(before, FaultCode.REPLACED, "somebody who owns this name has joined")
            self._forget(before)
        member = room.members[name] = _Member(room, name, key, now)
        self._members += 1
        self.counters.joins += 1
        seat = self._greet(member)
        self._announce(room, joined=member, left=before)
        self._put_out_slow()
        return seat

    def receive(self, seat: Seat, text: str | bytes, now: float) -> float | Fault:
        """A message of a member: it goes to all others in the room, or to the one that it names.

        Gives the seconds to wait before the next is read, so that the rates hold. After a fault the member has left.
        """
        member = seat.member
        if member.seat is not seat:
            return 0.0
        size = len(text)
        self.counters.received += 1
        self.counters.received_bytes += size
        try:
            message = decode(text, limit=self.config.max_message)
            if isinstance(message, Presence | Fault):
                raise DecodeError(f"{type(message).__name__.lower()}: only a server sends it")
            # Nobody speaks in the name of another: the sender is who joined.
            line = encode(replace(message, sender=member.name)).encode()
        except (DecodeError, SignalingError) as error:
            self.leave(seat)
            return self._refuse(FaultCode.MALFORMED, str(error))
        self._relay(member, message, line)
        return self._delay(member, size, now)

    def take(self, seat: Seat) -> bytes | None:
        """The next line for this connection, if one waits."""
        member = seat.member
        if member.seat is not seat:
            return None
        line, seat.greeting = seat.greeting, None
        if line is None:
            if not member.lines:
                return None
            line = member.lines.popleft()
            member.queued -= len(line)
            self._queued -= len(line)
        self.counters.delivered += 1
        self.counters.delivered_bytes += len(line)
        return line

    def lost(self, seat: Seat, now: float) -> None:
        """The connection is gone. A member with a session may come back; another has left."""
        member = seat.member
        if member.seat is not seat:
            return
        if member.key is None or self.config.resume_seconds <= 0:
            self.leave(seat)
            return
        member.seat = None
        self._away[member] = now + self.config.resume_seconds

    def leave(self, seat: Seat) -> None:
        """The member goes for good."""
        if seat.member.seat is seat:
            self._remove(seat.member)

    def handle_timer(self, now: float) -> None:
        """Members that did not come back in time leave."""
        for member, until in list(self._away.items()):
            if until > now:
                break
            self._remove(member)

    def get_timer(self) -> float | None:
        """When ``handle_timer`` is wanted, absolute."""
        return next(iter(self._away.values()), None)

    def next_event(self) -> RoomEvent | None:
        """What is to be done next, in order."""
        return self._events.popleft() if self._events else None

    def _resume(self, member: _Member) -> Seat:
        self._dismiss(member, FaultCode.REPLACED, "this session goes on over a newer connection")
        self._away.pop(member, None)
        self.counters.resumes += 1
        return self._greet(member)

    def _relay(self, sender: _Member, message: Message, line: bytes) -> None:
        room = sender.room
        if message.to is None:
            targets = [member for member in room.members.values() if member is not sender]
        else:
            target = room.members.get(message.to)
            if target is None or target is sender:
                self.counters.undeliverable += 1
                return
            targets = [target]
        for target in targets:
            self._push(target, line)
        self._put_out_slow()

    def _push(self, member: _Member, line: bytes) -> None:
        config = self.config
        if (
            len(member.lines) >= config.max_queued_lines
            or member.queued + len(line) > config.max_queued
            or self._queued + len(line) > config.max_queued_total
        ):
            self._slow.append(member)
            return
        member.lines.append(line)
        member.queued += len(line)
        self._queued += len(line)
        if member.seat is not None and len(member.lines) == 1:
            self._events.append(Waiting(member.seat))

    def _put_out_slow(self) -> None:
        """Whoever had no room for a line goes; that is told to the others, which may be too much for one more."""
        while self._slow:
            member = self._slow.popleft()
            if member.room.members.get(member.name) is member:
                self._dismiss(member, FaultCode.SLOW, "you read more slowly than others send, and messages were lost")
                self._forget(member)
                self._announce(member.room, left=member)

    def _delay(self, member: _Member, size: int, now: float) -> float:
        config = self.config
        member.messages_at = max(member.messages_at, now) + 1 / config.message_rate
        member.bytes_at = max(member.bytes_at, now) + size / config.byte_rate
        return max(
            0.0,
            member.messages_at - now - config.message_burst / config.message_rate,
            member.bytes_at - now - config.byte_burst / config.byte_rate,
        )

    def _announce(self, room: _Room, *, joined: _Member | None = None, left: _Member | None = None) -> None:
        """Tell everybody else in the room who came and who went."""
        if not room.members:
            del self._rooms[room.name]
        for member in list(room.members.values()):
            if member is not joined:
                presence = Presence(
                    to=member.name,
                    joined=() if joined is None else (joined.name,),
                    left=() if left is None else (left.name,),
                    peers=self._peers(member),
                )
                self._push(member, encode(presence).encode())

    def _greet(self, member: _Member) -> Seat:
        """A new seat; the first line for it tells the member its name (``to``) and who else is there."""
        seat = member.seat = Seat(member, encode(Presence(to=member.name, peers=self._peers(member))).encode())
        self._events.append(Waiting(seat))
        return seat

    def _peers(self, member: _Member) -> tuple[str, ...]:
        return tuple(name for name in member.room.members if name != member.name)

    def _remove(self, member: _Member) -> None:
        """The member is no longer in the room, and the others learn it."""
        self._forget(member)
        self._announce(member.room, left=member)
        self._put_out_slow()

    def _forget(self, member: _Member) -> None:
        del member.room.members[member.name]
        self._away.pop(member, None)
        self._queued -= member.queued
        member.lines.clear()
        member.queued = 0
        member.seat = None
        self._members -= 1
        self.counters.leaves += 1

    def _dismiss(self, member: _Member, code: FaultCode, text: str) -> None:
        if member.seat is not None:
            self._events.append(Dismissed(member.seat, self._refuse(code, text)))
            member.seat = None

    def _refuse(self, code: FaultCode, text: str) -> Fault:
        self.counters.faults[code] += 1
        return Fault(code=code, text=text)


def is_member_name(name: str) -> bool:
    """Whether a member may have this name."""
    return 0 < len(name) <= MAX_NAME and name.isprintable() and name == name.strip()
