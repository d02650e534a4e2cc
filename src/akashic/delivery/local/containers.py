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
import time
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
LOOK_TIMEOUT_S = 3.0
LOOK_PAUSE_S = 3.0
"""How long nobody looks again after an engine did not answer: others wait for who looks."""
REMOVE_TIMEOUT_S = 30.0
END_TIMEOUT_S = 60.0
"""From killing a release command to giving its engine up."""


class ContainerRunner:
    """Instances as containers. An engine that does not answer is an EngineError, never a dead instance."""

    def __init__(self, mark: str, environ: Mapping[str, str]) -> None:
        self.mark = mark
        self._environ = environ
        # A name of its own for each supervisor: what one does not need any more another may.
        self.repository = f"akashic-release-{hashlib.sha256(mark.encode()).hexdigest()[:16]}"
        self._engine: Engine | None = None
        self._lock = threading.Lock()
        self._left_behind: set[str] = set()
        self._made: set[str] = set()
        self._away: tuple[float, EngineError] | None = None

    @property
    def engine(self) -> Engine:
        if self._engine is None:
            self._engine = Engine.connect(self._environ)
        return self._engine

    def start(
        self, environment: str, slot: Slot, instance: Instance, env: dict[str, str], logs: Path
    ) -> None:
        self.remove_left_behind()
        if instance.container:
            self.engine.containers.remove(instance.container, timeout_s=REMOVE_TIMEOUT_S)
        variables = {**env, "PORT": str(slot.container_port), "AKASHIC_INSTANCE": str(instance.index)}
        inner = f"{slot.container_port}/tcp"
        config = self._config(environment, slot, variables)
        config["ExposedPorts"] = {inner: {}}
        config["HostConfig"]["PortBindings"] = {inner: [{"HostIp": LOOPBACK, "HostPort": str(instance.port)}]}
        instance.container = self._create(config)
        log = log_of(logs, slot.deployment, str(instance.index))
        secrets = secret_texts(slot.secret_env, env)
        try:
            instance.log_writer = attach_log(
                instance.container, log, slot.log_bytes_max, secrets, self._environ
            )
            self.engine.containers.start(instance.container)
        except BaseException:
            self._remove(instance.container)
            instance.container = ""
            raise

    def alive(self, instance: Instance) -> bool:
        if not instance.container:
            return False
        away, began = self._away, time.monotonic()
        if away is not None and began < away[0]:
            raise EngineError(away[1].message, hint=away[1].hint)
        try:
            running = self.engine.containers.inspect(instance.container, timeout_s=LOOK_TIMEOUT_S).running
        except NotFound:
            running = False
        except EngineError as error:
            # One that refuses at once may be asked again at once.
            if time.monotonic() - began > LOOK_TIMEOUT_S / 2:
                self._away = (time.monotonic() + LOOK_PAUSE_S, error)
            raise
        self._away = None
        return running

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
            self._remove(instance.container)
            instance.container = ""

    def _create(self, config: Mapping[str, Any]) -> str:
        # What an engine makes when its answer is lost is found by its name.
        name = f"akashic-release-{os.urandom(8).hex()}"
        with self._lock:
            self._made.add(name)
        try:
            return self.engine.containers.create(config, name=name)
        except EngineError:
            self._remove(name)
            raise

    def _remove(self, container: str) -> None:
        """Remove a container now, or when the engine is back."""
        try:
            self.engine.containers.remove(container, timeout_s=REMOVE_TIMEOUT_S)
        except EngineError:
            with self._lock:
                self._left_behind.add(container)

    def remove_left_behind(self) -> int:
        """Remove what could not be removed while the engine was away; how much is left."""
        for container in list(self._left_behind):
            try:
                # It goes on when nobody waits; who comes again finds it gone.
                self.engine.containers.remove(container, timeout_s=LOOK_TIMEOUT_S)
            except EngineError:
                break
            with self._lock:
                self._left_behind.discard(container)
        return len(self._left_behind)

    def sweep(self, known: set[str]) -> None:
        """Remove the containers that an earlier supervisor of this mark made and nobody knows of. Raises
        EngineError."""
        labels = [f"{LABEL}={self.mark}"]
        for found in self.engine.containers.list(labels=labels, timeout_s=LOOK_TIMEOUT_S):
            if found.id not in known and self._made.isdisjoint(found.names):
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
        self.remove_left_behind()
        container = self._create(config)
        try:
            secrets = secret_texts(slot.secret_env, env)
            writer = attach_log(container, log, slot.log_bytes_max, secrets, self._environ)
            self.engine.containers.start(container)
            late = threading.Event()
            timer = threading.Timer(timeout_s, self._end_late, (container, late))
            timer.daemon = True
            timer.start()
            try:
                code = self.engine.containers.wait(container, timeout_s=timeout_s + END_TIMEOUT_S)
            finally:
                timer.cancel()
            in_time = not late.is_set()
            wait_gone(writer, LOG_END_TIMEOUT_S)
            return code if in_time else None
        finally:
            self._remove(container)

    def _end_late(self, container: str, late: threading.Event) -> None:
        late.set()
        with contextlib.suppress(EngineError):
            self.engine.containers.kill(container, timeout_s=REMOVE_TIMEOUT_S)

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
