"""The Korean pages (``docs/ko``) follow the English ones: the same sections, blocks and links, and the newest text.

Below each heading of a Korean page stands ``<!-- english: HASH -->``: the hash of the English section that was
translated. When that section changes, translate the Korean one anew and write the new hash. Who cannot writes
``OUTDATED`` below the old hash, for the reader and for the next translator.
"""

from __future__ import annotations

import re
from hashlib import sha256
from os.path import normpath
from pathlib import Path

import pytest

from icekit.catalogue import CODES
from icekit.stage_texts import CAUSES
from tests.pages import ROOT, TRANSLATIONS, Block, blocks, sections

OUTDATED = "*영어 원문이 바뀌었지만, 아직 다시 옮기지 않았습니다.*"
FINDINGS = ROOT / "docs" / "findings.md"
PAGES = pytest.mark.parametrize("english", TRANSLATIONS, ids=lambda page: str(page.relative_to(ROOT)))

_HASH = re.compile(r"<!-- english: ([0-9a-f]{8}) -->\n")
_LINK = re.compile(r"\]\(([^)\s]*)")
_COMMENT = re.compile(r" +# .*")


def hash_of(heading: str, text: str) -> str:
    """Of the words: another break of a line is no change."""
    return sha256(" ".join(f"{heading}\n{text}".split()).encode()).hexdigest()[:8]


def outdated(english: list[tuple[str, str]], korean: list[tuple[str, str]]) -> list[str]:
    """What is to be done in a Korean page, section by section; the sections are those of ``tests.pages.sections``."""
    wrong = []
    for original, (heading, text) in zip(english, korean, strict=True):
        found, now = _HASH.match(text), hash_of(*original)
        current = found is not None and found[1] == now
        if current and OUTDATED in text:
            wrong.append(f"{heading}: is translated from the newest English text; take out {OUTDATED}")
        elif not current and OUTDATED not in text:
            wrong.append(
                f"{heading}: translate “{original[0]}” anew, then write <!-- english: {now} --> below the heading"
            )
    return wrong


def links(page: Path, text: str) -> set[str]:
    """Where the links of a text lead, as paths in the repository; not those from a page to its own translation."""
    found = set()
    for link in _LINK.findall(text):
        path, mark, anchor = link.partition("#")
        if "://" not in link:
            path = normpath(page.parent.relative_to(ROOT) / path) if path else str(page.relative_to(ROOT))
        found.add(path + mark + anchor)
    return found - {str(one.relative_to(ROOT)) for pair in TRANSLATIONS.items() if page in pair for one in pair}


def translated(link: str) -> str:
    """The Korean page in place of the English one, where there is one."""
    path, mark, anchor = link.partition("#")
    korean = TRANSLATIONS.get(ROOT / path)
    return link if korean is None else str(korean.relative_to(ROOT)) + mark + anchor


@PAGES
def test_a_page_has_the_sections_of_the_english_one_and_no_old_text(english: Path) -> None:
    original, korean = sections(english), sections(TRANSLATIONS[english])
    levels = [[heading.split()[0] for heading, _ in page] for page in (original, korean)]
    assert levels[0] == levels[1], "the headings differ"
    wrong = outdated(original, korean)
    assert wrong == [], "\n".join([f"{TRANSLATIONS[english].relative_to(ROOT)}:", *wrong])


@PAGES
def test_blocks_of_code_are_the_same(english: Path) -> None:
    # Comments are translated; what is printed is not.
    def content(block: Block) -> tuple[str | None, str | None, str, str]:
        text = block.text if block.language == "console" else _COMMENT.sub("", block.text)
        return block.kind, block.argument, block.language, text

    korean = TRANSLATIONS[english]
    assert [content(block) for block in blocks(korean)] == [content(block) for block in blocks(english)]


@PAGES
def test_links_lead_to_the_same_pages_in_korean_where_they_are(english: Path) -> None:
    korean = TRANSLATIONS[english]
    for original, section in zip(sections(english), sections(korean), strict=True):
        wanted = {translated(link) for link in links(english, original[1])}
        assert links(korean, section[1]) == wanted, section[0]


@PAGES
def test_a_page_and_its_translation_link_to_each_other(english: Path) -> None:
    korean = TRANSLATIONS[english]
    folder = "../" * len(korean.relative_to(ROOT / "docs" / "ko").parts)
    here, there = (str(page.relative_to(ROOT / "docs")) for page in (korean, english))
    assert f"[English]({folder}{there})" in korean.read_text(encoding="utf-8")
    assert f"]({folder.removesuffix('../')}{here})" in english.read_text(encoding="utf-8")


def test_the_findings_have_every_code_in_the_order_of_the_table_with_its_severity() -> None:
    page = TRANSLATIONS[FINDINGS]
    row = re.compile(r"^\| \[([A-Z0-9-]+)\]\(#([a-z0-9-]+)\) \|(?: .* \|)? (\w+) \|$", re.MULTILINE)
    contents = [row.findall(one.read_text(encoding="utf-8")) for one in (FINDINGS, page)]
    assert contents[0] == contents[1]
    assert len(contents[0]) == len(CODES)
    found = [(heading.removeprefix("### "), text) for heading, text in sections(page) if heading.startswith("### ")]
    assert [heading for heading, _ in found] == [f"{code} {CODES[code].name}" for code, _, _ in contents[0]]
    for heading, text in found:
        row_of_table = CODES[heading.split()[0]]
        assert re.findall(r"심각도: (\w+)\.$", text, re.MULTILINE) == [row_of_table.severity], heading
        causes = [cause for code, cause in CAUSES if code == row_of_table.code]
        believed = ["흔한 오해"] if row_of_table.believed else []
        seen = ["사례"] if row_of_table.seen else []
        items = re.findall(r"^- \*(.+?)\*: \S", text, re.MULTILINE)
        assert items == [*believed, "사실", "조치", *causes, *seen], heading


def test_what_is_not_code_is_korean() -> None:
    # A section that was copied, and not translated, has no Korean sentence.
    for page in TRANSLATIONS.values():
        bare = [heading for heading, text in sections(page) if _HASH.sub("", text).strip() and not _ends_korean(text)]
        assert bare == [], page


def _ends_korean(text: str) -> bool:
    return re.search(r"[가-힣](?:[.?!:)\"]|$)", text, re.MULTILINE) is not None


def test_a_changed_english_section_is_told_with_its_new_hash() -> None:
    english = [("# One", "\nA sentence\nof two lines.\n"), ("## Two", "Another.")]
    first, second = (f"<!-- english: {hash_of(*section)} -->\n글." for section in english)
    korean = [("# 하나", first), ("# 둘", second)]
    assert outdated(english, korean) == []
    assert outdated([("# One", "A sentence of\ntwo lines."), english[1]], korean) == []
    changed = [english[0], ("## Two", "Another one.")]
    assert outdated(changed, korean) == [
        f"# 둘: translate “## Two” anew, then write <!-- english: {hash_of(*changed[1])} --> below the heading"
    ]
    known = [korean[0], ("# 둘", f"{second}\n{OUTDATED}")]
    assert outdated(changed, known) == []
    assert outdated(english, known) == [f"# 둘: is translated from the newest English text; take out {OUTDATED}"]
    without = [korean[0], ("# 둘", "글.")]
    assert len(outdated(english, without)) == 1
