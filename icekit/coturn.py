"""The configuration of coturn (``turnserver.conf``) that offers what a ``ServerConfig`` offers: for production."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator

from icekit.allocation import TurnServerConfig
from icekit.errors import ConfigError

# What our server refuses as a peer by itself (``admission.PeerPolicy``) and coturn does not.
_DENIED = (
    *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16", "240.0.0.0/4"),
    *("64:ff9b::/96", "64:ff9b:1::/48", "2001::/32", "2002::/16", "fc00::/7", "fe80::/10", "fec0::/10"),
)


def coturn_config(
    turn: TurnServerConfig | None,
    *,
    hosts: Iterable[str],
    port: int,
    alternate_port: int | None,
    tcp: bool = True,
    tls_port: int | None = None,
    certificate: str | None = None,
    key: str | None = None,
) -> str:
    """The text of the file. ConfigError for what coturn cannot do or its file cannot hold.

    coturn has no rate limit for requests without credentials and no bound on permissions: those are left to a firewall.
    """
    lines = ["# Made by icekit serve --coturn-config, for coturn 4.6", "fingerprint", "no-cli", "no-multicast-peers"]
    lines += [f"listening-ip={host}" for host in hosts]
    lines.append(f"listening-port={port}")
    if alternate_port is not None:
        lines.append(f"alt-listening-port={alternate_port}")
    if not tcp:
        lines.append("no-tcp")
    if tls_port is None:
        lines += ["no-tls", "no-dtls"]
    else:
        lines += [f"tls-listening-port={tls_port}", f"cert={_word('certificate', certificate or '')}"]
        lines += [f"pkey={_word('key', key or '')}", "no-dtls"]
    lines += ["stun-only"] if turn is None else _turn(turn)
    return "\n".join(lines) + "\n"


def _turn(turn: TurnServerConfig) -> Iterator[str]:
    if turn.users and turn.secret:
        raise ConfigError("coturn takes users or a shared secret, not both: leave one out")
    yield f"realm={_word('realm', turn.realm)}"
    if turn.secret:
        yield "use-auth-secret"
        yield f"static-auth-secret={_word('secret', turn.secret)}"
    else:
        yield "lt-cred-mech"
        for name, password in turn.users.items():
            yield f"user={_word('user name', name, ':')}:{_word('password', password)}"
    yield from (f"relay-ip={host}" for host in (turn.relay_ipv4, turn.relay_ipv6) if host is not None)
    if turn.external_ipv4 is not None:
        yield f"external-ip={turn.external_ipv4}/{turn.relay_ipv4}"
    yield f"min-port={turn.relay_ports[0]}"
    yield f"max-port={turn.relay_ports[1]}"
    yield f"stale-nonce={int(turn.nonce_lifetime)}"
    yield f"max-allocate-lifetime={turn.max_lifetime}"
    yield f"permission-lifetime={int(turn.permission_lifetime)}"
    yield f"channel-lifetime={int(turn.channel_lifetime)}"
    yield f"total-quota={turn.max_allocations}"
    yield f"user-quota={turn.max_allocations_per_user}"
    allowed = [ipaddress.ip_network(text, strict=False) for text in turn.allow_peers]
    if any(network.overlaps(loopback) for network in allowed for loopback in _LOOPBACK if _same(network, loopback)):
        yield "allow-loopback-peers"
    yield from (f"denied-peer-ip={_range(ipaddress.ip_network(text))}" for text in _DENIED)
    # In coturn what is allowed is an exception from what is denied.
    yield from (f"allowed-peer-ip={_range(network)}" for network in allowed)


_Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_LOOPBACK: tuple[_Network, ...] = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))


def _same(one: _Network, other: _Network) -> bool:
    return one.version == other.version


def _range(network: _Network) -> str:
    if network.num_addresses == 1:
        return str(network.network_address)
    return f"{network.network_address}-{network.broadcast_address}"


def _word(what: str, text: str, forbidden: str = "") -> str:
    """Text that stands in the file as it is: it has no way to quote."""
    bad = [character for character in text if character in '"#' + forbidden or not character.isprintable()]
    if not text or bad or " " in text:
        # The text may be a secret: the error does not repeat it.
        raise ConfigError(f"coturn's file cannot hold this {what}: no spaces, \", #{' or :' if forbidden else ''}")
    return text
