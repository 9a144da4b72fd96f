"""A user of a STUN or TURN server: name, password, what a challenge adds, what signs a request (RFC 8489 §9.2)."""

from __future__ import annotations

from contextlib import suppress
from typing import Final

from icekit import attributes as attr
from icekit.attributes import Item, PasswordAlgorithm
from icekit.errors import ConfigError, DecodeError
from icekit.stun import (
    Integrity,
    IntegrityKey,
    Message,
    SecurityFeatures,
    long_term_key,
    nonce_features,
    opaque_string,
    userhash,
)

# A server offers one or two algorithms without parameters; what it offers is sent back with every request.
_MAX_OFFER: Final = 256


class LongTermCredential:
    """A user name and password, and what one server told us about them (RFC 8489 §9.2). Shared by many requests.

    ConfigError if the OpaqueString profile forbids one of the two, or the name is longer than 513 bytes.
    """

    __slots__ = ("_algorithm", "_key", "_name", "_password", "algorithms", "nonce", "realm", "username")

    def __init__(self, username: str, password: str) -> None:
        self.username = username
        # Both are checked here: a name that cannot be sent must not surface when a challenge arrives.
        self._name = attr.USERNAME(opaque_string(username))
        self._password = opaque_string(password)
        self.realm: str | None = None
        self.nonce = b""
        # What the server offers: ``None`` means that it speaks RFC 5389 (MD5 and SHA-1 only).
        self.algorithms: tuple[tuple[int, bytes], ...] | None = None
        self._algorithm = PasswordAlgorithm.MD5
        self._key: IntegrityKey | None = None

    def __repr__(self) -> str:
        return f"LongTermCredential({self.username!r})"

    def renewed(self) -> LongTermCredential:
        """The same user for another server: realm and nonce belong to the server that gave them."""
        return LongTermCredential(self.username, self._password)

    @property
    def key(self) -> IntegrityKey | None:
        """The key, once the realm is known."""
        return self._key

    def take_challenge(self, response: Message) -> bool:
        """Learn realm and nonce from a 401 or 438; False when the challenge cannot be answered."""
        try:
            realm = response.get(attr.REALM)
            nonce = response.get(attr.NONCE)
            offered = response.get(attr.PASSWORD_ALGORITHMS)
        except DecodeError:
            return False
        realm = self.realm if realm is None else realm
        if realm is None or nonce is None:
            return False
        if _offer_removed(nonce, response):
            return False
        if offered is None:
            # RFC 8489 §9.2.5: after one response with PASSWORD-ALGORITHMS all requests must be signed with
            # MESSAGE-INTEGRITY-SHA256 only; an unsigned 438 without the list must not undo that.
            offered = self.algorithms
        algorithm, integrity = PasswordAlgorithm.MD5, Integrity.SHA1
        if offered is not None:
            # RFC 8489 §9.2.5: the first algorithm of the list that we know must be used, with MESSAGE-INTEGRITY-SHA256
            # only; without one there must be no second attempt.
            known = [number for number, parameters in offered if number in (1, 2) and not parameters]
            if not known or sum(4 + len(parameters) for _, parameters in offered) > _MAX_OFFER:
                return False
            algorithm, integrity = PasswordAlgorithm(known[0]), Integrity.SHA256
        try:
            self._key = long_term_key(self.username, realm, self._password, algorithm, integrity)
        except ConfigError:  # a realm that the OpaqueString profile forbids
            return False
        self.realm, self.nonce, self.algorithms = realm, nonce, offered
        self._algorithm = algorithm
        return True

    def items(self) -> tuple[Item, ...]:
        """The attributes that a signed request carries; none before the challenge."""
        if self.realm is None:
            return ()
        name = self._name
        # RFC 8489 §9.2.5: where the nonce announces username anonymity, the name must go as its hash.
        if SecurityFeatures.USERNAME_ANONYMITY in nonce_features(self.nonce):
            name = attr.USERHASH(userhash(self.username, self.realm))
        items = (name, attr.REALM(self.realm), attr.NONCE(self.nonce))
        if self.algorithms is None:
            return items
        # RFC 8489 §9.2.4: the list is sent back unchanged, with the chosen one beside it, so that a change of it shows.
        chosen = (int(self._algorithm), b"")
        return (*items, attr.PASSWORD_ALGORITHMS(self.algorithms), attr.PASSWORD_ALGORITHM(chosen))


def is_authentic(key: IntegrityKey, response: Message) -> bool:
    """Whether a response has the integrity that one to a request with ``key`` must have."""
    nonce = None
    with suppress(DecodeError):
        nonce = response.get(attr.NONCE)
    # RFC 8489 §9.2.5: a nonce that announces PASSWORD-ALGORITHMS in a response without them: it must be ignored.
    return response.verify(key) and (nonce is None or not _offer_removed(nonce, response))


def _offer_removed(nonce: bytes, response: Message) -> bool:
    """Whether the nonce announces PASSWORD-ALGORITHMS and somebody on the way took them out (RFC 8489 §9.2)."""
    announced = SecurityFeatures.PASSWORD_ALGORITHMS in nonce_features(nonce)
    return announced and not response.has(attr.PASSWORD_ALGORITHMS)
