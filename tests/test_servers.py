from __future__ import annotations

import base64
import hashlib
import hmac
import ipaddress
import json
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icekit.errors import ConfigError, UriError
from icekit.net import Transport
from icekit.servers import (
    DEFAULT_SERVERS,
    IceServer,
    Scheme,
    ServerUri,
    TimeLimitedUsername,
    decode_username,
    make_credentials,
    parse_servers,
)


@pytest.mark.parametrize(
    ("text", "scheme", "host", "port", "effective_port", "transport"),
    [
        # The examples of RFC 7064 appendix A and RFC 7065 appendix A.
        ("stun:example.org", Scheme.STUN, "example.org", None, 3478, Transport.UDP),
        ("stuns:example.org", Scheme.STUNS, "example.org", None, 5349, Transport.TLS),
        ("stun:example.org:8000", Scheme.STUN, "example.org", 8000, 8000, Transport.UDP),
        ("turn:example.org", Scheme.TURN, "example.org", None, 3478, Transport.UDP),
        ("turns:example.org", Scheme.TURNS, "example.org", None, 5349, Transport.TLS),
        ("turn:example.org:8000", Scheme.TURN, "example.org", 8000, 8000, Transport.UDP),
        ("turn:example.org?transport=udp", Scheme.TURN, "example.org", None, 3478, Transport.UDP),
        ("turn:example.org?transport=tcp", Scheme.TURN, "example.org", None, 3478, Transport.TCP),
        ("turns:example.org?transport=tcp", Scheme.TURNS, "example.org", None, 5349, Transport.TLS),
        ("turns:example.org?transport=udp", Scheme.TURNS, "example.org", None, 5349, Transport.DTLS),
        ("turn:192.0.2.7:80?transport=tcp", Scheme.TURN, "192.0.2.7", 80, 80, Transport.TCP),
        ("turn:[2001:db8::7]:80", Scheme.TURN, "2001:db8::7", 80, 80, Transport.UDP),
        ("stun:[2001:db8::7]", Scheme.STUN, "2001:db8::7", None, 3478, Transport.UDP),
        ("turn:example.org?transport=sctp", Scheme.TURN, "example.org", None, 3478, None),
        ("stun:my_host.example.", Scheme.STUN, "my_host.example.", None, 3478, Transport.UDP),
    ],
)
def test_parse(
    text: str, scheme: Scheme, host: str, port: int | None, effective_port: int, transport: Transport | None
) -> None:
    uri = ServerUri.parse(text)
    assert (uri.scheme, uri.host, uri.port, uri.transport) == (scheme, host, port, transport)
    assert (uri.port or uri.default_port) == effective_port
    assert uri.is_turn == text.startswith("turn")
    assert uri.secure == text.startswith(("stuns", "turns"))
    assert str(uri) == text


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        # RFC 5234 §2.3: literal text of a grammar is without case, so these are legal.
        ("TURN:Turn.Example.ORG?Transport=TCP", "turn:turn.example.org?transport=tcp"),
        ("stun:[2001:DB8:0:0::1]:03478", "stun:[2001:db8::1]:3478"),
        ("stun:[::ffff:192.0.2.1]", "stun:192.0.2.1"),
    ],
)
def test_parse_normalises(text: str, canonical: str) -> None:
    assert str(ServerUri.parse(text)) == canonical


