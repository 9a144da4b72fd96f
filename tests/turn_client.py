"""A server core and scripted clients without a network: what goes in, what comes out, at which time."""

from __future__ import annotations

import random
from collections.abc import Iterable

from icekit.attributes import (
    NONCE,
    REALM,
    REQUESTED_TRANSPORT,
    USERNAME,
    XOR_RELAYED_ADDRESS,
    Item,
)
from icekit.net import (
    Address,
    Datagram,
    SocketFailure,
    SocketReleased,
    SocketWanted,
    StreamReleased,
    Transport,
)
from icekit.server import Server, ServerConfig, ServerEvent, TurnServerConfig
from icekit.stun import IntegrityKey, Message, Method, StreamDecoder, decode, long_term_key, request

SERVER = Address("198.51.100.1", 3478)
CLIENT = Address("203.0.113.5", 40000)
PEER = Address("203.0.113.99", 7000)
REALM_NAME = "icekit"


def turn_server_config(**changes: object) -> TurnServerConfig:
    values: dict[str, object] = {
        "users": {"alice": "secret", "bob": "hunter2"},
        "relay_ipv4": "198.51.100.1",
        "relay_ports": (50000, 50999),
    }
    return TurnServerConfig(**{**values, **changes})  # type: ignore[arg-type]


class World:
    """A server whose sockets open at once, unless ``taken`` says that an address is in use."""

    def __init__(
        self, turn: TurnServerConfig | None = None, *, seed: int = 1, unix_offset: float = 0.0, **config: object
    ):
        self.random = random.Random(seed)
        self.server = Server(
            ServerConfig(turn=turn, **config),  # type: ignore[arg-type]
            token_bytes=self.random.randbytes,
            unix_offset=unix_offset,
        )
        self.server.add_local_address(SERVER)
        self.bound: set[Address] = set()
        self.taken: set[Address] = set()
        self.open_sockets = True
        self.wanted: list[SocketWanted] = []
        self.events: list[ServerEvent] = []
        self.hung_up: list[int] = []
        self.now = 1000.0

    def pump(self) -> list[Datagram]:
        """What a driver does after every call."""
        sent = self.server.datagrams_to_send()
        while (event := self.server.next_event()) is not None:
            match event:
                case SocketWanted(id=id, local=local):
                    self.wanted.append(event)
                    if not self.open_sockets:
                        continue
                    if local in self.taken or local in self.bound:
                        self.server.socket_failed(id, SocketFailure.IN_USE, self.now)
                    else:
                        self.bound.add(local)
                        self.server.socket_opened(id, local, self.now)
                case SocketReleased(local=local):
                    self.bound.remove(local)
                case StreamReleased(id=id):
                    self.hung_up.append(id)
                case _:
                    self.events.append(event)
            sent += self.server.datagrams_to_send()
        sent += self.server.datagrams_to_send()
        return sent

    def receive(
        self, data: bytes, source: Address = CLIENT, destination: Address = SERVER, transport: Transport = Transport.UDP
    ) -> list[Datagram]:
        self.server.receive_datagram(Datagram(source, destination, data, transport), self.now)
        return self.pump()

    def run_until(self, when: float) -> None:
        """Let time pass, with every timer at its time."""
        while (timer := self.server.get_timer()) is not None and timer <= when:
            self.now = max(self.now, timer)
            self.server.handle_timer(self.now)
            assert (later := self.server.get_timer()) is None or later > self.now
            self.pump()
        self.now = when


class Client:
    """One TURN client on one 5-tuple."""

    def __init__(
        self,
        world: World,
        *,
        username: str = "alice",
        password: str = "secret",
        source: Address = CLIENT,
        transport: Transport = Transport.UDP,
    ) -> None:
        self.world = world
        self.username = username
        self.key = long_term_key(username, REALM_NAME, password)
        self.source = source
        self.transport = transport
        self.nonce = b""
        self._decoder = StreamDecoder()
        self._sequence = 0

    def transaction_id(self) -> bytes:
        self._sequence += 1
        return self._sequence.to_bytes(12)

    def exchange(self, data: bytes) -> list[bytes]:
        """The server's answers to this client; to a stream it answers in a stream."""
        answers = []
        for datagram in self.world.receive(data, self.source, transport=self.transport):
            if datagram.destination == self.source:
                assert datagram.source == SERVER
                assert datagram.transport is self.transport
                stream = self.transport.is_stream
                answers += self._decoder.feed(datagram.data) if stream else [datagram.data]
        return answers

    def ask(
        self,
        method: Method,
        *items: Item,
        key: IntegrityKey | None = None,
        transaction_id: bytes | None = None,
        authenticated: bool = True,
    ) -> Message:
        """The one answer to a request."""
        (answer,) = self.ask_all(method, *items, key=key, transaction_id=transaction_id, authenticated=authenticated)
        return answer

    def ask_all(
        self,
        method: Method,
        *items: Item,
        key: IntegrityKey | None = None,
        transaction_id: bytes | None = None,
        authenticated: bool = True,
    ) -> list[Message]:
        message = request(method, transaction_id or self.transaction_id(), *items)
        if authenticated:
            message = self.signed(message)
        data = message.encode((key or self.key) if authenticated else None)
        answers = [decode(answer) for answer in self.exchange(data)]
        for answer in answers:
            nonce = answer.get(NONCE)
            self.nonce = self.nonce if nonce is None else nonce
        return answers

    def signed(self, message: Message) -> Message:
        items: Iterable[Item] = (USERNAME(self.username), REALM(REALM_NAME), NONCE(self.nonce))
        return Message(message.method, message.message_class, message.transaction_id, (*message.attributes, *items))

    def challenge(self) -> Message:
        """Learn a nonce."""
        return self.ask(Method.ALLOCATE, REQUESTED_TRANSPORT(17), authenticated=False)

    def allocate(self, *items: Item) -> Address:
        """Allocate and return the relayed transport address."""
        self.challenge()
        answer = self.ask(Method.ALLOCATE, REQUESTED_TRANSPORT(17), *items)
        relayed = answer.get(XOR_RELAYED_ADDRESS)
        assert relayed is not None, answer.error()
        return relayed
