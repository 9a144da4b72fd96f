"""Several servers, the same rooms: what they tell each other over a broker, without input or output.

Each room has a channel (``icekit.room.NAME``) that a server reads while it has a member there; ``icekit.servers`` is
for signs of life. A broker gives each line to whoever reads at that moment, in the order of each writer; what is lost
while it is away is repeated by peers that count (``seq``), and who is there is told anew after it.

A note is a line of JSON; a message that is passed on follows it as it is.
"""

from __future__ import annotations

import json
import logging
from collections import deque
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

from icekit.signaling.membership import Came, Membership, RoomClosed, RoomOpened, SharedEvent, Spoke, Went
from icekit.signaling.room_terms import MAX_NAME
from icekit.signaling.rooms import Rooms

_log = logging.getLogger(__name__)

SERVERS = "icekit.servers"
_ROOM = "icekit.room."

BEAT = 5.0
"""How often a server gives a sign of life, in seconds."""

SILENCE = 30.0
"""A server that was not heard for so long is gone with its members, in seconds."""

MAX_SERVERS = 1000
"""Most other servers that are known."""


@dataclass(frozen=True, slots=True)
class Subscribe:
    """Read this channel from now on; what follows is to be published only after that works."""

    channel: str


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """Read this channel no more."""

    channel: str


@dataclass(frozen=True, slots=True)
class Publish:
    """Give this to every reader of the channel."""

    channel: str
    data: bytes


Operation: TypeAlias = Subscribe | Unsubscribe | Publish


class Cluster:
    """One server among several; ``server`` is its identifier, random and new for each run."""

    def __init__(self, rooms: Rooms, server: str, now: float) -> None:
        self.server = server
        self._rooms = rooms
        self._operations: deque[Operation] = deque()
        self._heard: dict[str, float] = {}
        self._next_beat = now

    @property
    def servers(self) -> int:
        """The other servers that were heard lately."""
        return len(self._heard)

    def channels(self) -> list[str]:
        """Everything that is to be read now."""
        return [SERVERS, *(_ROOM + room for room in self._rooms.room_names())]

    def tell(self, event: SharedEvent) -> None:
        """Something happened on this server."""
        match event:
            case RoomOpened(room):
                self._operations.append(Subscribe(_ROOM + room))
                self._publish(room, {"kind": "are", "members": [], "asks": True})
            case Came(room, membership):
                self._publish(room, {"kind": "came", "member": asdict(membership)})
            case Went(room, name):
                self._publish(room, {"kind": "went", "name": name})
            case Spoke(room, to, line):
                self._publish(room, {"kind": "spoke", "to": to}, line)
            case RoomClosed(room):
                self._operations.append(Unsubscribe(_ROOM + room))

    def receive(self, channel: str, data: bytes, now: float) -> None:
        """A note of another server, or our own that came back; what is wrong is dropped."""
        head, _, line = data.partition(b"\n")
        try:
            note = json.loads(head)
            server, kind = _text(note, "server"), _text(note, "kind")
            room = channel.removeprefix(_ROOM)
            if server != self.server and self._is_known(server, now) and channel != SERVERS:
                self._obey(room, server, kind, note, line)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            _log.debug("! %s: %s: %s", channel, type(error).__name__, error)

    def broker_returned(self) -> None:
        """The broker was away, and so were all notes: tell everybody who is here, and ask who is there."""
        self._operations.clear()
        self._ask_all()

    def handle_timer(self, now: float) -> None:
        """Give a sign of life; forget who gave none."""
        if now >= self._next_beat:
            self._next_beat = now + BEAT
            self._operations.append(Publish(SERVERS, self._note({"kind": "alive"})))
        for server, heard in list(self._heard.items()):
            if now - heard >= SILENCE:
                _log.info("= the server %s is gone", server)
                del self._heard[server]
                self._rooms.others_lost(server)

    def get_timer(self) -> float:
        """When ``handle_timer`` is wanted, absolute."""
        return self._next_beat

    def next_operation(self) -> Operation | None:
        """What the broker is to do next, in order."""
        return self._operations.popleft() if self._operations else None

    def _is_known(self, server: str, now: float) -> bool:
        if server not in self._heard:
            if len(self._heard) >= MAX_SERVERS:
                return False
            # One that was away does not know what it has missed, nor do we.
            self._ask_all()
        self._heard[server] = now
        return True

    def _ask_all(self) -> None:
        for room in self._rooms.room_names():
            self._tell_all(room, asks=True)

    def _obey(self, room: str, server: str, kind: str, note: Any, line: bytes) -> None:
        match kind:
            case "came":
                self._rooms.others_came(room, server, _membership(note["member"]))
            case "went":
                self._rooms.others_went(room, server, _text(note, "name"))
            case "spoke":
                to = note.get("to")
                self._rooms.others_spoke(room, None if to is None else _text(note, "to"), line)
            case "are":
                self._rooms.others_are(room, server, [_membership(member) for member in note["members"]])
                if note.get("asks") is True:
                    self._tell_all(room, asks=False)

    def _tell_all(self, room: str, *, asks: bool) -> None:
        members = [asdict(membership) for membership in self._rooms.memberships(room)]
        self._publish(room, {"kind": "are", "members": members, "asks": asks})

    def _publish(self, room: str, note: dict[str, Any], line: bytes = b"") -> None:
        self._operations.append(Publish(_ROOM + room, self._note(note) + line))

    def _note(self, note: dict[str, Any]) -> bytes:
        return json.dumps({"server": self.server, **note}, separators=(",", ":")).encode() + b"\n"


def _membership(value: Any) -> Membership:
    key, since, owner = value["key"], value["since"], value["owner"]
    if not (key is None or isinstance(key, str)) or not isinstance(since, int | float) or not isinstance(owner, bool):
        raise TypeError("a member has a key, the time since when, and whether it owns its name")
    return Membership(name=_text(value, "name"), key=key, since=since, owner=owner)


def _text(value: Any, field: str) -> str:
    found = value[field]
    if not isinstance(found, str) or len(found) > MAX_NAME:
        raise TypeError(f"{field} must be a short text")
    return found
