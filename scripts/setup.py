"""Makes the project's virtual environment from a lock file, with bytecode, once per content of the lock.

Called by the Makefile with any Python 3.11+; uses the standard library alone. uv is used where it is on PATH,
pip otherwise. A second call with nothing changed takes milliseconds.
"""

from __future__ import annotations

import argparse
import compileall
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYTHON_MIN = (3, 11)


def fingerprint(lock: Path) -> str:
    """What the environment is made from: the lock, the project and its command, this Python, this folder."""
    digest = hashlib.sha256(lock.read_bytes())
    for name in ("akashic", "command_script.py"):
        digest.update((ROOT / "scripts" / name).read_bytes())
    metadata = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    # Settings of the checkers are in the same file, and change nothing that is installed.
    installed = (metadata["build-system"], metadata["project"], metadata["tool"]["hatch"])
    digest.update(json.dumps(installed).encode())
    digest.update(f"{sys.version_info[:3]}{os.path.realpath(sys.executable)}{ROOT}".encode())
    return digest.hexdigest()


def run(*argv: str | Path, env: dict[str, str]) -> None:
    result = subprocess.run([str(word) for word in argv], env=env, check=False)
    if result.returncode != 0:
        sys.exit(f"error: {argv[0]} {argv[1]} failed (exit code {result.returncode}); its output is above")


def install(venv: Path, lock: Path) -> None:
    """Make the environment anew and install the locked packages and the project into it."""
    env = {
        key: value
        for key, value in os.environ.items()
        if key not in ("PYTHONDONTWRITEBYTECODE", "PYTHONPATH")
    }
    # An activated environment is on PATH with tools of its own, which go away in a moment.
    own = venv / "bin"
    env["PATH"] = os.pathsep.join(
        part for part in env.get("PATH", os.defpath).split(os.pathsep) if Path(part) != own
    )
    python = own / "python"
    uv = shutil.which("uv", path=env["PATH"])
    if uv:
        env |= {"UV_COMPILE_BYTECODE": "1", "VIRTUAL_ENV": str(venv)}
        run(uv, "venv", "--quiet", "--clear", "--python", sys.executable, venv, env=env)
        pip: list[str | Path] = [uv, "pip", "install", "--quiet", "--python", python]
    else:
        run(sys.executable, "-m", "venv", "--clear", venv, env=env)
        pip = [python, "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
    run(*pip, "--require-hashes", "-r", lock, env=env)
    run(*pip, "--no-deps", "--no-build-isolation", "--editable", ROOT, env=env)
    if not uv and "\nsetuptools==" not in lock.read_text(encoding="utf-8"):
        # It comes with Python 3.11's venv and hooks itself into the start of every process.
        run(python, "-m", "pip", "uninstall", "-qq", "--yes", "setuptools", env=env)
    compileall.compile_dir(str(ROOT / "src"), quiet=2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--venv", required=True)
    parser.add_argument("--lock", choices=("local", "dev"), required=True)
    args = parser.parse_args()
    if sys.version_info < PYTHON_MIN:
        wanted = ".".join(str(part) for part in PYTHON_MIN)
        sys.exit(f"error: Python {wanted} or newer is needed, this is {sys.version.split()[0]}")
    venv = ROOT / args.venv
    if Path(sys.prefix).resolve() == venv.resolve():
        # Called by the Python of the very environment that is to be made (somebody has activated it).
        base = sys._base_executable  # type: ignore[attr-defined]
        os.execv(base, [base, __file__, *sys.argv[1:]])
    # Two of us at once: the second one waits, and then finds everything done.
    lock = os.open(ROOT, os.O_RDONLY | os.O_CLOEXEC)
    fcntl.flock(lock, fcntl.LOCK_EX)
    stamp = venv / "akashic-setup"
    ready = stamp.read_text().split() if stamp.exists() else []
    dev, wanted = (fingerprint(ROOT / "requirements" / f"{name}.lock") for name in ("dev", args.lock))
    # The dev lock holds all of the local one: an environment made for tests serves `make up` as well.
    if ready and ready[0] in (wanted, dev):
        return
    print(f"==> installing the {args.lock} dependencies into {args.venv} …", flush=True)
    start = time.monotonic()
    stamp.unlink(missing_ok=True)
    install(venv, ROOT / "requirements" / f"{args.lock}.lock")
    stamp.write_text(wanted + "\n")
    print(f"==> installed in {time.monotonic() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()