# text, part, column, found, corrected
TYPOS = [
    ("", "scheme", 1, "", None),
    ("example.org", "scheme", 1, "example.org", None),
    ("localhost:3478", "scheme", 1, "localhost", None),
    ("turn.example.org:3478", "scheme", 1, "turn.example.org", "turn:turn.example.org:3478"),
    ("stun.example.org", "scheme", 1, "stun.example.org", "stun:stun.example.org"),
    ("example.org?transport=tcp", "scheme", 1, "example.org?transport=tcp", "turn:example.org?transport=tcp"),
    ("trun:a.example", "scheme", 1, "trun", "turn:a.example"),
    ("https://turn.example.org/", "scheme", 1, "https", "turn:turn.example.org"),
    ("ice:a.example", "scheme", 1, "ice", None),
    ("'turn:a.example',", "scheme", 1, "'turn", "turn:a.example"),
    ("turn:", "host", 6, "", None),
    ("turn::3478", "host", 6, "", None),
    ("turn://a.example:3478", "host", 6, "//", "turn:a.example:3478"),
    ("TURNS://a.example", "host", 7, "//", "turns:a.example"),
    (" turn:a.example", "blank", 1, " ", "turn:a.example"),
    ("turn: a.example:3478", "blank", 6, " ", "turn:a.example:3478"),
    ("turn:a.example:3478\n", "blank", 20, "\n", "turn:a.example:3478"),
    ("turn:a b.example", "blank", 7, " ", None),
    ("turn:a%20b.example", "host", 7, "%", None),
    ("turn:a.example%3A3478", "host", 15, "%", "turn:a.example:3478"),
    ("turn:a.example&transport=tcp", "host", 15, "&", "turn:a.example?transport=tcp"),
    ("stun:bücher.example", "host", 7, "ü", "stun:xn--bcher-kva.example"),
    ("turn:a..example", "host", 6, "a..example", None),
    ("turn:256.1.1.1", "host", 6, "256.1.1.1", None),
    ("turn:192.0.2:80", "host", 6, "192.0.2", None),
    ("turn:0x7f000001", "host", 6, "0x7f000001", None),
    ("turn:2001:db8::1", "host", 6, "2001:db8::1", "turn:[2001:db8::1]"),
    ("turn:2001:db8::1:3478", "host", 6, "2001:db8::1:3478", "turn:[2001:db8::1]:3478"),
    ("turn:[2001:db8::1:3478", "host", 6, "[2001:db8::1:3478", "turn:[2001:db8::1]:3478"),
    ("turn:[a.example]", "host", 7, "a.example", None),
    ("turn:[192.0.2.1]", "host", 7, "192.0.2.1", None),
    ("turn:[fe80::1%eth0]", "host", 7, "fe80::1%eth0", None),
    ("turn:[2001:db8::1]3478", "port", 19, "3478", "turn:[2001:db8::1]:3478"),
    ("turn:a.example:", "port", 16, "", "turn:a.example"),
    ("turn:[2001:db8::1]:", "port", 20, "", "turn:[2001:db8::1]"),
    ("turn:a.example:0", "port", 16, "0", None),
    ("turn:a.example:65536", "port", 16, "65536", None),
    ("turn:a.example:" + "9" * 5000, "port", 16, "9" * 5000, None),
    ("turn:a.example:-1", "port", 16, "-1", None),
    ("turn:a.example:３４７８", "port", 16, "３４７８", None),
    ("turn:a.example:tcp", "port", 16, "tcp", "turn:a.example?transport=tcp"),
    ("turn:a.example:3478:tcp", "port", 16, "3478:tcp", "turn:a.example:3478?transport=tcp"),
    ("turn:a.example:443-udp", "port", 16, "443-udp", "turn:a.example:443?transport=udp"),
    ("turn:a.example:443,tls", "port", 16, "443,tls", "turns:a.example:443"),
    ("turn:a.example:443/tcp", "path", 19, "/tcp", "turn:a.example:443?transport=tcp"),
    ("stun:a.example/", "path", 15, "/", "stun:a.example"),
    ("turn:a.example/?transport=tcp", "path", 15, "/?transport=tcp", "turn:a.example?transport=tcp"),
    ("turn:a.example#x", "fragment", 15, "#x", "turn:a.example"),
    ("stun:a.example?transport=udp", "query", 15, "?transport=udp", "stun:a.example"),
    ("turn:a.example?tcp", "query", 15, "?tcp", "turn:a.example?transport=tcp"),
    ("turn:a.example?transport:dtls", "query", 15, "?transport:dtls", "turns:a.example?transport=udp"),
    ("turn:a.example?transport=", "transport", 26, "", "turn:a.example"),
    ("turn:a.example?transport=tcp&x=1", "transport", 26, "tcp&x=***", "turn:a.example?transport=tcp"),
    ("turn:bob@a.example", "user information", 6, "***@", "turn:a.example"),
    ("turn://bob:hunter2@a.example", "user information", 6, "***@", "turn:a.example"),
]


