"""libnice, ICE without a call on top: ``python -m icekit.bench.programs.libnice``.

Speaks with the programs that ``aioice.py`` tells of. The library is called by way of ctypes: its Python binding cannot
receive.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from icekit.bench.lines import PairEnd, Start, TrickledCandidate
from icekit.bench.programs.stdio import GREETING, Pair, Voice, run
from icekit.candidate import Candidate
from icekit.net import Transport
from icekit.sdp import read_sdp
from icekit.servers import IceServer

_HEAD = "v=0\r\no=- 0 0 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm=application 9 UDP ice\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\n"

# From agent.h: NiceCompatibility, NiceAgentOption, NiceComponentState, NiceRelayType.
_RFC5245 = 0
_REGULAR_NOMINATION, _TRICKLE, _CONSENT_FRESHNESS = 1, 8, 32
_STATES = ("new", "gathering", "checking", "connected", "completed", "failed")
_CONNECTED = 3
_RELAYS = {Transport.UDP: 0, Transport.TCP: 1, Transport.TLS: 2}
_COMPONENT: Final = 1

_pointer, _number, _text = ctypes.c_void_p, ctypes.c_uint, ctypes.c_char_p
_nice = ctypes.CDLL(ctypes.util.find_library("nice") or "libnice.so.10")
_gobject = ctypes.CDLL(ctypes.util.find_library("gobject-2.0") or "libgobject-2.0.so.0")
_glib = ctypes.CDLL(ctypes.util.find_library("glib-2.0") or "libglib-2.0.so.0")


def _declare(library: ctypes.CDLL, name: str, result: Any, *arguments: Any) -> Any:
    function = getattr(library, name)
    function.restype, function.argtypes = result, arguments
    return function


_new_context = _declare(_glib, "g_main_context_new", _pointer)
_new_loop = _declare(_glib, "g_main_loop_new", _pointer, _pointer, ctypes.c_int)
_run_loop = _declare(_glib, "g_main_loop_run", None, _pointer)
_append = _declare(_glib, "g_slist_append", _pointer, _pointer, _pointer)
_free_list = _declare(_glib, "g_slist_free", None, _pointer)
_free = _declare(_glib, "g_free", None, _pointer)
_unref = _declare(_gobject, "g_object_unref", None, _pointer)
_connect = _declare(
    _gobject, "g_signal_connect_data", ctypes.c_ulong, _pointer, _text, _pointer, _pointer, _pointer, ctypes.c_int
)
_new_agent = _declare(_nice, "nice_agent_new_full", _pointer, _pointer, ctypes.c_int, ctypes.c_int)
_add_stream = _declare(_nice, "nice_agent_add_stream", _number, _pointer, _number)
_remove_stream = _declare(_nice, "nice_agent_remove_stream", None, _pointer, _number)
_set_relay = _declare(
    _nice,
    "nice_agent_set_relay_info",
    *(ctypes.c_int, _pointer, _number, _number, _text, _number, _text, _text, ctypes.c_int),
)
_gather = _declare(_nice, "nice_agent_gather_candidates", ctypes.c_int, _pointer, _number)
_attach = _declare(_nice, "nice_agent_attach_recv", *(ctypes.c_int, _pointer, _number, _number, *[_pointer] * 3))
_send = _declare(_nice, "nice_agent_send", ctypes.c_int, _pointer, _number, _number, _number, _text)
_get_credentials = _declare(
    _nice, "nice_agent_get_local_credentials", ctypes.c_int, _pointer, _number, _pointer, _pointer
)
_set_credentials = _declare(_nice, "nice_agent_set_remote_credentials", ctypes.c_int, _pointer, _number, _text, _text)
_local_candidates = _declare(_nice, "nice_agent_get_local_candidates", _pointer, _pointer, _number, _number)
_format_candidate = _declare(_nice, "nice_agent_generate_local_candidate_sdp", _pointer, _pointer, _pointer)
_parse_candidate = _declare(_nice, "nice_agent_parse_remote_candidate_sdp", _pointer, _pointer, _number, _text)
_set_candidates = _declare(
    _nice, "nice_agent_set_remote_candidates", ctypes.c_int, _pointer, _number, _number, _pointer
)
_no_more = _declare(_nice, "nice_agent_peer_candidate_gathering_done", ctypes.c_int, _pointer, _number)
_selected = _declare(_nice, "nice_agent_get_selected_pair", ctypes.c_int, _pointer, _number, _number, *[_pointer] * 2)
_free_candidate = _declare(_nice, "nice_candidate_free", None, _pointer)

_Gathered = ctypes.CFUNCTYPE(None, _pointer, _number, _pointer)
_Found = ctypes.CFUNCTYPE(None, _pointer, _pointer, _pointer)
_Changed = ctypes.CFUNCTYPE(None, _pointer, _number, _number, _number, _pointer)
_Paired = ctypes.CFUNCTYPE(None, _pointer, _number, _number, _pointer, _pointer, _pointer)
_Received = ctypes.CFUNCTYPE(None, _pointer, _number, _number, _number, _pointer, _pointer)


class _List(ctypes.Structure):
    """GSList."""

    _fields_ = (("data", _pointer), ("next", _pointer))


def _items(head: int | None) -> Iterator[int]:
    while head:
        item = ctypes.cast(head, ctypes.POINTER(_List)).contents
        yield item.data
        head = item.next


class LibnicePeer:
    """An agent of libnice with one stream; its callbacks come from the thread of its main loop."""

    def __init__(self, voice: Voice, context: int) -> None:
        self.voice = voice
        self._context = context
        self._agent: Any = None
        self._stream = 0
        self._start = Start(role="offer")
        self._open = False
        # What C calls must stay.
        self._callbacks = (
            _Gathered(self._gathered),
            _Found(self._found),
            _Changed(self._changed),
            _Paired(self._paired),
            _Received(self._received),
        )

    async def start(self, start: Start) -> None:
        """Make it; if it offers, tell the offer."""
        self._start = start
        flags = _REGULAR_NOMINATION | _CONSENT_FRESHNESS | (_TRICKLE if start.trickle else 0)
        self._agent = _new_agent(self._context, _RFC5245, flags)
        servers = [
            (uri, server) for item in start.ice_servers for server in [IceServer.from_json(item)] for uri in server.urls
        ]
        self._set("upnp", False)
        self._set("controlling-mode", start.role == "offer")
        self._set("force-relay", start.relay_only)
        self._stream = _add_stream(self._agent, 1)
        for uri, server in servers:
            port = uri.port or uri.default_port
            if uri.is_turn:
                user, password = (str(item).encode() for item in (server.username, server.credential))
                kind = _RELAYS[uri.require_transport()]
                _set_relay(self._agent, self._stream, _COMPONENT, uri.host.encode(), port, user, password, kind)
            else:
                self._set("stun-server", uri.host.encode())
                self._set("stun-server-port", port)
        gathered, found, changed, paired, received = self._callbacks
        for name, callback in (
            ("candidate-gathering-done", gathered),
            ("new-candidate-full", found),
            ("component-state-changed", changed),
            ("new-selected-pair-full", paired),
        ):
            _connect(self._agent, name.encode(), callback, None, None, 0)
        _attach(self._agent, self._stream, _COMPONENT, self._context, received, None)
        if start.role == "offer":
            self._describe()

    async def describe(self, kind: str, sdp: str) -> None:
        """The other side's description; an offer is answered."""
        (section,) = read_sdp(sdp, strict=False).media
        _set_credentials(self._agent, self._stream, str(section.ufrag).encode(), str(section.pwd).encode())
        for candidate in section.candidates:
            self._add(str(candidate))
        if section.end_of_candidates:
            _no_more(self._agent, self._stream)
        if kind == "offer":
            self._describe()

    async def add_candidate(self, item: TrickledCandidate) -> None:
        """A candidate of the other side, or the end of them."""
        if item.candidate:
            self._add(item.candidate)
        else:
            _no_more(self._agent, self._stream)

    def send(self, text: str) -> None:
        """Send over the connection."""
        data = text.encode()
        _send(self._agent, self._stream, _COMPONENT, len(data), data)

    async def pair(self) -> Pair | None:
        """The pair in use."""
        local, remote = ctypes.c_void_p(), ctypes.c_void_p()
        if not _selected(self._agent, self._stream, _COMPONENT, ctypes.byref(local), ctypes.byref(remote)):
            return None
        return _end(self._text(local.value)), _end(self._text(remote.value))

    async def close(self) -> None:
        """End it."""
        _remove_stream(self._agent, self._stream)
        _unref(self._agent)

    def _set(self, name: str, value: bytes | int) -> None:
        _gobject.g_object_set(ctypes.c_void_p(self._agent), name.encode(), value, None)

    def _add(self, text: str) -> None:
        candidate = _parse_candidate(self._agent, self._stream, f"a={text}".encode())
        # It knows no host names and a few other things less.
        if candidate:
            one = _append(None, candidate)
            _set_candidates(self._agent, self._stream, _COMPONENT, one)
            _free_list(one)
            _free_candidate(candidate)

    def _text(self, candidate: int | None) -> str:
        made = _format_candidate(self._agent, candidate)
        text = ctypes.string_at(made).decode().removeprefix("a=")
        _free(made)
        return text

    def _describe(self) -> None:
        _gather(self._agent, self._stream)
        if self._start.trickle:
            self._tell(None)

    def _tell(self, candidates: list[str] | None) -> None:
        ufrag, password = ctypes.c_void_p(), ctypes.c_void_p()
        _get_credentials(self._agent, self._stream, ctypes.byref(ufrag), ctypes.byref(password))
        lines = []
        for name, value in (("ice-ufrag", ufrag), ("ice-pwd", password)):
            lines.append(f"a={name}:{ctypes.string_at(value.value or 0).decode()}")
            _free(value)
        if candidates is None:
            lines.append("a=ice-options:trickle")
        else:
            lines += [f"a={candidate}" for candidate in candidates]
            lines.append("a=end-of-candidates")
        self.voice.described(self._start.role, _HEAD + "".join(f"{line}\r\n" for line in lines))

    # From the main loop.

    def _gathered(self, agent: int, stream: int, _: int) -> None:
        if self._start.trickle:
            self.voice.candidate("", "0", 0)
            return
        found = _local_candidates(self._agent, self._stream, _COMPONENT)
        candidates = list(_items(found))
        self._tell([self._text(item) for item in candidates])
        for item in candidates:
            _free_candidate(item)
        _free_list(found)

    def _found(self, agent: int, candidate: int, _: int) -> None:
        if self._start.trickle:
            self.voice.candidate(self._text(candidate), "0", 0)

    def _changed(self, agent: int, stream: int, component: int, state: int, _: int) -> None:
        self.voice.state("ice", _STATES[state])
        if state == _CONNECTED and not self._open:
            self._open = True
            self.voice.opened()
            if self._start.role == "offer":
                self.send(GREETING)

    def _paired(self, agent: int, stream: int, component: int, local: int, remote: int, _: int) -> None:
        self.voice.selected()

    def _received(self, agent: int, stream: int, component: int, length: int, data: int, _: int) -> None:
        text = ctypes.string_at(data, length).decode()
        if self._start.role == "answer":
            self.send(text)
        self.voice.echoed(text)


def _end(text: str) -> PairEnd:
    candidate = Candidate.parse(text, strict=False)
    return PairEnd(kind=str(candidate.type), address=candidate.address, port=candidate.port)


def main() -> None:
    """Run its main loop beside ours."""
    context = _new_context()
    loop = _new_loop(context, 0)
    threading.Thread(target=_run_loop, args=(loop,), daemon=True).start()
    run("libnice", _version(), lambda voice: LibnicePeer(voice, context))


def _version() -> str:
    """Of the library that is loaded: it does not tell, but its file may."""
    lines = Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()
    names = {line.rpartition("/libnice.so.")[2] for line in lines if "/libnice.so." in line}
    return min(names, default="unknown")


if __name__ == "__main__":
    main()
