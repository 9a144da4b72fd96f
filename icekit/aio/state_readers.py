"""Those who follow the states of one connection, each at its own pace."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from icekit.ice_events import IceState


class StateReaders:
    """``tell`` them a state; each has all that followed its beginning, in order."""

    def __init__(self) -> None:
        self._readers: list[deque[IceState]] = []

    def tell(self, state: IceState) -> None:
        """For all of them."""
        for reader in self._readers:
            reader.append(state)

    @contextmanager
    def reader(self, state: IceState) -> Iterator[deque[IceState]]:
        """What one has still to read: the ``state`` now, and each that is told inside."""
        reader = deque([state])
        self._readers.append(reader)
        try:
            yield reader
        finally:
            self._readers = [item for item in self._readers if item is not reader]
