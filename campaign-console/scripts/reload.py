"""Runs the service and starts it again whenever a file below `src/` changes. For development only."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

POLL_S = 0.5


def state(folder: Path) -> dict[Path, float]:
    """When each source file was changed."""
    return {
        path: path.stat().st_mtime for path in folder.rglob("*") if path.suffix in (".py", ".html", ".css")
    }


def main() -> int:
    folder = Path("src")
    while True:
        seen = state(folder)
        process = subprocess.Popen([sys.executable, "-m", "campaign_console", "serve"])
        try:
            while state(folder) == seen:
                time.sleep(POLL_S)
        except KeyboardInterrupt:
            return 0
        finally:
            process.terminate()
            process.wait()
        print("a file changed: starting again", flush=True)


if __name__ == "__main__":
    sys.exit(main())
