"""The candidates of the peer that are used, of all that it tells in one generation."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from icekit.aio.aioice_candidates import from_aioice
from icekit.candidate import Candidate, CandidateType
from icekit.errors import CandidateError
from icekit.net import AddressClass, classify_host

if TYPE_CHECKING:
    import aioice

    from icekit.aio.remote_names import RemoteNames

log = logging.getLogger(__name__)

_MAX_CANDIDATES = 200
# A peer has a handful of interfaces; beyond this, its names are left out.
_MAX_NAMES = 16


class UsableCandidates:
    """Takes what the peer tells until the next restart; ``told`` is what is used of it.

    ``relay_only``: ours are all relayed. ``ended``: the peer has no more.
    """

    def __init__(self, names: RemoteNames, *, relay_only: bool) -> None:
        self._names = names
        self._relay_only = relay_only
        self._named = 0
        self._resolving = 0
        self.told: list[Candidate] = []
        self.ended = False

    @property
    def complete(self) -> bool:
        """Whether all are known by address."""
        return self.ended and not self._resolving

    def admit(self, remote: aioice.Candidate | Candidate) -> Candidate | None:
        """The candidate, if it can be used; it came from the peer, so what cannot is left out."""
        try:
            candidate = remote if isinstance(remote, Candidate) else from_aioice(remote)
        except CandidateError as error:
            log.info("remote candidate left out: %s", error)
            return None
        if (reason := self._refusal(candidate)) is not None:
            log.info("remote candidate left out: %s", reason)
            return None
        self.told.append(candidate)
        return candidate

    def _refusal(self, candidate: Candidate) -> str | None:
        kind = classify_host(candidate.address)
        if len(self.told) >= _MAX_CANDIDATES:
            return f"there are {_MAX_CANDIDATES} already"
        if not isinstance(candidate.type, CandidateType):
            return f"type {candidate.type} is not known"
        if kind is AddressClass.NAME:
            # RFC 8839 §5.1: a candidate with a domain name is ignored; mDNS is the one exception.
            return f"{candidate.address} is a name"
        if kind is AddressClass.MDNS:
            if self._relay_only:
                return "what is relayed cannot reach a private address, which is all that mDNS hides"
            if self._named >= _MAX_NAMES:
                return f"there are {_MAX_NAMES} names already"
            self._named += 1
            self._resolving += 1
        return None

    async def resolve(self, candidate: Candidate) -> Candidate | None:
        """A candidate with a name of mDNS as one with an address, or None."""
        host = await self._names.resolve(candidate.address)
        self._resolving -= 1
        return None if host is None else replace(candidate, address=host)
