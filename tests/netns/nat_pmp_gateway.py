"""A gateway that speaks NAT-PMP and nothing else: ``nat_pmp_gateway.py LISTEN EXTERNAL``. It prints ``ready``."""

from __future__ import annotations

import socket
import sys


def main(listen: str, external: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((listen, 5351))
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        while True:
            data, source = server.recvfrom(2048)
            if data == bytes(2):
                answer = bytes((0, 128, 0, 0)) + bytes(4) + socket.inet_aton(external)
            else:
                # RFC 6886 §3.5: unsupported version; the opcode is that of the request plus 128.
                answer = bytes((0, 128 | data[1], 0, 1)) + bytes(4)
            server.sendto(answer, source)


if __name__ == "__main__":
    main(*sys.argv[1:])
