from __future__ import annotations

import asyncio
import json
import time
import urllib.error
import urllib.request
from typing import Any

import pytest

from icekit.aio.prober import Prober, ProberConfig
from icekit.errors import ConfigError
from icekit.server import ServerConfig, TurnServerConfig
from icekit.servers import decode_username, parse_servers
from icekit.signaling import connect
from icekit.signaling.message import Bye, Presence
from icekit.signaling.server import SignalingServerConfig
from icekit.tokens import RoomGrant, make_token
from icekit.web.server import CREDENTIAL_SECONDS, Running, serve

HOSTS = ("127.0.0.1", "127.0.0.2")
TURN = TurnServerConfig(users={"u": "operator"}, relay_ipv4="127.0.0.1", allow_peers=("127.0.0.0/8",))
ROOM_SECRET = "s" * 32


async def get(running: Running, path: str) -> Any:
    assert running.signaling is not None
    url = running.signaling.page(path)

    def read() -> Any:
        with urllib.request.urlopen(url, timeout=5) as answer:
            body = answer.read()
            return json.loads(body) if answer.headers["Content-Type"] == "application/json" else body.decode()

    return await asyncio.to_thread(read)


async def test_all_of_it_on_one_machine() -> None:
    servers = serve(
        stun=ServerConfig(turn=TURN), signaling=SignalingServerConfig(), hosts=HOSTS, ports=(0, 0), http_port=0
    )
    async with servers as running:
        assert running.signaling is not None
        assert "<title>icekit" in await get(running, "/")
        config = await get(running, "/config.json")
        stun, turn = config["iceServers"]
        # Two addresses, so that a browser can tell the mapping.
        assert [url.rpartition(":")[0] for url in stun["urls"]] == ["stun:127.0.0.1", "stun:127.0.0.2"]
        assert "operator" not in json.dumps(config)
        expires_at = decode_username(turn["username"]).expires_at
        assert expires_at is not None
        assert 0 <= time.time() + CREDENTIAL_SECONDS - expires_at <= 60

        # The credentials open the relay.
        prober = Prober(parse_servers(json.dumps(config["iceServers"])), config=ProberConfig(local=True))
        report = await prober.run()
        assert [item.ok for item in report.turn] == [True, True], report.turn

        async with connect(running.signaling.url("room")) as one, connect(running.signaling.url("room")) as other:
            await one.send(Bye(reason="hello"))
            async for message in other:
                if not isinstance(message, Presence):
                    break
            assert isinstance(message, Bye)
            assert message.reason == "hello"


async def test_with_a_room_secret_only_a_token_gives_credentials() -> None:
    servers = serve(
        stun=ServerConfig(turn=TURN),
        signaling=SignalingServerConfig(secrets=(ROOM_SECRET,)),
        hosts=HOSTS[:1],
        ports=(0,),
        http_port=0,
    )
    token = make_token(ROOM_SECRET, RoomGrant(room="room", expires_at=time.time() + 60))
    old = make_token(ROOM_SECRET, RoomGrant(room="room", expires_at=time.time() - 60))
    async with servers as running:
        for path, admitted in (
            ("/config.json", False),
            (f"/config/room/{token}", True),
            (f"/config/room/{old}", False),
            (f"/config/other/{token}", False),
        ):
            config = await get(running, path)
            assert config["admitted"] is admitted
            assert len(config["iceServers"]) == (2 if admitted else 1)


async def test_the_operators_own_secret_is_used() -> None:
    config = ServerConfig(turn=TurnServerConfig(secret="shared", relay_ipv4="127.0.0.1"))
    servers = serve(stun=config, signaling=SignalingServerConfig(), hosts=HOSTS[:1], ports=(0,), http_port=0)
    async with servers as running:
        assert running.stun is not None
        assert running.stun.core.config == config


async def test_one_without_the_other() -> None:
    async with serve(stun=None, signaling=SignalingServerConfig(), hosts=HOSTS[:1], http_port=0) as running:
        assert running.stun is None
        assert (await get(running, "/config.json"))["iceServers"] == []
        with pytest.raises(urllib.error.HTTPError) as caught:
            await get(running, "/nothing")
        assert caught.value.code == 404
        caught.value.close()
    async with serve(stun=ServerConfig(), signaling=None, hosts=HOSTS[:1], ports=(0,)) as running:
        assert running.signaling is None
    with pytest.raises(ConfigError, match="nothing to serve"):
        async with serve(stun=None, signaling=None, hosts=HOSTS[:1]):
            pass
