from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icekit.errors import DecodeError
from icekit.signaling.message import Answer, Bye, Message, Offer, TrickledCandidate, encode
from icekit.signaling.paste import MARK, MAX_PACKED, Pasted, pack, unpack
from tests.signaling.messages import messages

LINE = "candidate:1 1 udp 2130706431 192.0.2.1 5000 typ host"
SDP = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=setup:{}\r\n"


def paste(*lines: str) -> list[Message]:
    pasted = Pasted()
    found = [message for line in lines for message in pasted.add(line)]
    assert not pasted.waiting
    return found


@given(st.lists(messages, min_size=1, max_size=4), st.integers(1, 200))
@settings(max_examples=40, deadline=None)
def test_a_packed_line_comes_back_also_in_pieces(sent: list[Message], width: int) -> None:
    line = pack([encode(message) for message in sent])
    assert line.startswith(MARK)
    assert line.isascii()
    assert " " not in line
    assert paste(line) == sent
    assert paste(f'> "{line}"\r\n') == sent
    pasted = Pasted()
    found: list[Message] = []
    pieces = [line[: len(MARK) + width], *(line[i : i + width] for i in range(len(MARK) + width, len(line), width))]
    for piece in pieces:
        found += pasted.add(piece)
    assert found == sent


def test_a_description_of_aiortc_with_audio_and_video_fits_in_a_line_of_a_terminal() -> None:
    import asyncio

    from aiortc import RTCPeerConnection

    async def offer() -> str:
        connection = RTCPeerConnection()
        connection.addTransceiver("audio")
        connection.addTransceiver("video")
        connection.createDataChannel("data")
        await connection.setLocalDescription(await connection.createOffer())
        sdp: str = connection.localDescription.sdp
        await connection.close()
        return sdp

    sdp = asyncio.run(offer())
    assert len(sdp) > 2500
    line = pack([encode(Offer(sdp=sdp, sender="alice")), encode(TrickledCandidate(candidate=""))])
    # Linux cuts a line that is typed at 4096 characters.
    assert len(line) < 2500
    assert paste(line) == [Offer(sdp=sdp, sender="alice"), TrickledCandidate(candidate="")]


def test_what_people_paste_raw() -> None:
    assert paste('{"type":"bye"}') == [Bye()]
    assert paste("", "   ", "  null  ") == [TrickledCandidate(candidate="")]
    pretty = json.dumps({"type": "offer", "sdp": "v=0"}, indent=2)
    assert paste(*pretty.splitlines()) == [Offer(sdp="v=0")]
    assert paste(*SDP.format("actpass").splitlines(), "") == [Offer(sdp=SDP.format("actpass"))]
    assert paste(*SDP.format("active").splitlines(), "") == [Answer(sdp=SDP.format("active"))]
    assert paste(f"a={LINE}", LINE) == [TrickledCandidate(candidate=LINE)] * 2


def test_the_end_of_input_ends_an_sdp() -> None:
    pasted = Pasted()
    for line in SDP.format("active").splitlines():
        assert pasted.add(line) == []
    assert pasted.waiting
    assert pasted.end() == [Answer(sdp=SDP.format("active"))]
    assert Pasted().end() == []


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        (["hello"], "not JSON"),
        (['{"type":"hello"}'], "type: found 'hello'"),
        (['{"type":', "", ""], "not JSON"),
        ([f"{MARK}AAAA", "not base64!"], "not whole"),
        ([MARK, ""], "not whole"),
        ([f"{MARK}____"], "damaged"),
    ],
)
def test_what_is_not_understood_is_said_once(lines: list[str], complaint: str) -> None:
    pasted = Pasted()
    errors = []
    for line in lines:
        try:
            assert pasted.add(line) == []
        except DecodeError as error:
            errors.append(str(error))
    assert len(errors) == 1
    assert complaint in errors[0]
    assert pasted.add('{"type":"bye"}') == [Bye()]


def test_a_bomb_is_not_unpacked() -> None:
    with pytest.raises(DecodeError, match="more than"):
        unpack(pack(["x" * 20_000_000]).removeprefix(MARK))
    with pytest.raises(DecodeError, match="damaged"):
        unpack(pack(["null"] * (MAX_PACKED + 1)).removeprefix(MARK))


@given(st.lists(st.text(max_size=20) | st.text('icekt1:{}"v=0a \n', max_size=12), max_size=6))
def test_anything_is_read_or_is_a_decode_error(lines: list[str]) -> None:
    pasted = Pasted()
    for line in lines:
        try:
            pasted.add(line)
        except DecodeError:
            assert not pasted.waiting
