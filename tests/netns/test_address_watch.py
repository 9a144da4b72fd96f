from __future__ import annotations

import sys

import pytest

from icekit.lab.namespaces import Namespace

pytestmark = pytest.mark.netns

# Each step is a change that somebody makes while a process runs that has read the addresses already.
SCRIPT = """
import subprocess
from icekit.aio import interfaces

def names():
    return {(item.name, item.address, item.kind) for item in interfaces.interfaces()}

def ip(line):
    subprocess.run(["ip", *line.split()], check=True)

reads = []
real = interfaces._read_interfaces
interfaces._read_interfaces = lambda: reads.append(1) or real()
assert names() == {(i.name, i.address, i.kind) for i in real()}
once = len(reads)
for _ in range(5):
    names()
assert len(reads) == once == 1
for line in (
    "addr add 10.9.0.1/24 dev lo",
    "addr add 2001:db8::1/64 dev lo",
    "link add wire0 type veth peer name wire1",
    "addr add 10.9.1.1/24 dev wire0",
    "link set wire0 up",
    "addr del 10.9.0.1/24 dev lo",
    "link set wire0 down",
    "link set wire0 name wg7",
    "link set wg7 up",
    "link del wg7",
):
    ip(line)
    assert names() == {(i.name, i.address, i.kind) for i in real()}, line
assert len(reads) <= 2 * 10 + 1, reads
print("as the kernel has them")
"""


def test_what_is_remembered_is_what_there_is() -> None:
    with Namespace("watch") as namespace:
        done = namespace.run([sys.executable, "-c", SCRIPT])
    assert (done.returncode, done.stdout) == (0, "as the kernel has them\n"), done.stderr
