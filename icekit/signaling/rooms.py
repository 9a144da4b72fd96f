"""The rooms of a signaling server, without input or output: who is in them, and the lines that wait for each member.

The server gives what arrives to ``join``, ``receive`` and ``lost``; the core answers with events. ``Waiting``: call
``take`` until it gives None, and send what it gives. ``Dismissed``: send the fault, then close. Time is an argument.

A member that gave a session (a secret of its own) keeps its place for ``resume_seconds`` after its connection was lost;
what is sent to it meanwhile waits. Lines that were taken but never arrived are the business of the peers (``seq``).

Several servers may serve the same rooms (``shared``): then the core also tells what the others must know
(``RoomOpened``, ``Came``, ``Went``, ``Spoke``, ``RoomClosed``) and is told of theirs (``others_*``).
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TypeAlias

from icekit.errors import DecodeError, SignalingError
from icekit.signaling.membership import Came, Membership, RoomClosed, RoomOpened, SharedEvent, Spoke, Went
from icekit.signaling.message import Fault, Message, Presence, decode, encode
from icekit.signaling.room_terms import (
    MAX_NAME,
    ROOM_NAME,
    SESSION,
    FaultCode,
    RoomCounters,
    RoomsConfig,
    is_member_name,
)


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


RoomEvent: TypeAlias = Waiting | Dismissed | SharedEvent


class _Room:
    __slots__ = ("elsewhere", "members", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.members: dict[str, _Member] = {}
        # By name: on which server it is, and as what.
        self.elsewhere: dict[str, tuple[str, Membership]] = {}

    def names(self) -> list[str]:
        return [*self.members, *self.elsewhere]


class _Member:
    __slots__ = ("bytes_at", "lines", "membership", "messages_at", "name", "queued", "room", "seat")

    def __init__(self, room: _Room, membership: Membership, now: float) -> None:
        self.room = room
        self.name = membership.name
        self.membership = membership
        self.seat: Seat | None = None
        self.lines: deque[bytes] = deque()
        self.queued = 0
        # When all that was sent so far would have been sent at the allowed rate.
        self.messages_at = now
        self.bytes_at = now


class Rooms:
    """All rooms; ``token_hex(n)`` gives n random bytes as hexadecimal digits, for names of members that gave none.

    ``shared``: other servers have the same rooms. ``unix_offset``: added to ``now`` it gives seconds since 1970.
    """

    def __init__(
        self,
        config: RoomsConfig | None = None,
        *,
        token_hex: Callable[[int], str],
        shared: bool = False,
        unix_offset: float = 0.0,
    ) -> None:
        self.config = config or RoomsConfig()
        self._shared = shared
        self._unix_offset = unix_offset
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
        key = None if session is None else hashlib.sha256(session.encode()).hexdigest()
        membership = Membership(name=name, key=key, since=now + self._unix_offset, owner=owns_name)
        room = self._rooms.get(room_name)
        before = None if room is None else room.members.get(name)
        if before is not None and before.membership.is_same(membership):
            return self._resume(before)
        elsewhere = None if room is None else room.elsewhere.get(name)
        refused = self._refusal(room, before, elsewhere, membership)
        if refused is not None:
            return refused
        if room is None:
            room = self._rooms[room_name] = _Room(room_name)
            self._tell_others(RoomOpened(room_name))
        if before is not None:
            self._dismiss(before, FaultCode.REPLACED, "somebody who owns this name has joined")
            self._forget(before)
        gone = name if before is not None or elsewhere is not None else None
        if elsewhere is not None:
            del room.elsewhere[name]
        member = room.members[name] = _Member(room, membership, now)
        self._members += 1
        self.counters.joins += 1
        self._tell_others(Came(room_name, membership))
        seat = self._greet(member)
        # Who moved here from another server was there all the time.
        if elsewhere is None or not elsewhere[1].is_same(membership):
            self._announce(room, joined=name, left=gone)
        self._put_out_slow()
        return seat

    def _refusal(
        self,
        room: _Room | None,
        before: _Member | None,
        elsewhere: tuple[str, Membership] | None,
        membership: Membership,
    ) -> Fault | None:
        config = self.config
        if before is not None or elsewhere is not None:
            # Another server does not say whether its member is away.
            holds = before is not None and before.seat is not None
            holds |= elsewhere is not None and not elsewhere[1].is_same(membership)
            if holds and not membership.owner:
                return self._refuse(FaultCode.NAME_TAKEN, "somebody with this name is in the room; choose another name")
        elif room is not None and len(room.members) + len(room.elsewhere) >= config.max_members:
            return self._refuse(FaultCode.ROOM_FULL, f"this room is full: it holds {config.max_members} members")
        elif room is None and len(self._rooms) >= config.max_rooms:
            return self._refuse(FaultCode.SERVER_FULL, "this server has no more rooms; try again later")
        return None

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
        if member.membership.key is None or self.config.resume_seconds <= 0:
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

    # What other servers say of their members.

    def room_names(self) -> tuple[str, ...]:
        """The rooms with a member of this server."""
        return tuple(self._rooms)

    def memberships(self, room_name: str) -> tuple[Membership, ...]:
        """The members of this server in a room."""
        room = self._rooms.get(room_name)
        return () if room is None else tuple(member.membership for member in room.members.values())

    def others_came(self, room_name: str, server: str, membership: Membership) -> None:
        """A member of another server, which may have moved there, or have a name that somebody here has as well."""
        room = self._rooms.get(room_name)
        if room is None:
            return
        name = membership.name
        ours, known = room.members.get(name), room.elsewhere.get(name)
        before = ours.membership if ours is not None else None if known is None else known[1]
        if before is not None and (known is None or known[0] != server) and not membership.prevails(before):
            return
        if before is None and len(room.elsewhere) >= self.config.max_members:
            return
        if ours is not None:
            self._dismiss(ours, FaultCode.REPLACED, "this name or session is now on another server")
            self._forget(ours)
        room.elsewhere[name] = (server, membership)
        self._close_if_empty(room)
        if before is None:
            self._announce(room, joined=name)
        elif before != membership and not before.is_same(membership):
            self._announce(room, joined=name, left=name)
        self._put_out_slow()

    def others_went(self, room_name: str, server: str, name: str) -> None:
        """A member of another server has gone."""
        room = self._rooms.get(room_name)
        if room is not None and name in room.elsewhere and room.elsewhere[name][0] == server:
            del room.elsewhere[name]
            self._announce(room, left=name)
            self._put_out_slow()

    def others_are(self, room_name: str, server: str, memberships: Iterable[Membership]) -> None:
        """All members of another server in this room."""
        room = self._rooms.get(room_name)
        if room is None:
            return
        there = {membership.name: membership for membership in memberships}
        for name in [name for name, (whose, _) in room.elsewhere.items() if whose == server and name not in there]:
            self.others_went(room_name, server, name)
        for membership in there.values():
            self.others_came(room_name, server, membership)

    def others_spoke(self, room_name: str, to: str | None, line: bytes) -> None:
        """A line of a member of another server."""
        room = self._rooms.get(room_name)
        if room is not None:
            self._deliver(room, to, line)

    def others_lost(self, server: str) -> None:
        """Another server is gone with all its members."""
        for name in list(self._rooms):
            self.others_are(name, server, ())

    def _resume(self, member: _Member) -> Seat:
        self._dismiss(member, FaultCode.REPLACED, "this session goes on over a newer connection")
        self._away.pop(member, None)
        self.counters.resumes += 1
        return self._greet(member)

    def _relay(self, sender: _Member, message: Message, line: bytes) -> None:
        room, to = sender.room, message.to
        if to is None or to in room.elsewhere:
            self._tell_others(Spoke(room.name, to, line))
        elif to not in room.members or to == sender.name:
            self.counters.undeliverable += 1
            return
        self._deliver(room, to, line, sender)

    def _deliver(self, room: _Room, to: str | None, line: bytes, sender: _Member | None = None) -> None:
        for member in room.members.values():
            if member is not sender and to in (None, member.name):
                self._push(member, line)
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
                self._close_if_empty(member.room)
                self._announce(member.room, left=member.name)

    def _delay(self, member: _Member, size: int, now: float) -> float:
        config = self.config
        member.messages_at = max(member.messages_at, now) + 1 / config.message_rate
        member.bytes_at = max(member.bytes_at, now) + size / config.byte_rate
        return max(
            0.0,
            member.messages_at - now - config.message_burst / config.message_rate,
            member.bytes_at - now - config.byte_burst / config.byte_rate,
        )

    def _announce(self, room: _Room, *, joined: str | None = None, left: str | None = None) -> None:
        """Tell everybody else in the room who came and who went."""
        for member in list(room.members.values()):
            if member.name != joined:
                presence = Presence(
                    to=member.name,
                    joined=() if joined is None else (joined,),
                    left=() if left is None else (left,),
                    peers=self._peers(member),
                )
                self._push(member, encode(presence).encode())

    def _greet(self, member: _Member) -> Seat:
        """A new seat; the first line for it tells the member its name (``to``) and who else is there."""
        seat = member.seat = Seat(member, encode(Presence(to=member.name, peers=self._peers(member))).encode())
        self._events.append(Waiting(seat))
        return seat

    def _peers(self, member: _Member) -> tuple[str, ...]:
        return tuple(name for name in member.room.names() if name != member.name)

    def _remove(self, member: _Member) -> None:
        """The member is no longer in the room, and the others learn it."""
        self._forget(member)
        self._close_if_empty(member.room)
        self._announce(member.room, left=member.name)
        self._put_out_slow()

    def _forget(self, member: _Member) -> None:
        del member.room.members[member.name]
        self._tell_others(Went(member.room.name, member.name))
        self._away.pop(member, None)
        self._queued -= member.queued
        member.lines.clear()
        member.queued = 0
        member.seat = None
        self._members -= 1
        self.counters.leaves += 1

    def _close_if_empty(self, room: _Room) -> None:
        if not room.members and self._rooms.get(room.name) is room:
            del self._rooms[room.name]
            self._tell_others(RoomClosed(room.name))

    def _tell_others(self, event: SharedEvent) -> None:
        if self._shared:
            self._events.append(event)

    def _dismiss(self, member: _Member, code: FaultCode, text: str) -> None:
        if member.seat is not None:
            self._events.append(Dismissed(member.seat, self._refuse(code, text)))
            member.seat = None

    def _refuse(self, code: FaultCode, text: str) -> Fault:
        self.counters.faults[code] += 1
        return Fault(code=code, text=text)
