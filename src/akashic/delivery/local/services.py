"""Backing services of an environment (PostgreSQL, Redis): native servers whose data is kept."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from urllib.parse import unquote, urlsplit

from akashic.delivery.local.processes import TAIL_LINES, ProcessId, alive, spawn, tail
from akashic.errors import AkashicError
from akashic.executors.providers.protocol import ServiceCommand, ServicePlan

READY_TIMEOUT_S = 60.0
READY_INTERVAL_S = 0.1
PROBE_TIMEOUT_S = 10.0


def service_command(
    name: str, image: str, *, env: dict[str, str], data_dir: Path, port: int, cache_dir: Path
) -> ServiceCommand:
    """The process that serves, its data folder made and filled. Raises AkashicError: unknown image, a server
    that is not installed, a data folder that cannot be made."""
    from akashic.executors.providers.registry import find_provider
    from akashic.executors.providers.users import service_user

    provider = find_provider(image)
    data_dir.mkdir(parents=True, exist_ok=True)
    plan = ServicePlan(
        name=name,
        image=image,
        data_dir=str(data_dir),
        port=port,
        env=env,
        durable=True,
        user=service_user(provider.name),
    )
    cache_dir.mkdir(parents=True, exist_ok=True)
    provider.prepare(plan, cache_dir=str(cache_dir))
    return provider.command(plan)


def start_service(name: str, command: ServiceCommand, *, mark: dict[str, str], log: Path) -> ProcessId:
    """Start it and wait until it is ready. Raises AkashicError with the end of its log."""
    process, _ = spawn(command.argv, env={**command.env, **mark}, cwd=command.cwd, log=log)
    deadline = time.monotonic() + READY_TIMEOUT_S
    while time.monotonic() < deadline:
        if not alive(process):
            break
        if is_ready(command):
            return process
        time.sleep(READY_INTERVAL_S)
    raise AkashicError(
        f"service {name} did not become ready; the last {TAIL_LINES} lines of its log:\n{tail(log)}"
    )


def is_ready(command: ServiceCommand) -> bool:
    try:
        done = subprocess.run(
            command.health_argv,
            env={**command.env, **command.client_env},
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
            timeout=PROBE_TIMEOUT_S,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def placeholders_of(name: str, command: ServiceCommand) -> dict[str, str]:
    """What `${services.NAME.…}` stands for."""
    parts = urlsplit(command.url)
    return {
        f"services.{name}.url": command.url,
        f"services.{name}.host": parts.hostname or "127.0.0.1",
        f"services.{name}.port": str(parts.port or ""),
        f"services.{name}.user": unquote(parts.username or ""),
        f"services.{name}.password": unquote(parts.password or ""),
        f"services.{name}.database": parts.path.lstrip("/"),
    }
