"""A user before and after the challenge of a server (RFC 8489 §9.2)."""

from __future__ import annotations

import pytest

from icekit import attributes as attr
from icekit.attributes import Item, PasswordAlgorithm
from icekit.errors import ConfigError
from icekit.long_term_credential import LongTermCredential, is_authentic
from icekit.stun import (
    Integrity,
    Message,
    Method,
    SecurityFeatures,
    decode,
    failure,
    long_term_key,
    make_nonce,
    request,
    success,
    userhash,
)

ASKED = request(Method.ALLOCATE, bytes(12))
SHA256_FIRST = ((2, b""), (1, b""))
OFFERS = make_nonce(SecurityFeatures.PASSWORD_ALGORITHMS, b"rest")
OFFERS_AND_HIDES = make_nonce(SecurityFeatures.PASSWORD_ALGORITHMS | SecurityFeatures.USERNAME_ANONYMITY, b"rest")


def challenge(*items: Item, realm: str = "r", nonce: bytes = b"n1") -> Message:
    return failure(ASKED, 401, attr.REALM(realm), attr.NONCE(nonce), *items)


def challenged(*items: Item, username: str = "alice", realm: str = "r", nonce: bytes = b"n1") -> LongTermCredential:
    credential = LongTermCredential(username, "secret")
    assert credential.take_challenge(challenge(*items, realm=realm, nonce=nonce))
    return credential


def sent(credential: LongTermCredential) -> Message:
    return decode(request(Method.ALLOCATE, bytes(12), *credential.items()).encode(credential.key))


def test_before_a_challenge_nothing_is_signed() -> None:
    credential = LongTermCredential("alice", "secret")
    assert (credential.key, credential.items()) == (None, ())


def test_a_challenge_gives_realm_nonce_and_key() -> None:
    signed = sent(challenged())
    assert (signed.get(attr.USERNAME), signed.get(attr.REALM), signed.get(attr.NONCE)) == ("alice", "r", b"n1")
    assert signed.verify(long_term_key("alice", "r", "secret"))


def test_the_offer_goes_back_unchanged_with_the_chosen_algorithm_beside_it() -> None:
    signed = sent(challenged(attr.PASSWORD_ALGORITHMS(SHA256_FIRST), nonce=OFFERS))
    assert signed.get(attr.PASSWORD_ALGORITHMS) == SHA256_FIRST
    assert signed.get(attr.PASSWORD_ALGORITHM) == (2, b"")
    assert signed.verify(long_term_key("alice", "r", "secret", PasswordAlgorithm.SHA256, Integrity.SHA256))


def test_a_removed_offer_is_not_answered_and_changes_nothing() -> None:
    credential = challenged()
    key = credential.key
    assert not credential.take_challenge(challenge(nonce=OFFERS))
    assert (credential.nonce, credential.key) == (b"n1", key)


def test_username_anonymity_sends_the_hash_instead_of_the_name() -> None:
    signed = sent(challenged(attr.PASSWORD_ALGORITHMS(SHA256_FIRST), nonce=OFFERS_AND_HIDES))
    assert signed.get(attr.USERHASH) == userhash("alice", "r")
    assert not signed.has(attr.USERNAME)


def test_a_name_goes_out_in_the_form_of_the_profile() -> None:
    # RFC 8265 §4.2.2: spaces outside ASCII become ASCII spaces, and the result is in form C.
    assert sent(challenged(username="e\u0301\u00a0x")).get(attr.USERNAME) == "\u00e9 x"


@pytest.mark.parametrize(("name", "password"), [("a\x00", "p"), ("a", "p\x07"), ("a" * 514, "p")])
def test_a_credential_that_cannot_be_sent_is_refused_at_once(name: str, password: str) -> None:
    with pytest.raises(ConfigError) as error:
        LongTermCredential(name, password)
    assert password not in str(error.value).split()


def test_renewed_knows_the_user_only() -> None:
    again = challenged().renewed()
    assert (again.realm, again.nonce, again.key, again.items()) == (None, b"", None, ())
    assert again.take_challenge(challenge(realm="other"))
    assert sent(again).verify(long_term_key("alice", "other", "secret"))


def test_the_password_is_in_no_text() -> None:
    credential = challenged()
    assert "secret" not in repr(credential) + repr(credential.key)


@pytest.mark.parametrize(
    ("items", "authentic"),
    [
        ((), True),
        ((attr.NONCE(OFFERS), attr.PASSWORD_ALGORITHMS(SHA256_FIRST)), True),
        ((attr.NONCE(OFFERS),), False),
        (((attr.NONCE.type, bytes(764)),), True),
    ],
    ids=["plain", "offer", "offer removed", "unreadable nonce"],
)
def test_a_response_with_right_integrity_is_authentic_unless_its_offer_was_removed(
    items: tuple[Item, ...], authentic: bool
) -> None:
    key = long_term_key("alice", "r", "secret")
    assert is_authentic(key, decode(success(ASKED, *items).encode(key))) is authentic
    assert not is_authentic(key, decode(success(ASKED, *items).encode(long_term_key("alice", "r", "wrong"))))
    assert not is_authentic(key, decode(success(ASKED, *items).encode()))
