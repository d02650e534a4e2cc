"""Standing still at a step: before it, or after it failed, with a shell in its exact environment."""

from __future__ import annotations

import os
import subprocess
from typing import Protocol, runtime_checkable

from akashic.executors.protocol import Unsupported
from akashic.runner.calls import Call
from akashic.runner.parts import Stop
from akashic.runner.scripts import ScriptCommand


@runtime_checkable
class InteractiveSandbox(Protocol):
    """A sandbox that can give a terminal a process inside it."""

    def interactive(self, argv: list[str], *, env: dict[str, str], cwd: str) -> int:
        """Run `argv` on the caller's own terminal, inside the sandbox; its exit code."""
        ...


def open_shell(stop: Stop, *, shell: str = "bash") -> int:
    """Open an interactive shell where the step runs, on this process's terminal; its exit code.

    The shell has the step's environment, secrets included: what is typed there is not masked. Raises
    Unsupported where the sandbox is not on this machine.
    """
    env = {**stop.env, "TERM": os.environ.get("TERM", "dumb"), "PS1": f"akashic:{stop.job_key} \\w \\$ "}
    argv = [shell, "--noprofile", "--norc", "-i"] if shell.endswith("bash") else [shell, "-i"]
    if isinstance(stop.sandbox, InteractiveSandbox):
        return stop.sandbox.interactive(argv, env=env, cwd=stop.cwd)
    folder = stop.sandbox.host_path(stop.cwd)
    try:
        return subprocess.run(argv, env=env, cwd=folder, check=False).returncode
    except OSError as error:
        raise Unsupported(f"cannot open a shell in {folder}: {error.strerror}") from error


def ask_before(call: Call) -> bool:
    """Stop before the step when the user named it; whether the job shall end here."""
    parts = call.state.parts
    if parts.breakpoint is None or not parts.break_at or call.frame.parent is not None:
        return False
    request = call.state.request
    names = {call.step.id, call.name, str(call.number)} - {""}
    wanted = {f"{job}/{step}" for job in (request.key, request.job.id) for step in names}
    if not wanted & parts.break_at or parts.breakpoint(_stop(call, "before", "")) != "abort":
        return False
    call.state.aborted = True
    return True


def ask_failed(call: Call) -> bool:
    """Stop at a failed step when the user wants it; whether the step shall run again."""
    parts = call.state.parts
    if parts.breakpoint is None or not parts.break_on_failure or call.state.cancelled:
        return False
    answer = parts.breakpoint(_stop(call, "failed", call.error))
    if answer == "abort":
        call.state.aborted = True
    return answer == "retry"


def _stop(call: Call, moment: str, reason: str) -> Stop:
    cwd = call.state.sandbox.workspace
    env = call.process_env({})
    if call.step.run is not None:
        command = ScriptCommand(call)
        cwd, env = command.cwd, command.env
    return Stop(
        job_key=call.state.request.key,
        number=call.number,
        name=call.name,
        id=call.step.id,
        moment="before" if moment == "before" else "failed",
        reason=reason,
        sandbox=call.state.sandbox,
        env=env,
        cwd=cwd,
        cancelled=lambda: call.state.cancelled,
    )