@pytest.mark.parametrize(("text", "part", "column", "found", "corrected"), TYPOS)
def test_typo(text: str, part: str, column: int, found: str, corrected: str | None) -> None:
    with pytest.raises(UriError) as caught:
        ServerUri.parse(text)
    error = caught.value
    assert (error.field, error.column, error.found, error.corrected) == (part, column, found, corrected)
    assert f"column {column}, {part}: found" in str(error)
    if corrected is not None:
        assert str(error).endswith(f"; write {corrected}")
        assert str(ServerUri.parse(corrected)) == corrected


def test_sentence_of_a_typo() -> None:
    with pytest.raises(UriError) as caught:
        ServerUri.parse("turn://a.example")
    assert str(caught.value) == (
        "server URI, column 6, host: found '//', allowed: the host directly after turn:; write turn:a.example"
    )
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "turn:bob:hunter2@a.example",
        "turn://bob:hunter2@a.example:3478",
        "bob:hunter2@a.example",
        "hunter2@a.example",
        "turn:b@b:hunter2@a.example",
        "turn:bob%3Ahunter2%40a.example",
        "turn:a.example?credential=hunter2",
        "a.example?credential=hunter2",
        "turn:a.example/x?password=hunter2",
        "turn:a.example?transport=udp&password=hunter2",
    ],
)
def test_a_password_in_a_uri_is_not_repeated(text: str) -> None:
    with pytest.raises(UriError) as caught:
        ServerUri.parse(text)
    assert "hunter2" not in str(caught.value) + repr(caught.value) + str(vars(caught.value))


@pytest.mark.timeout(10)
@pytest.mark.parametrize("character", ["a", ":", "?", " ", "@", "%40", "[", "=", ".", "&"])
def test_a_long_text_costs_little(character: str) -> None:
    for head in ("", "turn:", "turn:a.example?"):
        with pytest.raises(UriError):
            ServerUri.parse(head + character * 200_000 + "!")


