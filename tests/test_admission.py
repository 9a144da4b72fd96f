"""Credentials, nonces, rate limit, peers, and the size of answers."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icekit.admission import (
    Counters,
    Identity,
    Nonces,
    PeerPolicy,
    RateLimit,
    Request,
    answer_budget,
    encode_within,
    rest_password,
    source_network,
)
from icekit.attributes import (
    ERROR_CODE,
    NONCE,
    PASSWORD_ALGORITHM,
    PASSWORD_ALGORITHMS,
    REALM,
    REQUESTED_TRANSPORT,
    SOFTWARE,
    USERHASH,
    USERNAME,
    ErrorCode,
    Item,
    PasswordAlgorithm,
)
from icekit.errors import ConfigError
from icekit.net import Address, Transport
from icekit.servers import make_credentials
from icekit.stun import (
    Class,
    Integrity,
    Message,
    Method,
    SecurityFeatures,
    decode,
    failure,
    long_term_key,
    nonce_features,
    request,
    userhash,
)
from tests.turn_client import CLIENT, REALM_NAME, SERVER, Client, World, turn_server_config

UDP = REQUESTED_TRANSPORT(17)
NEXT = Address(CLIENT.host, CLIENT.port + 1)


def test_the_first_answer_is_a_challenge() -> None:
    answer = Client(World(turn_server_config())).challenge()
    assert answer.error() == ErrorCode(401, "Unauthenticated")
    assert answer.get(REALM) == REALM_NAME
    assert answer.get(NONCE)
    assert not answer.has_integrity()
    assert answer.get(PASSWORD_ALGORITHMS) is None


ALICE, REALM_ITEM = USERNAME("alice"), REALM(REALM_NAME)


@pytest.mark.parametrize(
    ("items", "password", "expected"),
    [
        ((ALICE, REALM_ITEM, "nonce"), "secret", 0),
        ((ALICE, REALM_ITEM, "nonce"), "Secret", 401),
        ((USERNAME("mallory"), REALM_ITEM, "nonce"), "secret", 401),
        ((USERNAME(""), REALM_ITEM, "nonce"), "secret", 401),
        # The key is made with the server's realm; one that the client invents changes nothing.
        ((ALICE, REALM("other"), "nonce"), "secret", 0),
        ((REALM_ITEM, "nonce"), "secret", 400),
        ((ALICE, "nonce"), "secret", 400),
        ((ALICE, REALM_ITEM), "secret", 400),
        (((USERNAME.type, b"\xff"), REALM_ITEM, "nonce"), "secret", 400),
        ((ALICE, REALM_ITEM, NONCE(b"made up")), "secret", 438),
        ((ALICE, REALM_ITEM, NONCE(b"")), "secret", 438),
        # A wrong password is told before a stale nonce (RFC 8489 §9.2.4).
        ((ALICE, REALM_ITEM, NONCE(b"made up")), "Secret", 401),
    ],
)
def test_authentication(items: tuple[Item | str, ...], password: str, expected: int) -> None:
    world = World(turn_server_config())
    client = Client(world)
    client.challenge()
    real = tuple(NONCE(client.nonce) if isinstance(item, str) else item for item in items)
    message = request(Method.ALLOCATE, client.transaction_id(), UDP, *real)
    (data,) = client.exchange(message.encode(long_term_key("alice", REALM_NAME, password)))
    answer = decode(data)
    assert (0 if answer.message_class is Class.SUCCESS else answer.error().code) == expected
    assert answer.has_integrity() == (expected == 0)
    assert bool(answer.get(NONCE)) == (expected in (401, 438))
    assert world.server.allocations == (expected == 0)


def test_a_nonce_grows_old() -> None:
    world = World(turn_server_config(nonce_lifetime=100.0))
    client = Client(world)
    client.challenge()
    world.run_until(1099.0)
    client.ask(Method.ALLOCATE, UDP)
    assert world.server.allocations == 1
    world.run_until(1100.0)
    old = client.nonce
    assert client.ask(Method.REFRESH).error().code == 438
    # The nonce of that answer is good again.
    assert client.nonce != old
    assert client.ask(Method.REFRESH).message_class is Class.SUCCESS


def test_a_nonce_is_of_no_use_to_another_client() -> None:
    world = World(turn_server_config())
    client, other = Client(world), Client(world, source=NEXT)
    client.challenge()
    other.nonce = client.nonce
    assert other.ask(Method.ALLOCATE, UDP).error().code == 438


@pytest.mark.parametrize(
    ("expires_at", "seconds", "expected"), [(1_700_001_010, 0, 0), (1_700_001_010, 11, 401), (1_700_001_000, 0, 401)]
)
def test_time_limited_credentials(expires_at: int, seconds: int, expected: int) -> None:
    world = World(turn_server_config(users={}, secret="top"), unix_offset=1_700_000_000.0)
    username, password = make_credentials("top", "carol", expires_at)
    world.run_until(1000.0 + seconds)
    client = Client(world, username=username, password=password)
    client.challenge()
    answer = client.ask(Method.ALLOCATE, UDP)
    assert (0 if answer.message_class is Class.SUCCESS else answer.error().code) == expected


@pytest.mark.parametrize(
    "username", ["carol", "carol:1700009999", "x:y", ":", "", "9" * 12 + ":carol", "١٢٣:carol", "1700009999:\u0378"]
)
def test_names_without_a_time_are_nobody(username: str) -> None:
    world = World(turn_server_config(users={}, secret="top"), unix_offset=1_700_000_000.0)
    client = Client(world, username="1:carol", password=rest_password("top", username))
    client.challenge()
    client.username = username
    assert client.ask(Method.ALLOCATE, UDP).error().code == 401


def test_rest_password_is_that_of_make_credentials() -> None:
    username, password = make_credentials("top", "carol", 1_700_000_000)
    assert rest_password("top", username) == password


# RFC 8489 §9.2: the newer mechanism, where it is switched on.
BOTH_ALGORITHMS = ((PasswordAlgorithm.SHA256, b""), (PasswordAlgorithm.MD5, b""))


@pytest.mark.parametrize("name", [USERNAME("alice"), USERHASH(userhash("alice", REALM_NAME))])
@pytest.mark.parametrize("algorithm", list(PasswordAlgorithm))
@pytest.mark.parametrize("integrity", list(Integrity))
def test_password_algorithms(name: Item, algorithm: PasswordAlgorithm, integrity: Integrity) -> None:
    world = World(turn_server_config(password_algorithms=True))
    client = Client(world)
    challenge = client.challenge()
    assert challenge.get(PASSWORD_ALGORITHMS) == BOTH_ALGORITHMS
    assert nonce_features(client.nonce) == SecurityFeatures.PASSWORD_ALGORITHMS | SecurityFeatures.USERNAME_ANONYMITY
    key = long_term_key("alice", REALM_NAME, "secret", algorithm, integrity)
    items = (
        name,
        REALM_ITEM,
        NONCE(client.nonce),
        PASSWORD_ALGORITHMS(BOTH_ALGORITHMS),
        PASSWORD_ALGORITHM((algorithm, b"")),
    )
    for _ in range(2):  # with and without an allocation
        message = request(Method.ALLOCATE, b"transaction1", UDP, *items)
        (data,) = client.exchange(message.encode(key))
        answer = decode(data)
        assert answer.message_class is Class.SUCCESS
        assert answer.verify(key)


@pytest.mark.parametrize(
    "items",
    [
        (PASSWORD_ALGORITHM((PasswordAlgorithm.MD5, b"")),),
        (PASSWORD_ALGORITHMS(BOTH_ALGORITHMS),),
        (PASSWORD_ALGORITHMS(((PasswordAlgorithm.MD5, b""),)), PASSWORD_ALGORITHM((PasswordAlgorithm.MD5, b""))),
        (PASSWORD_ALGORITHMS(BOTH_ALGORITHMS), PASSWORD_ALGORITHM((7, b""))),
    ],
)
def test_tampering_with_the_algorithms_is_400(items: tuple[Item, ...]) -> None:
    client = Client(World(turn_server_config(password_algorithms=True)))
    client.challenge()
    answer = client.ask(Method.ALLOCATE, UDP, *items)
    assert answer.error().code == 400


def test_an_unknown_hash_is_nobody_and_without_the_mechanism_unknown() -> None:
    for switched_on in (True, False):
        client = Client(World(turn_server_config(password_algorithms=switched_on)))
        client.challenge()
        message = request(Method.ALLOCATE, bytes(12), UDP, USERHASH(bytes(32)), REALM_ITEM, NONCE(client.nonce))
        (data,) = client.exchange(message.encode(client.key))
        assert decode(data).error().code == (401 if switched_on else 400)


@given(nonce=st.binary(max_size=100), now=st.floats(0, 2**33))
def test_no_bytes_are_a_nonce_by_chance(nonce: bytes, now: float) -> None:
    for features in (SecurityFeatures(0), SecurityFeatures.PASSWORD_ALGORITHMS):
        nonces = Nonces(b"key", 600, features)
        assert not nonces.valid(nonce, CLIENT, Transport.UDP, now)


@given(now=st.floats(0, 2**34), later=st.floats(0, 2000))
def test_the_time_of_a_nonce(now: float, later: float) -> None:
    nonces = Nonces(b"key", 600, SecurityFeatures(0))
    nonce = nonces.make(CLIENT, Transport.UDP, now)
    assert nonces.valid(nonce, CLIENT, Transport.UDP, now)
    assert not nonces.valid(nonce, CLIENT, Transport.TCP, now)
    assert not nonces.valid(nonce, NEXT, Transport.UDP, now)
    assert not Nonces(b"kez", 600, SecurityFeatures(0)).valid(nonce, CLIENT, Transport.UDP, now)
    if later <= 598:
        assert nonces.valid(nonce, CLIENT, Transport.UDP, now + later)
    if later >= 601:
        assert not nonces.valid(nonce, CLIENT, Transport.UDP, now + later)


def test_rate_limit() -> None:
    limit = RateLimit(rate=2.0, burst=3.0, table_size=10)
    assert [limit.take("192.0.2.1", 0.0) for _ in range(4)] == [True, True, True, False]
    # The whole /24 shares the bucket; the next one has its own.
    assert not limit.take("192.0.2.255", 0.0)
    assert limit.take("192.0.3.1", 0.0)
    assert [limit.take("192.0.2.1", 1.0) for _ in range(3)] == [True, True, False]
    assert [limit.take("192.0.2.1", 100.0) for _ in range(4)] == [True, True, True, False]


def test_source_networks() -> None:
    assert source_network("192.0.2.1") == source_network("192.0.2.99") != source_network("192.0.3.1")
    same = [source_network(host) for host in ("2001:db8:0:1::1", "2001:db8:0:ff::2", "2001:db8:0:7::1%eth0")]
    assert same == [same[0]] * 3
    assert source_network("2001:db8:0:100::1") != same[0]


def test_the_rate_table_forgets_who_was_silent_for_longest() -> None:
    limit = RateLimit(rate=0.001, burst=1.0, table_size=2)
    assert limit.take("192.0.2.1", 0.0)
    assert limit.take("192.0.3.1", 1.0)
    assert not limit.take("192.0.2.1", 2.0)
    assert limit.take("192.0.4.1", 3.0)  # 192.0.3 makes room
    assert not limit.take("192.0.2.1", 4.0)
    assert limit.take("192.0.3.1", 5.0)
    assert len(limit) == 2


def test_peer_policy_refuses_what_is_no_network() -> None:
    with pytest.raises(ConfigError, match="write a network such as"):
        PeerPolicy(("localhost",))


def test_what_gives_way_when_an_answer_is_too_large() -> None:
    asked = request(Method.BINDING, bytes(12))
    response = failure(asked, 401, REALM("r"), SOFTWARE("s" * 40))
    full = response.encode()
    assert encode_within(response, len(full), fingerprint=False) == full
    shorter = encode_within(response, len(full) - 1, fingerprint=False)
    assert shorter is not None
    assert decode(shorter).get(SOFTWARE) is None
    assert decode(shorter).get(ERROR_CODE) == ErrorCode(401, "Unauthenticated")
    shortest = encode_within(response, len(shorter) - 1, fingerprint=False)
    assert shortest is not None
    assert decode(shortest).get(ERROR_CODE) == ErrorCode(401, "")
    assert decode(shortest).get(REALM) == "r"
    assert encode_within(response, len(shortest) - 1, fingerprint=False) is None
    assert len(encode_within(response, len(shortest) + 8, fingerprint=True) or b"") == len(shortest) + 8


@pytest.mark.parametrize(("host", "budget"), [("192.0.2.1", 92), ("2001:db8::1", 122)])
def test_answer_budget(host: str, budget: int) -> None:
    message: Message = request(Method.BINDING, bytes(12))
    assert answer_budget(Request(message, Address(host, 1), SERVER, Transport.UDP, 20, False)) == budget


@settings(max_examples=200)
@given(realm=st.text("abcdef.", max_size=60), size=st.integers(0, 100), algorithms=st.booleans(), v6=st.booleans())
def test_a_challenge_is_at_most_two_and_a_half_times_the_request(
    realm: str, size: int, algorithms: bool, v6: bool
) -> None:
    world = World(turn_server_config(realm=realm, password_algorithms=algorithms))
    source = Address("2001:db8::5" if v6 else "203.0.113.5", 5)
    data = request(Method.ALLOCATE, bytes(12), SOFTWARE("s" * size)).encode()
    headers = 48 if v6 else 28
    sent = world.receive(data, source)
    for datagram in sent:
        assert len(datagram.data) + headers <= 2.5 * (len(data) + headers)
    assert len(sent) + world.server.counters.too_large == 1


def test_a_secret_is_in_no_text() -> None:
    config = turn_server_config(secret="top-secret")
    identity = Identity("alice", "alice", long_term_key("alice", "r", "secret"))
    assert "secret" not in repr(config).replace("secret=", "")
    assert "hunter2" not in repr(config)
    assert "key" not in repr(identity)


def test_counters_have_names() -> None:
    assert Counters(garbage=2).to_dict()["garbage"] == 2
