"""The way to a TURN server: sockets, streams, and where a redirection may lead (RFC 8489 §10)."""

from __future__ import annotations

import pytest

from icekit import attributes as attr
from icekit.attributes import Item
from icekit.errors import ConfigError, DecodeError
from icekit.net import Address, Datagram, StreamReleased, StreamWanted, Transport
from icekit.server_connection import ServerConnection
from icekit.stun import Message, Method, failure, request
from icekit.transaction import Path
from icekit.turn_config import TurnConfig
from icekit.turn_events import ServerConnected, ServerSecured, Step

SERVER, OTHER, THIRD = (Address(f"198.51.100.{number}", 3478) for number in (1, 2, 3))
LOCAL = Address("192.0.2.1", 5000)


def connection(
    transport: Transport = Transport.TLS,
    *,
    server: Address = SERVER,
    local: Address | None = LOCAL,
    config: TurnConfig | None = None,
) -> ServerConnection:
    config = config or TurnConfig()
    return ServerConnection(server, transport, config, local=local, server_name="a.example", stream_id=7)


def redirection(*items: Item) -> Message:
    return failure(request(Method.ALLOCATE, bytes(12)), 300, *items)


def test_over_udp_the_path_is_there_at_once() -> None:
    way = connection(Transport.UDP)
    assert way.open(1.0) is None
    assert (way.path, way.deadline) == (Path(LOCAL, SERVER, Transport.UDP), None)
    assert way.release() is None


def test_over_udp_there_must_be_a_socket() -> None:
    with pytest.raises(ConfigError, match="bound local address"):
        connection(Transport.UDP, local=None).open(1.0)


def test_a_stream_is_asked_for_and_its_steps_are_timed() -> None:
    way = connection()
    assert way.open(1.0) == StreamWanted(7, LOCAL.host, SERVER, Transport.TLS, "a.example")
    assert (way.path, way.deadline, way.step) == (None, 11.0, Step.CONNECT)
    assert way.connected(7, 1.5) == ServerConnected(0.5)
    assert way.step is Step.TLS
    assert way.opened(7, LOCAL, SERVER, 1.75) == ServerSecured(0.25)
    assert (way.path, way.deadline) == (Path(LOCAL, SERVER, Transport.TLS), None)
    assert way.release() == StreamReleased(7)
    assert way.release() is None


def test_plain_tcp_has_one_step() -> None:
    way = connection(Transport.TCP, local=None)
    assert way.open(1.0) == StreamWanted(7, None, SERVER, Transport.TCP, "a.example")
    assert way.opened(7, LOCAL, SERVER, 1.5) == ServerConnected(0.5)


def test_what_belongs_to_another_stream_changes_nothing() -> None:
    way = connection()
    assert way.connected(7, 0.5) is None
    way.open(1.0)
    assert way.connected(8, 1.5) is None
    assert way.opened(8, LOCAL, SERVER, 1.5) is None
    assert not way.closed(8)
    assert (way.path, way.step) == (None, Step.CONNECT)
    assert way.closed(7)
    assert not way.closed(7)
    # What is gone is not given back.
    assert way.release() is None


def test_messages_of_a_stream_are_put_together() -> None:
    way = connection(Transport.TCP)
    message = request(Method.ALLOCATE, bytes(12)).encode(None)
    pieces = [message[:7], message[7:] + message]
    assert [way.messages(Datagram(SERVER, LOCAL, piece, Transport.TCP)) for piece in pieces] == [[], [message] * 2]
    with pytest.raises(DecodeError):
        way.messages(Datagram(SERVER, LOCAL, b"\xff" * 20, Transport.TCP))
    assert way.messages(Datagram(SERVER, LOCAL, b"\xff", Transport.UDP)) == [b"\xff"]


def test_another_server_has_another_stream_and_begins_anew() -> None:
    way = connection()
    way.open(1.0)
    way.opened(7, LOCAL, SERVER, 1.5)
    way.messages(Datagram(SERVER, LOCAL, b"\0", Transport.TLS))
    assert way.alternate(redirection(attr.ALTERNATE_SERVER(OTHER))) == (OTHER, None)
    assert way.follow(OTHER, None) == StreamReleased(7)
    assert way.path is None
    assert way.open(2.0) == StreamWanted(8, LOCAL.host, OTHER, Transport.TLS, "a.example")
    # Since the allocation began.
    assert way.connected(8, 2.5) == ServerConnected(1.5)
    message = request(Method.ALLOCATE, bytes(12)).encode(None)
    assert way.messages(Datagram(OTHER, LOCAL, message, Transport.TLS)) == [message]


def test_the_domain_of_a_redirection_is_the_name_of_the_certificate() -> None:
    way = connection()
    way.open(1.0)
    named = way.alternate(redirection(attr.ALTERNATE_SERVER(OTHER), attr.ALTERNATE_DOMAIN("b.example")))
    assert named == (OTHER, "b.example")
    way.follow(*named)
    assert way.server_name == "b.example"


def test_redirections_neither_go_in_circles_nor_on_for_ever() -> None:
    way = connection(Transport.UDP, config=TurnConfig(max_redirects=1))
    assert way.alternate(redirection(attr.ALTERNATE_SERVER(SERVER))) is None
    way.follow(OTHER, None)
    assert way.alternate(redirection(attr.ALTERNATE_SERVER(SERVER))) is None
    assert way.alternate(redirection(attr.ALTERNATE_SERVER(THIRD))) is None


@pytest.mark.parametrize(
    "items",
    [
        (),
        ((attr.ALTERNATE_SERVER.type, b"x"),),
        (attr.ALTERNATE_SERVER(OTHER), (attr.ALTERNATE_DOMAIN.type, b"\xff")),
        (attr.ALTERNATE_SERVER(Address("2001:db8::9", 3478)),),
        (attr.ALTERNATE_SERVER(Address(OTHER.host, 0)),),
        (attr.ALTERNATE_SERVER(Address("192.168.1.1", 3478)),),
    ],
    ids=["nobody", "no address", "no domain", "other family", "port 0", "our network"],
)
def test_where_a_redirection_must_not_lead(items: tuple[Item, ...]) -> None:
    assert connection().alternate(redirection(*items)) is None


def test_a_server_of_a_network_may_name_another_one_there() -> None:
    way = connection(server=Address("192.168.1.1", 3478))
    other = Address("192.168.1.2", 3478)
    assert way.alternate(redirection(attr.ALTERNATE_SERVER(other))) == (other, None)
