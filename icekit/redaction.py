"""What a report may show to strangers: addresses, names and secrets become tokens, and tokens can be read again.

A token keeps what the rules look at: the class and the family of an address, which addresses are equal, and which
share a network (``private4-A`` and ``private4-A2`` are two hosts of one /24; IPv6: of one /64). Loopback and
unspecified addresses, ports and the public servers of every tutorial stay: they say nothing about anybody.

``read_tokens`` puts addresses, names and words of the same class in the place of tokens, so that every reader and
rule works on a redacted report as on the original; the redactor that it returns puts the tokens back.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from typing import Any

from icekit.net import AddressClass, canonical_host, classify_host
from icekit.servers import is_literal

# The word of a token and where its stand-ins come from: the first address of runs of /24 (IPv4) or /64 (IPv6) networks,
# and how many. Nothing is ever sent there.
_WORDS = {
    AddressClass.GLOBAL: "public",
    AddressClass.PRIVATE: "private",
    AddressClass.CGNAT: "cgnat",
    AddressClass.LINK_LOCAL: "linklocal",
    AddressClass.ULA: "ula",
    AddressClass.MULTICAST: "multicast",
    AddressClass.RESERVED: "reserved",
    AddressClass.DOCUMENTATION: "documentation",
    AddressClass.BENCHMARK: "benchmark",
    AddressClass.NAT64: "nat64",
    AddressClass.TUNNEL: "tunnel",
}
_RUNS = {
    "public4": (("192.88.0.0", 2**8),),
    "public6": (("2a00::", 2**16),),
    "private4": (("10.0.0.0", 2**16),),
    "private6": (("fec0::", 2**16),),
    "cgnat4": (("100.64.0.0", 2**14),),
    "linklocal4": (("169.254.0.0", 2**8),),
    "linklocal6": (("fe80::", 2**16),),
    "ula6": (("fd00::", 2**16),),
    "multicast4": (("233.0.0.0", 2**16),),
    "multicast6": (("ff0e::", 2**16),),
    "reserved4": (("240.0.0.0", 2**16),),
    "reserved6": (("100::", 1),),
    "documentation4": (("192.0.2.0", 1), ("198.51.100.0", 1), ("203.0.113.0", 1)),
    "documentation6": (("2001:db8::", 2**16),),
    "benchmark4": (("198.18.0.0", 2**9),),
    "benchmark6": (("2001:2::", 2**16),),
    "nat646": (("64:ff9b::", 1), ("64:ff9b:1::", 2**16)),
    "tunnel6": (("2002::", 2**16),),
}

# Everybody knows them, and rules name them.
PUBLIC_SERVERS = (
    "stun.l.google.com", "stun1.l.google.com", "stun2.l.google.com", "stun3.l.google.com", "stun4.l.google.com",
    "stun.cloudflare.com", "turn.cloudflare.com", "stun.services.mozilla.com", "stun.nextcloud.com",
    "global.stun.twilio.com", "global.turn.twilio.com", "openrelay.metered.ca",
)  # fmt: skip

# Interface names that every machine has; a VPN's may be that of a company.
_USUAL_INTERFACE = re.compile(
    r"(?:lo|eth|en[ops]?|wlan|wl[ops]?|ww[anop]*|usb|rndis|docker|br|virbr|veth|lxc|lxd|vnet|vmnet|vboxnet|tun|tap|wg|"
    r"utun|ppp|bond|team|dummy|bridge|awdl|llw|anpi|ap|gif|stf|ipsec|sit|tailscale|zt|Ethernet|Wi-Fi|Loopback)"
    r"[ ]?[0-9]{0,4}(?:[spfdnu][0-9]{1,4}){0,4}",
    re.IGNORECASE,
)

_IPV4 = r"(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?!\d|\.\d)"
_IPV6 = (
    r"(?<![0-9A-Za-z:.])(?=[0-9A-Fa-f:]*:[0-9A-Fa-f]*:)(?:[0-9A-Fa-f:]*:\d{1,3}(?:\.\d{1,3}){3}(?!\d)|[0-9A-Fa-f:]+)"
)
_MAC = r"(?<![0-9A-Fa-f:])(?:[0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}(?![0-9A-Fa-f:])"
# A name with a dot, perhaps of a mailbox, that is neither a module of a program nor a file.
_NAME = (
    r"(?<![\w.-])(?!(?:asyncio|aioice|aiortc|icekit|pion|logging|concurrent|socket|ssl|pyee|websockets|self|window|navigator)\.)"
    r"(?:[\w.+-]{1,64}@)?(?:[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.)+"
    r"(?!(?:py|pyi|cc|cpp|hpp|go|rs|js|mjs|ts|tsx|jsonl?|toml|ya?ml|md|html|txt|log|conf|so|pem|pcap|pcapng)\b)"
    r"[A-Za-z][A-Za-z0-9-]{0,61}[A-Za-z0-9](?![\w(])"
)
_HOST_OF_URI = r"(?<![\w])(?:stuns?|turns?):(?://)?(?P<uri_host>[A-Za-z0-9_.-]+)"
# What stands before a value that is nobody's business, whatever it looks like.
_MARKS = {
    "ufrag": r"""a=ice-ufrag:|\bufrag |\b(?:ice[-_]ufrag|usernameFragment)["']?\s*[:=]\s*""",
    "pwd": r"""a=ice-pwd:|\b(?:ice[-_])?pwd["']?\s*[:=]\s*""",
    "secret": r"""(?<![\w])(?:credential|password|passwd|secret|static-auth-secret|token)["']?\s*[:=]\s*|\bBearer\s+""",
    "user": r"""(?<![\w])(?:username|user)["']?\s*[:=]\s*|\bUSERNAME["']?\s*[:=]\s*|\buser (?=<)""",
    "cname": r"""\bcname:""",
    "session": r"""(?m:^)o=""",
}
_VALUE = r"""(?P<{0}>"[^"\n]*"|'[^'\n]*'|<[^>\n]*>|[^\s"'<>,;&}}\])]+)"""
_TEXT = re.compile(
    "|".join(
        [
            *(f"(?P<{kind}_mark>{mark}){_VALUE.format(kind)}" for kind, mark in _MARKS.items()),
            f"(?P<mac>{_MAC})",
            f"(?P<v6>{_IPV6})",
            f"(?P<v4>{_IPV4})",
            f"(?P<name>{_NAME})",
        ]
    )
)
_URI_HOST = re.compile(_HOST_OF_URI, re.IGNORECASE)
_WORD_KINDS = ("name", "host", "mdns", "user", "secret", "ufrag", "pwd", "cname", "session", "interface", "mac")
_TOKEN = re.compile(
    rf"(?<![\w-])(?P<kind>{'|'.join([*_RUNS, *_WORD_KINDS])})-(?P<letters>[A-Z]{{1,4}})(?P<host>[0-9]{{0,5}})(?![\w-])"
)
# Fields of a report's JSON whose text is what it is.
_KEPT_KEYS = frozenset({"schema", "code", "severity", "class", "kind", "type", "transport", "peer", "path", "software"})
_KIND_OF_KEY = {
    "username": "user",
    "user": "user",
    "credential": "secret",
    "password": "secret",
    "secret": "secret",
    "token": "secret",
    "ufrag": "ufrag",
    "usernamefragment": "ufrag",
    "pwd": "pwd",
}


