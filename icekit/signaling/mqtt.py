"""``mqtt://`` and ``mqtts://``: a topic of an MQTT broker, at quality of service 1 (``mqtt://host/ROOM``)."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

from icekit.errors import MissingExtra
from icekit.signaling.broker import CONNECT_TIMEOUT, BrokerUrl, certificate_error
from icekit.signaling.transport import Traits

if TYPE_CHECKING:
    import aiomqtt

QUEUE = 256
"""Most messages that wait to be read; more are lost, and asked for again."""

PORT = 1883
TLS_PORT = 8883


def transport(url: str, *, name: str, token: str | None) -> MqttTransport:
    """MissingExtra without aiomqtt."""
    try:
        import aiomqtt  # noqa: F401
    except ImportError:
        raise MissingExtra("signaling over MQTT", "mqtt") from None
    place = BrokerUrl.parse(url)
    return MqttTransport(place, place.room())


class MqttTransport:
    """A topic."""

    traits = Traits()

    def __init__(self, place: BrokerUrl, topic: str) -> None:
        self._place = place
        self._topic = topic

    async def open(self) -> MqttLink:
        """Connect and subscribe."""
        import aiomqtt

        tls = self._place.tls("mqtts")
        client = aiomqtt.Client(
            self._place.host,
            self._place.port or (PORT if tls is None else TLS_PORT),
            username=self._place.username,
            password=self._place.password,
            tls_context=tls,
            max_queued_incoming_messages=QUEUE,
            timeout=CONNECT_TIMEOUT,
            # Each message waits for the broker's word, and Nagle's algorithm would add 40 ms to each.
            socket_options=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
        )
        try:
            await client.__aenter__()
            await client.subscribe(self._topic, qos=1)
        except aiomqtt.MqttError as error:
            raise certificate_error(error) or ConnectionRefusedError(f"the broker refused: {error}") from error
        return MqttLink(client, self._topic)


class MqttLink:
    """One subscription."""

    def __init__(self, client: aiomqtt.Client, topic: str) -> None:
        self._client = client
        self._topic = topic
        self._closed = False

    async def send(self, line: str) -> None:
        """Publish; returns when the broker has it."""
        import aiomqtt

        try:
            await self._client.publish(self._topic, line.encode(), qos=1)
        except aiomqtt.MqttError as error:
            raise ConnectionResetError(str(error)) from error

    async def receive(self) -> bytes:
        """What somebody published, ourselves too."""
        import aiomqtt

        try:
            message = await anext(self._client.messages)
        except aiomqtt.MqttError as error:
            raise ConnectionResetError(str(error)) from error
        return message.payload

    async def close(self) -> None:
        """Leave."""
        import aiomqtt

        if self._closed:
            return
        self._closed = True
        try:
            async with asyncio.timeout(1):
                await self._client.__aexit__(None, None, None)
        except (aiomqtt.MqttError, TimeoutError):
            # It was gone already.
            pass
