"""What a TURN client asks for, and how it reads the answer."""

from __future__ import annotations

import pytest

from icekit import attributes as attr
from icekit.attributes import Family, Item
from icekit.errors import ConfigError, DecodeError
from icekit.net import Address
from icekit.stun import Message, Method, request, success
from icekit.transaction import Path, Succeeded
from icekit.turn_config import TurnConfig, read_allocation

SERVER = Address("198.51.100.1", 3478)
RELAYED = Address("198.51.100.1", 50000)
RELAYED6 = Address("2001:db8::1", 50000)


def outcome(*items: Item) -> Succeeded:
    response: Message = success(request(Method.ALLOCATE, bytes(12)), *items)
    return Succeeded("tag", response, SERVER, Path(Address("192.0.2.1", 5000), SERVER), 1, 0.5, 0.25)


@pytest.mark.parametrize(
    "changes",
    [
        {"permission_refresh": 0.0},
        {"permission_refresh": 300.0},
        {"channel_refresh": 300.0},
        {"channel_refresh": -1.0},
        {"max_peers": 0},
        {"max_peers": 4097},
        {"lifetime": 0},
    ],
)
def test_what_cannot_be(changes: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        TurnConfig(**changes)  # type: ignore[arg-type]


def test_the_plainest_request() -> None:
    assert TurnConfig().allocate_items() == (attr.REQUESTED_TRANSPORT(17),)
    assert TurnConfig().refresh_items() == ()
    assert TurnConfig(lifetime=900).refresh_items() == (attr.LIFETIME(900),)


def test_the_plainest_answer() -> None:
    created = read_allocation(outcome(attr.XOR_RELAYED_ADDRESS(RELAYED)), ())
    # RFC 8656 §3.2: 600 seconds when nobody says otherwise.
    assert (created.relayed, created.mapped, created.lifetime) == ((RELAYED,), None, 600)
    assert (created.seconds, created.rtt, created.software, created.refused_families) == (0.5, 0.25, None, ())


@pytest.mark.parametrize(
    ("families", "relayed"),
    [
        ((), (RELAYED, RELAYED6)),
        ((Family.IPV4,), (RELAYED,)),
        ((Family.IPV6,), (RELAYED6,)),
        ((Family.IPV6, Family.IPV4), (RELAYED, RELAYED6)),
    ],
)
def test_only_wanted_families_count(families: tuple[Family, ...], relayed: tuple[Address, ...]) -> None:
    answer = outcome(attr.XOR_RELAYED_ADDRESS(RELAYED6), attr.XOR_RELAYED_ADDRESS(RELAYED))
    assert read_allocation(answer, families).relayed == relayed


def test_an_answer_of_no_use() -> None:
    for items in [(), (attr.XOR_RELAYED_ADDRESS(RELAYED), attr.LIFETIME(0))]:
        with pytest.raises(DecodeError):
            read_allocation(outcome(*items), ())
