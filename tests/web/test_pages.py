from __future__ import annotations

import json
import re

import pytest

from icekit.errors import ConfigError
from icekit.report import NO_FIX
from icekit.servers import IceServer
from icekit.web.pages import pages
from tests.web.node import STATIC

SERVERS = [
    IceServer(urls="stun:192.0.2.1"),
    IceServer(urls=["turn:192.0.2.1?transport=udp", "turns:192.0.2.1"], username="u", credential="p"),
]


def directives(headers: dict[str, str]) -> dict[str, str]:
    policy = headers["Content-Security-Policy"]
    return {name: value for name, _, value in (item.strip().partition(" ") for item in policy.split(";"))}


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "text/html; charset=utf-8"),
        ("/local", "text/html; charset=utf-8"),
        ("/icekit.js", "text/javascript; charset=utf-8"),
        ("/style.css", "text/css; charset=utf-8"),
        ("/icon.svg", "image/svg+xml"),
        ("/catalogue.json", "application/json"),
        ("/config.json", "application/json"),
    ],
)
def test_what_there_is(path: str, kind: str) -> None:
    status, headers, body = pages()(path)
    assert (status, headers["Content-Type"]) == (200, kind)
    assert body
    assert directives(headers)["default-src"] == "'none'"


@pytest.mark.parametrize(
    "path", ["/index.html", "/../pages.py", "/style.css/", "", "/icekit.js\0", "/static/icekit.js"]
)
def test_what_there_is_not(path: str) -> None:
    status, headers, _ = pages()(path)
    assert status == 404
    assert "Content-Security-Policy" in headers


def test_every_file_is_served_and_names_only_what_is_served() -> None:
    hook = pages()
    served = [
        hook(path)[2]
        for path in ("/", "/local", "/icekit.js", "/page.js", "/local.js", "/view.js", "/style.css", "/icon.svg")
    ]
    assert sorted(served) == sorted(path.read_bytes() for path in STATIC.iterdir())
    for body in served:
        text = body.decode()
        for path in re.findall(r'(?:src|href|from|import) ?=? ?\(?"\.?(/[^"#]*)"', text):
            assert hook(path)[0] == 200, path


def test_nothing_is_inline_and_nothing_comes_from_elsewhere() -> None:
    for name in ("index.html", "local.html"):
        text = (STATIC / name).read_text(encoding="utf-8")
        assert "<style" not in text
        assert not re.search(r"\son\w+=|\sstyle=|javascript:", text)
        assert not re.search(r"<script(?![^>]*\ssrc=)", text)
        assert not re.search(r"https?://", text)
    for path in STATIC.glob("*.css"):
        assert not re.search(r"url\(|@import", path.read_text(encoding="utf-8"))


def test_scripts_and_styles_only_from_here() -> None:
    _, headers, _ = pages()("/")
    found = directives(headers)
    assert found["script-src"] == found["style-src"] == found["connect-src"] == "'self'"
    assert found["frame-ancestors"] == found["base-uri"] == found["form-action"] == "'none'"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Permissions-Policy"] == "camera=(self), microphone=(self), display-capture=(self)"


def test_the_servers_are_asked_for_each_time() -> None:
    asked = 0

    def servers(admitted: bool) -> list[IceServer]:
        nonlocal asked
        asked += 1
        return SERVERS if admitted else SERVERS[:1]

    hook = pages(servers)
    assert asked == 0
    for number in (1, 2):
        status, headers, body = hook("/config.json")
        assert (status, headers["Cache-Control"], asked) == (200, "no-store", number)
    assert json.loads(body) == {
        "schema": "icekit/page/1",
        "admitted": True,
        "iceServers": [
            {"urls": ["stun:192.0.2.1"]},
            {"urls": ["turn:192.0.2.1?transport=udp", "turns:192.0.2.1"], "username": "u", "credential": "p"},
        ],
        "signaling": [],
    }


def test_who_has_no_token_gets_no_credentials() -> None:
    hook = pages(
        lambda admitted: SERVERS if admitted else SERVERS[:1], admitted=lambda *both: both == ("room", "a.b-c_d")
    )
    for path, admitted in (
        ("/config.json", False),
        ("/config/room/a.b-c_d", True),
        ("/config/other/a.b-c_d", False),
        ("/config/room/", False),
        ("/config/", False),
    ):
        status, _, body = hook(path)
        found = json.loads(body)
        assert (status, found["admitted"], len(found["iceServers"])) == (200, admitted, 2 if admitted else 1)
        assert (b'"credential": "p"' in body) == admitted


def test_signaling_elsewhere_is_let_through_and_nothing_more() -> None:
    urls = ["stomp+wss://user:pass@broker.example:15674/ws?topic={room}", "ws://[2001:db8::1]/{room}"]
    _, headers, body = pages(signaling=urls)("/config.json")
    assert json.loads(body)["signaling"] == urls
    assert directives(headers)["connect-src"] == "'self' ws://[2001:db8::1] wss://broker.example:15674"
    assert "pass" not in headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("mqtt://user:secret@host/{room}", "'mqtt'"),
        ("wss:///{room}", "host"),
        ("wss://host;script-src */{room}", "host"),
        ("wss://host:port/{room}", "port"),
        ("wss://host/room", "{room}"),
    ],
)
def test_signaling_that_no_browser_can_open(url: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        pages(signaling=[url])
    assert words in str(caught.value)
    assert "secret" not in str(caught.value)


def test_the_script_knows_the_words_for_nothing_to_do() -> None:
    assert f'"{NO_FIX}"' in (STATIC / "view.js").read_text(encoding="utf-8")
