"""Instances of a release as containers of an engine: `InstanceRunner` for environments of type docker.

A container is found again by its labels, so that nothing of ours stays when we lose count, and nothing of
anybody else's is touched. Its port is published on the loopback address only.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import select
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from akashic.cancellation import Cancellation
from akashic.containers.engine import Engine
from akashic.containers.errors import Conflict, EngineError, NotFound
from akashic.delivery.local.instances import secret_texts
from akashic.delivery.local.logs import LOG_END_TIMEOUT_S, log_of
from akashic.delivery.local.model import Instance, Slot
from akashic.delivery.local.ports import LOOPBACK
from akashic.delivery.local.processes import ProcessId, identify, tail, wait_gone
from akashic.errors import AkashicError

LABEL = "akashic.supervised"
"""The mark of the supervisor that owns a container."""
DATA = "/data"
"""Where an environment's own folder is seen in its containers."""
ATTACH_TIMEOUT_S = 20.0
LOAD_TIMEOUT_S = 600.0


class ContainerRunner:
    """Instances as containers. An engine that does not answer is an EngineError, never a dead instance."""

    def __init__(self, mark: str, environ: Mapping[str, str]) -> None:
        self.mark = mark
        self._environ = environ
        # A name of its own for each supervisor: what one does not need any more another may.
        self.repository = f"akashic-release-{hashlib.sha256(mark.encode()).hexdigest()[:16]}"
        self._engine: Engine | None = None

    @property
    def engine(self) -> Engine:
        if self._engine is None:
            self._engine = Engine.connect(self._environ)
        return self._engine

    def start(
        self, environment: str, slot: Slot, instance: Instance, env: dict[str, str], logs: Path
    ) -> None:
        if instance.container:
            self.engine.containers.remove(instance.container)
        variables = {**env, "PORT": str(slot.container_port), "AKASHIC_INSTANCE": str(instance.index)}
        inner = f"{slot.container_port}/tcp"
        config = self._config(environment, slot, variables)
        config["ExposedPorts"] = {inner: {}}
        config["HostConfig"]["PortBindings"] = {inner: [{"HostIp": LOOPBACK, "HostPort": str(instance.port)}]}
        instance.container = self.engine.containers.create(config)
        log = log_of(logs, slot.deployment, str(instance.index))
        secrets = secret_texts(slot.secret_env, env)
        try:
            instance.log_writer = attach_log(
                instance.container, log, slot.log_bytes_max, secrets, self._environ
            )
            self.engine.containers.start(instance.container)
        except BaseException:
            with contextlib.suppress(EngineError):
                self.engine.containers.remove(instance.container)
            instance.container = ""
            raise

    def alive(self, instance: Instance) -> bool:
        if not instance.container:
            return False
        try:
            return self.engine.containers.inspect(instance.container).running
        except NotFound:
            return False

    def exit_text(self, instance: Instance) -> str:
        with contextlib.suppress(EngineError):
            found = self.engine.containers.inspect(instance.container)
            if found.out_of_memory:
                return " out of memory"
            return f" with exit code {found.exit_code}"
        return ""

    def recall(self, slot: Slot, instance: Instance) -> dict[str, str]:
        if not instance.container:
            return {}
        with contextlib.suppress(NotFound):
            # A container that has ended still knows what it was started with.
            found = self.engine.transport.call("GET", f"/containers/{instance.container}/json")
            pairs = ((found.get("Config") or {}).get("Env")) or ()
            return dict(pair.partition("=")[::2] for pair in pairs)
        return {}

    def stop(self, instance: Instance, *, grace_s: float) -> None:
        if instance.container:
            with contextlib.suppress(EngineError):
                # One that has ended already cannot be stopped, and is removed all the same.
                self.engine.containers.stop(instance.container, timeout_s=round(grace_s))
            self.engine.containers.remove(instance.container)
            instance.container = ""

    def sweep(self, known: set[str]) -> None:
        """Remove the containers of ours that nobody knows of."""
        for found in self.engine.containers.list(labels=[f"{LABEL}={self.mark}"]):
            if found.id not in known:
                self.engine.containers.remove(found.id)

    def forget_images(self, used: set[str]) -> None:
        """Remove the images that this supervisor gave to the engine and no slot has any more."""
        for found in self.engine.images.list(reference=f"{self.repository}:*"):
            if found.id not in used:
                for tag in found.tags:
                    if tag.startswith(f"{self.repository}:"):
                        with contextlib.suppress(Conflict):
                            self.engine.images.remove(tag)

    def load(self, layout: Path, digest: str, cancellation: Cancellation) -> str:
        """Have a release's image in the engine; its id, which is the digest of its configuration. Raises
        AkashicError for an image that cannot run in a container."""
        from akashic.images.archive import export_archive
        from akashic.images.read import read_config, read_manifest

        if read_config(layout, digest).runtime:
            raise AkashicError(
                "the release was built without a container engine: it has no system of its own to run in a "
                "container",
                hint="build it with: akashic image build --engine docker, or deploy it to a local target",
            )
        manifest = read_manifest(layout, digest)
        image = str(manifest["config"]["digest"])
        name = f"{self.repository}:{image.removeprefix('sha256:')[:32]}"
        if not self.engine.images.exists(image):
            with self.engine.transport.stream(
                "POST",
                "/images/load",
                query={"quiet": True},
                body=export_archive(layout, digest, name),
                headers={"Content-Type": "application/x-tar"},
                timeout_s=LOAD_TIMEOUT_S,
                cancellation=cancellation,
            ) as answer:
                said = answer.read().decode("utf-8", "replace")
            if not self.engine.images.exists(image):
                raise AkashicError(f"the engine did not take the image {image}: {said.strip()[-500:]}")
        return image

    def run_once(
        self,
        environment: str,
        slot: Slot,
        command: tuple[str, ...],
        env: dict[str, str],
        log: Path,
        timeout_s: float,
    ) -> int | None:
        """Run a command in a container of the release, its output in `log`; its exit code, None when it did
        not end in time. Nothing of it is left."""
        config = self._config(environment, slot, env)
        config["Entrypoint"], config["Cmd"] = [], list(command)
        container = self.engine.containers.create(config)
        try:
            secrets = secret_texts(slot.secret_env, env)
            writer = attach_log(container, log, slot.log_bytes_max, secrets, self._environ)
            self.engine.containers.start(container)
            timer = threading.Timer(timeout_s, lambda: self.engine.containers.kill(container))
            timer.daemon = True
            timer.start()
            code = self.engine.containers.wait(container)
            in_time = timer.is_alive()
            timer.cancel()
            wait_gone(writer, LOG_END_TIMEOUT_S)
            return code if in_time else None
        finally:
            self.engine.containers.remove(container)

    def _config(self, environment: str, slot: Slot, env: Mapping[str, str]) -> dict[str, Any]:
        config: dict[str, Any] = {
            "Image": slot.image,
            "Env": [f"{name}={value}" for name, value in env.items()],
            "Labels": {
                LABEL: self.mark,
                "akashic.environment": environment,
                "akashic.deployment": slot.deployment,
            },
            "HostConfig": {
                "NetworkMode": slot.network or "bridge",
                # The engine's own log would hold what must be masked; ours is attached.
                "LogConfig": {"Type": "none", "Config": {}},
                "Binds": [f"{slot.root}:{DATA}"] if slot.root else [],
                "SecurityOpt": ["no-new-privileges"],
                "Init": True,
            },
        }
        if slot.argv:
            config["Entrypoint"], config["Cmd"] = [], list(slot.argv)
        return config


