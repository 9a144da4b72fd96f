"""``icekit serve``: the embedded STUN and TURN server for development and tests, and the signaling server."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from icekit.cli.command import run
from icekit.cli.options import JsonOutput, read_port_range, read_value
from icekit.errors import ConfigError

if TYPE_CHECKING:
    import asyncio
    import ssl

    from icekit.server import ServerConfig, TurnServerConfig
    from icekit.signaling.server import SignalingServerConfig
    from icekit.web.server import Running

_MORE = "May be given more than once."

Hosts = Annotated[
    list[str] | None,
    typer.Option(
        "--host",
        metavar="ADDRESS",
        help=f"Listen here (default: 127.0.0.1, and 127.0.0.2 on Linux). RFC 5780 needs two. {_MORE}",
    ),
]
Port = Annotated[
    int, typer.Option("--port", metavar="PORT", min=0, max=65535, help="Port for UDP and TCP; 0: any free one.")
]
AlternatePort = Annotated[
    int | None,
    typer.Option(
        "--alternate-port", metavar="PORT", min=0, max=65535, help="Second port, for RFC 5780 (default: PORT + 1)."
    ),
]
Tcp = Annotated[bool, typer.Option("--tcp/--no-tcp", help="Also listen on TCP.")]
TlsPort = Annotated[
    int | None,
    typer.Option("--tls-port", metavar="PORT", min=0, max=65535, help="Port for TLS; needs --certificate and --key."),
]
Certificate = Annotated[
    Path | None,
    typer.Option("--certificate", metavar="FILE", help="PEM file for TLS; with it, the HTTP port speaks TLS, too."),
]
Key = Annotated[Path | None, typer.Option("--key", metavar="FILE", help="PEM file with the private key.")]
StunOnly = Annotated[bool, typer.Option("--stun-only", help="No TURN.")]
Realm = Annotated[str, typer.Option("--realm", metavar="NAME", help="Realm of the TURN users.")]
Users = Annotated[
    list[str] | None,
    typer.Option(
        "--user",
        metavar="NAME:PASSWORD",
        help=f"A TURN user; @FILE reads it. Without users and secret one is made up and printed. {_MORE}",
    ),
]
Secret = Annotated[
    str | None,
    typer.Option(
        "--secret",
        metavar="SECRET",
        envvar="ICEKIT_SECRET",
        help="Take time-limited users, as icekit credentials makes them; @FILE reads it.",
    ),
]
RelayHosts = Annotated[
    list[str] | None,
    typer.Option(
        "--relay-host", metavar="ADDRESS", help="Relay on this address (default: the first host of each family)."
    ),
]
ExternalHost = Annotated[
    str | None,
    typer.Option("--external-host", metavar="ADDRESS", help="Tell clients this relay address: a 1:1 NAT is before."),
]
RelayPorts = Annotated[str, typer.Option("--relay-ports", metavar="FIRST-LAST", help="Ports of relayed addresses.")]
AllowPeers = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-peers",
        metavar="NETWORK",
        help=f"Relay to these as well, e.g. 10.0.0.0/8, or loopback; by itself only to public ones. {_MORE}",
    ),
]
Http = Annotated[bool, typer.Option("--http/--no-http", help="Signaling over WebSockets, and the page.")]
HttpPort = Annotated[
    int | None,
    typer.Option(
        "--http-port",
        metavar="PORT",
        min=0,
        max=65535,
        help="Its port (default: 8080, or any free one with --port 0).",
    ),
]
SignalingOnly = Annotated[bool, typer.Option("--signaling-only", help="No STUN and no TURN.")]
RoomSecrets = Annotated[
    list[str] | None,
    typer.Option(
        "--room-secret",
        metavar="SECRET",
        envvar="ICEKIT_ROOM_SECRET",
        help="Only tokens signed with it open a room (icekit credentials token makes them); @FILE reads it. "
        f"Without one every room is open. {_MORE}",
    ),
]
RoomSize = Annotated[int, typer.Option("--room-size", metavar="N", min=1, max=1000, help="Most members of one room.")]
Origins = Annotated[
    list[str] | None,
    typer.Option(
        "--origin",
        metavar="ORIGIN",
        help="Web pages of this origin may connect, such as https://call.example.org, or * for all; "
        f"pages of this server, called by address or localhost, always may. {_MORE}",
    ),
]
PageSignaling = Annotated[
    list[str] | None,
    typer.Option(
        "--page-signaling",
        metavar="URL",
        help="Another channel for the page to choose, with {room} in it, such as "
        f"stomp+wss://user:password@broker.example:15674/ws?topic={{room}}; @FILE reads it. {_MORE}",
    ),
]
Broker = Annotated[
    str | None,
    typer.Option(
        "--broker",
        metavar="URL",
        envvar="ICEKIT_BROKER",
        help="redis://… or nats://…, over which several servers serve the same rooms; @FILE reads it.",
    ),
]
CoturnConfig = Annotated[
    bool, typer.Option("--coturn-config", help="Print the equivalent turnserver.conf for coturn, and exit.")
]


def serve(
    hosts: Hosts = None,
    port: Port = 3478,
    alternate_port: AlternatePort = None,
    tcp: Tcp = True,
    tls_port: TlsPort = None,
    certificate: Certificate = None,
    key: Key = None,
    stun_only: StunOnly = False,
    realm: Realm = "icekit",
    users: Users = None,
    secret: Secret = None,
    relay_hosts: RelayHosts = None,
    external_host: ExternalHost = None,
    relay_ports: RelayPorts = "49152-65535",
    allow_peers: AllowPeers = None,
    http: Http = True,
    http_port: HttpPort = None,
    signaling_only: SignalingOnly = False,
    room_secrets: RoomSecrets = None,
    room_size: RoomSize = 8,
    origins: Origins = None,
    page_signaling: PageSignaling = None,
    broker: Broker = None,
    coturn_config: CoturnConfig = False,
    json: JsonOutput = False,
) -> None:
    """Run a STUN, TURN and signaling server until Ctrl-C, with a page to call and to check a network.

    STUN and TURN are for development and tests; use coturn in production. There is no WHIP here: a server for WHIP and
    WHEP is icekit.signaling.whip_server of the library (extra whip).
    """
    if key is not None and certificate is None:
        raise ConfigError("--key needs --certificate: without both there is no TLS")
    if coturn_config and json:
        raise ConfigError("--coturn-config prints a configuration, --json what is served; give one of them")
    listen = _listen_on(hosts)
    alternate_port = _second_port(port, alternate_port)
    known, secret = _read_users(users or []), read_value("--secret", secret)
    made_up = None if stun_only or known or secret else _make_up_user()
    if made_up is not None:
        known = dict([made_up])
    turn = None
    if not stun_only:
        relays = relay_hosts or listen
        turn = _turn(relays, realm, known, secret, external_host, relay_ports, allow_peers or [])
    if tls_port is not None and (certificate is None or key is None):
        raise ConfigError("--tls-port needs --certificate and --key")
    if coturn_config:
        ports = (port or 3478, alternate_port or 3479)
        typer.echo(_for_coturn(turn, listen, ports, tcp, tls_port, certificate, key), nl=False)
        return

    from icekit.server import ServerConfig

    context = _ssl_context(certificate, key) if certificate is not None else None
    stun = None if signaling_only else _Stun(ServerConfig(turn=turn), (port, alternate_port), tcp, tls_port, made_up)
    rooms = None
    if http:
        if http_port is None:
            http_port = 8080 if port else 0
        signaling = _signaling(room_secrets or [], room_size, origins or [], read_value("--broker", broker))
        rooms = _Rooms(signaling, http_port, page_signaling or [])
    if signaling_only and (stun_only or tls_port is not None):
        option = "--stun-only" if stun_only else "--tls-port"
        raise ConfigError(f"--signaling-only has no STUN and no TURN, which {option} is about; leave one of them out")
    if stun is None and rooms is None:
        raise ConfigError("--signaling-only and --no-http leave nothing to serve")
    run(_serve(listen, stun, rooms, context, json), lambda: None)


def _listen_on(hosts: list[str] | None) -> list[str]:
    from icekit.servers import is_literal

    listen = hosts or (["127.0.0.1", "127.0.0.2"] if sys.platform == "linux" else ["127.0.0.1"])
    for host in listen:
        if not is_literal(host):
            raise ConfigError(f"--host: {host!r} is no IP address; name one of this host's own")
    return listen


def _second_port(port: int, given: int | None) -> int:
    if given is None:
        if port == 65535:
            raise ConfigError("--port 65535 has no next port; give --alternate-port")
        return port + 1 if port else 0
    if given == port != 0:
        raise ConfigError(f"--alternate-port must be another port than --port {port}")
    return given


def _make_up_user() -> tuple[str, str]:
    import secrets

    return "icekit", secrets.token_urlsafe(12)


class _Stun(NamedTuple):
    config: ServerConfig
    ports: tuple[int, int]
    tcp: bool
    tls_port: int | None
    made_up: tuple[str, str] | None


class _Rooms(NamedTuple):
    config: SignalingServerConfig
    port: int
    page_signaling: list[str]


async def _serve(
    hosts: list[str], stun: _Stun | None, rooms: _Rooms | None, context: ssl.SSLContext | None, json: bool
) -> None:
    import asyncio

    from icekit.web.server import serve as run_servers

    stop = asyncio.Event()
    _stop_on_signals(stop)
    servers = run_servers(
        stun=None if stun is None else stun.config,
        signaling=None if rooms is None else rooms.config,
        hosts=hosts,
        ports=(0, 0) if stun is None else stun.ports,
        tcp=stun is None or stun.tcp,
        tls_port=None if stun is None else stun.tls_port,
        http_port=0 if rooms is None else rooms.port,
        ssl_context=context,
        page_signaling=[]
        if rooms is None
        else [read_value("--page-signaling", url) or "" for url in rooms.page_signaling],
    )
    made_up = None if stun is None else stun.made_up
    async with servers as running:
        typer.echo(_ready_json(running, made_up) if json else _ready_text(running, made_up))
        sys.stdout.flush()
        await stop.wait()
    typer.echo(" ".join(["Stopped.", *_summary(running)]), err=True)


def _summary(running: Running) -> list[str]:
    lines = []
    if running.stun is not None:
        counters = running.stun.counters
        lines.append(
            f"{counters.answered} answers, {counters.relayed_to_peer} packets relayed to peers and "
            f"{counters.relayed_to_client} to clients."
        )
    if running.signaling is not None:
        joined = running.signaling.rooms.counters
        lines.append(f"{joined.joins} joined rooms and sent {joined.received} messages.")
    return lines


def _stop_on_signals(stop: asyncio.Event) -> None:
    """Ctrl-C is how a server ends: it is no failure."""
    import asyncio
    import signal

    for number in (signal.SIGINT, signal.SIGTERM):
        # Windows has no such handlers; there Ctrl-C cancels the command.
        with contextlib.suppress(NotImplementedError):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)


def _ready_json(running: Running, made_up: tuple[str, str] | None) -> str:
    import json

    server, signaling = running.stun, running.signaling
    username, credential = made_up or (None, None)
    turn = None if server is None else server.core.config.turn
    return json.dumps(
        {
            "schema": "icekit/serve/1",
            "urls": [] if server is None else list(server.urls()),
            "udp": [] if server is None else [str(address) for address in server.udp],
            "tcp": [] if server is None else [str(address) for address in server.tcp],
            "tls": [] if server is None else [str(address) for address in server.tls],
            "realm": None if turn is None else turn.realm,
            "username": username,
            "credential": credential,
            "signaling": None if signaling is None else signaling.url(),
            "page": None if signaling is None else signaling.page(),
        }
    )


def _ready_text(running: Running, made_up: tuple[str, str] | None) -> str:
    signaling = running.signaling
    lines = [] if running.stun is None else list(running.stun.urls())
    if made_up is not None:
        lines += [f"username    {made_up[0]}", f"credential  {made_up[1]}"]
    if signaling is not None:
        lines += [f"signaling   {signaling.url('ROOM')}", f"page        {signaling.page()}"]
    return "\n".join([*lines, "Ready. Ctrl-C stops it."])


def _read_users(entries: list[str]) -> dict[str, str]:
    found = {}
    for entry in entries:
        name, colon, password = (read_value("--user", entry) or "").partition(":")
        if not name or not colon or not password:
            # What was given may hold the password: it is not repeated.
            raise ConfigError("--user wants NAME:PASSWORD, both of them")
        found[name] = password
    return found


def _signaling(secrets: list[str], room_size: int, origins: list[str], broker: str | None) -> SignalingServerConfig:
    from icekit.signaling.room_terms import RoomsConfig
    from icekit.signaling.server import SignalingServerConfig

    return SignalingServerConfig(
        rooms=RoomsConfig(max_members=room_size),
        secrets=tuple(read_value("--room-secret", secret) or "" for secret in secrets),
        origins=tuple(origins),
        broker=broker,
    )


def _turn(
    relay_hosts: list[str],
    realm: str,
    users: dict[str, str],
    secret: str | None,
    external_host: str | None,
    relay_ports: str,
    allow_peers: list[str],
) -> TurnServerConfig:
    from icekit.admission import LOOPBACK_PEERS, PeerPolicy
    from icekit.server import TurnServerConfig

    allowed: list[str] = []
    for network in allow_peers:
        allowed += LOOPBACK_PEERS if network == "loopback" else (network,)
    PeerPolicy(tuple(allowed))
    return TurnServerConfig(
        realm=realm,
        users=users,
        secret=secret,
        relay_ipv4=next((host for host in relay_hosts if ":" not in host), None),
        relay_ipv6=next((host for host in relay_hosts if ":" in host), None),
        external_ipv4=external_host,
        relay_ports=read_port_range(relay_ports, "--relay-ports"),
        allow_peers=tuple(allowed),
    )


def _for_coturn(
    turn: TurnServerConfig | None,
    hosts: list[str],
    ports: tuple[int, int],
    tcp: bool,
    tls_port: int | None,
    certificate: Path | None,
    key: Path | None,
) -> str:
    from icekit.coturn import coturn_config

    return coturn_config(
        turn,
        hosts=hosts,
        port=ports[0],
        alternate_port=ports[1],
        tcp=tcp,
        tls_port=tls_port,
        certificate=None if certificate is None else str(certificate.resolve()),
        key=None if key is None else str(key.resolve()),
    )


def _ssl_context(certificate: Path, key: Path | None) -> ssl.SSLContext:
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        names = f"--certificate {certificate}" + ("" if key is None else f", --key {key}")
        raise ConfigError(
            f"{names}: {error.strerror or error}; write PEM files of a certificate and (--key) of its private key"
        ) from None
    return context
