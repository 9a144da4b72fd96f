"""Asking name servers, by dnspython."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dns.asyncbackend
import dns.asyncresolver
import dns.exception
import dns.nameserver
import dns.resolver

from icekit.net import Address
from icekit.resolution import NaptrRecord, Query, QueryFailure, Record, RecordType, SrvRecord

# A lost query is sent again after this many seconds.
_TRY_SECONDS = 1.0


class NameServers:
    """The name servers of this host, or those that were given."""

    def __init__(self, resolver: dns.asyncresolver.Resolver) -> None:
        self._resolver = resolver

    @classmethod
    def configured(cls, nameservers: Sequence[Address]) -> NameServers | None:
        """``None`` when none is given and the host has none configured."""
        try:
            resolver = dns.asyncresolver.Resolver(configure=not nameservers)
        except (dns.resolver.NoResolverConfiguration, OSError):
            return None
        if nameservers:
            resolver.nameservers = [dns.nameserver.Do53Nameserver(host, port) for host, port in nameservers]
        resolver.timeout = _TRY_SECONDS
        return cls(resolver)

    async def ask(self, query: Query, lifetime: float) -> tuple[list[Record], QueryFailure | None, str]:
        """The records; or none, why, and what to write behind that. OSError when a socket fails."""
        try:
            answer = await self._resolver.resolve(
                query.name,
                query.type.value,
                lifetime=lifetime,
                raise_on_no_answer=False,
                search=False,
                backend=dns.asyncbackend.get_backend("asyncio"),
            )
        except dns.exception.Timeout:
            return [], QueryFailure.TIMED_OUT, ""
        except dns.resolver.NXDOMAIN:
            return [], QueryFailure.NO_SUCH_NAME, ""
        except dns.resolver.NoNameservers as error:
            return [], QueryFailure.SERVER_FAILURE, _last_complaint(error)
        except (dns.exception.SyntaxError, dns.exception.FormError):
            return [], QueryFailure.NO_SUCH_NAME, ": this cannot be a name"
        except dns.exception.DNSException as error:
            return [], QueryFailure.SERVER_FAILURE, f": {error}"[:200]
        return [_record_of(query.type, data) for data in answer.rrset or ()], None, ""


def _record_of(kind: RecordType, data: Any) -> Record:
    match kind:
        case RecordType.A | RecordType.AAAA:
            return str(data.address)
        case RecordType.SRV:
            return SrvRecord(data.priority, data.weight, data.port, data.target.to_text())
        case RecordType.NAPTR:
            flags, service = (field.decode("ascii", "replace") for field in (data.flags, data.service))
            return NaptrRecord(data.order, data.preference, flags, service, data.replacement.to_text())


def _last_complaint(error: dns.resolver.NoNameservers) -> str:
    errors = error.kwargs.get("errors") or []
    # Each is (name server, TCP?, port, exception or text, response).
    if not errors:
        return ""
    complaint = errors[-1][3]
    return f": {getattr(complaint, 'strerror', None) or complaint}"[:200]
