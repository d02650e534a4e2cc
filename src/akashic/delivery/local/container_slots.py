"""Slots of containers: the image given to the engine, its port and its data folder found."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from akashic.cancellation import Cancellation
from akashic.delivery.local.containers import DATA, ContainerRunner
from akashic.delivery.local.model import Environment, PrepareRequest, Slot
from akashic.delivery.local.paths import LocalPaths
from akashic.delivery.local.starting import Made, filled_env
from akashic.delivery.targets import Progress
from akashic.errors import AkashicError


class ContainerSlots:
    """See `akashic.delivery.local.starting.SlotMaker`."""

    unit = "container"

    def __init__(self, paths: LocalPaths, containers: ContainerRunner) -> None:
        self.paths = paths
        self.containers = containers

    def make(
        self,
        environment: Environment,
        request: PrepareRequest,
        slot: Slot,
        values: Mapping[str, str],
        progress: Progress,
        cancellation: Cancellation,
    ) -> Made:
        from akashic.images.read import read_config

        progress(f"giving the image of {request.version} to the container engine")
        slot.image = self.containers.load(Path(request.layout), request.digest, cancellation)
        config = read_config(Path(request.layout), request.digest)
        slot.container_port = request.container_port or next(iter(config.ports), 0)
        if not slot.container_port:
            raise AkashicError(
                "the image says no port that it listens on",
                hint=f"set environments.{request.environment}.target.container_port",
            )
        slot.argv, slot.network = request.command, request.network
        env = filled_env(request, {**values, "data": DATA})
        if any("${data}" in text for text in request.env.values()):
            folder = self.paths.data(environment.name).resolve()
            slot.root = str(folder)
            _give_data(folder, config.user)

        def run_release_command(log: Path) -> int | None:
            return self.containers.run_once(
                environment.name, slot, request.release_command, env, log, request.release_timeout_s
            )

        return Made(slot=slot, env=env, run_release_command=run_release_command)


def _give_data(folder: Path, user: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    uid, _, gid = user.partition(":")
    if os.geteuid() == 0 and uid.isdigit():
        os.chown(folder, int(uid), int(gid) if gid.isdigit() else int(uid))