class Redactor:
    """Replaces what identifies people; equal things get equal tokens for as long as it lives.

    ``secrets`` and ``users`` are texts that no pattern finds, such as the credential that a command was given: they
    are replaced wherever they stand.
    """

    def __init__(self, *, secrets: Iterable[str] = (), users: Iterable[str] = ()) -> None:
        self._tokens: dict[tuple[str, str], str] = {}
        # Of each network: its letters, and how many of its hosts were seen.
        self._networks: dict[tuple[str, int], tuple[str, int]] = {}
        self._counts: dict[str, int] = {}
        self._known: dict[str, str] = {}
        self._known_pattern: re.Pattern[str] | None = None
        for text in secrets:
            self._learn(text, "secret")
        for text in users:
            self._learn(text, "user")

    def hide(self, text: str) -> str:
        """The text with tokens in the place of what identifies somebody."""
        for match in _URI_HOST.finditer(text):
            self._learn_host(match["uri_host"])
        if self._known and self._known_pattern is None:
            # The longest first: a name may be a part of another.
            words = "|".join(re.escape(word) for word in sorted(self._known, key=len, reverse=True))
            self._known_pattern = re.compile(rf"(?<!\w)(?:{words})(?!\w)", re.IGNORECASE)
        if self._known_pattern is None:
            return _TEXT.sub(self._token_of_match, text)
        pieces, end = [], 0
        for match in self._known_pattern.finditer(text):
            pieces.append(_TEXT.sub(self._token_of_match, text[end : match.start()]))
            pieces.append(self._word(match.group(), self._known[match.group().lower()]))
            end = match.end()
        return "".join([*pieces, _TEXT.sub(self._token_of_match, text[end:])])

    def document(self, value: Any) -> Any:
        """A JSON value with tokens: ``hide`` on every string, and fields with a known meaning as a whole."""
        self._learn_names(value, "")
        return self._document(value, "")

    def _document(self, value: Any, key: str) -> Any:
        if isinstance(value, dict):
            return {name: self._document(item, name) for name, item in value.items()}
        if isinstance(value, list):
            return [self._document(item, key) for item in value]
        if not isinstance(value, str) or key in _KEPT_KEYS:
            return value
        kind = _KIND_OF_KEY.get(key.lower())
        return self.hide(value) if kind is None else self._word(value, kind)

    def _learn_names(self, value: Any, parent: str) -> None:
        """Names that a later sentence may use without the URI or the record they come from."""
        if isinstance(value, dict):
            name = value.get("name")
            if isinstance(name, str) and parent == "dns":
                self._learn_host(name)
            elif isinstance(name, str) and parent == "interfaces" and not _USUAL_INTERFACE.fullmatch(name):
                self._learn(name, "interface")
            for key, item in value.items():
                self._learn_names(item, key)
        elif isinstance(value, list):
            for item in value:
                self._learn_names(item, parent)
        elif isinstance(value, str):
            for match in _URI_HOST.finditer(value):
                self._learn_host(match["uri_host"])

    def _learn_host(self, host: str) -> None:
        host = host.rstrip(".-")
        if classify_host(host) in (AddressClass.NAME, AddressClass.MDNS) and host.lower() != "localhost":
            self._learn(host, "name" if "." in host else "host")

    def _learn(self, text: str, kind: str) -> None:
        # Two letters are in every sentence.
        if len(text) > 2 and text.lower() not in PUBLIC_SERVERS and not _TOKEN.fullmatch(text):
            self._known.setdefault(text.lower(), kind)
            self._known_pattern = None

    def _token_of_match(self, match: re.Match[str]) -> str:
        for kind in _MARKS:
            if (value := match[kind]) is not None:
                quotes = value[0] + value[-1] if value[0] in "\"'<" and len(value) > 1 else ""
                inner = value[1:-1] if quotes else value
                return f"{match[f'{kind}_mark']}{quotes[:1]}{self._word(inner, kind)}{quotes[1:]}"
        text = match.group()
        if match["mac"]:
            return self._word(text.lower(), "mac")
        if match["name"]:
            return text if text.lower() in PUBLIC_SERVERS else self._word(text, "name")
        # A sentence may end behind an address.
        for end in range(len(text), max(len(text) - 3, 0), -1):
            if is_literal(text[:end]):
                return self._address(canonical_host(text[:end])) + text[end:]
        return text

    def _address(self, host: str) -> str:
        if (token := self._tokens.get(("address", host))) is not None:
            return token
        word = _WORDS.get(classify_host(host))
        if word is None:
            return host
        address = ipaddress.ip_address(host)
        kind = f"{word}{address.version}"
        network = int(address) >> _HOST_BITS[address.version]
        letters, hosts = self._networks.get((kind, network), ("", 0))
        letters = letters or self._letters(kind)
        self._networks[kind, network] = (letters, hosts + 1)
        token = self._tokens["address", host] = f"{kind}-{letters}{hosts + 1 if hosts else ''}"
        return token

    def _word(self, text: str, kind: str) -> str:
        if text in ("", "-") or _TOKEN.fullmatch(text):
            return text
        if kind == "user" and ":" in text:
            # The two ufrags of a check; or the time at which a TURN credential ends, which rules read, and a user.
            first, _, rest = text.partition(":")
            if first.isdigit():
                return f"{first}:{self._word(rest, 'user')}"
            return f"{self._word(first, 'ufrag')}:{self._word(rest, 'ufrag')}"
        if kind in ("name", "host"):
            text = text.lower()
            kind = "mdns" if text.endswith(".local") else kind
        if (token := self._tokens.get((kind, text))) is None:
            token = self._tokens[kind, text] = f"{kind}-{self._letters(kind)}"
        return token

    def _letters(self, kind: str) -> str:
        number = self._counts[kind] = self._counts.get(kind, 0) + 1
        letters = ""
        while number:
            number, digit = divmod(number - 1, 26)
            letters = chr(ord("A") + digit) + letters
        return letters

    def restore(self, match: re.Match[str]) -> str:
        """What stands for the token that was found, which ``hide`` will turn back into it; see ``read_tokens``."""
        kind, letters, host = match["kind"], match["letters"], match["host"]
        token = f"{kind}-{letters}{host}"
        number = 0
        for letter in letters:
            number = number * 26 + ord(letter) - ord("A") + 1
        if kind in _RUNS:
            address = _stand_in(kind, number - 1, int(host or 1))
            if address is None:
                return match.group()
            text = str(address)
            self._tokens["address", text] = token
            network = (kind, int(address) >> _HOST_BITS[address.version])
            self._networks[network] = (letters, max(self._networks.get(network, ("", 0))[1], int(host or 1)))
        elif kind in _STAND_IN_WORDS and not host:
            text = _STAND_IN_WORDS[kind].format(letters.lower())
            self._tokens[kind, text] = token
            self._learn(text, "name" if kind == "mdns" else kind)
        else:
            return match.group()
        self._counts[kind] = max(self._counts.get(kind, 0), number)
        return text


_HOST_BITS = {4: 8, 6: 64}
# A word of each sort that the readers accept in its place: RFC 8839 §5.4 wants 4 and 22 characters at least.
_STAND_IN_WORDS = {
    "name": "name-{}.example",
    "host": "host-{}",
    "mdns": "mdns-{}.local",
    "ufrag": "ufrag{}",
    "pwd": "password{}xxxxxxxxxxxxxxxx",
}


def _stand_in(kind: str, network: int, host: int) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address that a token stands for; ``None`` where that class has not so many."""
    for start, count in _RUNS[kind]:
        if network < count:
            first = ipaddress.ip_address(start)
            bits = _HOST_BITS[first.version]
            return first + (network << bits) + host if 0 < host < 1 << min(bits, 16) else None
        network -= count
    return None


def read_tokens(text: str) -> tuple[str, Redactor]:
    """A redacted text with stand-ins in the place of its tokens, and the redactor that turns them back.

    A text without tokens comes back as it is.
    """
    redactor = Redactor()
    return _TOKEN.sub(redactor.restore, text), redactor
