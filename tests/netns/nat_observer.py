"""What a client sees of its NAT with plain sockets and ``udp_mirror.py``; prints one JSON object.

Arguments: the four addresses of the mirror (first host, both ports, then the second host), then a TCP address.

``local_port``; ``mapped``: the address that each mirror saw of one socket, in order; ``heard``: who could answer a
socket that had sent to the first mirror alone; ``hairpin``: the source that a socket saw of a datagram sent to its
mapped address by another socket inside, ``hairpin_self`` by itself, and ``hairpin_other`` the mapped address of the
other; ``tcp``: whether a STUN server answered there.
"""

from __future__ import annotations

import json
import socket
import sys
import time

PATIENCE = 1.0  # for what should come
SILENCE = 0.4  # after a control packet came: for what should not


def fresh() -> socket.socket:
    bound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    bound.bind(("", 0))
    return bound


def receive(client: socket.socket, seconds: float) -> tuple[str, str] | None:
    client.settimeout(seconds)
    try:
        data, sender = client.recvfrom(2048)
    except TimeoutError:
        return None
    return data.decode(), "{}:{}".format(*sender)


def address(text: str) -> tuple[str, int]:
    host, port = text.rsplit(":", 1)
    return host, int(port)


def mapped(client: socket.socket, mirror: str) -> str | None:
    client.sendto(b"here", address(mirror))
    answer = receive(client, PATIENCE)
    return None if answer is None else answer[0]


def heard(mirror: str) -> list[str]:
    client = fresh()
    client.sendto(b"everywhere", address(mirror))
    senders = []
    deadline = time.monotonic() + PATIENCE
    while (answer := receive(client, max(0.01, deadline - time.monotonic()))) is not None:
        senders.append(answer[1])
        if answer[1] == mirror:
            deadline = time.monotonic() + SILENCE
    return sorted(senders)


def hairpin(sender: socket.socket, receiver: socket.socket, target: str) -> str | None:
    sender.sendto(b"over the NAT", address(target))
    answer = receive(receiver, SILENCE)
    return None if answer is None else answer[1]


def answers_over_tcp(target: str) -> bool:
    try:
        with socket.create_connection(address(target), timeout=PATIENCE) as client:
            client.sendall(bytes.fromhex("000100002112a442") + b"twelve bytes")
            return client.recv(2048)[8:20] == b"twelve bytes"
    except OSError:
        return False


def main() -> None:
    *mirrors, tcp = sys.argv[1:]
    client, other = fresh(), fresh()
    result = {"local_port": client.getsockname()[1], "mapped": [mapped(client, mirror) for mirror in mirrors]}
    result["heard"] = heard(mirrors[0])
    own, others = result["mapped"][0], mapped(other, mirrors[0])
    if own is not None and others is not None:
        result["hairpin"] = hairpin(other, client, own)
        result["hairpin_other"] = others
        result["hairpin_self"] = hairpin(client, client, own)
    result["tcp"] = answers_over_tcp(tcp)
    sys.stdout.write(json.dumps(result))


main()
