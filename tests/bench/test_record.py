from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from icekit.bench.record import Recorder, make_header
from icekit.bench.samples import Results, read_results
from tests.bench.made import HEADER, sample


def test_the_file_has_everything_at_any_time(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    with Recorder(replace(HEADER, versions={}), path) as recorder:
        assert read_results(path.read_text()).samples == ()
        recorder.add_versions({"icekit": "1"})
        for run in range(2):
            recorder.add(sample(run=run))
            assert len(read_results(path.read_text()).samples) == run + 1
        recorder.add_versions({"wrtc": "2"})
    assert read_results(path.read_text()) == recorder.results
    assert recorder.results.header.versions == {"icekit": "1", "wrtc": "2"}
    assert list(tmp_path.iterdir()) == [path]


def test_what_was_measured_stays_when_it_breaks_off(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"

    def break_off() -> None:
        with Recorder(HEADER, path) as recorder:
            recorder.add(sample())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        break_off()
    assert read_results(path.read_text()) == Results(header=HEADER, samples=(sample(),))


def test_without_a_file() -> None:
    with Recorder(HEADER) as recorder:
        recorder.add(sample())
    assert recorder.results.samples == (sample(),)


def test_the_header_is_of_this_machine() -> None:
    header = make_header(7, "icekit bench")
    assert (header.seed, header.command, header.versions) == (7, "icekit bench", {})
    assert header.python.startswith("3.")
    assert header.cores >= 1
    assert header.commit
    assert "Linux" in header.machine or header.machine
    assert header.date.endswith("+00:00")
