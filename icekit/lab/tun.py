"""TUN devices: what a program in a namespace sends to its interface is read here, and what is written here arrives."""

from __future__ import annotations

import fcntl
import os
import struct
from types import TracebackType

from icekit.errors import ConfigError
from icekit.lab.namespaces import Namespace, ip

_DEVICE = "/dev/net/tun"
# linux/if_tun.h: packets without a header of the device's own.
_TUNSETIFF = 0x400454CA
_IFF_TUN, _IFF_NO_PI = 0x0001, 0x1000
_QUEUE = 1000
_LONGEST = 65_535


class Tun:
    """An interface of a namespace whose other end is this process; a context manager. It is gone with the process."""

    def __init__(self, namespace: Namespace, interface: str) -> None:
        try:
            self._file = os.open(_DEVICE, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise ConfigError(f"{_DEVICE}: {error.strerror}; a TUN device is needed: modprobe tun") from None
        try:
            # The kernel chooses a free number.
            request = struct.pack("16sH22x", b"icekit%d", _IFF_TUN | _IFF_NO_PI)
            name = fcntl.ioctl(self._file, _TUNSETIFF, request)[:16].rstrip(b"\0").decode()
            ip(
                f"link set {name} netns {namespace.name} name {interface}",
                f"-n {namespace.name} link set {interface} txqueuelen {_QUEUE} up",
            )
        except OSError as error:
            self.close()
            raise ConfigError(
                f"{_DEVICE}: {error.strerror}; run it as root, in a container with --cap-add NET_ADMIN"
            ) from None
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Tun:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def fileno(self) -> int:
        """For ``select``."""
        return self._file

    def read(self) -> bytearray | None:
        """The next IP packet; ``None``: there is none now. ``OSError`` when the device is gone."""
        try:
            return bytearray(os.read(self._file, _LONGEST))
        except BlockingIOError:
            return None

    def write(self, data: bytearray) -> None:
        """Let a packet arrive; it is lost where the interface is down or what is given is no IP packet."""
        try:
            os.write(self._file, data)
        except OSError:
            return

    def close(self) -> None:
        """Remove the device."""
        os.close(self._file)
