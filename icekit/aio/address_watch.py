"""Whether the interfaces and addresses of this host have changed since they were read. The kernel of Linux tells."""

from __future__ import annotations

import atexit
import os
import socket
import sys
import threading
from itertools import count

# linux/rtnetlink.h: RTMGRP_LINK, RTMGRP_IPV4_IFADDR and RTMGRP_IPV6_IFADDR.
_GROUPS = 0x1 | 0x10 | 0x100
# Bytes that may wait for us. That something found no room is told, too.
_ROOM = 4096
_MAX_MESSAGE = 65_536
_MAX_MESSAGES = 64


class AddressWatch:
    """What was read after one call of ``version`` holds as long as later calls give the same number.

    Works in all threads, after a fork and in another network namespace. Never waits: while another thread asks, the
    answer is ``None``.
    """

    def __init__(self) -> None:
        # Threads may be in different namespaces. A child that was forked while it was held reads each time anew.
        self._asking = threading.Lock()
        self._socket: socket.socket | None = None
        self._place: tuple[int, str] | None = None
        self._versions = count(1)
        self._version = 0

    def version(self) -> int | None:
        """Another number after every change; ``None`` where nobody tells of changes (only Linux does)."""
        if sys.platform != "linux" or not self._asking.acquire(blocking=False):
            return None
        try:
            return self._ask()
        except OSError:  # a sandbox without /proc or netlink
            self.close()
            return None
        finally:
            self._asking.release()

    def close(self) -> None:
        """Listen no longer; the next call begins anew."""
        listening, self._socket, self._place = self._socket, None, None
        if listening is not None:
            listening.close()
            atexit.unregister(self.close)

    def _ask(self) -> int:
        # Of the thread: any of them may have moved to another namespace.
        place = os.getpid(), os.readlink("/proc/thread-self/ns/net")  # noqa: PTH115 - a Path takes thrice as long
        if place != self._place or (listening := self._socket) is None:
            self._begin()
            self._place, self._version = place, next(self._versions)
        elif _has_heard(listening):
            self._version = next(self._versions)
        return self._version

    def _begin(self) -> None:
        assert sys.platform == "linux"
        self.close()
        self._socket = listening = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        atexit.register(self.close)
        listening.setblocking(False)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _ROOM)
        listening.bind((0, _GROUPS))


def _has_heard(listening: socket.socket) -> bool:
    for number in range(_MAX_MESSAGES):
        try:
            listening.recv(_MAX_MESSAGE)
        except BlockingIOError:
            return number > 0
        except OSError:
            return True  # ENOBUFS: there was no room for all of them
    return True
