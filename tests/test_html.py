"""A page as HTML; what is drawn into it is for those who draw."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from icekit.html import html
from icekit.page import Cell, Lines, Page, Section, Tone, table
from tests.html_reader import Reader

NUMBERS = table([("", "valid"), ("icekit", Cell("12", Tone.GOOD))], labels=1, header=True, numbers=True)
PAGE = Page(Cell("OK", Tone.GOOD), "All is well.", (Section("Times", (NUMBERS,)), Section("More", ())), "The end")


def test_a_table_of_numbers_has_a_header_row() -> None:
    text = html(PAGE, title="a title")
    assert "<title>a title</title>" in text
    assert '<table class="numbers"><tr><th class="plain label"><span></span></th>' in text
    assert '<th class="plain number">valid</th></tr>' in text
    assert '<td class="plain label"><span>icekit</span></td><td class="good number">12</td>' in text
    assert "<nav>" not in text


def test_a_drawing_stands_under_its_title() -> None:
    text = html(PAGE, title="t", drawings={"More": "<svg></svg>", "Nowhere": "<svg>lost</svg>"})
    assert '<h2 id="s1">More</h2>\n<figure><svg></svg></figure>' in text
    assert text.count("<figure>") == 1


def test_the_contents_lead_to_every_section() -> None:
    text = html(PAGE, title="t", contents=True)
    for index, section in enumerate(PAGE.sections):
        assert f'<a href="#s{index}">{section.title}</a>' in text
        assert f'<h2 id="s{index}">{section.title}</h2>' in text


@given(st.text())
def test_any_text_stays_text(text: str) -> None:
    body = (table([(text, text)], header=True), Lines((Cell(text),)))
    page = Page(Cell(text), text, (Section(text, body),), text)
    names = Reader(html(page, title=text, contents=True)).names
    assert names <= {
        *("html", "head", "meta", "title", "style", "body", "h1", "h2", "b", "nav", "ul", "li", "a"),
        *("div", "table", "tr", "th", "td", "span", "code", "footer"),
    }
