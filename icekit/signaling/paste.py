"""Messages as people copy and paste them; no input or output.

``pack`` makes one line of letters, digits, ``-`` and ``_`` out of some messages: it survives chats and mail, and is
shorter than the SDP in it. ``Pasted`` takes the lines that somebody pastes: such a line, also when it was broken in
pieces; JSON in any shape, also printed prettily; a raw SDP; candidate lines.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import zlib
from collections.abc import Sequence

from icekit.errors import DecodeError
from icekit.signaling.message import MAX_MESSAGE, Answer, Message, Offer, TrickledCandidate, decode, encode

MARK = "icekit1:"
"""What a packed line begins with."""

MAX_PACKED = 64
"""Most messages in one packed line."""

# What almost every SDP and message has; the decompressor needs the same text, so it never changes under this mark.
_DICTIONARY = (
    b"a=rtcp-fb: transport-cc\r\na=rtcp-fb: ccm fir\r\na=rtcp-fb: nack pli\r\na=fmtp: apt=\r\na=rtpmap: rtx/90000\r\n"
    b"a=rtpmap: VP8/90000\r\na=rtpmap: VP9/90000\r\na=rtpmap: H264/90000\r\na=fmtp: level-asymmetry-allowed=1;"
    b"packetization-mode=1;profile-level-id=42e01f\r\n"
    b"a=rtpmap:111 opus/48000/2\r\na=fmtp:111 minptime=10;useinbandfec=1\r\n"
    b"a=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\na=extmap: urn:ietf:params:rtp-hdrext:sdes:mid\r\n"
    b"a=extmap: http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time\r\na=msid: \r\na=ssrc: cname:\r\n"
    b"m=audio 9 UDP/TLS/RTP/SAVPF 111 \r\nm=video 9 UDP/TLS/RTP/SAVPF 96 97 \r\nc=IN IP4 0.0.0.0\r\n"
    b"m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=sctp-port:5000\r\na=max-message-size:262144\r\n"
    b"a=rtcp:9 IN IP4 0.0.0.0\r\na=rtcp-mux\r\na=rtcp-rsize\r\na=sendrecv\r\na=recvonly\r\na=setup:actpass\r\n"
    b"a=setup:active\r\na=mid:0\r\na=ice-ufrag:\r\na=ice-pwd:\r\na=ice-options:trickle\r\na=end-of-candidates\r\n"
    b"a=fingerprint:sha-256 \r\na=group:BUNDLE 0 1 2\r\na=msid-semantic: WMS\r\na=extmap-allow-mixed\r\n"
    b"v=0\r\no=- 0 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n"
    b'["{\\"type\\":\\"candidate\\",\\"candidate\\":{\\"candidate\\":\\"candidate: 1 udp 2130706431 192.168. typ host '
    b"generation 0 typ srflx raddr 0.0.0.0 rport 0 typ relay network-id network-cost ufrag "
    b'\\",\\"sdpMid\\":\\"0\\",\\"sdpMLineIndex\\":0,\\"usernameFragment\\":\\"\\"},\\"from\\":\\"\\"}",'
    b'"{\\"type\\":\\"offer\\",\\"offer\\":{\\"type\\":\\"offer\\",\\"sdp\\":\\"'
    b'{\\"type\\":\\"answer\\",\\"answer\\":{\\"type\\":\\"answer\\",\\"sdp\\":\\"'
)

_packed = re.compile(re.escape(MARK) + "([A-Za-z0-9_-]*)")
_is_piece = re.compile("[A-Za-z0-9_-]+").fullmatch
# What mail and chats put before and around a quoted line.
_QUOTES = " \t>`'\"“”\ufeff"


def pack(lines: Sequence[str]) -> str:
    """Some encoded messages as one line."""
    compressor = zlib.compressobj(9, wbits=-15, zdict=_DICTIONARY)
    data = compressor.compress(json.dumps(list(lines), separators=(",", ":")).encode()) + compressor.flush()
    return MARK + base64.urlsafe_b64encode(data).decode().rstrip("=")


def unpack(text: str) -> list[str] | None:
    """The lines of a packed line after its mark; None if it is cut off. DecodeError if it is no packed line."""
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except binascii.Error:
        # One letter in the last group of four cannot be: the rest is missing.
        return None
    decompressor = zlib.decompressobj(wbits=-15, zdict=_DICTIONARY)
    try:
        plain = decompressor.decompress(data, 2 * MAX_MESSAGE)
    except zlib.error:
        raise DecodeError("the pasted line is damaged: copy it again, from icekit1: to its end") from None
    if not decompressor.eof:
        if decompressor.unconsumed_tail:
            raise DecodeError(f"the pasted line holds more than {2 * MAX_MESSAGE} bytes")
        return None
    try:
        lines = json.loads(plain)
    except (ValueError, RecursionError):
        lines = None
    if not isinstance(lines, list) or len(lines) > MAX_PACKED or not all(isinstance(line, str) for line in lines):
        raise DecodeError("the pasted line is damaged: copy it again, from icekit1: to its end")
    return lines


class Pasted:
    """Collects pasted lines until they are messages."""

    def __init__(self) -> None:
        self._text = ""

    @property
    def waiting(self) -> bool:
        """Whether a message has begun and is not whole."""
        return bool(self._text)

    def add(self, line: str) -> list[Message]:
        """One more line; the messages that it completes. DecodeError: what was pasted so far is of no use."""
        line = line.rstrip("\r\n")
        bare = line.strip(_QUOTES)
        if not self._text:
            if not bare:
                return []
            self._text = bare
        elif self._text.startswith(MARK):
            # A packed line that was broken in pieces; anything else begins anew.
            if not bare or not _is_piece(bare):
                self._text = ""
                raise DecodeError("the pasted line is not whole: copy it again, from icekit1: to its end")
            self._text += bare
        else:
            self._text += "\n" + (bare if self._text.startswith("v=0") else line)
        if len(self._text) > MAX_MESSAGE:
            self._text = ""
            raise DecodeError(f"more than {MAX_MESSAGE} characters were pasted")
        try:
            return self._read(ended=not bare)
        except DecodeError:
            self._text = ""
            raise

    def end(self) -> list[Message]:
        """No more lines come."""
        return self._read(ended=True) if self._text else []

    def _read(self, ended: bool) -> list[Message]:
        text = self._text
        if (match := _packed.search(text)) is not None:
            lines = unpack(match[1]) if match[1] else None
            if lines is None:
                self._text = "" if ended else match[0]
                if ended:
                    raise DecodeError("the pasted line is not whole: copy it again, from icekit1: to its end")
                return []
            self._text = ""
            return [decode(line) for line in lines]
        if text.startswith("v=0"):
            return self._read_sdp(text) if ended else []
        if text.startswith(("candidate:", "a=candidate:")):
            self._text = ""
            return [TrickledCandidate(candidate=text.removeprefix("a="))]
        try:
            message = decode(text)
        except DecodeError:
            # JSON may go over many lines; its end is where it can be read.
            if text.startswith("{") and not ended and not _is_json(text):
                return []
            raise
        self._text = ""
        return [message]

    def _read_sdp(self, text: str) -> list[Message]:
        self._text = ""
        sdp = "".join(f"{line}\r\n" for line in text.split("\n") if line)
        # RFC 8842 §5.2: an offer of DTLS says actpass, an answer says who is active.
        message: Message = Offer(sdp=sdp) if "\r\na=setup:actpass\r\n" in sdp else Answer(sdp=sdp)
        return [decode(encode(message))]


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
        return True
    except (ValueError, RecursionError):
        return False
