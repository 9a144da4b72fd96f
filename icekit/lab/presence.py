"""How a laboratory that stays up is found, and asked to end: a socket that only exists while its process lives.

There is no file that could be stale, and no process number that could be another's by now.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import socket
import struct
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

_NAME = "icekit-lab-"
# The list of the system's sockets of this kind; an @ stands for the zero byte of an abstract name (unix(7)).
_SOCKETS = Path("/proc/net/unix")
_PATTERN = re.compile(rf" @({_NAME}\d+)$", re.MULTILINE)
_END_PATIENCE = 30.0


@contextmanager
def present() -> Iterator[None]:
    """``stop_running`` of another process finds this one and sends it SIGTERM."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"\0{_NAME}{os.getpid()}")
        listener.listen()
        yield


def stop_running(only: Collection[int] = ()) -> list[int]:
    """Ask every laboratory that is present to end and wait until it is gone; their process numbers.

    ``only``: those of these processes. TimeoutError if one does not end.
    """
    stopped = []
    for name in sorted(set(_PATTERN.findall(_SOCKETS.read_text(encoding="utf-8", errors="replace")))):
        pid = _owner(name)
        if pid is not None and (not only or pid in only) and _end(pid):
            stopped.append(pid)
    return stopped


def _owner(name: str) -> int | None:
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(f"\0{name}")
        except OSError:
            return None
        # Who called listen(). Anybody can take such a name, but not for somebody else.
        pid, user, _ = struct.unpack("3i", client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        return int(pid) if user == os.geteuid() else None


def _end(pid: int) -> bool:
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(process, signal.SIGTERM)
        if not select.select([process], (), (), _END_PATIENCE)[0]:
            raise TimeoutError(f"the laboratory of process {pid} does not end")
    finally:
        os.close(process)
    return True
