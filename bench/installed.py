"""Akashic as people install it: a wheel in a virtual environment with nothing else in it."""

from __future__ import annotations

import importlib.metadata
import shutil
import subprocess
import sys
import venv
from pathlib import Path

from bench.process import Failed

ROOT = Path(__file__).parents[1]
NEEDED = ("msgspec", "PyYAML", "packaging")


def install(folder: Path, scripts: Path) -> Path:
    """Make the environment in `folder`, with act from `scripts` beside it; its folder of programs. What
    Akashic needs is copied from this environment, so that no index is asked. Raises Failed."""
    place = folder / "installed"
    venv.create(place, with_pip=False, symlinks=True)
    (packages,) = (place / "lib").glob("python*/site-packages")
    for name in NEEDED:
        for file in importlib.metadata.files(name) or ():
            if ".." not in file.parts:
                target = packages / file
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(str(file.locate()), target)
    _pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(ROOT))
    (wheel,) = folder.glob("akashic-*.whl")
    _pip("--python", str(place / "bin" / "python"), "install", "--no-deps", "--no-index", str(wheel))
    (place / "bin" / "act").symlink_to(scripts / "act")
    return place / "bin"


def _pip(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failed(f"akashic could not be installed:\n{done.stderr.strip()[-1000:]}")
