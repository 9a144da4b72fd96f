"""``icekit sim``: what it reads, what it prints, and the exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from icekit.cli import app

runner = CliRunner()


def test_two_presets_that_connect() -> None:
    result = runner.invoke(app, ["sim", "openxopen", "--set", "engine=aioice"])
    assert result.exit_code == 0
    assert result.stdout == (
        "direct: the peers talk without a relay.\n"
        "engine aioice, seed 0, virtual time; settled: the pair is nominated\n"
        "\n"
        "   NAT   candidates    gathered  connected  settled\n"
        "A  open  host to host  30 ms     160 ms     160 ms\n"
        "B  open  host to host  90 ms     140 ms     140 ms\n"
    )


def test_two_presets_that_do_not_connect() -> None:
    result = runner.invoke(app, ["sim", "symmetric×symmetric"])
    assert result.exit_code == 1
    assert result.stdout.startswith("none: no data flows between the peers.\n")
    assert "\nA: no candidate pair works" in result.stdout


def test_a_file_as_json(tmp_path: Path) -> None:
    path = tmp_path / "call.toml"
    path.write_text('a = "symmetric"\nb = "symmetric"\nturn = "udp"\n', encoding="utf-8")
    result = runner.invoke(app, ["sim", str(path), "--json", "--set", "seed=4"])
    assert result.exit_code == 0
    document = json.loads(result.stdout)
    assert document["schema"] == "icekit/sim/1"
    assert (document["path"], document["split"], document["timeline"]) == ("relay", False, None)
    assert (document["scenario"]["seed"], document["scenario"]["turn"]) == (4, "udp")
    assert document["a"]["relayed"] is True
    assert document["a"]["connected_ms"] < 1000


def test_peers_on_different_pairs_are_said() -> None:
    path = Path(__file__).parents[2] / "benchmarks" / "scenarios" / "split-pairs.toml"
    result = runner.invoke(app, ["sim", str(path)])
    assert result.exit_code == 0
    assert result.stdout.startswith("relay, on one side only: ")


def test_the_timeline_follows() -> None:
    result = runner.invoke(app, ["sim", "openxopen", "--timeline"])
    lines = result.stdout.splitlines()
    assert "STUN Binding request" in lines[6]
    with_json = runner.invoke(app, ["sim", "openxopen", "--timeline", "--json"])
    assert json.loads(with_json.stdout)["timeline"] == lines[6:]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["moon"], "'moon': there is no such file, and it is not PRESETxPRESET; presets: open, full-cone"),
        (["openxmoon"], "'moon' is no NAT preset; there are: open, full-cone"),
        (["symetricxopen"], "'symetric' is no NAT preset; did you mean symmetric?"),
        (["symmetricxnone"], "'none' is no NAT preset; for no NAT write open"),
        (["fixed.toml"], "'fixed.toml': there is no such file"),
        (["open", "symmetric"], "one scenario at a time; two presets are one word: openxsymmetric"),
        (["openxopen", "--capture", "nowhere/a.pcapng"], "--capture: nowhere/a.pcapng cannot be written; name a file"),
        (["open"], "'open': there is no such file"),
        (["openxopenxopen"], "'openxopenxopen': there is no such file"),
        (["\0"], "there is no such file"),
        (["openxopen", "--set", "seed"], "--set seed: write KEY=VALUE"),
        (["openxopen", "--set", "sead=1"], "scenario: there is no key 'sead'; allowed: engine, "),
        (["openxopen", "--set", "turn=tls"], "scenario: turn is 'tls'; allowed: none, udp, tcp, dead"),
    ],
)
def test_what_is_wrong_is_said_with_exit_code_2(arguments: list[str], sentence: str) -> None:
    result = runner.invoke(app, ["sim", *arguments])
    assert result.exit_code == 2
    assert sentence in result.stderr
    assert result.stdout == ""


def test_without_a_path_it_says_how_to_add_a_relay() -> None:
    hint = "No TURN server is in this scenario: add --set turn=udp (turn=tcp where UDP is blocked)."
    failed = runner.invoke(app, ["sim", "symmetricxsymmetric"])
    assert (failed.exit_code, hint in " ".join(failed.stdout.split())) == (1, True)
    relayed = runner.invoke(app, ["sim", "symmetricxsymmetric", "--set", "turn=udp"])
    assert (relayed.exit_code, "No TURN server" in relayed.stdout) == (0, False)
    dead = runner.invoke(app, ["sim", "symmetricxsymmetric", "--set", "turn=dead"])
    assert (dead.exit_code, "No TURN server" in dead.stdout) == (1, False)
