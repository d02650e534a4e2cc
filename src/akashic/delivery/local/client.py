"""Speaks to the supervisor, and starts it where there is none."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from akashic.delivery.local.model import SupervisorState
from akashic.delivery.local.paths import LocalPaths
from akashic.delivery.local.processes import tail
from akashic.delivery.local.wire import UnreachableError, ask
from akashic.errors import AkashicError

START_TIMEOUT_S = 20.0
PING_TIMEOUT_S = 5.0
_STARTER = (
    "import os, subprocess, sys\n"
    "log = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)\n"
    "subprocess.Popen([sys.executable, '-m', 'akashic.delivery.local.daemon', sys.argv[1]], cwd='/',\n"
    "    stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)\n"
)
"""Run by a process between us and the daemon that ends at once, so that the daemon is nobody's child."""


def no_progress(text: str) -> None:
    """For callers that show none."""


class SupervisorClient:
    """The supervisor of one state folder."""

    def __init__(self, state_dir: Path) -> None:
        self.paths = LocalPaths(state_dir.resolve())

    def running(self) -> bool:
        try:
            self._ask({"op": "ping"}, no_progress, PING_TIMEOUT_S)
        except AkashicError:
            return False
        return True

    def ask(
        self,
        request: dict[str, Any],
        *,
        progress: Callable[[str], None] = no_progress,
        timeout_s: float | None = None,
    ) -> Any:
        """Have the supervisor do something; it is started first where there is none. Raises AkashicError."""
        self.ensure_running()
        return self._ask(request, progress, timeout_s)

    def ask_if_running(self, request: dict[str, Any], *, timeout_s: float | None = None) -> Any:
        """None when there is no supervisor."""
        try:
            return self._ask(request, no_progress, timeout_s)
        except UnreachableError:
            return None

    def left_alone(self) -> bool:
        """Whether a supervisor died and left environments that should run."""
        try:
            content = self.paths.state_file.read_bytes()
        except FileNotFoundError:
            return False
        try:
            state = msgspec.json.decode(content, type=SupervisorState)
        except msgspec.MsgspecError:
            return False  # Its successor finds what runs by the processes' marks.
        wanted = any(e.slots and not e.stopped for e in state.environments.values())
        return wanted and not self.running()

    def ensure_running(self) -> None:
        """Start the supervisor unless it runs. Raises AkashicError when it does not answer in time, or when
        we
        are a step of a job: it would die with the job, and everything deployed with it."""
        if self.running():
            return
        if os.environ.get("AKASHIC_JOB") and os.environ.get("AKASHIC_RUN_ID"):
            raise AkashicError(
                "the supervisor of local environments is not running, and a job cannot start it: it would "
                "end with the job",
                hint="run `akashic run` again, which starts it, or any `akashic status` outside of the job",
            )
        folder = self.paths.supervisor
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        env = {k: v for k, v in os.environ.items() if not k.startswith(("GITHUB_", "RUNNER_", "AKASHIC_"))}
        env["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
        subprocess.run(
            [sys.executable, "-c", _STARTER, str(self.paths.state_dir), str(self.paths.log)],
            env=env,
            stdin=subprocess.DEVNULL,
            check=True,
            timeout=START_TIMEOUT_S,
        )
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self.running():
            if time.monotonic() > deadline:
                raise AkashicError(
                    f"the supervisor of local environments does not start:\n{tail(self.paths.log)}",
                    hint=f"its log is {self.paths.log}",
                )
            time.sleep(0.05)

    def _ask(self, request: dict[str, Any], progress: Callable[[str], None], timeout_s: float | None) -> Any:
        if not self.paths.supervisor.is_dir():
            raise UnreachableError("there is no supervisor")
        return ask(
            self.paths.supervisor, self.paths.socket_name, request, progress=progress, timeout_s=timeout_s
        )


def ensure_running(state_dir: Path) -> None:
    """Start the supervisor of a state folder unless it runs: called before a run whose jobs may deploy."""
    SupervisorClient(state_dir).ensure_running()
