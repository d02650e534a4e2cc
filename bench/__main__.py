"""`python -m bench`: measure, and print one table."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from bench import against_act, alone, docker, process, workloads
from bench.installed import install
from bench.report import Row, table

SCRIPTS = Path(sys.executable).parent
DEFAULT_RUNS_ALONE = 11


def main(argv: list[str] | None = None) -> int:
    """Exit codes: 0 when all was measured (whatever the figures), 1 when something could not be."""
    args = _arguments(argv)
    for tool in ("act", "akashic"):
        if not (SCRIPTS / tool).exists():
            print(f"{SCRIPTS / tool} is missing: make test installs it", file=sys.stderr)
            return 1
    say: Callable[[str], None] = (
        (lambda text: print(text, file=sys.stderr, flush=True)) if args.verbose else _quiet
    )
    rows: list[Row] = []
    failed = False
    with tempfile.TemporaryDirectory(prefix="bench-") as place:
        (Path(place) / "home").mkdir()
        installed = install(Path(place), SCRIPTS)
        for name in args.only or names():
            print(f"measuring {name} …", file=sys.stderr, flush=True)
            try:
                rows += measure(name, Path(place), installed, args.runs, say)
            except process.Failed as error:
                failed = True
                print(f"{name}: {error}", file=sys.stderr)
        stop = [str(installed / "akashic"), "warm", "stop"]
        subprocess.run(
            stop, env=against_act.environment(Path(place), installed), check=False, stdout=subprocess.DEVNULL
        )
    for line in table(rows):
        print(line)
    print(
        f"\nmedians on {os.cpu_count()} cores; {sum(not row.ok for row in rows)} of {len(rows)} over budget"
    )
    return int(failed)


def names() -> list[str]:
    """All that can be measured, in the order of the table."""
    return [make().name for make in (*workloads.ALL, *docker.ALL)] + list(alone.ALL)


def measure(name: str, place: Path, installed: Path, runs: int, say: Callable[[str], None]) -> list[Row]:
    """The rows of one workload. `installed` is a folder with akashic as people have it, and act."""
    found = next((made for made in (make() for make in workloads.ALL) if made.name == name), None)
    if found is not None:
        return list(against_act.compare(found, place, installed, runs=runs or found.runs, say=say))
    found = next((made for made in (make() for make in docker.ALL) if made.name == name), None)
    if found is not None:
        return docker.compare(found, place, SCRIPTS, runs=runs or found.runs, say=say)
    scripts = installed if name in alone.OF_INSTALLED else SCRIPTS
    return alone.ALL[name](place, scripts, runs=runs or DEFAULT_RUNS_ALONE, say=say)


def _quiet(text: str) -> None:
    del text


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "--only", action="append", choices=names(), metavar="NAME", help=f"one of {', '.join(names())}"
    )
    parser.add_argument(
        "--runs", type=int, default=0, metavar="N", help="measured runs of each tool (each workload's own)"
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="print every single figure")
    args = parser.parse_args(argv)
    if args.runs < 0:
        parser.error("--runs takes a number from 1")
    return args


if __name__ == "__main__":
    raise SystemExit(main())
