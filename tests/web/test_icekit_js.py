"""``icekit.js`` without a browser: its own tests in Node, and its delivery against Python's."""

from __future__ import annotations

import json
import random
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from icekit.call.side import SCHEMA, SideReport
from icekit.signaling.delivery import Delivery
from icekit.signaling.message import Bye, Message, Presence, decode, encode
from tests.requirements import require_program
from tests.web.node import STATIC, environment

HERE = Path(__file__).parent
ROOT = HERE.parent.parent


def test_its_own_tests(tmp_path: Path) -> None:
    node = require_program("node")
    files = sorted(str(path) for path in (HERE / "icekit_js").glob("*.test.mjs"))
    done = subprocess.run(
        [node, "--test", *files], env=environment(tmp_path), capture_output=True, text=True, check=False, timeout=50
    )
    assert done.returncode == 0, done.stdout + done.stderr
    passed = re.search(r"^(?:#|ℹ) pass (\d+)$", done.stdout, re.MULTILINE)
    assert passed is not None
    assert int(passed[1]) >= 60


def test_it_depends_on_nothing() -> None:
    source = (STATIC / "icekit.js").read_text(encoding="utf-8")
    code = re.sub(r"/\*.*?\*/|//[^\n]*", "", source, flags=re.DOTALL)
    assert re.findall(r"\bimport\b(?!\.meta)", code) == []
    assert "require(" not in code


