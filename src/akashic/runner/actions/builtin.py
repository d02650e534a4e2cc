"""Built-in actions: run in this process, seeing of the job what `ActionContext` shows.

Source of the protocol: `akashic.actions.protocol`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from akashic.actions.protocol import Builtin, Level, resolve_inputs
from akashic.actions.scopes import cache_scopes
from akashic.cancellation import Cancellation
from akashic.engine.requests import Annotation, Conclusion
from akashic.errors import AkashicError
from akashic.executors.protocol import ExitStatus, Sandbox, Tree
from akashic.runner.calls import TIMEOUT_SOURCE, Body, Call, make_commands
from akashic.runner.output import LineWriter, StepOutput
from akashic.runner.services import action_variables
from akashic.runner.state import LaterStep
from akashic.runner.variables import without_loader_variables
from akashic.workflow.expressions import interpolate
from akashic.workflow.expressions.coercion import to_string

if TYPE_CHECKING:
    from akashic.journal.artifacts import ArtifactStore
    from akashic.journal.caches import CacheScopes, CacheStore

OUTPUT_BYTES_MAX = 16 * 1024 * 1024
"""What `exec` returns of a command's output at most."""


def run_builtin(call: Call, builtin: Builtin, given: Mapping[str, str]) -> Conclusion:
    """Run the main part, and leave the post part for the end of the job. Raises ActionFailed."""

    def evaluate(text: str) -> str:
        return to_string(interpolate(text, call.scope, call.step.position))

    resolved = resolve_inputs(builtin, given, evaluate)
    for warning in resolved.warnings:
        call.commands.warning(warning)
    context = BuiltinContext(call, resolved.values, {})
    if builtin.post is not None:
        body = builtin_post(builtin, resolved.values, context.saved)
        name = call.name if call.step.name is not None else call.name.removeprefix("Run ")
        with call.state.lock:
            call.state.posts.append(
                LaterStep(
                    call.step,
                    name,
                    builtin.post_if,
                    call.frame,
                    body,
                    uses=call.step.uses or "",
                    inputs=resolved.values,
                    saved=context.saved,
                )
            )
    builtin.main(context)
    return _conclude(call)


def builtin_post(builtin: Builtin, inputs: Mapping[str, str], saved: Mapping[str, str]) -> Body:
    """The body of the post part of an action that has one."""
    post = builtin.post
    assert post is not None

    def body(later: Call) -> Conclusion:
        post(BuiltinContext(later, inputs, saved))
        return _conclude(later)

    return body


def _conclude(call: Call) -> Conclusion:
    if not call.cancellation.is_set():
        return "failure" if call.effects.failed else "success"
    if call.cancellation.source == TIMEOUT_SOURCE:
        call.fail(f"The action '{call.name}' has timed out after {(call.timeout_s or 0) / 60:g} minutes.")
        return "timed_out"
    call.fail("The operation was canceled.")
    return "cancelled"


class BuiltinContext:
    """Implements `akashic.actions.protocol.ActionContext` for one call."""

    def __init__(self, call: Call, inputs: Mapping[str, str], state: Mapping[str, str]) -> None:
        self._call = call
        job = call.state
        self.inputs: Mapping[str, str] = inputs
        self.env: Mapping[str, str] = call.process_env({})
        self.github: Mapping[str, Any] = call.scope.contexts["github"]
        self.job_status: Literal["success", "failure", "cancelled"] = job.job_status
        self.sandbox: Sandbox = job.sandbox
        self.tree: Tree = job.parts.tree
        self.repository: str = job.parts.repository
        self.artifacts: ArtifactStore = job.parts.artifacts
        self.caches: CacheStore = job.parts.caches
        request = job.request
        self.cache_scopes: CacheScopes = cache_scopes(self.github, request.trust, request.base_ref_scope)
        self.trust: Literal["trusted", "fork"] = request.trust
        self.run_id: str = request.run_id
        self.run_attempt: int = request.run_attempt
        self.job_key: str = request.key
        self.state: Mapping[str, str] = state
        self.saved: dict[str, str] = {}
        self.cancellation: Cancellation = call.cancellation

    def output(self, name: str, value: str) -> None:
        self._call.effects.outputs[name] = value

    def set_env(self, name: str, value: str) -> None:
        self._call.effects.env[name] = value
        self._call.env[name] = value

    def add_path(self, path: str) -> None:
        self._call.effects.path.append(path)

    def save_state(self, name: str, value: str) -> None:
        self.saved[name] = value

    def mask(self, secret: str) -> None:
        self._call.state.mask(secret)

    def log(self, text: str) -> None:
        self._call.say(text)

    @contextlib.contextmanager
    def group(self, title: str) -> Iterator[None]:
        self._call.say(f"##[group]{title}")
        try:
            yield
        finally:
            self._call.say("##[endgroup]")

    def annotate(
        self, level: Level, message: str, *, title: str = "", file: str = "", line: int = 0, column: int = 0
    ) -> None:
        if level == "debug":
            if self._call.state.parts.step_debug:
                self._call.say(f"##[debug]{message}")
            return
        self._call.say(f"##[{level}]{message}")
        annotation = Annotation(
            level=level, message=message, title=title, file=file, line=line, column=column
        )
        self._call.effects.annotate(annotation, mask=self._call.state.masker.mask_text)

    def summary(self, markdown: str) -> None:
        self._call.effects.summary += self._call.state.masker.mask_text(markdown)

    def exec(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        log: bool = True,
        stdin: bytes | None = None,
        commands: bool = False,
        timeout_s: float | None = None,
    ) -> tuple[ExitStatus, bytes]:
        call = self._call
        state = call.state
        variables = state.process_env(call.env, {"GITHUB_ACTION": call.id})
        if call.effects.path:
            variables["PATH"] = ":".join((*reversed(call.effects.path), variables.get("PATH", "")))
        if commands:
            # The user's own program in an action, as a JavaScript action's is.
            variables |= call.slot.environment() | action_variables(call)
        else:
            # The runner's own helper, not the user's program: nothing may load itself into it.
            variables = without_loader_variables(variables)
        output = StepOutput(
            LineWriter(state.masker, state.log.sink(call.number)), state.masker, state.matchers
        )
        if commands:
            output.commands, output.effects = make_commands(call, output), call.effects
        kept: list[bytes] = []
        size = 0

        def take(chunk: bytes) -> None:
            nonlocal size
            if size < OUTPUT_BYTES_MAX:
                kept.append(chunk[: OUTPUT_BYTES_MAX - size])
                size += len(kept[-1])
            if log:
                output.feed(chunk)

        status = state.sandbox.exec(
            argv,
            env={**variables, **(env or {})},
            cwd=cwd or state.sandbox.workspace,
            on_output=take,
            cancellation=call.cancellation,
            timeout_s=timeout_s,
            stdin=stdin,
        )
        output.finish()
        if commands:
            call.take_files()
            if call.effects.failed:
                raise AkashicError("a workflow command or environment file was not valid")
        return status, b"".join(kept)
