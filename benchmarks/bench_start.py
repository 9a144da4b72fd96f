"""How long icekit takes to start, beside asyncio and aioice in the same run.

    python benchmarks/bench_start.py [--json]

Each row is a new interpreter with compiled sources, wall-clock time from start to end less that of an interpreter that
does nothing; the best of ten, because every other process on the machine only adds.
"""

from __future__ import annotations

import compileall
import json
import subprocess
import sys
from pathlib import Path
from time import perf_counter

ROUNDS = 10
CANDIDATE = "candidate:1 1 udp 2130706431 192.0.2.1 5000 typ host"
ROWS = {
    "import icekit": (["-c", "import icekit"], 0.060),
    "from icekit import Candidate": (["-c", "from icekit import Candidate"], None),
    "import asyncio": (["-c", "import asyncio"], None),
    "import aioice": (["-c", "import aioice"], None),
    "icekit --help": (["-m", "icekit", "--help"], 0.3),
    "icekit explain CANDIDATE": (["-m", "icekit", "explain", CANDIDATE], 0.3),
}


def seconds(arguments: list[str]) -> float:
    began = perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    return perf_counter() - began


def main() -> int:
    # Where PYTHONDONTWRITEBYTECODE is set every start would compile them.
    compileall.compile_dir(Path(__file__).resolve().parents[1] / "icekit", quiet=1)
    best = {name: float("inf") for name in ["nothing", *ROWS]}
    for _ in range(ROUNDS):
        best["nothing"] = min(best["nothing"], seconds(["-c", ""]))
        for name, (arguments, _) in ROWS.items():
            best[name] = min(best[name], seconds(arguments))
    if "--json" in sys.argv:
        print(json.dumps({name: best[name] - best["nothing"] for name in ROWS}))
        return 0
    reference = best["import asyncio"] - best["nothing"]
    kept = True
    print(f"an interpreter that does nothing: {best['nothing'] * 1000:.0f} ms")
    for name, (_, limit) in ROWS.items():
        spent = best[name] - best["nothing"]
        bar = "" if limit is None else f"  bar {limit * 1000:.0f} ms"
        kept = kept and (limit is None or spent <= limit)
        print(f"{name:30} {spent * 1000:6.0f} ms  {spent / reference:5.2f} × import asyncio{bar}")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
