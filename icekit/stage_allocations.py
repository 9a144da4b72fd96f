"""The allocations of one relay test: the client's, from one address after the other, and the echo peer's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from icekit.errors import ErrorResponse
from icekit.net import Address, Transport
from icekit.reachability import Target
from icekit.transaction import LongTermCredential, Schedule
from icekit.turn import TurnAllocation, TurnConfig
from icekit.turn_events import Step, TurnError

# Five transmissions in two seconds: at 5 % loss each way one request in 100,000 is given up. A satellite has its time,
# and a silent server costs four seconds.
_SCHEDULE: Final = Schedule((0.0, 0.25, 0.6, 1.2, 2.0), 4.0)
_RELEASE_SCHEDULE: Final = Schedule((0.0, 0.2, 0.45, 0.8, 1.2), 2.0)
_CONNECT_TIMEOUT: Final = 5.0
_MAX_REDIRECTS: Final = 3
# RFC 8656 §7.4: where 437 says that the 5-tuple is in use, three client addresses should be tried before giving up.
_MAX_ADDRESSES: Final = 3
_CLIENT_STREAM: Final = 100


class StageAllocations:
    """Makes them, for ``target`` from ``host``. ``redirects``: how many the client has followed.

    ``addresses``: how many client transport addresses have asked; a server may remember an allocation of the first.
    """

    FIRST_PEER_STREAM: Final = 200
    """Streams below it are the client's."""

    def __init__(
        self, target: Target, host: str, username: str, password: str, token_bytes: Callable[[int], bytes]
    ) -> None:
        self.redirects = 0
        self.addresses = 1
        self._target = target
        self._host = host
        self._username = username
        self._password = password
        self._token_bytes = token_bytes

    def for_client(self, server: Address, local: Address | None = None) -> TurnAllocation:
        """The allocation under test; ``local`` is its bound UDP socket."""
        # Each has an identifier for itself and one for each redirect.
        return self._make(server, _CLIENT_STREAM + (self.addresses - 1) * (_MAX_REDIRECTS + 1), local)

    def for_peer(self, server: Address, local: Address | None) -> TurnAllocation:
        """A second one, on the echo peer's own socket ``local``, or a stream of its own."""
        return self._make(server, self.FIRST_PEER_STREAM, local if self._target.transport is Transport.UDP else None)

    def wants_another_address(self, step: Step, error: TurnError) -> bool:
        """Whether the client that failed so is to ask again from another address, which this counts."""
        mismatch = step is Step.ALLOCATE and isinstance(error, ErrorResponse) and error.code == 437
        if not mismatch or self.addresses >= _MAX_ADDRESSES:
            return False
        self.addresses += 1
        return True

    def _make(self, server: Address, stream_id: int, local: Address | None) -> TurnAllocation:
        return TurnAllocation(
            server,
            self._target.transport,
            LongTermCredential(self._username, self._password),
            self._token_bytes,
            local=local or Address(self._host, 0),
            server_name=self._target.server_name,
            stream_id=stream_id,
            config=TurnConfig(
                schedule=_SCHEDULE,
                release_schedule=_RELEASE_SCHEDULE,
                connect_timeout=_CONNECT_TIMEOUT,
                max_redirects=_MAX_REDIRECTS - self.redirects,
            ),
        )
