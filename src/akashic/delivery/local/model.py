"""What a supervisor knows, as it is kept on disk: no secret, everything that is needed to find processes
again."""

from __future__ import annotations

import msgspec

from akashic.delivery.config import HealthConfig
from akashic.delivery.local.processes import ProcessId
from akashic.driver.deployment_ports import EffectOutcome


class Instance(msgspec.Struct, kw_only=True):
    """One process (or container) of a slot. `restarts` counts since the slot was prepared; `next_start` is 0
    while it runs. An `idle` one gets no traffic and is not started again when it ends. `log_writer` masks
    and keeps what it prints."""

    index: int
    port: int = 0
    process: ProcessId | None = None
    container: str = ""
    log_writer: ProcessId | None = None
    idle: bool = False
    restarts: int = 0
    last_exit: str = ""
    started_at: float = 0.0
    next_start: float = 0.0


class Slot(msgspec.Struct, kw_only=True):
    """A deployment's processes. A slot that is `kept` is restarted when it dies; while it is prepared a death
    is its failure. `release` is the digest, `root` the folder that it was unpacked to. `secret_env` names the
    variables that hold secrets."""

    deployment: str
    release: str
    version: str
    commit: str
    root: str
    argv: tuple[str, ...] = ()
    cwd: str = ""
    user: tuple[int, int] | None = None
    health: HealthConfig = HealthConfig()
    start_timeout_s: float = 60.0
    drain_timeout_s: float = 30.0
    log_bytes_max: int = 10_000_000
    secret_env: tuple[str, ...] = ()
    unavailable_max: int = 0
    surge_max: int = 0
    image: str = ""
    network: str = ""
    container_port: int = 0
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
    it. While a slot is rolled in place of another, `rolling` is the other one, and both get traffic.
    `revision` counts changes of the upstreams. With a `host` the environment shares the proxy of `front` with
    others, at the place of that number."""

    name: str
    port: int = 0
    proxy: ProcessId | None = None
    slots: dict[str, Slot] = {}
    host: str = ""
    public_url: str = ""
    front: str = ""
    place: int = -1
    revision: int = 0
    serving: str = ""
    rolling: str = ""
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


class SharedFront(msgspec.Struct, kw_only=True):
    """A proxy that several environments share, each by its host name."""

    port: int
    proxy: ProcessId | None = None


class SupervisorState(msgspec.Struct, kw_only=True):
    """Everything. `boot` is the machine's boot that the processes belong to; `containers` says that there
    have been some."""

    boot: str = ""
    containers: bool = False
    environments: dict[str, Environment] = {}
    fronts: dict[str, SharedFront] = {}
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
    unavailable_max: int = 0
    surge_max: int = 0
    host: str = ""
    front: str = ""
    in_container: bool = False
    container_port: int = 0
    network: str = ""
    restores: str = ""
    rollback: bool = False
