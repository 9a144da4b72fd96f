"""libnice over ICE-TCP as a program, for the Python of the system: it echoes what it gets. Lines of JSON.

In: ``{"sdp": text}``. Out: ``{"sdp": text}`` once gathered, ``{"state": text}``, ``{"received": length}``.
"""

import ctypes
import json
import sys

import gi

gi.require_version("Nice", "0.1")
from gi.repository import GLib, Nice  # noqa: E402

# The two functions with plain buffers, which have no introspection. A GObject's hash is its address.
_LIBRARY = ctypes.CDLL("libnice.so.10")
_RECEIVE = ctypes.CFUNCTYPE(
    None, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint, ctypes.c_uint, ctypes.c_void_p, ctypes.c_void_p
)
_LIBRARY.nice_agent_attach_recv.argtypes = [
    ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint, ctypes.c_void_p, _RECEIVE, ctypes.c_void_p
]  # fmt: skip
_LIBRARY.nice_agent_send.argtypes = [ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint, ctypes.c_uint, ctypes.c_char_p]


def tell(**message):
    print(json.dumps(message), flush=True)  # noqa: T201


def main(controlling, host):
    context = GLib.MainContext.default()
    agent = Nice.Agent.new(context, Nice.Compatibility.RFC5245)
    for name, value in {
        "ice-udp": False,
        "ice-tcp": True,
        "upnp": False,
        "controlling-mode": controlling,
    }.items():
        agent.set_property(name, value)
    address = Nice.Address()
    address.set_from_string(host)
    agent.add_local_address(address)
    stream = agent.add_stream(1)
    agent.set_stream_name(stream, "application")

    def gathered(_agent, _stream):
        tell(sdp=agent.generate_local_sdp())

    def changed(_agent, _stream, _component, state):
        tell(state=Nice.component_state_to_string(state))

    @_RECEIVE
    def received(_agent, _stream, _component, length, data, _user):
        tell(received=length)
        _LIBRARY.nice_agent_send(hash(agent), stream, 1, length, ctypes.string_at(data, length))

    def line(_channel, _condition):
        text = sys.stdin.readline()
        if not text:
            loop.quit()
            return False
        agent.parse_remote_sdp(json.loads(text)["sdp"])
        return True

    agent.connect("candidate-gathering-done", gathered)
    agent.connect("component-state-changed", changed)
    _LIBRARY.nice_agent_attach_recv(hash(agent), stream, 1, hash(context), received, None)
    loop = GLib.MainLoop.new(context, False)
    GLib.io_add_watch(sys.stdin, GLib.PRIORITY_DEFAULT, GLib.IO_IN | GLib.IO_HUP, line)
    agent.gather_candidates(stream)
    loop.run()


main(sys.argv[1] == "controlling", sys.argv[2])
