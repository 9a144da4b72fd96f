from __future__ import annotations

from icekit.aio.state_readers import StateReaders
from icekit.ice_events import IceState


def test_each_reader_has_what_followed_its_beginning() -> None:
    readers = StateReaders()
    readers.tell(IceState.CHECKING)
    with readers.reader(IceState.NEW) as first:
        readers.tell(IceState.CHECKING)
        with readers.reader(IceState.CHECKING) as second:
            readers.tell(IceState.CONNECTED)
            assert first.popleft() is IceState.NEW
            assert list(first) == list(second) == [IceState.CHECKING, IceState.CONNECTED]
        readers.tell(IceState.COMPLETED)
        assert len(second) == 2
        assert first[-1] is IceState.COMPLETED
    readers.tell(IceState.CLOSED)
    assert IceState.CLOSED not in first


def test_a_reader_that_breaks_off_is_forgotten() -> None:
    readers = StateReaders()
    try:
        with readers.reader(IceState.NEW) as left:
            raise KeyError
    except KeyError:
        readers.tell(IceState.FAILED)
    assert list(left) == [IceState.NEW]
