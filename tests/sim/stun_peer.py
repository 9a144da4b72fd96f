"""A STUN server of twenty lines and an ICE handshake of stock aioice: neither knows of the simulator."""

from __future__ import annotations

import asyncio
from typing import Any

import aioice
from aioice import stun

from icekit.sim import Host


class StunServer(asyncio.DatagramProtocol):
    """Answers Binding with XOR-MAPPED-ADDRESS (RFC 8489 §2)."""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        request = stun.parse_message(data)
        response = stun.Message(stun.Method.BINDING, stun.Class.RESPONSE, request.transaction_id)
        response.attributes["XOR-MAPPED-ADDRESS"] = addr[:2]
        self.transport.sendto(bytes(response), addr)


async def serve_stun(address: str) -> asyncio.DatagramTransport:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(StunServer, local_addr=(address, 3478))
    return transport


async def connect_aioice(alice: Host, bob: Host, **servers: Any) -> tuple[aioice.Connection, ...]:
    """Two unmodified ``aioice.Connection`` exchange candidates and connect."""

    async def gather(controlling: bool) -> aioice.Connection:
        connection = aioice.Connection(ice_controlling=controlling, **servers)
        await connection.gather_candidates()
        return connection

    one, other = await asyncio.gather(alice.run(gather(True)), bob.run(gather(False)))
    for local, remote in ((one, other), (other, one)):
        for candidate in local.local_candidates:
            await remote.add_remote_candidate(candidate)
        await remote.add_remote_candidate(None)
        remote.remote_username, remote.remote_password = local.local_username, local.local_password
    await asyncio.gather(alice.run(one.connect()), bob.run(other.connect()))
    return one, other
