"""``docs/lab.md``: its example in Python runs."""

from __future__ import annotations

import subprocess

import pytest

from tests.pages import shown

pytestmark = [pytest.mark.netns, pytest.mark.interop("stun", "turnserver")]


def test_the_example_of_the_laboratory() -> None:
    example = shown("docs/lab.md", "tests/netns/test_docs.py::test_the_example_of_the_laboratory")
    names: dict[str, subprocess.CompletedProcess[str]] = {}
    exec(compile(example, "docs/lab.md", "exec"), names)
    done = names["done"]
    assert "Dependent Mapping" in done.stdout, done
