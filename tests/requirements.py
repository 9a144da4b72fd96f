"""What a test needs of the machine, and the reason to skip it where the machine has not got it.

A test says what it needs with a marker or by calling one of the ``require_`` functions::

    @pytest.mark.interop("turnserver", "openssl")    # programs, found with PATH
    @pytest.mark.netns                               # Linux, root, ip, nft, and a kernel that makes namespaces
    @pytest.mark.browser                             # chromium, and playwright to drive it

With the environment variable ``ICEKIT_REQUIRE=all`` every skip is a failure (see ``tests/conftest.py``).
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

REQUIRE_VARIABLE = "ICEKIT_REQUIRE"

# The Debian package that has the program.
PACKAGES = {
    "turnserver": "coturn",
    "turnutils_uclient": "coturn",
    "turnutils_stunclient": "coturn",
    "turnutils_peer": "coturn",
    "stun": "stun-client",
    "openssl": "openssl",
    "ip": "iproute2",
    "nft": "nftables",
    "conntrack": "conntrack",
    "miniupnpd": "miniupnpd",
    "tshark": "tshark",
    "rabbitmq-server": "rabbitmq-server",
    "mosquitto": "mosquitto",
    "chromium": "chromium",
    "node": "nodejs",
    "Xvfb": "xvfb",
    "redis-server": "redis-server",
    "nats-server": "nats-server",
}

# Debian keeps these out of an ordinary user's PATH.
_SYSTEM_FOLDERS = ("/usr/sbin", "/sbin")


def skips_are_failures() -> bool:
    return os.environ.get(REQUIRE_VARIABLE) == "all"


def find_program(name: str) -> Path | None:
    found = shutil.which(name) or shutil.which(name, path=os.pathsep.join(_SYSTEM_FOLDERS))
    return None if found is None else Path(found)


def require_program(name: str) -> Path:
    """The path of a program; skips the test where it is not installed."""
    found = find_program(name)
    if found is None:
        package = PACKAGES.get(name)
        pytest.skip(f"needs the program {name}" + (f": apt-get install {package}" if package else ""))
    return found


def require_linux() -> None:
    if sys.platform != "linux":
        pytest.skip(f"needs Linux, this is {sys.platform}")


def require_root() -> None:
    require_linux()
    if os.geteuid() != 0:
        pytest.skip("needs root")


def require_netns() -> None:
    """Root, ``ip`` and ``nft``, and a kernel that really makes namespaces with NAT (a container often does not)."""
    require_root()
    require_program("ip")
    require_program("nft")
    reason = _namespace_failure()
    if reason is not None:
        pytest.skip(f"cannot make a network namespace with NAT here: {reason}")


@cache
def _namespace_failure() -> str | None:
    name = f"icekit-{os.getpid()}-try"
    ruleset = "table ip t { chain c { type nat hook postrouting priority 100; masquerade; }; }"
    steps = (["ip", "netns", "add", name], ["ip", "netns", "exec", name, "nft", ruleset])
    try:
        for step in steps:
            done = subprocess.run(step, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                return done.stderr.strip() or f"{step[0]} ended with {done.returncode}"
        return None
    finally:
        subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)


def require_two_loopback_addresses() -> None:
    """127.0.0.1 and 127.0.0.2 (RFC 5780 needs two addresses; only Linux has the second one by itself)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("127.0.0.2", 0))
        except OSError as error:
            pytest.skip(f"needs the address 127.0.0.2: {error}")


def require_ipv6_loopback() -> None:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind(("::1", 0))
    except OSError as error:
        pytest.skip(f"needs IPv6 on the loopback interface: {error}")


def require_module(name: str) -> None:
    """A Python package that is imported later (``playwright``)."""
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"needs the Python package {name}")


def require_libnice() -> Path:
    """libnice and its Python bindings, which are for the Python of the system; gives that Python."""
    python = Path("/usr/bin/python3")
    code = "import gi; gi.require_version('Nice', '0.1'); from gi.repository import Nice"
    try:
        found = subprocess.run([python, "-c", code], capture_output=True, check=False).returncode == 0
    except OSError:
        found = False
    if not found:
        pytest.skip("needs libnice with its Python bindings: apt-get install gir1.2-nice-0.1 python3-gi")
    return python


def check_markers(item: pytest.Item) -> None:
    """Skip the test if one of its requirement markers is not met."""
    for marker in item.iter_markers("interop"):
        for program in marker.args:
            require_program(program)
    if item.get_closest_marker("netns"):
        require_netns()
    if item.get_closest_marker("browser"):
        require_program("chromium")
        require_module("playwright")
