"""What the engine is told of a job's container, and of those of its Docker actions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from akashic.containers.images import ImageInfo
from akashic.executors.container_options import ContainerOptions
from akashic.executors.docker.belongings import Belongings
from akashic.executors.docker.borrowing import borrowed_objects
from akashic.executors.docker.create_options import CreateOptions
from akashic.executors.docker.layout import HOME, NODE, TEMP, bind
from akashic.executors.docker.link import SOCKET_NAME
from akashic.executors.docker.ports import Port, published
from akashic.executors.docker.runtime import MOUNTED_AT, agent_command, prepare_runtime
from akashic.executors.protocol import ContainerSpec, SandboxSpec

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobContainer:
    """A job's container to be: `container` and `options` are the workflow's wishes, `chosen` the user's for
    this run. `node` is this machine's program, empty when there is none; `mounts` are the wished ones."""

    spec: SandboxSpec
    container: ContainerSpec
    options: CreateOptions
    chosen: ContainerOptions
    cache_dir: str
    node: str
    ports: Sequence[Port]
    mounts: list[dict[str, Any]]

    @property
    def env(self) -> dict[str, str]:
        """What the workflow wants in its environment."""
        return {**self.container.env, **self.options.env}

    def config(self, belongings: Belongings, image: ImageInfo) -> dict[str, Any]:
        """For the engine's `containers/create`: Docker Engine API, "Create a container"."""
        options, chosen, told = self.options, self.chosen, self.env
        host: dict[str, Any] = {
            **options.host,
            "NetworkMode": belongings.network,
            "AutoRemove": True,
            "LogConfig": {"Type": "none", "Config": {}},
            "Mounts": [
                *belongings.layout.job_mounts(),
                bind(prepare_runtime(self.cache_dir), MOUNTED_AT, read_only=True),
                *([bind(self.node, f"{NODE}/bin/node", read_only=True)] if self.node else []),
                # History is borrowed from the repository instead of being copied.
                *(bind(folder, folder, read_only=True) for folder in borrowed_objects(self.spec.tree.root)),
                *self._socket_mounts(),
                *self.mounts,
            ],
        }
        host["CapAdd"] = [*host.get("CapAdd", ()), *chosen.cap_add]
        host["CapDrop"] = [*host.get("CapDrop", ()), *chosen.cap_drop]
        if chosen.privileged:
            host["Privileged"] = True
        if chosen.userns:
            host.setdefault("UsernsMode", chosen.userns)
        self._limit(host)
        if self.ports:
            host["PortBindings"] = published(self.ports)
        config: dict[str, Any] = {
            **options.config,
            "Image": image.id,
            "Entrypoint": agent_command(f"{TEMP}/{SOCKET_NAME}"),
            "Cmd": [],
            # The steps get theirs from us: what the engine is told stays in its records, secrets included.
            "Env": [f"{name}={value}" for name, value in self.base_env(image).items() if name not in told],
            "WorkingDir": belongings.layout.workspace,
            "Labels": {**options.labels, **belongings.labels},
            # The image's own check would run beside the job for nothing.
            "Healthcheck": {"Test": ["NONE"]},
            "HostConfig": host,
        }
        if self.ports:
            config["ExposedPorts"] = {port.key: {} for port in self.ports}
        if belongings.network_is_ours:
            config["NetworkingConfig"] = {
                "EndpointsConfig": {belongings.network: {"Aliases": options.aliases}}
            }
        if options.mac_address:
            config["MacAddress"] = options.mac_address
        return config

    def _socket_mounts(self) -> list[dict[str, Any]]:
        """The engine's own socket makes a job root on this machine: only who names it gets it."""
        path = self.chosen.daemon_socket
        return [bind(path.removeprefix("unix://"), "/var/run/docker.sock")] if path else []

    def base_env(self, image: ImageInfo) -> dict[str, str]:
        """The environment that a process of the job starts from."""
        env = {"PATH": DEFAULT_PATH, **image.env, **self.env}
        return {**env, "HOME": HOME, "GITHUB_ACTIONS": "true", "CI": env.get("CI", "true")}

    def action_host(self) -> dict[str, Any]:
        """What holds for the containers of Docker actions, too."""
        host: dict[str, Any] = {"Mounts": self._socket_mounts()}
        chosen = self.chosen
        if chosen.privileged:
            host["Privileged"] = True
        if chosen.userns:
            host["UsernsMode"] = chosen.userns
        for key in ("Memory", "PidsLimit", "NanoCpus"):
            if key in self.options.host:
                host[key] = self.options.host[key]
        self._limit(host)
        return host

    def _limit(self, host: dict[str, Any]) -> None:
        if self.spec.memory_bytes_max is not None:
            host.setdefault("Memory", self.spec.memory_bytes_max)
        if self.spec.processes_max is not None:
            host.setdefault("PidsLimit", self.spec.processes_max)
