"""Messages of every kind, for hypothesis."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from icekit.signaling.message import (
    MAX_SEQ,
    Ack,
    Answer,
    Bye,
    Fault,
    Message,
    Offer,
    Presence,
    Report,
    TrickledCandidate,
)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
# What str.isprintable says yes to; made so, because filtering would throw most of it away.
names = st.text(st.characters(exclude_categories=["C", "Zl", "Zp", "Zs"], include_characters=" "), max_size=30)
envelopes: dict[str, Any] = {
    "sender": st.none() | names,
    "to": st.none() | names,
    "seq": st.none() | st.integers(1, MAX_SEQ),
    "id": st.none() | names,
}
numbers = st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False)
data = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
peers = st.lists(names, max_size=4).map(tuple)

offers = st.builds(Offer, sdp=texts, **envelopes)
answers = st.builds(Answer, sdp=texts, **envelopes)
candidates = st.builds(
    TrickledCandidate,
    candidate=names,
    sdp_mid=st.none() | names,
    sdp_mline_index=st.none() | st.integers(0, 65535),
    username_fragment=st.none() | names,
    **envelopes,
)
acks = st.builds(Ack, acked=st.integers(0, MAX_SEQ), of=st.none() | names, **{**envelopes, "seq": st.none()})
messages: st.SearchStrategy[Message] = st.one_of(
    offers,
    answers,
    candidates,
    acks,
    st.builds(Bye, reason=st.none() | texts, **envelopes),
    st.builds(Presence, joined=peers, left=peers, peers=peers, **envelopes),
    st.builds(Report, report=st.dictionaries(texts, data, max_size=3), **envelopes),
    st.builds(Fault, code=names, text=texts, **envelopes),
)
