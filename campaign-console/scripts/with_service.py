"""Migrates, seeds, starts the service, waits until it is healthy, runs a command with BASE_URL, stops it.

python scripts/with_service.py pytest tests/e2e
"""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

START_S_MAX = 30


def main(command: list[str]) -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = str(found.getsockname()[1])
    base_url = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {
            "PORT": port,
            "PUBLIC_URL": base_url,
            "STORAGE_URL": f"file://{folder}/assets",
        }
        environment.setdefault("SESSION_SECRET", secrets.token_hex(32))
        environment.setdefault("APP_ENVIRONMENT", "test")
        service = [sys.executable, "-m", "campaign_console"]
        subprocess.run([*service, "migrate", "--seed"], env=environment, check=True)
        log_path = Path(folder) / "service.log"
        with log_path.open("wb") as log:
            process = subprocess.Popen([*service, "serve"], env=environment, stdout=log, stderr=log)
        try:
            if not healthy(base_url, process):
                sys.stderr.write(log_path.read_text(encoding="utf-8")[-20_000:])
                print("with_service: the service did not become healthy", file=sys.stderr)
                return 1
            return subprocess.run(command, env=environment | {"BASE_URL": base_url}, check=False).returncode
        finally:
            process.terminate()
            process.wait()


def healthy(base_url: str, process: subprocess.Popen[bytes]) -> bool:
    deadline = time.monotonic() + START_S_MAX
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{base_url}/api/health", timeout=3):  # nosec B310: our own address
                return True
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    return False


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
