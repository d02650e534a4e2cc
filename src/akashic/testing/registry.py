"""A real registry on loopback for tests: `docker-registry` (Debian's package), with or without a login."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from base64 import b64encode
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

USER = "deployer"
PASSWORD = "only-for-tests"
_HTPASSWD = f"{USER}:$2b$05$9hlbAT7Dry3eAW9F8aWFOucGLKitwG8nFZDgliooZ1JtGlellXmpq\n"
"""bcrypt of the password, as the registry wants it."""

PROGRAM = "docker-registry"
MISSING = f"{PROGRAM} is not installed (apt-get install {PROGRAM})"
_STARTS_WITHIN_S = 20.0


class LoopbackRegistry:
    """One registry in one folder; `host` is `127.0.0.1:port`. Use as a context manager."""

    def __init__(self, folder: Path, *, login: bool = False, deletes: bool = True) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.login = login
        self._log = folder / "log"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.host = f"127.0.0.1:{probe.getsockname()[1]}"
        settings: dict[str, object] = {
            "version": 0.1,
            "log": {"accesslog": {"disabled": False}},
            "storage": {
                "filesystem": {"rootdirectory": str(folder / "data")},
                "delete": {"enabled": deletes},
            },
            "http": {"addr": self.host},
        }
        if login:
            (folder / "htpasswd").write_text(_HTPASSWD)
            settings["auth"] = {"htpasswd": {"realm": "test", "path": str(folder / "htpasswd")}}
        self._settings = folder / "config.yml"
        self._settings.write_text(json.dumps(settings))

    def __enter__(self) -> LoopbackRegistry:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [PROGRAM, "serve", str(self._settings)], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        ends = time.monotonic() + _STARTS_WITHIN_S
        while self.status("/v2/") not in (200, 401):
            assert self._process.poll() is None and time.monotonic() < ends, self.log()
            time.sleep(0.02)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()

    def log(self) -> str:
        """What the registry wrote, its requests included."""
        return self._log.read_text(errors="replace")

    def status(self, path: str, *, method: str = "GET", accept: str = "*/*") -> int:
        """The answer to a request with the login; 0 when nobody answers."""
        headers = {"Accept": accept}
        if self.login:
            headers["Authorization"] = f"Basic {b64encode(f'{USER}:{PASSWORD}'.encode()).decode()}"
        try:
            with urlopen(Request(f"http://{self.host}{path}", method=method, headers=headers)) as answer:
                return int(answer.status)
        except HTTPError as error:
            return error.code
        except (URLError, OSError):
            return 0

    def docker_config(self, folder: Path) -> dict[str, str]:
        """An environment whose Docker settings hold the login."""
        folder.mkdir(parents=True, exist_ok=True)
        auth = b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        (folder / "config.json").write_text(json.dumps({"auths": {self.host: {"auth": auth}}}))
        return {"DOCKER_CONFIG": str(folder)}


def available() -> bool:
    """Whether the program is there."""
    return shutil.which(PROGRAM) is not None
