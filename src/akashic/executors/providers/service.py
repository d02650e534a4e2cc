"""Running a planned service: start its process, wait until it is healthy, stop it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping

from akashic.cancellation import Cancellation
from akashic.errors import Interrupted
from akashic.executors.launching import (
    Child,
    Command,
    DirectLauncher,
    Launcher,
    has_ended,
    signal_group,
    wait_ended,
)
from akashic.executors.protocol import ServiceFailed
from akashic.executors.providers.ports import ReservedPort
from akashic.executors.providers.protocol import HealthCheck, Provider, ServiceCommand, ServicePlan

LOG_TAIL_BYTES = 4000
STOP_TIMEOUT_S = 10.0
PROBE_FIRST_S = 0.02
_OWN_HEALTH = HealthCheck(interval_s=1.0, timeout_s=5.0, retries=60)


class RunningService:
    """A service's process. `command` says where it listens and how to reach it."""

    def __init__(self, plan: ServicePlan, command: ServiceCommand, child: Child, log_path: str) -> None:
        self.plan = plan
        self.command = command
        self.log_path = log_path
        self._child = child
        self._code: int | None = None

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def port(self) -> int:
        return self.plan.port

    @property
    def url(self) -> str:
        """With credentials; not for logs."""
        return self.command.url

    def exit_code(self) -> int | None:
        """None while it runs."""
        if self._code is None and has_ended(self._child):
            self._code = self._child.reap()
        return self._code

    def logs(self) -> bytes:
        try:
            with open(self.log_path, "rb") as file:
                return file.read()
        except OSError:
            return b""

    def log_tail(self) -> str:
        return self.logs()[-LOG_TAIL_BYTES:].decode(errors="replace").strip()

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """End it as its kind wants to be ended, with force when it does not. Safe to call twice."""
        if self.exit_code() is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, self.command.stop_signal)
        if not wait_ended(self._child, timeout_s):
            signal_group(self.pid, signal.SIGKILL)
            wait_ended(self._child, None)
        self._code = self._child.reap()


def launch(
    provider: Provider,
    plan: ServicePlan,
    *,
    cache_dir: str,
    log_path: str,
    launcher: Launcher | None = None,
) -> tuple[RunningService, tuple[str, ...]]:
    """Prepare the data folder and start the process, without waiting for its health; the notes beside it."""
    if plan.socket_dir:
        os.makedirs(plan.socket_dir, exist_ok=True)
        if plan.user:
            os.chown(plan.socket_dir, plan.user.uid, plan.user.gid)
    notes = provider.prepare(plan, cache_dir=cache_dir)
    command = provider.command(plan)
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    log, null = os.open(log_path, flags, 0o600), os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    try:
        child = (launcher or DirectLauncher()).launch(
            Command(argv=command.argv, env=command.env, cwd=command.cwd, stdin=null, output=log)
        )
    except OSError as error:
        raise ServiceFailed(f"service {plan.name} cannot be started: {error.strerror}") from error
    finally:
        os.close(log)
        os.close(null)
    return RunningService(plan, command, child, log_path), (*notes, *command.notes)


def start(
    provider: Provider,
    plan: ServicePlan,
    *,
    cache_dir: str,
    log_path: str,
    cancellation: Cancellation,
    launcher: Launcher | None = None,
    health: HealthCheck | None = None,
    port: ReservedPort | None = None,
) -> RunningService:
    """A healthy service; `port` is released when it listens. Raises ServiceFailed and leaves nothing."""
    service, _ = launch(provider, plan, cache_dir=cache_dir, log_path=log_path, launcher=launcher)
    try:
        wait_healthy(service, health, cancellation)
    except BaseException:
        service.stop(1.0)
        raise
    finally:
        if port is not None:
            port.release()
    return service


def client_environment(command: ServiceCommand, base: Mapping[str, str]) -> dict[str, str]:
    """The environment in which the server's own tools (psql, redis-cli) reach it without arguments."""
    path = f"{command.tools_dir}:{base.get('PATH', os.defpath)}"
    return {**base, **command.client_env, "PATH": path}


def wait_healthy(service: RunningService, health: HealthCheck | None, cancellation: Cancellation) -> None:
    """Until the health command succeeds. Probes come fast at first and then at the wished interval, so that a
    start is not as slow as the interval; docker's budget (start period + retries x interval) is kept."""
    check = health or _OWN_HEALTH
    argv = check.argv or service.command.health_argv
    env = client_environment(service.command, service.command.env)
    deadline = (
        time.monotonic() + check.start_period_s + check.retries * max(check.interval_s, 0.1) + check.timeout_s
    )
    pause = PROBE_FIRST_S
    while True:
        code = service.exit_code()
        if code is not None:
            raise _failed(service, f"ended with exit code {code}")
        output = _probe(argv, env, check.timeout_s)
        if output is None:
            return
        if time.monotonic() + pause > deadline:
            last = f" (the check said: {output})" if output else ""
            raise _failed(service, f"did not become healthy{last}")
        if cancellation.wait(pause):
            raise Interrupted(f"stopped while waiting for service {service.plan.name}: {cancellation.reason}")
        pause = min(pause * 1.5, max(check.interval_s, PROBE_FIRST_S))


def _probe(argv: tuple[str, ...], env: Mapping[str, str], timeout_s: float) -> str | None:
    """None when healthy, else the check's last line."""
    try:
        outcome = subprocess.run(
            argv, env=env, cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout_s or None, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"no answer within {timeout_s:g} s"
    except OSError as error:
        return f"{argv[0]}: {error.strerror}"
    lines = outcome.stdout.decode(errors="replace").strip().splitlines()
    return None if outcome.returncode == 0 else (lines[-1] if lines else f"exit code {outcome.returncode}")


def _failed(service: RunningService, what: str) -> ServiceFailed:
    tail = service.log_tail()
    shown = f"; its log ends with:\n{tail}" if tail else "; it has written no log"
    return ServiceFailed(f"service {service.plan.name} ({service.plan.image}) {what}{shown}")
