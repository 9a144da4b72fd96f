"""Which of the messages that arrive are our own, given back by a topic."""

from __future__ import annotations

import hashlib
import re
from collections import OrderedDict, deque
from dataclasses import replace

from icekit.signaling.message import Answer, Bye, Message, Offer, TrickledCandidate, encode, without_envelope

MEMORY = 60.0
"""How long a message that was sent is expected back, in seconds."""

MAX_UFRAGS = 64
"""Most of our own username fragments that are remembered."""

MAX_DIGESTS = 4096
"""Most messages whose digest is remembered."""

_ufrag_lines = re.compile(r"^a=ice-ufrag:([A-Za-z0-9+/]{4,256})\s*$", re.MULTILINE)
_ufrag_extension = re.compile(r" ufrag ([A-Za-z0-9+/]{4,256})(?: |$)")


class OwnMessages:
    """Recognises a message of ours by its sender, else by our ufrag in it, else by its digest."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._echoes = False
        self._ufrags: OrderedDict[str, None] = OrderedDict()
        self._sent: deque[tuple[float, bytes]] = deque()
        self._expected: dict[bytes, deque[float]] = {}

    def remember(self, message: Message, now: float) -> None:
        """``message`` goes out."""
        for ufrag in _ufrags(message):
            self._ufrags[ufrag] = None
            self._ufrags.move_to_end(ufrag)
        while len(self._ufrags) > MAX_UFRAGS:
            self._ufrags.popitem(last=False)
        self._forget(now)
        digest = _digest(message)
        self._sent.append((now, digest))
        self._expected.setdefault(digest, deque()).append(now)

    def recognises(self, message: Message, now: float) -> bool:
        """Whether ``message``, which came in, is one of ours."""
        self._forget(now)
        if message.sender is not None:
            own = message.sender == self.name
        elif ufrags := _ufrags(message):
            own = not self._ufrags.keys().isdisjoint(ufrags)
        else:
            # The other side's end-of-candidates or bye looks like ours: it is taken for ours only on a channel that
            # gives messages back, and each of ours is expected back once.
            own = _digest(message) in self._expected and (self._echoes or not _says_nothing(message))
        if own:
            self._echoes = True
            self._take(_digest(message))
        return own

    def _forget(self, now: float) -> None:
        while self._sent and (now - self._sent[0][0] > MEMORY or len(self._sent) >= MAX_DIGESTS):
            sent, digest = self._sent.popleft()
            if digest in self._expected and self._expected[digest][0] <= sent:
                self._take(digest)

    def _take(self, digest: bytes) -> None:
        times = self._expected.get(digest)
        if times is not None:
            times.popleft()
            if not times:
                del self._expected[digest]


def _ufrags(message: Message) -> list[str]:
    match message:
        case Offer(sdp=sdp) | Answer(sdp=sdp):
            return _ufrag_lines.findall(sdp)
        case TrickledCandidate(username_fragment=str(ufrag)):
            return [ufrag]
        case TrickledCandidate(candidate=line):
            return _ufrag_extension.findall(line)
    return []


def _says_nothing(message: Message) -> bool:
    match message:
        case TrickledCandidate(candidate="") | Bye():
            return True
    return False


def _digest(message: Message) -> bytes:
    message = without_envelope(message)
    if isinstance(message, TrickledCandidate):
        # What a server writes anew may lack the younger fields.
        message = replace(message, sdp_mline_index=None, username_fragment=None)
    return hashlib.sha256(encode(message).encode()).digest()
