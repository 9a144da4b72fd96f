"""What people paste as JSON is read; what is none gives nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icekit.loose_json import MAX_VALUES, read_literals, read_values, up_to_closing_bracket, why_no_json

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(st.lists(JSON, max_size=4), st.sampled_from([" ", "\n", ", ", ";\n"]))
def test_values_one_after_the_other(values: list[Any], between: str) -> None:
    assert read_values(between.join(json.dumps(value) for value in values)) == values


@pytest.mark.parametrize("text", ["[1] and {}", "{", "{} x", "[" * 100_000], ids=lambda text: text[:10])
def test_anything_in_between_gives_nothing(text: str) -> None:
    assert read_values(text) == []


def test_no_more_than_the_most_are_read() -> None:
    assert read_values("1 " * (MAX_VALUES + 5)) == [1] * MAX_VALUES


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{urls: 'stun:a'}", {"urls": "stun:a"}),
        ("""{'name': 'it\\'s "x"'}""", {"name": 'it\'s "x"'}),
        ("[None, True, False, undefined, null]", [None, True, False, None, None]),
        ("{a: `b`, /* c */ // d\n e: 1, # f\n};", {"a": "b", "e": 1}),
        ("""{"a": "// no comment, 'no quote', None"}""", {"a": "// no comment, 'no quote', None"}),
    ],
)
def test_literals_of_javascript_and_python(text: str, value: object) -> None:
    assert read_literals(text) == [value]


@given(st.text())
def test_any_text_can_be_tried(text: str) -> None:
    assert len(read_literals(text)) <= MAX_VALUES
    assert text.startswith(up_to_closing_bracket(text))


@pytest.mark.parametrize(
    ("text", "beginning"), [("[1, {a: 2}] + x", "[1, {a: 2}]"), ("{[", "{["), ("", ""), ("{a: {}}}", "{a: {}}")]
)
def test_a_literal_within_code_ends_at_its_bracket(text: str, beginning: str) -> None:
    assert up_to_closing_bracket(text) == beginning


@pytest.mark.parametrize(
    ("text", "why"), [("{'a'", "Expecting property name"), ("[1", "Expecting ',' delimiter"), ("1", "too much of it")]
)
def test_why_it_is_no_json(text: str, why: str) -> None:
    assert why_no_json(text).startswith(why)
