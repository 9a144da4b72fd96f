"""Asking name servers; ``test_dns`` has the answers of a whole zone."""

from __future__ import annotations

import socket

from icekit.aio.nameserver import NameServers
from icekit.net import Address
from icekit.resolution import Query, QueryFailure, RecordType


async def test_a_silent_name_server_is_a_result() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        servers = NameServers.configured([Address(*silent.getsockname())])
        assert servers is not None
        records, failure, _ = await servers.ask(Query("silent.example", RecordType.A), 0.2)
    assert (records, failure) == ([], QueryFailure.TIMED_OUT)


async def test_what_cannot_be_a_name_is_no_such_name() -> None:
    servers = NameServers.configured([Address("127.0.0.1", 9)])
    assert servers is not None
    records, failure, detail = await servers.ask(Query("a..example", RecordType.A), 0.2)
    assert (records, failure, detail) == ([], QueryFailure.NO_SUCH_NAME, ": this cannot be a name")