def attach_log(
    container: str, log: Path, bytes_max: int, secrets: list[str], environ: Mapping[str, str]
) -> ProcessId:
    """Who writes down what a container that has not started yet will print. Raises AkashicError."""
    log.parent.mkdir(parents=True, exist_ok=True)
    known = os.memfd_create("secrets", os.MFD_CLOEXEC)
    try:
        os.write(known, json.dumps(secrets).encode())
        os.lseek(known, 0, os.SEEK_SET)
        module = "akashic.delivery.local.container_log"
        passed = {
            n: environ[n] for n in ("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "HOME") if n in environ
        }
        popen = subprocess.Popen(
            [sys.executable, "-S", "-m", module, container, str(log), str(bytes_max), str(known)],
            env={"PYTHONPATH": os.pathsep.join(path for path in sys.path if path), **passed},
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            pass_fds=(known,),
            start_new_session=True,
        )
    finally:
        os.close(known)
    assert popen.stdout is not None
    with popen.stdout:
        ready, _, _ = select.select([popen.stdout], [], [], ATTACH_TIMEOUT_S)
        if not ready or not popen.stdout.readline():
            popen.kill()
            raise AkashicError("nobody could attach to the container's output", hint=tail(log))
    return identify(popen.pid) or ProcessId(popen.pid, 0)