@pytest.mark.parametrize(
    ("text", "dotless"),
    [
        ("turn:turnserver", True),
        ("turn:turnserver.", True),
        ("turn:localhost", False),
        ("turn:a.example", False),
        ("turn:[::1]", False),
        ("turn:192.0.2.1", False),
    ],
)
def test_a_host_without_a_dot_is_an_observation(text: str, dotless: bool) -> None:
    assert ServerUri.parse(text).is_dotless is dotless


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "turn:a.example:443?transport=tls",
            (
                "'turn:a.example:443?transport=tls': server URI, column 30, transport: found 'tls', "
                "allowed: udp or tcp; write turns:a.example:443"
            ),
        ),
        (
            "turn:[2001:db8::1]?transport=dtls",
            (
                "'turn:[2001:db8::1]?transport=dtls': server URI, column 30, transport: found 'dtls', "
                "allowed: udp or tcp; write turns:[2001:db8::1]?transport=udp"
            ),
        ),
        (
            "turn:a.example?transport=sctp",
            ("'turn:a.example?transport=sctp': server URI, column 26, transport: found 'sctp', allowed: udp or tcp"),
        ),
    ],
)
def test_unknown_transport(text: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        ServerUri.parse(text).require_transport()
    assert str(caught.value) == sentence


label = st.from_regex(r"[a-z]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True)
hosts = st.one_of(
    st.lists(label, min_size=1, max_size=4).map(".".join),
    st.ip_addresses(v=4).map(str),
    # An IPv4-mapped address is written as IPv4.
    st.integers(2**96, 2**128 - 1).map(lambda number: str(ipaddress.IPv6Address(number))),
)


@given(st.sampled_from(Scheme), hosts, st.none() | st.integers(1, 65535), st.sampled_from([None, "udp", "tcp", "x-1"]))
def test_round_trip(scheme: Scheme, host: str, port: int | None, token: str | None) -> None:
    uri = ServerUri(scheme, host, port, token if scheme.startswith("turn") else None)
    assert ServerUri.parse(str(uri)) == uri


@given(
    st.one_of(
        st.text(max_size=60),
        st.builds(str.__add__, st.sampled_from(["stun:", "turn:", "turns:[", "turn://"]), st.text(max_size=40)),
        st.from_regex(r"turns?:[a-z0-9.:\[\]%@ ]{0,20}([?/:](transport=)?(tcp|udp|tls)?)?[&;x=]{0,3}", fullmatch=True),
    )
)
def test_any_text_parses_or_raises_uri_error(text: str) -> None:
    try:
        uri = ServerUri.parse(text)
    except UriError as error:
        failure = error
    else:
        assert ServerUri.parse(str(uri)) == uri
        return
    assert 1 <= failure.column <= len(text) + 1
    assert len(str(failure)) < 800
    if failure.corrected is not None:
        assert str(ServerUri.parse(failure.corrected)) == failure.corrected


def test_ice_server() -> None:
    server = IceServer(urls=["turn:a.example", ServerUri.parse("stun:a.example")], username="bob", credential="hunter2")
    assert server.urls == (ServerUri.parse("turn:a.example"), ServerUri.parse("stun:a.example"))
    assert server.require_credentials() == ("bob", "hunter2")
    assert "hunter2" not in repr(server) + str(server)
    assert IceServer(urls="stun:a.example").urls == (ServerUri.parse("stun:a.example"),)
    with pytest.raises(UriError):
        IceServer(urls="a.example")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"urls": ["stun:a.example", 5]}, "a URL is a text or a ServerUri, not int"),
        ({"urls": "turn:a.example", "username": 5}, "username is a text, not int"),
        ({"urls": "turn:a.example", "username": "bob", "credential": b"hunter2"}, "credential is a text, not bytes"),
    ],
)
def test_an_ice_server_of_other_types(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(TypeError) as caught:
        IceServer(**fields)
    assert str(caught.value) == said


@pytest.mark.parametrize(
    ("username", "credential", "sentence"),
    [
        (
            None,
            None,
            "turn:a.example needs a username and credential; give username and credential beside its URL",
        ),
        (
            "bob",
            None,
            "turn:a.example needs a credential; give credential beside its URL",
        ),
        (
            None,
            "hunter2",
            "turn:a.example needs a username; give username beside its URL",
        ),
    ],
)
def test_missing_credentials(username: str | None, credential: str | None, sentence: str) -> None:
    server = IceServer(urls=("stun:b.example", "turn:a.example"), username=username, credential=credential)
    with pytest.raises(ConfigError) as caught:
        server.require_credentials()
    assert str(caught.value) == sentence


def test_parse_servers() -> None:
    entries = [
        {"urls": "stun:stun.example.org"},
        # Twilio writes the old name beside the new one.
        {
            "url": "turn:old.example",
            "urls": ["turn:turn.example.org:80?transport=tcp", "turns:turn.example.org:443"],
            "username": "bob",
            "credential": "hunter2",
            "credentialType": "password",
        },
        {"urls": ["stun:[2001:db8::1]"], "username": None},
    ]
    expected = (
        IceServer(urls="stun:stun.example.org"),
        IceServer(
            urls=("turn:turn.example.org:80?transport=tcp", "turns:turn.example.org:443"),
            username="bob",
            credential="hunter2",
        ),
        IceServer(urls="stun:[2001:db8::1]"),
    )
    assert parse_servers(json.dumps(entries)) == expected
    assert parse_servers("\ufeff" + json.dumps({"iceServers": entries, "iceTransportPolicy": "all"})) == expected
    assert parse_servers("[]") == ()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "[{'urls': 'stun:a'}]",
            (
                "server list, line 1, column 3: Expecting property name enclosed in double quotes; "
                "names and texts stand in double quotes"
            ),
        ),
        ("[" * 100_000, "server list: this is no list of servers"),
        ("9" * 10_000, "server list: this is no list of servers"),
        ('"stun:a"', 'iceServers: found a text; write a list, [{"urls": "stun:host"}]'),
        (
            '{"urls": "stun:a"}',
            'server list: no "iceServers"; write {"iceServers": [{"urls": "stun:host"}]}',
        ),
        ('{"iceServers": null}', 'iceServers: found null; write a list, [{"urls": "stun:host"}]'),
        ('["stun:a"]', 'iceServers[0]: found a text; write an object, {"urls": "stun:host"}'),
        ('[{"url": "stun:a"}]', 'iceServers[0].url: no such member; rename it to "urls"'),
        (
            '[{"urls": "turn:a", "username": "b", "password": "hunter2"}]',
            'iceServers[0].password: no such member; rename it to "credential"',
        ),
        (
            '[{"urls": "turn:a", "credentialType": "oauth"}]',
            'iceServers[0].credentialType: only "password" is supported; leave it out',
        ),
        (
            '[{"urls": "turn:a", "credential": 31337}]',
            "iceServers[0].credential: found a number; write it as text in double quotes",
        ),
        (
            '[{"urls": "turn:a", "username": true}]',
            "iceServers[0].username: found true or false; write it as text in double quotes",
        ),
        ("[{}]", 'iceServers[0].urls: no URL; write "urls": "stun:host" or "urls": ["turn:host", …]'),
        (
            '[{"urls": []}]',
            'iceServers[0].urls: no URL; write "urls": "stun:host" or "urls": ["turn:host", …]',
        ),
        ('[{"urls": [7]}]', "iceServers[0].urls[0]: found a number; write a URL in double quotes"),
        (
            '[{"urls": "stun:a"}, {"urls": ["turn:a", "turn://b.example"]}]',
            (
                "iceServers[1].urls[1]: server URI, column 6, host: found '//', "
                "allowed: the host directly after turn:; write turn:b.example"
            ),
        ),
        (
            '[{"urls": "a.example"}]',
            (
                "iceServers[0].urls: server URI, column 1, scheme: found 'a.example', "
                "allowed: stun:, stuns:, turn: or turns: before the host"
            ),
        ),
    ],
)
def test_errors_in_a_server_list(text: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_servers(text)
    assert str(caught.value) == sentence


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["iceServers", "urls", "username", "credential", "url"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(json_values)
def test_any_json_is_a_server_list_or_raises_config_error(value: object) -> None:
    try:
        servers = parse_servers(json.dumps(value))
    except ConfigError:
        return
    assert all(server.urls for server in servers)


@given(st.text(max_size=40))
def test_any_text_is_a_server_list_or_raises_config_error(text: str) -> None:
    try:
        servers = parse_servers(text)
    except ConfigError:
        return
    assert servers == ()


def test_default_servers_have_distinct_operators() -> None:
    uris = [uri for server in DEFAULT_SERVERS for uri in server.urls]
    assert len({".".join(uri.host.split(".")[-2:]) for uri in uris}) == len(uris) >= 3
    assert all(uri.scheme is Scheme.STUN for uri in uris)


def test_make_credentials() -> None:
    # $ printf 1700000000:bob | openssl dgst -sha1 -hmac north -binary | base64
    assert make_credentials("north", "bob", 1_700_000_000) == ("1700000000:bob", "7tNSWpJ3gOxGfEgOjt+kaWhBC20=")
    digest = hmac.new(b"north", b"1700000000", hashlib.sha1).digest()
    assert make_credentials("north", "", 1_700_000_000) == ("1700000000", base64.b64encode(digest).decode())
    with pytest.raises(ConfigError, match="shared secret is empty"):
        make_credentials("", "bob", 1)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1700000000:bob", TimeLimitedUsername(1_700_000_000, "bob")),
        ("1700000000:bob:x", TimeLimitedUsername(1_700_000_000, "bob:x")),
        ("bob:1700000000", TimeLimitedUsername(1_700_000_000, "bob")),
        ("1700000000", TimeLimitedUsername(1_700_000_000, "")),
        ("1:bob", TimeLimitedUsername(1, "bob")),
        ("99999999999:bob", TimeLimitedUsername(99_999_999_999, "bob")),
        ("1700000000123:bob", TimeLimitedUsername(1_700_000_000, "bob", milliseconds=True)),
        ("170000000012345:bob", TimeLimitedUsername(None, "170000000012345:bob")),
        ("bob", TimeLimitedUsername(None, "bob")),
        ("1001", TimeLimitedUsername(None, "1001")),
        ("bob:1001", TimeLimitedUsername(None, "bob:1001")),
        ("١٧٠٠٠٠٠٠٠٠:bob", TimeLimitedUsername(None, "١٧٠٠٠٠٠٠٠٠:bob")),
        ("", TimeLimitedUsername(None, "")),
    ],
)
def test_decode_username(text: str, expected: TimeLimitedUsername) -> None:
    assert decode_username(text) == expected


@given(st.integers(1, 99_999_999_999), st.text(min_size=1, max_size=10))
def test_made_user_names_decode(expires_at: int, user: str) -> None:
    username, _ = make_credentials("north", user, expires_at)
    assert decode_username(username) == TimeLimitedUsername(expires_at, user)
