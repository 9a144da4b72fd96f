from __future__ import annotations

import errno
import os
import socket
import sys
import threading
from typing import Any

import pytest

from icekit.aio.address_watch import AddressWatch

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the kernel of Linux tells")


class Kernel:
    """In the place of a netlink socket: ``says`` are messages, or errors, that wait."""

    made = 0
    says: list[bytes | OSError]

    def __init__(self, *_: Any) -> None:
        Kernel.made += 1
        self.closed = False

    def recv(self, size: int) -> bytes:
        if self.closed:
            raise OSError(errno.EBADF, "closed")
        if not Kernel.says:
            raise BlockingIOError
        item = Kernel.says.pop(0)
        if isinstance(item, OSError):
            raise item
        return item

    def close(self) -> None:
        self.closed = True

    def setblocking(self, _: bool) -> None: ...

    def setsockopt(self, *_: int) -> None: ...

    def bind(self, _: Any) -> None: ...


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> type[Kernel]:
    Kernel.made, Kernel.says = 0, []
    monkeypatch.setattr("icekit.aio.address_watch.socket.socket", Kernel)
    return Kernel


@pytest.fixture
def watch(kernel: type[Kernel]) -> Any:
    watch = AddressWatch()
    yield watch
    watch.close()


def test_a_message_makes_a_new_version(kernel: type[Kernel], watch: AddressWatch) -> None:
    first = watch.version()
    assert first is not None
    assert watch.version() == first
    kernel.says += [b"one", b"another"]
    second = watch.version()
    assert second not in (first, None)
    assert watch.version() == second
    assert kernel.made == 1


def test_what_found_no_room_has_happened(kernel: type[Kernel], watch: AddressWatch) -> None:
    first = watch.version()
    kernel.says += [OSError(errno.ENOBUFS, "no buffer space")]
    assert watch.version() not in (first, None)


def test_no_call_reads_for_ever(kernel: type[Kernel], watch: AddressWatch) -> None:
    first = watch.version()
    kernel.says += [b"again"] * 1000
    assert watch.version() not in (first, None)
    assert len(kernel.says) > 900


def test_another_namespace_is_another_host(
    kernel: type[Kernel], watch: AddressWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = {watch.version()}
    for number in (1, 1, 2):
        monkeypatch.setattr("icekit.aio.address_watch.os.readlink", lambda _, number=number: f"net:[{number}]")
        seen.add(watch.version())
    assert len(seen) == kernel.made == 3


def test_a_child_listens_for_itself(kernel: type[Kernel], watch: AddressWatch, monkeypatch: pytest.MonkeyPatch) -> None:
    first = watch.version()
    monkeypatch.setattr("icekit.aio.address_watch.os.getpid", lambda: -1)
    assert watch.version() not in (first, None)
    assert kernel.made == 2


@pytest.mark.parametrize("broken", ["socket", "bind", "readlink"])
def test_nobody_tells(broken: str, kernel: type[Kernel], watch: AddressWatch, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> Any:
        raise PermissionError(errno.EPERM, "a sandbox")

    owner: Any = {"socket": socket, "bind": kernel, "readlink": os}[broken]
    with monkeypatch.context() as patch:
        patch.setattr(owner, broken, refuse)
        assert watch.version() is None
        assert watch.version() is None
    assert watch.version() is not None


def test_on_a_system_that_tells_nothing(watch: AddressWatch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("icekit.aio.address_watch.sys.platform", "darwin")
    assert watch.version() is None


def test_while_another_thread_asks_there_is_no_answer(kernel: type[Kernel], watch: AddressWatch) -> None:
    first = watch.version()
    heard: list[int | None] = []

    def other() -> None:
        heard.append(watch.version())

    def recv(self: Kernel, size: int) -> bytes:
        if not heard:
            thread = threading.Thread(target=other)
            thread.start()
            thread.join()
        raise BlockingIOError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Kernel, "recv", recv)
        assert watch.version() == first
    assert heard == [None]
    assert watch.version() == first
