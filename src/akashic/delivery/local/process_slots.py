"""Slots of processes of this machine: the release unpacked, its backing services there, its command line as
this machine has it."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import threading
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import msgspec

from akashic.cancellation import Cancellation
from akashic.delivery.local.backing import Backing
from akashic.delivery.local.instances import secret_texts
from akashic.delivery.local.logs import LOG_END_TIMEOUT_S, open_log
from akashic.delivery.local.model import Environment, PrepareRequest, Slot
from akashic.delivery.local.paths import LocalPaths
from akashic.delivery.local.processes import MARK, kill_group, spawn, stop, wait_gone
from akashic.delivery.local.runtime import Start, start_of
from akashic.delivery.local.starting import Made, filled_env
from akashic.delivery.targets import Progress
from akashic.errors import AkashicError

STOP_GRACE_S = 10.0


class ProcessSlots:
    """See `akashic.delivery.local.starting.SlotMaker`."""

    unit = "instance"

    def __init__(self, paths: LocalPaths, backing: Backing, mark: str) -> None:
        self.paths = paths
        self.backing = backing
        self.mark = mark

    def make(
        self,
        environment: Environment,
        request: PrepareRequest,
        slot: Slot,
        values: Mapping[str, str],
        progress: Progress,
        cancellation: Cancellation,
    ) -> Made:
        services = self.backing.ensure(environment, request, progress)
        root = self._unpack(request, progress)
        data = self.paths.data(environment.name)
        data.mkdir(parents=True, exist_ok=True)
        values = {**services, **values, "data": str(data)}
        start = self._command(request, root, values)
        if start.owner is not None:
            os.chown(data, *start.owner)
        slot.root, slot.argv, slot.cwd, slot.user = str(root), start.argv, start.cwd, start.user
        return Made(
            slot=slot,
            env=start.env,
            run_release_command=partial(self._run_release_command, environment, request, slot, root, values),
            notes=start.notes,
        )

    def _command(self, request: PrepareRequest, root: Path, values: Mapping[str, str]) -> Start:
        from akashic.images.read import read_config

        image = read_config(Path(request.layout), request.digest)
        return start_of(image, root, command=request.command, env=filled_env(request, values))

    def _unpack(self, request: PrepareRequest, progress: Progress) -> Path:
        from akashic.images.read import read_config, unpack

        root = self.paths.release(request.digest)
        if root.is_dir():
            return root
        if not read_config(Path(request.layout), request.digest).runtime:
            raise AkashicError(
                f"the release {request.version} was built with a container engine: its processes need that "
                "image's own system, and a local target runs them on this machine's",
                hint="give the environment a target of type docker, or build the release with: "
                "akashic image build --engine none",
            )
        progress(f"unpacking {request.version}")
        root.parent.mkdir(parents=True, exist_ok=True)
        temporary = root.with_name(f".{root.name}.{os.getpid()}.{threading.get_ident()}")
        shutil.rmtree(temporary, ignore_errors=True)
        unpack(Path(request.layout), request.digest, temporary)
        temporary.chmod(0o755)
        with contextlib.suppress(OSError):
            temporary.rename(root)
        shutil.rmtree(temporary, ignore_errors=True)
        return root

    def _run_release_command(
        self,
        environment: Environment,
        request: PrepareRequest,
        slot: Slot,
        root: Path,
        values: Mapping[str, str],
        log: Path,
    ) -> int | None:
        start = self._command(msgspec.structs.replace(request, command=request.release_command), root, values)
        env = {**start.env, MARK: f"{self.mark}/{environment.name}/{request.deployment}"}
        secrets = secret_texts(slot.secret_env, start.env)
        output, writer = open_log(log, bytes_max=request.log_bytes_max, secrets=secrets)
        process, popen = spawn(start.argv, env=env, cwd=start.cwd, log=output, user=start.user)
        code: int | None = None
        try:
            code = popen.wait(timeout=request.release_timeout_s)
        except subprocess.TimeoutExpired:
            stop(process, grace_s=STOP_GRACE_S)
        kill_group(process)
        wait_gone(writer, LOG_END_TIMEOUT_S)
        return code