class Browser:
    """The ``Delivery`` of ``icekit.js`` in a process of Node."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.timer: float | None = None
        self.outgoing: list[str] = []
        self.received: list[dict[str, Any]] = []

    def do(self, *calls: list[Any]) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(json.dumps(calls), file=self.process.stdin, flush=True)
        answer = json.loads(self.process.stdout.readline())
        self.timer = answer["timer"]
        self.outgoing += answer["send"]
        self.received += answer["received"]


@contextmanager
def started(tmp_path: Path) -> Iterator[Browser]:
    node = require_program("node")
    command = [node, str(HERE / "delivery_peer.mjs")]
    with subprocess.Popen(
        command, env=environment(tmp_path), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield Browser(process)
        assert process.stdin is not None
        process.stdin.close()


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    with started(tmp_path) as browser:
        yield browser


class Topic:
    """A topic between both, that loses, repeats, reorders and echoes as ``seed`` says, and is cut now and then."""

    def __init__(self, browser: Browser, seed: int) -> None:
        self.browser = browser
        self.python = Delivery("python", "p1")
        self.received: list[Message] = []
        self.random = random.Random(seed)
        self.copies = (0, 1, 1, 1, 2)
        self.now = 0.0
        self.up = False
        self.air: list[tuple[float, str]] = []
        self.said: list[dict[str, Any]] = []

    def connect(self) -> None:
        self.up = True
        self.python.connected(self.now)
        self.browser.do(["connected", self.now])

    def cut(self) -> None:
        self.up = False
        self.air.clear()
        self.python.disconnected()
        self.browser.do(["disconnected"])

    def carry(self, lossy: bool) -> None:
        self.said += map(json.loads, self.browser.outgoing)
        lines = [encode(message) for message in iter(self.python.next_to_send, None)] + self.browser.outgoing
        self.browser.outgoing = []
        for line in lines:
            for _ in range(1 if not lossy else self.random.choice(self.copies)):
                self.air.append((self.now + self.random.uniform(0.01, 0.3 if lossy else 0.02), line))
        self.received += iter(self.python.next_message, None)

    def run(self, seconds: float, *, lossy: bool) -> None:
        end = self.now + seconds
        while True:
            self.carry(lossy)
            times = [at for at, _ in self.air]
            if self.up:
                times += [time for time in (self.python.get_timer(), self.browser.timer) if time is not None]
            self.now = max(self.now, min([*times, end]))
            if self.now >= end:
                return
            arrived = sorted(item for item in self.air if item[0] <= self.now)
            self.air = [item for item in self.air if item[0] > self.now]
            calls: list[list[Any]] = [["receive", line, self.now] for _, line in arrived]
            for _, line in arrived:
                self.python.receive(decode(line), self.now)
            self.python.handle_timer(self.now)
            self.browser.do(*calls, ["handleTimer", self.now])

    @property
    def repeats(self) -> int:
        """How many messages the browser has sent again."""
        numbered = [(message["id"], message["seq"]) for message in self.said if message["type"] != "ack"]
        return len(numbered) - len(set(numbered))


@pytest.mark.parametrize("seed", range(6))
def test_nothing_is_lost_between_it_and_python(browser: Browser, seed: int) -> None:
    topic = Topic(browser, seed)
    sent = 0
    to_all = []
    topic.connect()
    for _ in range(4):
        for _ in range(topic.random.randrange(8)):
            sent += 1
            # Some to everybody, some to the other alone: two streams, each in its order.
            for_all = topic.random.random() < 0.5
            to_all += [str(sent)] if for_all else []
            topic.python.send(Bye(reason=str(sent), to=None if for_all else "browser"), topic.now)
            message = {"type": "bye", "reason": str(sent)} | ({} if for_all else {"to": "python"})
            browser.do(["send", message, topic.now])
            topic.run(topic.random.uniform(0, 0.5), lossy=True)
        topic.cut()
        topic.run(1, lossy=True)
        topic.connect()
        topic.run(3, lossy=True)
    topic.run(30, lossy=False)
    ours = [message.reason for message in topic.received if isinstance(message, Bye)]
    theirs = [message["reason"] for message in browser.received if message["type"] == "bye"]
    wanted = [str(number) for number in range(1, sent + 1)]
    for received in (ours, theirs):
        assert [reason for reason in received if reason in to_all] == to_all
        assert [reason for reason in received if reason not in to_all] == [
            item for item in wanted if item not in to_all
        ]
    assert topic.python.drained

    # The farewell is heard as one, in both directions.
    topic.python.farewell(topic.now)
    browser.do(["farewell", topic.now])
    topic.run(5, lossy=False)
    assert browser.received[-1]["left"] == ["python"]
    last = topic.received[-1]
    assert isinstance(last, Presence)
    assert last.left == ("browser",)


def test_much_loss_and_many_duplicates_make_no_storm_of_repeats(tmp_path: Path) -> None:
    wanted = [str(number) for number in range(40)]
    repeats = 0
    for seed in range(4):
        with started(tmp_path) as browser:
            topic = Topic(browser, seed)
            topic.connect()
            topic.run(1, lossy=False)
            # Of ten lines four are lost, and of those that arrive a half arrives twice.
            topic.copies = (0, 0, 0, 0, 1, 1, 1, 2, 2, 2)
            for text in wanted:
                browser.do(["send", {"type": "bye", "reason": text}, topic.now])
            topic.run(60, lossy=True)
        assert [message.reason for message in topic.received if isinstance(message, Bye)] == wanted
        repeats += topic.repeats
    # All is virtual time and seeded: 517, and 838 when each duplicate that is told of was taken for a question.
    assert repeats <= 4 * 4 * len(wanted)


def test_it_reads_the_report_that_python_writes() -> None:
    source = (STATIC / "icekit.js").read_text(encoding="utf-8")
    reader = re.search(r"^function readSideReport\(.*?^}$", source, re.DOTALL | re.MULTILINE)
    taken = re.search(r"const \{(.*)\} = report;", reader[0]) if reader else None
    assert reader is not None
    assert taken is not None
    fields = {name.partition(":")[0].strip() for name in taken[1].split(",")}
    fields |= set(re.findall(r"\breport\.(\w+)", reader[0]))
    assert fields <= SideReport().to_dict().keys()
    assert f'"{SCHEMA}"' in reader[0]


def test_the_hook_of_the_docs(tmp_path: Path) -> None:
    node = require_program("node")
    page = (ROOT / "docs" / "browser.md").read_text(encoding="utf-8")
    (hook,) = re.findall(r"^```js\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    body = hook[hook.index("{\n", hook.index("function")) :].strip().splitlines()
    assert len(body) - 2 <= 10
    (tmp_path / "hook.mjs").write_text(hook.replace("./icekit.js", "./icekit.mjs"), encoding="utf-8")
    react = tmp_path / "node_modules" / "react"
    react.mkdir(parents=True)
    shutil.copyfile(HERE / "react.mjs", react / "index.mjs")
    (react / "package.json").write_text('{"type": "module", "exports": "./index.mjs"}', encoding="utf-8")
    shutil.copytree(HERE / "icekit_js", tmp_path / "icekit_js")
    shutil.copyfile(HERE / "hook_check.mjs", tmp_path / "hook_check.mjs")
    done = subprocess.run(
        [node, "hook_check.mjs"],
        env=environment(tmp_path),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.returncode == 0, done.stderr


def test_the_docs_name_what_there_is() -> None:
    page = (ROOT / "docs" / "browser.md").read_text(encoding="utf-8")
    source = (STATIC / "icekit.js").read_text(encoding="utf-8")
    exported = set(re.findall(r"^export (?:async )?(?:function|class|const) (\w+)", source, re.MULTILINE))
    rows = re.findall(r"^\| (`.*?`) \|", page, re.MULTILINE)
    named = {re.match(r"\w+", name) for row in rows for name in re.findall(r"`([^`]+)`", row)}
    assert {match[0] for match in named if match and match[0] != "call"} <= exported
    for method in ("initiateCall", "hangUp", "restart", "replaceStream", "enable", "sendText", "close", "subscribe"):
        assert f"`{method}" in page or f".{method}`" in page
        assert re.search(rf"^  (?:async )?{method}(?:\(| = )", source, re.MULTILINE), method
