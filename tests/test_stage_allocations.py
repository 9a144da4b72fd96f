"""Which allocation a relay test asks for next."""

from __future__ import annotations

import os
from itertools import pairwise

import pytest

from icekit.errors import ErrorResponse, TransactionTimeout
from icekit.net import Address, StreamWanted, Transport
from icekit.reachability import Target
from icekit.relay_user import RelayUser
from icekit.stage_allocations import StageAllocations
from icekit.turn import TurnAllocation
from icekit.turn_events import Step

SERVER = Address("192.0.2.1", 3478)
MISMATCH = ErrorResponse(437, "Allocation Mismatch")


def allocations(transport: Transport) -> StageAllocations:
    target = Target("turn:192.0.2.1", SERVER, transport)
    return StageAllocations(RelayUser(target, "192.0.2.9", "alice", "secret", os.urandom))


def stream_of(allocation: TurnAllocation) -> int:
    allocation.allocate(0.0)
    event = allocation.next_event()
    assert isinstance(event, StreamWanted)
    return event.id


def test_three_addresses_are_tried() -> None:
    made = allocations(Transport.UDP)
    assert [made.wants_another_address(Step.ALLOCATE, MISMATCH) for _ in range(4)] == [True, True, False, False]
    assert made.addresses == 3


@pytest.mark.parametrize(
    ("step", "error"),
    [
        (Step.REFRESH, MISMATCH),
        (Step.ALLOCATE, ErrorResponse(486, "Allocation Quota Reached")),
        (Step.ALLOCATE, TransactionTimeout(5, 4.0)),
    ],
)
def test_nothing_else_is_asked_again(step: Step, error: ErrorResponse | TransactionTimeout) -> None:
    made = allocations(Transport.UDP)
    assert not made.wants_another_address(step, error)
    assert made.addresses == 1


def test_no_two_have_a_stream_in_common() -> None:
    made = allocations(Transport.TCP)
    streams = [stream_of(made.for_client())]
    while made.wants_another_address(Step.ALLOCATE, MISMATCH):
        streams.append(stream_of(made.for_client()))
    # Each may follow three redirects, with an identifier for each.
    assert [later - earlier >= 4 for earlier, later in pairwise(streams)] == [True, True]
    assert streams[-1] + 3 < StageAllocations.FIRST_PEER_STREAM
    assert stream_of(made.for_peer(made.for_client(), None)) == StageAllocations.FIRST_PEER_STREAM
