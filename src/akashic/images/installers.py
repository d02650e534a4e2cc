"""Installs locked wheels for a platform into a folder, with uv or pip, whichever there is."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from akashic.errors import AkashicError

INSTALL_TIMEOUT_S = 900.0

PIP_ARCHITECTURES = {"linux/amd64": "x86_64", "linux/arm64": "aarch64"}
_GLIBC_MINORS = (28, 27, 26, 24, 17)
_LEGACY = {"linux/amd64": ("manylinux2014", "manylinux2010", "manylinux1"), "linux/arm64": ("manylinux2014",)}


class PlatformUnavailable(AkashicError):
    """The dependencies cannot be had for a platform."""


def find_installer() -> tuple[str, tuple[str, ...]]:
    """The name and command of the installer: uv ($UV, then PATH), this Python's pip, the pip that Python
    carries for `ensurepip`, a pip on PATH. Raises AkashicError when there is none."""
    for candidate in (os.environ.get("UV", ""), shutil.which("uv") or ""):
        if candidate and os.access(candidate, os.X_OK):
            return "uv", (candidate, "pip", "install", "--python", sys.executable)
    from importlib.util import find_spec  # only a build without uv pays for these

    if find_spec("pip") is not None:
        return "pip", (sys.executable, "-m", "pip", "install")
    if (bundled := find_spec("ensurepip")) is not None and bundled.origin is not None:
        wheels = sorted((Path(bundled.origin).parent / "_bundled").glob("pip-*.whl"))
        if wheels:
            return "pip", (sys.executable, str(wheels[-1] / "pip"), "install")
    if pip := shutil.which("pip3") or shutil.which("pip"):
        return "pip", (pip, "install")
    raise AkashicError(
        "an image's dependencies need uv or pip, and neither was found", hint="install uv or pip"
    )


def install_command(
    installer: str, command: Sequence[str], lock: Path, target: Path, platform: str, python: str
) -> tuple[str, ...]:
    """The whole command that puts the locked wheels for a platform into `target`."""
    common = (
        "--target",
        str(target),
        "--require-hashes",
        "--no-deps",
        "--only-binary",
        ":all:",
        "-r",
        str(lock),
    )
    architecture = PIP_ARCHITECTURES[platform]
    if installer == "uv":
        name = f"{architecture}-manylinux_2_28"
        return (*command, "--quiet", "--python-version", python, "--python-platform", name, *common)
    tags = [f"manylinux_2_{minor}_{architecture}" for minor in _GLIBC_MINORS]
    tags += [f"{legacy}_{architecture}" for legacy in _LEGACY[platform]]
    tags += [f"linux_{architecture}"]
    flags = [part for tag in tags for part in ("--platform", tag)]
    return (
        *command,
        *(
            "--quiet",
            "--no-compile",
            "--disable-pip-version-check",
            "--no-input",
            "--no-warn-script-location",
        ),
        *("--python-version", python, "--implementation", "cp", *flags, *common),
    )


def install(lock: Path, target: Path, platform: str, python: str) -> str:
    """Put the locked wheels into `target`; the installer's name. Raises PlatformUnavailable, AkashicError."""
    installer, command = find_installer()
    argv = install_command(installer, command, lock, target, platform, python)
    # The identity key is nobody's business but ours.
    environ = {name: value for name, value in os.environ.items() if name != "AKASHIC_KEY"}
    environ.pop("UV_PYTHON", None)
    try:
        done = subprocess.run(
            argv, env=environ, capture_output=True, check=False, timeout=INSTALL_TIMEOUT_S, cwd=lock.parent
        )
    except subprocess.TimeoutExpired:
        raise AkashicError(
            f"{installer} did not finish installing within {INSTALL_TIMEOUT_S:.0f} s",
            hint="is the package index reachable?",
        ) from None
    if done.returncode != 0:
        said = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines()
        raise PlatformUnavailable(
            f"{installer} could not install the locked dependencies for {platform}, Python {python}:\n"
            + "\n".join(f"  {line}" for line in said[-8:]),
            hint="each needs a wheel for the platform; is the package index reachable?",
        )
    return installer
