"""A fresh clone of this checkout, and what a reader of the README types in it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from akashic.delivery.local.ports import holder, is_free

TOP = Path(__file__).parents[2]
ADDRESSES = {"production": 4300, "staging": 4301, "development": 4302, "preview": 4303}
TIMEOUT_S = 900
IDENTITY = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-c", "commit.gpgsign=false")


def reason_to_skip() -> str:
    """Why this cannot be tried here; empty when it can."""
    if os.environ.get("AKASHIC") == "true":
        return "a run of this repository's own workflow would begin another one inside itself"
    if not (TOP / ".git").exists():
        return "this is no git checkout that could be cloned"
    missing = [name for name in ("git", "make") if shutil.which(name) is None]
    if missing:
        return f"needs {' and '.join(missing)}"
    for port in ADDRESSES.values():
        if not is_free(port):
            return f"port {port} is taken by {holder(port)}"
    return ""


class Clone:
    """A clone of HEAD, and the commands that a reader types in it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "akashic"
        self.env = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(
                ("AKASHIC", "GIT_", "GITHUB_", "RUNNER_", "PYTEST", "PYTHON", "VIRTUAL_ENV")
            )
        }
        home = Path(self.env.get("HOME", "/"))
        # Our own cache is fresh; what package managers have fetched is kept, or this would test the network.
        self.env.setdefault("UV_CACHE_DIR", str(home / ".cache" / "uv"))
        self.env.setdefault("PIP_CACHE_DIR", str(home / ".cache" / "pip"))
        self.env["XDG_CACHE_HOME"] = str(folder / "cache")
        own = str(Path(sys.executable).parent)
        if sys.prefix != sys.base_prefix:
            self.env["PATH"] = ":".join(part for part in self.env["PATH"].split(":") if part != own)
        subprocess.run(("git", "clone", "--quiet", str(TOP), str(self.path)), env=self.env, check=True)

    def __call__(self, *argv: str) -> str:
        """What a command printed; it must succeed."""
        started = time.monotonic()
        result = subprocess.run(
            argv,
            cwd=self.path,
            env=self.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
        )
        print(f"{' '.join(argv)}: {time.monotonic() - started:.1f} s")
        assert result.returncode == 0, f"{' '.join(argv)}:\n{result.stdout[-8000:]}\n{result.stderr[-4000:]}"
        assert "Traceback" not in result.stderr
        return result.stdout

    def akashic(self, *argv: str) -> str:
        return self(".venv/bin/akashic", "-C", "campaign-console", *argv)

    def begin(self, *argv: str) -> subprocess.Popen[str]:
        """The same, not waited for; what it prints comes through a pipe."""
        return subprocess.Popen(
            (".venv/bin/akashic", "-C", "campaign-console", *argv),
            cwd=self.path,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def install(self) -> None:
        """What `make up` does first."""
        self(sys.executable, "scripts/setup.py", "--venv", ".venv", "--lock", "local")

    def commit(self) -> str:
        return self("git", "rev-parse", "HEAD").strip()

    def change(self, message: str) -> str:
        """An empty commit; its name."""
        self("git", *IDENTITY, "commit", "--quiet", "--allow-empty", "--message", message)
        return self.commit()

    def processes(self) -> list[str]:
        """Command lines of processes that are about this clone."""
        found = []
        needle = str(self.path).encode()
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit() and int(folder.name) != os.getpid():
                try:
                    words = (folder / "cmdline").read_bytes()
                    if words and needle in words + (folder / "environ").read_bytes():
                        found.append(words.replace(b"\0", b" ").decode(errors="replace"))
                except OSError:
                    continue
        return found

    def down(self) -> None:
        """Stop everything, whatever happened before."""
        subprocess.run(("make", "down"), cwd=self.path, env=self.env, capture_output=True, timeout=TIMEOUT_S)


def health(environment: str, host: str = "") -> dict[str, str]:
    """What a healthy environment says of itself; `host` tells apart those that share an address."""
    address = f"http://127.0.0.1:{ADDRESSES[environment]}/api/health"
    request = urllib.request.Request(address, headers={"Host": host} if host else {})
    with urllib.request.urlopen(request, timeout=10) as answer:
        found: dict[str, str] = json.load(answer)
    assert (found["status"], found["environment"]) == ("ok", environment), found
    assert found["version"]
    return found
