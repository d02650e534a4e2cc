"""Runs one attempt of one job: opens its place, runs its steps, ends it, and says how it went.

Source of the behaviour: GitHub's "Workflow syntax", "Contexts", "Workflow cancellation" and the runner.
"""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

from akashic.cancellation import Cancellation
from akashic.driver.ports import JOB_TIMEOUT, JobReporter
from akashic.engine.requests import Conclusion, JobRequest, JobResult
from akashic.errors import AkashicError
from akashic.executors.protocol import KeepingExecutor, KeepingSandbox, Sandbox
from akashic.runner import places
from akashic.runner.actions.prepare import find_actions
from akashic.runner.background import BackgroundSteps
from akashic.runner.early_contexts import early_contexts
from akashic.runner.file_slots import FileSlots
from akashic.runner.framing import PseudoStep
from akashic.runner.hash_files import hash_files
from akashic.runner.job_secrets import resolve_secrets
from akashic.runner.joblog import JobLog
from akashic.runner.keeping import KeptJob, pack, snapshot, take_up, tell_reused, unpack
from akashic.runner.later_steps import run_image_steps, run_posts, run_pres
from akashic.runner.masking import Masker
from akashic.runner.outputs import job_outputs
from akashic.runner.parts import RunnerParts
from akashic.runner.reports import collect_reports
from akashic.runner.sandbox_spec import build_spec
from akashic.runner.services import close_services
from akashic.runner.shells import IN_CONTAINER, IN_IMAGE, Shell, on_path
from akashic.runner.state import Frame, JobState
from akashic.runner.steps import StepRunner
from akashic.runner.variables import (
    akashic_variables,
    early_runner_context,
    github_variables,
    runner_context,
    runner_variables,
    workflow_of_job,
)
from akashic.source.position import placed
from akashic.workflow.expressions import Scope, interpolate
from akashic.workflow.expressions.coercion import to_string

SERVICE_LOG_BYTES_MAX = 64 * 1024


class JobRunner:
    """Implements `driver.ports.JobPort`. Thread-safe: each call of `run` has state of its own."""

    def __init__(self, parts: RunnerParts) -> None:
        self._parts = parts

    def run(self, request: JobRequest, reporter: JobReporter, cancellation: Cancellation) -> JobResult:
        """Run one attempt to its end. Raises AkashicError when the attempt could not run at all."""
        return _Attempt(self._parts, request, reporter, cancellation).run()

    def recover(self, idempotency_key: str) -> JobResult | None:
        """A job lives in the process that started it: after a crash its outcome is unknown, and what is left
        of it is removed."""
        del idempotency_key
        self._parts.executor.sweep()
        return None


