"""The Internet of a TUN laboratory: one thread that carries packets between devices, through NATs and links."""

from __future__ import annotations

import heapq
import ipaddress
import itertools
import os
import select
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType

from icekit.lab.gateway import Gateway
from icekit.lab.tun import Tun
from icekit.sim.link import Channel, Link

# Packets of one device before the others have their turn.
_BATCH = 64
_DIRECT = Link()


@dataclass(frozen=True, slots=True)
class KernelRouter:
    """The two interfaces of a namespace in which the kernel is the NAT."""

    inside: Tun
    outside: Tun


class Site:
    """A client device behind ``stages``, from the inside out; ``up`` and ``down``: its link to the Internet.

    ``see`` gets every packet that the client sends, with its time; the wire takes those for which it is true.
    """

    def __init__(
        self,
        client: Tun,
        stages: Sequence[Gateway | KernelRouter],
        up: Channel,
        down: Channel,
        see: Callable[[bytearray, float], bool] | None = None,
    ) -> None:
        self.client = client
        self.stages = tuple(stages)
        self.up = up
        self.down = down
        self.see = see


class Wire:
    """Carries packets while it is entered. Add sites and servers before.

    A packet to an address that nobody has is lost, as on the Internet.
    """

    def __init__(self) -> None:
        self._readers: dict[Tun, Callable[[bytearray, float], None]] = {}
        self._owners: dict[bytes, Callable[[bytearray, float], None]] = {}
        self._underway: list[tuple[float, int, Callable[[bytearray, float], None], bytearray]] = []
        self._numbers = itertools.count()
        self._thread = threading.Thread(target=self._run, name="icekit-wire", daemon=True)

    def add_server(self, device: Tun, hosts: Sequence[str], up: Channel, down: Channel) -> None:
        """A device with public addresses; ``up`` and ``down``: its link to the Internet."""

        def arrived(data: bytearray, now: float) -> None:
            device.write(data)

        self._readers[device] = lambda data, now: self._send(up, data, now, self._route)
        for host in hosts:
            self._owners[_packed(host)] = lambda data, now: self._send(down, data, now, arrived)

    def add_site(self, site: Site, hosts: Sequence[str]) -> None:
        """``hosts``: the addresses by which the Internet reaches it."""

        def entered(data: bytearray, now: float) -> None:
            self._inward(site, len(site.stages) - 1, data, now)

        def left(data: bytearray, now: float) -> None:
            if site.see is None or site.see(data, now):
                self._outward(site, 0, data, now)

        self._readers[site.client] = left
        for level, stage in enumerate(site.stages):
            if isinstance(stage, KernelRouter):
                self._read_router(site, level, stage)
        for host in hosts:
            self._owners[_packed(host)] = lambda data, now: self._send(site.down, data, now, entered)

    def _read_router(self, site: Site, level: int, router: KernelRouter) -> None:
        self._readers[router.inside] = lambda data, now: self._inward(site, level - 1, data, now)
        self._readers[router.outside] = lambda data, now: self._outward(site, level + 1, data, now)

    def __enter__(self) -> Wire:
        self._stop_reader, self._stop_writer = os.pipe()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        os.close(self._stop_writer)
        self._thread.join()
        os.close(self._stop_reader)

    def _outward(self, site: Site, level: int, data: bytearray, now: float) -> None:
        while level < len(site.stages):
            stage = site.stages[level]
            if isinstance(stage, KernelRouter):
                stage.inside.write(data)
                return
            passed = stage.outbound(data, now)
            if passed is None:
                return
            data, to_inside = passed
            if to_inside:
                self._inward(site, level - 1, data, now)
                return
            level += 1
        self._send(site.up, data, now, self._route)

    def _inward(self, site: Site, level: int, data: bytearray, now: float) -> None:
        while level >= 0:
            stage = site.stages[level]
            if isinstance(stage, KernelRouter):
                stage.outside.write(data)
                return
            passed = stage.inbound(data, now)
            if passed is None:
                return
            data = passed
            level -= 1
        site.client.write(data)

    def _route(self, data: bytearray, now: float) -> None:
        if len(data) >= 20 and data[0] >> 4 == 4:
            owner = self._owners.get(bytes(data[16:20]))
        else:
            owner = self._owners.get(bytes(data[24:40]))
        if owner is not None:
            owner(data, now)

    def _send(self, channel: Channel, data: bytearray, now: float, then: Callable[[bytearray, float], None]) -> None:
        if channel.link == _DIRECT:
            then(data, now)
            return
        for arrival in channel.transit(b"", len(data), now):
            heapq.heappush(self._underway, (arrival, next(self._numbers), then, bytearray(data)))

    def _run(self) -> None:
        underway = self._underway
        devices: list[Tun | int] = [self._stop_reader, *self._readers]
        while True:
            # select and not epoll, whose timeout counts in whole milliseconds.
            patience = max(0.0, underway[0][0] - time.monotonic()) if underway else None
            ready = select.select(devices, (), (), patience)[0]
            now = time.monotonic()
            while underway and underway[0][0] <= now:
                _, _, then, data = heapq.heappop(underway)
                then(data, now)
            for device in ready:
                if isinstance(device, int):
                    return
                try:
                    self._drain(device)
                except OSError:
                    # Somebody deleted the interface.
                    devices.remove(device)

    def _drain(self, device: Tun) -> None:
        receive = self._readers[device]
        for _ in range(_BATCH):
            data = device.read()
            if data is None:
                return
            receive(data, time.monotonic())


def _packed(host: str) -> bytes:
    return ipaddress.ip_address(host).packed
