"""Who asks a TURN server for relays in a test, as one value, and the allocations that it makes of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from icekit.long_term_credential import LongTermCredential
from icekit.net import Address
from icekit.reachability import Target
from icekit.transaction import Schedule
from icekit.turn import TurnAllocation, TurnConfig

# Five transmissions in two seconds: at 5 % loss each way one request in 100,000 is given up. A satellite has its time,
# and a silent server costs four seconds.
_SCHEDULE: Final = Schedule((0.0, 0.25, 0.6, 1.2, 2.0), 4.0)
_RELEASE_SCHEDULE: Final = Schedule((0.0, 0.2, 0.45, 0.8, 1.2), 2.0)
_CONNECT_TIMEOUT: Final = 5.0


@dataclass(frozen=True, slots=True)
class RelayUser:
    """Asks ``target`` from the local address ``host``, as ``username`` with ``password``.

    ``unix_time``, in seconds, tells expired user names from wrong passwords; ``None``: nobody looks at that.
    """

    target: Target
    host: str
    username: str
    password: str = field(repr=False)
    token_bytes: Callable[[int], bytes] = field(repr=False)
    unix_time: float | None = None

    def allocation(
        self,
        stream_id: int,
        local: Address | None = None,
        *,
        after: TurnAllocation | None = None,
        max_redirects: int = 0,
    ) -> TurnAllocation:
        """One allocation of ``target``, or of the server that ``after`` was sent to; ``local`` is its bound UDP socket.

        ConfigError if the OpaqueString profile forbids the user name or the password (RFC 8265).
        """
        return TurnAllocation(
            self.target.address if after is None else after.server,
            self.target.transport,
            LongTermCredential(self.username, self.password),
            self.token_bytes,
            local=local or Address(self.host, 0),
            server_name=self.target.server_name if after is None else after.server_name,
            stream_id=stream_id,
            config=TurnConfig(
                schedule=_SCHEDULE,
                release_schedule=_RELEASE_SCHEDULE,
                connect_timeout=_CONNECT_TIMEOUT,
                max_redirects=max_redirects,
            ),
        )
