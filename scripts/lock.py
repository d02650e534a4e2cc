"""Resolves requirements/*.lock from pyproject.toml with uv: every version and hash, no address of an index,
so that the files serve uv and pip, from any index or mirror."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# hatchling and editables build the project itself, without fetching a build environment.
LOCKS = {"local": ("local",), "dev": ("dev",)}
BUILD = "hatchling>=1.26\neditables>=0.5\n"


def main() -> None:
    uv = shutil.which("uv") or sys.exit("error: uv is not on PATH; it is needed to resolve, not to install")
    for name, extras in LOCKS.items():
        subprocess.run(
            [uv, "pip", "compile", "--quiet", "--universal", "--generate-hashes", "--no-emit-index-url",
             "--no-header", "--no-annotate", "--python-version", "3.11",
             *(word for extra in extras for word in ("--extra", extra)),
             "--output-file", f"requirements/{name}.lock", "pyproject.toml", "-"],
            cwd=ROOT, input=BUILD.encode(), check=True,
        )  # fmt: skip


if __name__ == "__main__":
    main()
