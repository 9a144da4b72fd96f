"""The embedded servers of ``--local``."""

from __future__ import annotations

import pytest

from icekit.aio.local_servers import local_servers
from icekit.servers import Scheme


async def test_stun_and_turn_over_udp_and_tcp_with_a_random_password() -> None:
    async with local_servers() as (stun, turn), local_servers() as (_, other):
        assert [uri.scheme for uri in stun.urls] == [Scheme.STUN]
        assert [(uri.scheme, uri.transport_token) for uri in turn.urls] == [(Scheme.TURN, "udp"), (Scheme.TURN, "tcp")]
        assert {uri.host for uri in (*stun.urls, *turn.urls)} == {"127.0.0.1"}
        assert turn.credential != other.credential
        assert turn.urls != other.urls


async def test_one_address_is_enough_where_there_is_no_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("icekit.aio.local_servers._HOSTS", ("127.0.0.1", "203.0.113.77"))
    async with local_servers() as (stun, turn):
        assert stun.urls[0].port == turn.urls[0].port
