"""Runs the tests that need no container engine, as two ordinary pytest runs side by side.

What delivers waits for its servers most of the time, and everything else computes: together they take little
longer than the longer one alone.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DELIVERING = ("tests/crash", "tests/delivery", "tests/e2e")


def main() -> int:
    pytest = (sys.executable, "-m", "pytest", "-m", "not docker")
    others = [f"--ignore={folder}" for folder in DELIVERING]
    print(f"==> the tests, and beside them, shown afterwards, those in {', '.join(DELIVERING)}", flush=True)
    with tempfile.TemporaryFile() as output:
        beside = subprocess.Popen([*pytest, *DELIVERING], cwd=ROOT, stdout=output, stderr=subprocess.STDOUT)
        here = subprocess.Popen([*pytest, *others], cwd=ROOT)
        codes = ended(here), ended(beside)
        output.seek(0)
        print(f"==> {', '.join(DELIVERING)}", flush=True)
        sys.stdout.buffer.write(output.read())
    return max(codes)


def ended(process: subprocess.Popen[bytes]) -> int:
    """Its exit code. An interrupt of the terminal has reached it too, and it stops what its tests started."""
    while True:
        with suppress(KeyboardInterrupt):
            return abs(process.wait())


if __name__ == "__main__":
    sys.exit(main())
