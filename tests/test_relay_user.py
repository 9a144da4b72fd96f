from __future__ import annotations

import pytest

from icekit.errors import ConfigError
from icekit.net import Address, StreamWanted, Transport
from icekit.reachability import Target
from icekit.relay_user import RelayUser
from icekit.turn import TurnAllocation

SERVER, OTHER = Address("192.0.2.1", 5349), Address("192.0.2.7", 5349)


def user(transport: Transport = Transport.TLS, *, password: str = "s3cret") -> RelayUser:
    return RelayUser(
        Target("turns:one.example", SERVER, transport, "one.example"), "192.0.2.9", "alice", password, bytes
    )


def wanted(allocation: TurnAllocation) -> StreamWanted:
    allocation.allocate(0.0)
    event = allocation.next_event()
    assert isinstance(event, StreamWanted)
    return event


def test_an_allocation_is_asked_of_the_target_from_the_own_address() -> None:
    event = wanted(user().allocation(100))
    assert (event.id, event.local, event.remote, event.server_name) == (100, "192.0.2.9", SERVER, "one.example")


def test_the_next_one_is_asked_where_the_first_one_had_been_sent() -> None:
    first = user().allocation(100)
    first._connection.server, first._connection.server_name = OTHER, "two.example"
    event = wanted(user().allocation(104, after=first))
    assert (event.id, event.remote, event.server_name) == (104, OTHER, "two.example")


def test_what_cannot_be_a_password_is_told_before_anything_is_sent() -> None:
    with pytest.raises(ConfigError):
        user(password="a\nb").allocation(100)


def test_the_password_is_in_no_text() -> None:
    assert "s3cret" not in repr(user())
