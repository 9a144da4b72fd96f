"""The allocations of one relay test: the client's, from one address after the other, and the echo peer's."""

from __future__ import annotations

from typing import Final

from icekit.errors import ErrorResponse
from icekit.net import Address, Transport
from icekit.relay_user import RelayUser
from icekit.turn import TurnAllocation
from icekit.turn_events import Step, TurnError

_MAX_REDIRECTS: Final = 3
# RFC 8656 §7.4: where 437 says that the 5-tuple is in use, three client addresses should be tried before giving up.
_MAX_ADDRESSES: Final = 3
_CLIENT_STREAM: Final = 100


class StageAllocations:
    """Makes them for ``user``. ``redirects``: how many it has followed.

    ``addresses``: how many client transport addresses have asked; a server may remember an allocation of the first.
    """

    FIRST_PEER_STREAM: Final = 200
    """Streams below it are the client's."""

    def __init__(self, user: RelayUser) -> None:
        self.redirects = 0
        self.addresses = 1
        self._user = user

    def for_client(self, after: TurnAllocation | None = None, local: Address | None = None) -> TurnAllocation:
        """The allocation under test, where ``after`` had come to; ``local`` is its bound UDP socket."""
        # Each has an identifier for itself and one for each redirect.
        return self._make(_CLIENT_STREAM + (self.addresses - 1) * (_MAX_REDIRECTS + 1), local, after)

    def for_peer(self, tested: TurnAllocation, local: Address | None) -> TurnAllocation:
        """A second one beside ``tested``, on the echo peer's own socket ``local``, or a stream of its own."""
        return self._make(
            self.FIRST_PEER_STREAM, local if self._user.target.transport is Transport.UDP else None, tested
        )

    def wants_another_address(self, step: Step, error: TurnError) -> bool:
        """Whether the client that failed so is to ask again from another address, which this counts."""
        mismatch = step is Step.ALLOCATE and isinstance(error, ErrorResponse) and error.code == 437
        if not mismatch or self.addresses >= _MAX_ADDRESSES:
            return False
        self.addresses += 1
        return True

    def _make(self, stream_id: int, local: Address | None, after: TurnAllocation | None) -> TurnAllocation:
        return self._user.allocation(stream_id, local, after=after, max_redirects=_MAX_REDIRECTS - self.redirects)
