"""A server that tells every sender its address: plain sockets, so that a NAT is judged without our own STUN.

Arguments: the addresses to bind (``host:port``), all of them. A datagram ``here`` is answered from the socket that got
it, ``everywhere`` from all the others and then from that one. Prints ``ready``.
"""

from __future__ import annotations

import select
import socket
import sys


def main() -> None:
    sockets = []
    for text in sys.argv[1:]:
        host, port = text.rsplit(":", 1)
        bound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        bound.bind((host, int(port)))
        sockets.append(bound)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    while True:
        for receiver in select.select(sockets, [], [])[0]:
            data, sender = receiver.recvfrom(2048)
            senders = [other for other in sockets if other is not receiver] if data == b"everywhere" else []
            for answering in (*senders, receiver):
                answering.sendto("{}:{}".format(*sender).encode(), sender)


main()
