"""Installs requirements-dev.lock into a virtual environment shared by all jobs with the same lock.

`place` tells where that is (outputs `folder`, `key`, `ready`, `kept`) and puts it on PATH when it is ready;
`install` makes it when it is missing and puts it on PATH. Uses uv where there is one, else pip.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

LOCK = Path("requirements-dev.lock")
COMPLETE = ".complete"
# `place` runs on any Python; the environment is made of this one.
PYTHON = "3.11"


def folder() -> Path:
    """Where the environment of this lock, this Python and this machine belongs."""
    identity = f"{PYTHON} {sys.platform} {os.uname().machine}\n".encode()
    digest = hashlib.sha256(identity + LOCK.read_bytes()).hexdigest()[:16]
    # Without a runner (a person's own shell) it is a folder of the checkout.
    for parent in (os.environ.get("RUNNER_TOOL_CACHE"), os.environ.get("RUNNER_TEMP"), ".venv"):
        if parent:
            path = Path(parent).absolute() / "campaign-console" / digest
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
            except OSError:
                continue
            if os.access(path.parent, os.W_OK):
                return path
    raise SystemExit("prepare: no folder can be written to: RUNNER_TOOL_CACHE, RUNNER_TEMP, .venv")


def append(variable: str, *lines: str) -> None:
    """Add lines to one of the runner's files; outside of a runner there is none."""
    if name := os.environ.get(variable):
        with Path(name).open("a", encoding="utf-8") as file:
            file.writelines(f"{line}\n" for line in lines)


def place() -> None:
    path = folder()
    ready = usable(path)
    # Akashic keeps the tool cache from run to run; a hosted runner throws it away.
    kept = os.environ.get("AKASHIC") == "true"
    append(
        "GITHUB_OUTPUT",
        f"folder={path}",
        f"key=environment-{sys.platform}-{path.name}",
        f"ready={str(ready).lower()}",
        f"kept={str(kept).lower()}",
    )
    if ready:
        enter(path)
    print(f"{path}: {'ready' if ready else 'not there yet'}")


def usable(path: Path) -> bool:
    """Whether it was made to its end, and its interpreter is still there."""
    return (path / COMPLETE).exists() and os.access(path / "bin/python", os.X_OK)


def enter(path: Path) -> None:
    append("GITHUB_PATH", str(path / "bin"))
    append("GITHUB_ENV", f"VIRTUAL_ENV={path}")


def install() -> None:
    running = f"{sys.version_info.major}.{sys.version_info.minor}"
    if running != PYTHON:
        raise SystemExit(f"prepare: the environment is made of Python {PYTHON}, not {running}")
    path = folder()
    with path.with_suffix(".lock").open("w") as lock:
        # Jobs start side by side: one installs, the others wait for it.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not usable(path):
            make(path)
            (path / COMPLETE).touch()
    enter(path)
    print(path / "bin")


def make(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)
    # Compiled once here instead of at every start of every tool.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    environment |= {"UV_COMPILE_BYTECODE": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    options = ["--require-hashes", "--no-deps", "-r", str(LOCK)]
    if uv := shutil.which("uv"):
        run([uv, "venv", "--quiet", "--python", sys.executable, str(path)], environment)
        run([uv, "pip", "install", "--quiet", "--python", str(path / "bin/python"), *options], environment)
    else:
        run([sys.executable, "-m", "venv", str(path)], environment)
        run([str(path / "bin/python"), "-m", "pip", "install", "--quiet", *options], environment)


def run(command: list[str], environment: dict[str, str]) -> None:
    done = subprocess.run(command, env=environment, check=False)
    if done.returncode:
        raise SystemExit(f"prepare: {' '.join(command[:4])} … failed with exit code {done.returncode}")


if __name__ == "__main__":
    {"place": place, "install": install}[sys.argv[1]]()