class _Attempt:
    def __init__(
        self, parts: RunnerParts, request: JobRequest, reporter: JobReporter, cancellation: Cancellation
    ) -> None:
        self._parts = parts
        self._request = request
        self._reporter = reporter
        self._outer = cancellation
        self._masker = Masker()
        self._cancellation = Cancellation()
        self._started_at = parts.clock.now()
        self._secrets: dict[str, str] = {}
        self._sandbox: Sandbox | None = None
        self._state: JobState | None = None
        self._in_container = False
        self._before: KeptJob | None = None
        """The job before the step that is being run, while none has failed."""

    def run(self) -> JobResult:
        request = self._request
        writer = self._parts.logs.writer(request.run_id, request.key, request.attempt)
        log = JobLog(writer, self._reporter, self._parts.clock)
        forget = self._outer.on_cancel(self._pass_on)
        try:
            return self._run(log)
        finally:
            forget()
            log.close()

    def _pass_on(self) -> None:
        outer = self._outer
        self._cancellation.cancel(source=outer.source, reason=outer.reason, force=outer.force)

    def _run(self, log: JobLog) -> JobResult:
        set_up = PseudoStep(self._parts, self._reporter, log, self._masker, 1, "Set up job")
        begun = False
        try:
            try:
                state, taken_up = self._set_up(set_up, log)
            except AkashicError as error:
                return self._not_started(set_up, error)
            if self._request.job.snapshot is not None:
                set_up.say("snapshot: no image of this runner is made here")
            set_up.end("success")
            self._reporter.job_ready(tuple(state.sandbox.notes))
            if taken_up is not None:
                tell_reused(state, taken_up)
            begun = True
            return self._steps(state, log)
        finally:
            if self._state is not None:
                close_services(self._state)
                self._state.slots.close()
                if begun:
                    self._keep(self._state)
            if self._sandbox is not None:
                self._sandbox.close()

    def _set_up(self, set_up: PseudoStep, log: JobLog) -> tuple[JobState, KeptJob | None]:
        """The job with its place open, and the earlier attempt that it goes on from. Raises AkashicError."""
        self._secrets = resolve_secrets(self._request, self._parts.secrets, self._masker)
        contexts, env = early_contexts(self._request, self._secrets)
        set_up.name_job(self._request, self._parts)
        # Before the place is open: inside it, this machine's folders may be out of sight.
        actions = find_actions(self._parts.actions, self._request.job.steps, set_up.say)
        if any(a.metadata is not None and a.metadata.runs.using == "docker" for a in actions.values()):
            # Imported here: most jobs run no container of their own.
            from akashic.runner.actions.docker import refuse_docker

            refuse_docker(actions.values(), self._parts.executor.capabilities)
        kept, taken_up = self._kept_job(), None
        self._sandbox = sandbox = self._open(contexts, env, set_up)
        self._state = state = self._first_state(sandbox, log, contexts, env)
        state.actions = actions
        if kept is not None and isinstance(sandbox, KeepingSandbox):
            # What goes wrong until the first step runs leaves the place as it was.
            sandbox.keep(kept)
            taken_up = unpack(kept, self._secrets)
            self._take_up(state, sandbox, taken_up, set_up)
        notes = [*sandbox.notes, *(note for info in sandbox.services.values() for note in info.notes)]
        for line in dict.fromkeys(notes):
            set_up.say(line)
        return state, taken_up

    def _kept_job(self) -> bytes | None:
        """What is known of the attempt that this one takes up; None when it begins at the beginning."""
        resumption, executor = self._request.resumption, self._parts.executor
        if resumption is None:
            return None
        kept = None
        if isinstance(executor, KeepingExecutor):
            kept = executor.kept_state(self._request.run_id, self._request.key, resumption.attempt)
        if kept is None:
            raise AkashicError(
                f"the workspace of attempt {resumption.attempt} is not kept any more",
                hint="akashic rerun --failed runs the job from its beginning",
            )
        return kept

    def _take_up(self, state: JobState, sandbox: KeepingSandbox, kept: KeptJob, set_up: PseudoStep) -> None:
        if kept.matrix != self._request.matrix:
            raise AkashicError("the job's matrix is not what it was; akashic rerun --failed begins anew")
        set_up.say(
            f"Taken up where attempt {kept.attempt} failed, in its workspace: {state.sandbox.workspace}"
        )
        if self._request.environment:
            set_up.say("Its files stay as they were: what an environment lets pass holds for a commit")
        elif self._parts.newest_tree is not None:
            for line in sandbox.refresh(self._parts.newest_tree()):
                set_up.say(line)
        take_up(state, kept)

    def _keep(self, state: JobState) -> None:
        """Have the place kept when a step failed, so that the job can be taken up there."""
        if not isinstance(state.sandbox, KeepingSandbox):
            return
        if state.job_status == "success":
            state.sandbox.keep(None)
        elif not set(state.masked) <= set(self._secrets.values()):
            # What a step masked by itself has no name to ask for it again, and no secret is ever stored.
            state.sandbox.keep(None)
        elif self._before is not None and state.failed and not state.cancelled:
            with suppress(UnicodeEncodeError):  # Half a character that a step exported cannot be written.
                state.sandbox.keep(pack(self._before, self._secrets))

    def _not_started(self, set_up: PseudoStep, error: AkashicError) -> JobResult:
        message = self._masker.mask_text(placed(error.message, self._request.job.position))
        set_up.fail(message, self._masker.mask_text(error.hint))
        cancelled = self._cancellation.is_set()
        conclusion: Conclusion = "cancelled" if cancelled else "failure"
        if self._cancellation.source == JOB_TIMEOUT:
            conclusion = "timed_out"
        return self._result(conclusion, reason=self._cancellation.reason if cancelled else message)

    def _open(self, contexts: dict[str, Any], env: dict[str, str], set_up: PseudoStep) -> Sandbox:
        runner = early_runner_context(debug=self._parts.step_debug)
        scope = Scope(contexts={**contexts, "env": env, "runner": runner})
        spec = build_spec(self._request, self._parts, scope)
        self._in_container = spec.container is not None
        return self._parts.executor.open(spec, cancellation=self._cancellation, say=set_up.say)

    def _default_shell(self, sandbox: Sandbox) -> Shell:
        """What runs a script that names no shell: GitHub's "Running jobs in a container" says sh there."""
        if self._in_container:
            return IN_CONTAINER
        return IN_IMAGE if places.in_container(sandbox) else on_path(sandbox.base_env.get("PATH", ""))

    def _first_state(
        self, sandbox: Sandbox, log: JobLog, contexts: dict[str, Any], env: dict[str, str]
    ) -> JobState:
        request, parts = self._request, self._parts
        event_path = places.event_path(sandbox)
        event = contexts["github"].get("event") or {}
        sandbox.write(event_path, json.dumps(event, ensure_ascii=False).encode("utf-8", "surrogatepass"))
        contexts["github"] |= {"workspace": sandbox.workspace, "event_path": event_path}
        runner = runner_context(sandbox, debug=parts.step_debug)
        contexts["runner"] = runner
        services = {
            name: {"id": info.id, "network": info.network, "ports": dict(info.ports)}
            for name, info in sandbox.services.items()
        }
        contexts["job"] = {
            "status": "success",
            "container": dict(sandbox.container),
            "services": services,
            **workflow_of_job(request),
        }
        fixed = github_variables(contexts["github"]) | runner_variables(runner)
        fixed |= akashic_variables(request)
        if places.sees(sandbox, str(parts.state_dir)):
            fixed |= {"AKASHIC_STATE": str(parts.state_dir), "AKASHIC_ROOT": parts.tree.root}
        base = {"CI": "true", **sandbox.base_env, **parts.extra_env}
        if parts.executable_folder and places.sees(sandbox, parts.executable_folder):
            base["PATH"] = f"{base.get('PATH', '')}:{parts.executable_folder}".removeprefix(":")
        state = JobState(
            request=request,
            parts=parts,
            reporter=self._reporter,
            sandbox=sandbox,
            masker=self._masker,
            log=log,
            cancellation=self._cancellation,
            contexts=contexts,
            base_env=base,
            fixed_env=fixed,
            frame=Frame(env=env, contexts={}, cancellation=self._cancellation),
            slots=FileSlots(sandbox),
            default_shell=self._default_shell(sandbox),
            started_at=self._started_at,
        )
        state.hash_files = lambda patterns: hash_files(sandbox, patterns)
        return state

    def _steps(self, state: JobState, log: JobLog) -> JobResult:
        runner = StepRunner(state)
        background = BackgroundSteps(state, runner)
        run_image_steps(state, runner)
        resumption = self._request.resumption
        first = resumption.first_step if resumption is not None else 0
        run_pres(state, runner, first)
        for index, step in enumerate(self._request.job.steps[first:], first):
            if self._parts.keep_failed and not state.failed and background.idle:
                self._before = snapshot(state, index)
            background.run(step)
        background.wait_rest()
        run_posts(state, runner)
        return self._complete(state, log)

    def _complete(self, state: JobState, log: JobLog) -> JobResult:
        end = PseudoStep(
            self._parts, self._reporter, log, self._masker, state.next_number(), "Complete job", state=state
        )
        if state.failed:
            self._service_logs(state, end)
        url = ""
        try:
            outputs = job_outputs(state, end.warn)
            url = self._environment_url(state)
        except AkashicError as error:
            outputs = {}
            state.failed = True
            end.warn(self._masker.mask_text(error.message), level="error")
        collect_reports(state, end.say)
        end.say("Cleaning up orphan processes")
        end.end("success")
        conclusion: Conclusion = state.job_status
        if self._cancellation.source == JOB_TIMEOUT:
            conclusion = "timed_out"
        reason = self._cancellation.reason if conclusion in ("cancelled", "timed_out") else ""
        if conclusion == "failure":
            reason = state.reason
        result = self._result(conclusion, reason=reason)
        return JobResult(
            conclusion=result.conclusion,
            outputs=outputs,
            reason=result.reason,
            environment_url=self._masker.mask_text(url),
            started_at=result.started_at,
            duration_s=result.duration_s,
            summary="\n".join(state.summaries),
            annotations=tuple(state.annotations),
            reports=tuple(state.reports),
            notes=tuple(self._masker.mask_text(note) for note in (*state.sandbox.notes, *state.notes)),
        )

    def _service_logs(self, state: JobState, end: PseudoStep) -> None:
        for name in state.sandbox.services:
            output = state.sandbox.service_logs(name)[-SERVICE_LOG_BYTES_MAX:]
            end.say(
                f"##[group]Service {name}: log\n{output.decode('utf-8', 'replace').rstrip()}\n##[endgroup]"
            )

    def _environment_url(self, state: JobState) -> str:
        environment = self._request.job.environment
        if environment is None or environment.url is None:
            return ""
        scope = state.scope(state.frame, state.frame.env)
        return to_string(interpolate(environment.url.value, scope, environment.url.position))

    def _result(self, conclusion: Conclusion, *, reason: str) -> JobResult:
        return JobResult(
            conclusion=conclusion,
            reason=reason,
            started_at=self._started_at,
            duration_s=self._parts.clock.now() - self._started_at,
        )
