"""What a supervisor knows, as it is kept on disk: no secret, everything that is needed to find processes
again."""

from __future__ import annotations

import msgspec

from akashic.delivery.config import HealthConfig
from akashic.delivery.local.processes import ProcessId
from akashic.driver.deployments import EffectOutcome


class Instance(msgspec.Struct, kw_only=True):
    """One process of a slot. `restarts` counts since the slot was prepared; `next_start` is 0 while it
    runs."""

    index: int
    port: int
    process: ProcessId | None = None
    restarts: int = 0
    last_exit: str = ""
    started_at: float = 0.0
    next_start: float = 0.0


class Slot(msgspec.Struct, kw_only=True):
    """A deployment's processes. A slot that is `kept` is restarted when it dies; while it is prepared a death
    is its failure. `release` is the digest, `root` the folder that it was unpacked to."""

    deployment: str
    release: str
    version: str
    commit: str
    root: str
    argv: tuple[str, ...] = ()
    cwd: str = ""
    user: tuple[int, int] | None = None
    health: HealthConfig = HealthConfig()
    drain_timeout_s: float = 30.0
    log_bytes_max: int = 10_000_000
    instances: list[Instance] = []
    kept: bool = False


class Service(msgspec.Struct, kw_only=True):
    """A backing service; its command is made again from `image` and `env` when it must be restarted."""

    image: str
    port: int
    env: dict[str, str] = {}
    process: ProcessId | None = None
    next_start: float = 0.0
    restarts: int = 0


class Environment(msgspec.Struct, kw_only=True):
    """One environment. `serving` is the slot with the traffic, `promoted` the one that a deployment was ended
    with, `standby` the one kept for a rollback; `served_by` maps a deployment to the slot that stands for
    it."""

    name: str
    port: int = 0
    proxy: ProcessId | None = None
    slots: dict[str, Slot] = {}
    serving: str = ""
    promoted: str = ""
    standby: str = ""
    served_by: dict[str, str] = {}
    services: dict[str, Service] = {}
    service_ports: dict[str, int] = {}
    stopped: bool = False


class Operation(msgspec.Struct, kw_only=True):
    """Something that was asked for by key. Without an outcome it is under way, or was when a supervisor
    died."""

    key: str
    at: float
    outcome: EffectOutcome | None = None


class SupervisorState(msgspec.Struct, kw_only=True):
    """Everything."""

    environments: dict[str, Environment] = {}
    operations: dict[str, Operation] = {}


class PrepareRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What `prepare` needs. `env` holds secrets: it travels over the socket and is never kept."""

    environment: str
    deployment: str
    digest: str
    version: str
    commit: str
    release: str
    layout: str
    port: int
    url: str
    command: tuple[str, ...]
    instances: int
    env: dict[str, str]
    secrets: dict[str, str]
    services: dict[str, tuple[str, dict[str, str], int]]
    release_command: tuple[str, ...]
    release_timeout_s: float
    start_timeout_s: float
    drain_timeout_s: float
    log_bytes_max: int
    health: HealthConfig
    restores: str = ""
    rollback: bool = False
