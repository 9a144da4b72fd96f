"""The settings of a call become those of its connections."""

from __future__ import annotations

import pytest

from icekit.call import CallConfig
from icekit.errors import ConfigError
from icekit.servers import IceServer
from tests.call.calls import closing


async def test_a_connection_of_these_settings() -> None:
    server = IceServer(urls=("stun:192.0.2.1", "turn:192.0.2.1?transport=tcp"), username="a", credential="b")
    config = CallConfig(relay_only=True, local_addresses=("127.0.0.1",))
    connection = config.connection([server])
    async with closing(connection):
        connection.createDataChannel("x")
        (transport,) = connection.ice_transports
        assert transport.connection._relay_only
        assert len(transport.connection._wanted) == 2
        assert not connection.stock


async def test_the_other_engine_and_bad_servers() -> None:
    stock = CallConfig(engine="aioice").connection([])
    async with closing(stock):
        assert stock.stock
    with pytest.raises(ConfigError, match="username and credential"):
        CallConfig().connection([IceServer(urls="turn:192.0.2.1")])
