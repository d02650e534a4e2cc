"""The supervisor: owns proxies, instances and services of all local environments of one state folder.

It lives in a process of its own (`daemon`), outlives the commands that ask it, and finds everything again
when it was killed. Whatever it does it notes first or can find by the processes' mark, so nothing is
orphaned.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from akashic.cancellation import Cancellation
from akashic.delivery.checks import failures
from akashic.delivery.local import proxy
from akashic.delivery.local.model import (
    Environment,
    Operation,
    PrepareRequest,
    Service,
    Slot,
    SupervisorState,
)
from akashic.delivery.local.paths import SHARED_BASE, LocalPaths
from akashic.delivery.local.ports import free_port, holder, is_free
from akashic.delivery.local.processes import (
    MARK,
    ProcessId,
    alive,
    identify,
    kill_group,
    marked,
    rotate,
    spawn,
    stop,
    tail,
)
from akashic.delivery.local.runtime import Start, fill, start_of
from akashic.delivery.local.services import placeholders_of, service_command, start_service
from akashic.delivery.local.slots import SlotRunner, address
from akashic.driver.deployments import EffectOutcome, Lookup
from akashic.errors import AkashicError
from akashic.executors.providers.protocol import ServiceCommand
from akashic.runner.masking import Masker

Progress = Callable[[str], None]
OPERATIONS_MAX = 500
SLOT_ALIASES_MAX = 200
WATCH_INTERVAL_S = 0.2
PROXY_START_TIMEOUT_S = 15.0
STOP_GRACE_S = 10.0
LOG_BYTES_MAX = 10_000_000


class Supervisor:
    """All environments of one state folder. Thread-safe; one operation at a time for an environment."""

    def __init__(self, state_dir: Path) -> None:
        self.paths = LocalPaths(state_dir)
        self._reachable = self.paths.reachable
        self.mark = str(state_dir.resolve())
        self.runner = SlotRunner(self.mark)
        self._lock = threading.RLock()
        self._busy: dict[str, threading.Lock] = {}
        self._running: dict[str, tuple[threading.Event, Cancellation]] = {}
        self._draining: list[threading.Thread] = []
        self.state = self._load()
        self._adopt()

    # Operations: each has a key, is carried out once, and is remembered with its outcome.

    def prepare(self, request: PrepareRequest, key: str, progress: Progress) -> EffectOutcome:
        """Start a release beside what serves; healthy, or an error and nothing of it left."""

        # A release's last words are kept with the reason, and it may have printed what it was given.
        masker = Masker(request.secrets.values())

        def work(environment: Environment, cancellation: Cancellation) -> EffectOutcome:
            standing = environment.served_by.get(request.restores, "")
            slot = environment.slots.get(standing)
            if request.rollback and slot is not None and self._in_order(slot):
                progress(f"the release {slot.version} still stands ready")
                self._alias(environment, request.deployment, standing)
                return EffectOutcome(url=address(slot.instances[0]))
            try:
                outcome = self._start_slot(environment, request, progress, cancellation)
            except AkashicError as failure:
                hint = masker.mask_text(failure.hint)
                raise AkashicError(masker.mask_text(failure.message), hint=hint) from None
            evidence = tuple(
                msgspec.structs.replace(one, message=masker.mask_text(one.message))
                for one in outcome.evidence
            )
            error = masker.mask_text(outcome.error)
            return msgspec.structs.replace(outcome, error=error, evidence=evidence)

        return self._once(request.environment, key, work)

    def apply(self, name: str, deployment: str, key: str, progress: Progress) -> EffectOutcome:
        """Give a prepared slot the traffic."""

        def work(environment: Environment, cancellation: Cancellation) -> EffectOutcome:
            slot = environment.slots.get(environment.served_by.get(deployment, ""))
            if slot is None:
                return EffectOutcome(error="what was prepared is gone")
            with self._lock:
                slot.kept = True
                environment.serving = slot.deployment
                environment.stopped = False
                self._save()
            self._route(environment)
            self._ensure_proxy(environment)
            return EffectOutcome(url=self._url(environment))

        return self._once(name, key, work)

    def promote(self, name: str, deployment: str, key: str, progress: Progress) -> EffectOutcome:
        """Keep what serves; what served before stands by, anything older drains and ends."""

        def work(environment: Environment, cancellation: Cancellation) -> EffectOutcome:
            with self._lock:
                if environment.promoted and environment.promoted != environment.serving:
                    environment.standby = environment.promoted
                environment.promoted = environment.serving
                wanted = {environment.promoted, environment.standby}
                old = [slot for id_, slot in environment.slots.items() if id_ not in wanted]
            for slot in old:
                self._drop(environment, slot, in_background=True)
            self._collect_releases()
            return EffectOutcome()

        return self._once(name, key, work)

    def rollback(
        self, name: str, deployment: str, previous: str, key: str, progress: Progress
    ) -> EffectOutcome:
        """What served before serves again; what the deployment started ends."""

        def work(environment: Environment, cancellation: Cancellation) -> EffectOutcome:
            with self._lock:
                environment.serving = environment.promoted
                mine = environment.served_by.pop(deployment, "")
                self._save()
            self._route(environment)
            notes = []
            slot = environment.slots.get(mine) or environment.slots.get(deployment)
            if slot is not None and slot.deployment not in (environment.promoted, environment.standby):
                self._drop(environment, slot, in_background=slot.kept)
            back = environment.slots.get(environment.promoted)
            if previous and back is None:
                notes.append("what served before is not running here any more: deploy it again")
            if back is not None:
                progress(f"the release {back.version} serves again")
                self._ensure_proxy(environment)
            return EffectOutcome(notes=tuple(notes))

        return self._once(name, key, work)

    def look_up(self, key: str) -> Lookup:
        """What became of a key; waits while it is under way here."""
        running = self._running.get(key)
        if running is not None:
            running[0].wait()
        with self._lock:
            operation = self.state.operations.get(key)
        if operation is None:
            return Lookup(state="absent")
        if operation.outcome is None:
            return Lookup(state="unknown")
        return Lookup(state="done", outcome=operation.outcome)

    def cancel(self, key: str) -> None:
        """Ask a running operation to end early; it cleans up behind itself."""
        running = self._running.get(key)
        if running is not None:
            running[1].cancel(source="user", reason="cancelled")

    def trouble(self, name: str, deployment: str) -> str:
        """Why what a deployment applied is not in order right now; empty when it is."""
        environment = self.state.environments.get(name)
        slot = environment.slots.get(environment.served_by.get(deployment, "")) if environment else None
        if environment is None or slot is None:
            return "its processes are gone"
        for instance in slot.instances:
            if instance.restarts or not alive(instance.process):
                return f"instance {instance.index} {instance.last_exit or 'is not running'}"
        if not alive(environment.proxy):
            return "the proxy is not running"
        return ""

    def stop_environment(self, name: str, progress: Progress) -> None:
        """Stop everything of an environment; data, ports and what can be started again stay known."""
        environment = self.state.environments.get(name)
        if environment is None:
            return
        with self._busy_lock(name):
            with self._lock:
                environment.stopped = True
                proxy_process, environment.proxy = environment.proxy, None
                slots = list(environment.slots.values())
                services = dict(environment.services)
                environment.serving = environment.promoted = environment.standby = ""
                self._save()
            if proxy_process is not None:
                stop(proxy_process, grace_s=STOP_GRACE_S)
            proxy.switch(self.paths.environment(name), "", [])
            for slot in slots:
                self._drop(environment, slot, in_background=False)
            for service_name, service in services.items():
                progress(f"{name}: stopping {service_name}")
                self._stop_service(environment, service_name, service)
            environment.served_by.clear()
            self._save()

    def stop_all(self, progress: Progress) -> None:
        """Stop everything, and whatever carries our mark besides."""
        for name in list(self.state.environments):
            self.stop_environment(name, progress)
        for thread in self._draining:
            thread.join()
        self._kill_unknown(set())
        self._collect_releases()

    def abandon(self) -> None:
        """End everything at once: the state folder was removed."""
        self._kill_unknown(set())
        if self._reachable.parent == SHARED_BASE:
            shutil.rmtree(self._reachable, ignore_errors=True)

    # Watching.

    def watch(self) -> None:
        """One look at everything: restart what died, keep logs small. Called again and again by the
        daemon."""
        with contextlib.suppress(ChildProcessError):
            now = time.time()
            with self._lock:
                environments = [e for e in self.state.environments.values() if not e.stopped]
            for environment in environments:
                self._watch_environment(environment, now)

    def _watch_environment(self, environment: Environment, now: float) -> None:
        logs = self._logs(environment.name)
        changed = False
        with self._lock:
            for slot in environment.slots.values():
                if slot.kept:
                    changed |= self.runner.watch(environment.name, slot, logs, now)
                for log in logs.glob(f"{slot.deployment}.*.log"):
                    rotate(log, slot.log_bytes_max)
            for log in (*logs.glob("service-*.log"), logs / "proxy.log"):
                rotate(log, LOG_BYTES_MAX)
            if changed:
                self._save()
        busy = self._busy_lock(environment.name)
        if not busy.acquire(blocking=False):
            return
        try:
            if environment.stopped:
                return
            if environment.serving and not alive(environment.proxy):
                with contextlib.suppress(AkashicError):
                    self._ensure_proxy(environment)
            for name, service in list(environment.services.items()):
                if not alive(service.process) and now >= service.next_start:
                    service.restarts += 1
                    service.next_start = now + min(30.0, 0.5 * 2**service.restarts)
                    with contextlib.suppress(AkashicError):
                        self._run_service(environment, name, service)
        finally:
            busy.release()

    # Starting a slot.

    def _start_slot(
        self,
        environment: Environment,
        request: PrepareRequest,
        progress: Progress,
        cancellation: Cancellation,
    ) -> EffectOutcome:
        environment.stopped = False
        self._claim_port(environment, request.port)
        values = self._services(environment, request, progress)
        root = self._unpack(request, progress)
        values |= self._values(environment, request)
        start = self._start(request, root, values)
        self._own_data(environment, start.owner)
        slot = Slot(
            deployment=request.deployment,
            release=request.digest,
            version=request.version,
            commit=request.commit,
            root=str(root),
            argv=start.argv,
            cwd=start.cwd,
            user=start.user,
            health=request.health,
            drain_timeout_s=request.drain_timeout_s,
            log_bytes_max=request.log_bytes_max,
        )
        if request.release_command and not request.rollback:
            progress(f"running {' '.join(request.release_command)}")
            self._run_release_command(environment, request, root, values)
        with self._lock:
            environment.slots[slot.deployment] = slot
            self._alias(environment, slot.deployment, slot.deployment)
        self.runner.remember(slot, start.env)
        progress(f"starting {request.instances} instance{'s' if request.instances != 1 else ''}")
        try:
            evidence = self.runner.start_all(
                environment.name,
                slot,
                request.instances,
                self._logs(environment.name),
                timeout_s=request.start_timeout_s,
                cancellation=cancellation,
            )
        except AkashicError:
            self._drop(environment, slot, in_background=False)
            raise
        wrong = failures(evidence)
        if wrong:
            self._drop(environment, slot, in_background=False)
            return EffectOutcome(error=f"the release did not become healthy: {wrong}", evidence=evidence)
        with self._lock:
            slot.kept = True
            self._save()
        return EffectOutcome(evidence=evidence, notes=start.notes, url=address(slot.instances[0]))

    def _start(self, request: PrepareRequest, root: Path, values: dict[str, str]) -> Start:
        from akashic.images.read import read_config

        image = read_config(Path(request.layout), request.digest)
        env = {
            name: fill(text, values, where=f"environments.{request.environment}.target.env.{name}")
            for name, text in request.env.items()
        }
        return start_of(image, root, command=request.command, env=env)

    def _unpack(self, request: PrepareRequest, progress: Progress) -> Path:
        from akashic.images.read import read_config, unpack

        root = self.paths.release(request.digest)
        if root.is_dir():
            return root
        if not read_config(Path(request.layout), request.digest).runtime:
            raise AkashicError(
                f"the release {request.version} was built with a container engine: its processes need that "
                "image's own system, and a local target runs them on this machine's",
                hint="build it with: akashic image build --engine none",
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

    def _values(self, environment: Environment, request: PrepareRequest) -> dict[str, str]:
        data = self.paths.data(environment.name)
        data.mkdir(parents=True, exist_ok=True)
        return {
            "port": str(environment.port),
            "environment": environment.name,
            "url": request.url or self._url(environment),
            "version": request.version,
            "commit": request.commit,
            "release": request.release,
            "data": str(data),
            **{f"secrets.{name}": value for name, value in request.secrets.items()},
        }

    def _run_release_command(
        self, environment: Environment, request: PrepareRequest, root: Path, values: dict[str, str]
    ) -> None:
        """Migrations: once, before the new instances start. Raises AkashicError with the end of its log."""
        start = self._start(msgspec.structs.replace(request, command=request.release_command), root, values)
        log = self._logs(environment.name) / f"{request.deployment}.release.log"
        env = {**start.env, MARK: f"{self.mark}/{environment.name}/{request.deployment}"}
        what = f"the release command {' '.join(request.release_command)!r}"
        try:
            process, popen = spawn(start.argv, env=env, cwd=start.cwd, log=log, user=start.user)
        except OSError as error:
            raise AkashicError(f"{what} cannot be started: {error.strerror}") from error
        try:
            code = popen.wait(timeout=request.release_timeout_s)
        except subprocess.TimeoutExpired:
            stop(process, grace_s=STOP_GRACE_S)
            raise AkashicError(
                f"{what} did not end within {request.release_timeout_s:g} s; its last lines:\n{tail(log)}"
            ) from None
        kill_group(process)
        if code != 0:
            raise AkashicError(f"{what} failed with exit code {code}; its last lines:\n{tail(log)}")

    def _own_data(self, environment: Environment, user: tuple[int, int] | None) -> None:
        if user is not None:
            os.chown(self.paths.data(environment.name), *user)

    # Services, proxy, ports.

    def _services(
        self, environment: Environment, request: PrepareRequest, progress: Progress
    ) -> dict[str, str]:
        values: dict[str, str] = {}
        for name, (image, env, wanted_port) in request.services.items():
            service = environment.services.get(name)
            if service is None or service.image != image:
                port = wanted_port or environment.service_ports.get(name) or free_port()
                if not is_free(port):
                    if wanted_port:
                        raise AkashicError(
                            f"service {name}: port {port} is taken by {holder(port)}",
                            hint=f"stop it, or give environments.{environment.name}.target.services.{name} "
                            "another port",
                        )
                    port = free_port()
                service = Service(image=image, env=env, port=port)
                with self._lock:
                    environment.services[name] = service
                    environment.service_ports[name] = port
                    self._save()
            if not alive(service.process):
                progress(f"starting {name}")
                self._run_service(environment, name, service)
            values |= placeholders_of(name, self._service_command(environment, name, service))
        return values

    def _run_service(self, environment: Environment, name: str, service: Service) -> None:
        command = self._service_command(environment, name, service)
        mark = {MARK: f"{self.mark}/{environment.name}/service"}
        log = self._logs(environment.name) / f"service-{name}.log"
        service.process = start_service(name, command, mark=mark, log=log)
        self._save()

    def _service_command(self, environment: Environment, name: str, service: Service) -> ServiceCommand:
        return service_command(
            name,
            service.image,
            env=service.env,
            data_dir=self.paths.service(environment.name, name),
            port=service.port,
            cache_dir=self.paths.state_dir / "caches",
        )

    def _stop_service(self, environment: Environment, name: str, service: Service) -> None:
        if service.process is not None:
            number = int(signal.SIGTERM)
            with contextlib.suppress(AkashicError):
                number = self._service_command(environment, name, service).stop_signal
            stop(service.process, grace_s=STOP_GRACE_S, number=number)
        with self._lock:
            environment.services.pop(name, None)

    def _claim_port(self, environment: Environment, wanted: int) -> None:
        """The environment's own port: the wanted one, or the one it always had."""
        port = wanted or environment.port or free_port()
        if port == environment.port and alive(environment.proxy):
            return
        if not is_free(port):
            raise AkashicError(
                f"port {port} of the environment {environment.name} is taken by {holder(port)}",
                hint=f"stop it, or set environments.{environment.name}.target.port to another port",
            )
        with self._lock:
            moved, environment.port = environment.port != port, port
            self._save()
        if moved and environment.proxy is not None:
            stop(environment.proxy, grace_s=STOP_GRACE_S)

    def _ensure_proxy(self, environment: Environment) -> None:
        """The proxy listens. Raises AkashicError with the end of its log."""
        if alive(environment.proxy):
            return
        folder = self.paths.environment(environment.name)
        config = proxy.write_config(folder, environment.port, environment.name)
        log = self._logs(environment.name) / "proxy.log"
        env = {
            "HOME": str(folder),
            "XDG_CONFIG_HOME": str(folder),
            "XDG_DATA_HOME": str(folder),
            MARK: f"{self.mark}/{environment.name}/proxy",
        }
        if not is_free(environment.port):
            raise AkashicError(
                f"port {environment.port} of the environment {environment.name} is taken by "
                f"{holder(environment.port)}",
                hint=f"stop it, or set environments.{environment.name}.target.port to another port",
            )
        argv = (proxy.find_caddy(), "run", "--config", str(config))
        environment.proxy, _ = spawn(argv, env=env, cwd=str(folder), log=log)
        self._save()
        deadline = time.monotonic() + PROXY_START_TIMEOUT_S
        while is_free(environment.port):
            if not alive(environment.proxy) or time.monotonic() > deadline:
                raise AkashicError(f"the proxy of {environment.name} did not start:\n{tail(log)}")
            time.sleep(0.02)

    def _route(self, environment: Environment) -> None:
        slot = environment.slots.get(environment.serving)
        ports = [instance.port for instance in slot.instances] if slot else []
        proxy.switch(self.paths.environment(environment.name), environment.serving, ports)

    def _url(self, environment: Environment) -> str:
        return f"http://127.0.0.1:{environment.port}"

    # Ending.

    def _drop(self, environment: Environment, slot: Slot, *, in_background: bool) -> None:
        """End a slot and forget it. In the background when it may still have requests to finish."""
        with self._lock:
            slot.kept = False
            environment.slots.pop(slot.deployment, None)
            for deployment in [d for d, s in environment.served_by.items() if s == slot.deployment]:
                del environment.served_by[deployment]
            if environment.standby == slot.deployment:
                environment.standby = ""
            self._save()

        def end() -> None:
            self.runner.end(slot)
            proxy.forget(self.paths.environment(environment.name), slot.deployment)

        if not in_background:
            end()
            return
        thread = threading.Thread(target=end, name=f"drain {slot.deployment}")
        thread.start()
        self._draining = [t for t in self._draining if t.is_alive()] + [thread]

    def _in_order(self, slot: Slot) -> bool:
        return bool(slot.instances) and all(alive(instance.process) for instance in slot.instances)

    def _alias(self, environment: Environment, deployment: str, slot: str) -> None:
        with self._lock:
            environment.served_by[deployment] = slot
            for old in list(environment.served_by)[:-SLOT_ALIASES_MAX]:
                del environment.served_by[old]
            self._save()

    def _collect_releases(self) -> None:
        """Remove unpacked releases that no slot uses."""
        used = {slot.root for e in self.state.environments.values() for slot in e.slots.values()}
        folder = self.paths.reachable / "_releases"
        for root in folder.iterdir() if folder.is_dir() else ():
            if str(root) not in used and not root.name.startswith("."):
                shutil.rmtree(root, ignore_errors=True)

    # Keys, locks, the file.

    def _once(
        self, name: str, key: str, work: Callable[[Environment, Cancellation], EffectOutcome]
    ) -> EffectOutcome:
        with self._lock:
            known = self.state.operations.get(key)
            running = self._running.get(key)
            if known is None:
                done, cancellation = threading.Event(), Cancellation()
                self._running[key] = (done, cancellation)
                self.state.operations[key] = Operation(key=key, at=time.time())
                for old in list(self.state.operations)[:-OPERATIONS_MAX]:
                    del self.state.operations[old]
                environment = self.state.environments.setdefault(name, Environment(name=name))
                self._save()
        if known is not None:
            if running is not None:
                running[0].wait()
            return known.outcome or EffectOutcome(error="it was under way when the supervisor died")
        try:
            with self._busy_lock(name):
                outcome = work(environment, cancellation)
        except AkashicError as error:
            outcome = EffectOutcome(error=f"{error.message}" + (f" ({error.hint})" if error.hint else ""))
        except OSError as error:
            outcome = EffectOutcome(error=f"{error.filename or 'the machine'}: {error.strerror}")
        finally:
            with self._lock:
                self._running.pop(key, None)
        with self._lock:
            self.state.operations[key].outcome = outcome
            self._save()
        done.set()
        return outcome

    def _busy_lock(self, name: str) -> threading.Lock:
        with self._lock:
            return self._busy.setdefault(name, threading.Lock())

    def _logs(self, name: str) -> Path:
        return self.paths.environment(name) / "logs"

    def _save(self) -> None:
        with self._lock:
            content = msgspec.json.encode(self.state)
            temporary = self.paths.state_file.with_name("state.json.new")
            temporary.write_bytes(content)
            temporary.chmod(0o600)
            temporary.rename(self.paths.state_file)

    def _load(self) -> SupervisorState:
        self.paths.supervisor.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            content = self.paths.state_file.read_bytes()
        except FileNotFoundError:
            return SupervisorState()
        try:
            return msgspec.json.decode(content, type=SupervisorState)
        except msgspec.MsgspecError:
            # Better to know nothing than to end: what runs is found by its mark and ended.
            self.paths.state_file.rename(self.paths.state_file.with_name("state.json.damaged"))
            return SupervisorState()

    def _adopt(self) -> None:
        """After a death: what is known and alive goes on, what nobody knows ends."""
        known: set[int] = set()
        for environment in self.state.environments.values():
            unfinished = [slot for slot in environment.slots.values() if not slot.kept]
            for slot in unfinished:
                self._drop(environment, slot, in_background=False)
            processes: list[ProcessId | None] = [environment.proxy]
            processes += [service.process for service in environment.services.values()]
            for slot in environment.slots.values():
                self.runner.recall(slot)
                processes += [instance.process for instance in slot.instances]
            known |= {p.pid for p in processes if p is not None and alive(p)}
        self._kill_unknown(known)
        for environment in self.state.environments.values():
            if environment.serving:
                self._route(environment)
        self._save()

    def _kill_unknown(self, known: set[int]) -> None:
        """End whatever carries our mark and does not belong to the session of a process that we know."""
        for pid in marked(self.mark + "/"):
            with contextlib.suppress(ProcessLookupError):
                if pid in known or os.getsid(pid) in known:
                    continue
                process = identify(pid)
                if process is not None:
                    kill_group(process)
