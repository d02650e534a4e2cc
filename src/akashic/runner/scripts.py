"""`run:` steps: a script file, a shell, a working directory.

Source: GitHub's "Workflow syntax": `steps[*].run`, `shell`, `working-directory`, `defaults.run`.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator
from contextlib import contextmanager

from akashic.engine.requests import Conclusion
from akashic.errors import AkashicError
from akashic.executors.protocol import Unsupported
from akashic.runner.calls import Call
from akashic.runner.services import script_variables
from akashic.runner.shells import Shell, find_shell
from akashic.runner.state import JobState
from akashic.workflow.expressions import ExpressionError
from akashic.workflow.model import Template

SHOWN_LINES_MAX = 500
"""Of a longer script the log shows the beginning."""


class ScriptCommand:
    """A script made ready: its shell, where it runs, and what runs it."""

    __slots__ = ("argv", "cwd", "env", "shell", "text")

    def __init__(self, call: Call) -> None:
        step = call.step
        assert step.run is not None
        self.text = call.text(step.run)
        with _naming(_inherited(call, "shell")) as shell:
            self.shell = find_shell(call.text(shell), default=call.state.default_shell)
        with _naming(_inherited(call, "working_directory")) as folder:
            self.cwd = _working_directory(call.state, call.text(folder))
        path = f"{call.state.slots.folder}/{os.urandom(8).hex()}{self.shell.suffix}"
        call.state.sandbox.write(path, self.shell.script(self.text), executable=True)
        self.argv = self.shell.command(path)
        self.env = call.process_env(script_variables(call))


def run_script(call: Call) -> Conclusion:
    """Run a `run:` step. Raises AkashicError for a shell, folder or expression that is not valid."""
    command = ScriptCommand(call)
    call.say(_header(call, command.text, command.shell))
    status = call.execute(command.argv, env=command.env, cwd=command.cwd)
    return call.conclude(status)


@contextmanager
def _naming(template: Template | None) -> Iterator[Template | None]:
    """What is wrong with the value is told with its place, which may be that of a default."""
    try:
        yield template
    except AkashicError as error:
        if template is None or isinstance(error, ExpressionError):
            raise
        raise AkashicError(f"{template.position}: {error.message}", hint=error.hint) from error


def _inherited(call: Call, name: str) -> Template | None:
    """The step's own value, or the job's or workflow's default. A composite action's steps inherit
    nothing."""
    own: Template | None = getattr(call.step, name)
    if own is not None or call.frame.parent is not None:
        return own
    request = call.state.request
    job_default: Template | None = getattr(request.job.defaults, name)
    workflow_default: Template | None = getattr(request.workflow_defaults, name)
    return job_default if job_default is not None else workflow_default


def _working_directory(state: JobState, value: str) -> str:
    workspace = state.sandbox.workspace
    if not value:
        return workspace
    if "\0" in value:
        raise AkashicError("working-directory: must not contain a NUL character")
    path = posixpath.normpath(posixpath.join(workspace, value))
    try:
        host = state.sandbox.host_path(path)
    except Unsupported:
        return path
    # In a container a link may lead to what only the container has.
    known = os.path.isdir(host) or (host != path and os.path.islink(host))  # noqa: PTH112, PTH114
    if not known:
        raise AkashicError(
            f"working-directory: no such folder: '{value}'",
            hint=f"It is relative to the workspace, {workspace}; a checkout or an earlier step must have "
            "made it.",
        )
    return path


def _header(call: Call, script: str, shell: Shell) -> str:
    lines = script.rstrip("\n").split("\n")
    shown = lines[:SHOWN_LINES_MAX]
    if len(lines) > SHOWN_LINES_MAX:
        shown.append(f"… {len(lines) - SHOWN_LINES_MAX} more lines")
    first = next((line for line in lines if line.strip()), "")
    return "\n".join(
        (f"##[group]Run {first.strip()}", *shown, f"shell: {shell.shown}", *env_lines(call), "##[endgroup]")
    )


def env_lines(call: Call) -> list[str]:
    """The `env:` part of a step's header; secrets are masked where the log is written."""
    if not call.env:
        return []
    return ["env:", *(f"  {name}: {value}" for name, value in call.env.items())]
