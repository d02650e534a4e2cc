"""What a native provider is: a service image's server, run as a process of this machine.

A provider knows the images it stands for and turns a wish into plain data: what to do once with an empty
data folder (`prepare`), and which process to run (`command`). Who owns the process is the caller's choice: a
job's sandbox (`providers.service`), or a supervisor that keeps an environment's database running.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec


class ServiceUser(msgspec.Struct, frozen=True, kw_only=True):
    """Whom a server runs as when we are root (servers such as PostgreSQL refuse root)."""

    uid: int
    gid: int
    name: str


class ServicePlan(msgspec.Struct, frozen=True, kw_only=True):
    """A service to run: `data_dir` is its own folder (made when missing), `port` is on 127.0.0.1.

    `durable` says whether the data must survive a power cut (an environment's database) or not (a job's).
    `env` and `command` are read as the image reads them. `socket_dir` holds the server's unix sockets; short,
    for a socket's path may have 107 bytes."""

    name: str
    image: str
    data_dir: str
    port: int
    socket_dir: str = ""
    env: dict[str, str] = {}
    command: str = ""
    durable: bool = False
    user: ServiceUser | None = None


class ServiceCommand(msgspec.Struct, frozen=True, kw_only=True):
    """The process that serves, as data. `argv` is complete: it changes to `user` by itself (setpriv) when we
    are root, so an owner starts it as it is. `health_argv` answers with exit code 0 when the server is ready.
    `client_env` lets the server's own tools, which lie in `tools_dir`, find it (PGHOST, PGPORT, …).
    `url` holds the credentials."""

    argv: tuple[str, ...]
    env: dict[str, str]
    cwd: str
    health_argv: tuple[str, ...]
    client_env: dict[str, str]
    tools_dir: str
    url: str
    container_port: int
    stop_signal: int
    user: ServiceUser | None = None
    version: str = ""
    notes: tuple[str, ...] = ()


class Provider(Protocol):
    """One kind of server. Stateless; every method may be called from any thread."""

    name: str
    images: Sequence[str]
    """Names of images without registry, tag or digest: `postgres`."""
    container_port: int
    """The port on which the image listens inside its container."""

    def unavailable(self) -> str:
        """Why it cannot serve on this machine, with what to install; empty when it can."""
        ...

    def prepare(self, plan: ServicePlan, *, cache_dir: str) -> Sequence[str]:
        """Fill the data folder if it is empty; notes for people. Repeatable; raises ExecutorError."""
        ...

    def command(self, plan: ServicePlan) -> ServiceCommand:
        """The process that serves this plan. Raises ExecutorError for what it cannot honour."""
        ...


class HealthCheck(msgspec.Struct, frozen=True, kw_only=True):
    """When a service counts as ready; docker's defaults are 30 s, 30 s, 3, 0 s."""

    argv: tuple[str, ...] | None = None
    """None: the provider's own check."""
    interval_s: float = 30.0
    timeout_s: float = 30.0
    retries: int = 3
    start_period_s: float = 0.0
