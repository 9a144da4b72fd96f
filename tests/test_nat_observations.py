"""What an observation may be trusted for."""

from __future__ import annotations

import pytest

from icekit.nat_observations import alternate_flaw
from icekit.net import Address

SERVER = Address("203.0.113.10", 3478)


@pytest.mark.parametrize(
    ("server", "other", "flaw"),
    [
        (SERVER, Address("203.0.113.11", 3479), None),
        (Address("127.0.0.1", 3478), Address("127.0.0.2", 3479), None),
        (Address("10.0.0.1", 3478), Address("198.51.100.7", 3479), None),
        (Address("2001:db8::1", 3478), Address("2001:db8::2", 3479), None),
        (SERVER, Address("203.0.113.11", 3478), "which does not differ in IP and port"),
        (SERVER, Address("169.254.1.1", 3479), "which cannot be reached from outside its network"),
        (SERVER, Address("239.1.2.3", 3479), "which is no address of a server"),
        (SERVER, Address("::1", 3479), "of another family"),
    ],
)
def test_what_cannot_be_an_alternate_address(server: Address, other: Address, flaw: str | None) -> None:
    assert alternate_flaw(server, other) == flaw
