"""The job-level keys of one instance, evaluated, and the request that its port gets."""

from __future__ import annotations

from typing import Any

from akashic.engine.calls import open_call
from akashic.engine.contexts import frame_contexts, instance_contexts, needs_context
from akashic.engine.evaluation import Refusal, flag_of, number_of, text_of, value_of
from akashic.engine.requests import JobRequest
from akashic.engine.runstate import (
    CANCEL_TIMEOUT_S_DEFAULT,
    GroupWish,
    InstancePlan,
    InstanceState,
    JobState,
    RunState,
)
from akashic.workflow.expressions.coercion import to_string
from akashic.workflow.model import Concurrency, Template

GROUP_QUEUE_MAX = 100
"""How many may wait in a group with `queue: max` (GitHub's limit)."""


def plan_of(state: RunState, instance: InstanceState) -> InstancePlan | str:
    """The instance's plan, or a sentence that says why it cannot run."""
    if instance.plan.found is None:
        try:
            instance.plan.found = _evaluate(state, state.job_of(instance), instance)
        except Refusal as refusal:
            instance.plan.found = str(refusal)
    return instance.plan.found


def run_group(state: RunState) -> GroupWish | None:
    """The concurrency group of the run's own workflow. Raises Refusal."""
    frame = state.frames[""]
    concurrency = frame.workflow.concurrency
    return None if concurrency is None else _group(concurrency, frame_contexts(state, frame))


def run_name(state: RunState) -> str:
    """The `run-name` of the run's own workflow, on one line; empty when it has none or it evaluates to
    nothing. Raises Refusal."""
    frame = state.frames[""]
    template = frame.workflow.run_name
    if template is None:
        return ""
    return " ".join(text_of(template, frame_contexts(state, frame), what="run-name").split())


def request_of(state: RunState, instance: InstanceState, plan: InstancePlan) -> JobRequest:
    """Everything that the port needs to run the instance's next attempt (while it runs: this attempt)."""
    job = state.job_of(instance)
    frame = state.frame_of(job)
    created = state.created
    attempt = instance.attempt if instance.status == "running" else next_attempt(state, instance)
    variables = created.vars
    if plan.environment:
        own = {name.lower(): values for name, values in created.environment_vars.items()}
        name = plan.environment.lower()
        # A preview's (`preview/feature/x`) are those of its template.
        template = f"{name.partition('/')[0]}/*"
        variables = {**variables, **own.get(name, own.get(template, {}))}
    permissions = job.job.permissions if job.job.permissions is not None else frame.workflow.permissions
    return JobRequest(
        run_id=created.run_id,
        key=instance.key,
        attempt=attempt,
        idempotency_key=f"{created.run_id}/{instance.key}/{attempt}",
        name=instance.name,
        job=job.job,
        workflow_path=frame.source or created.workflow_path,
        workflow_env=frame.workflow.env,
        workflow_defaults=frame.workflow.defaults,
        labels=plan.labels,
        runner_group=plan.runner_group,
        github={**created.github, "job": job.job.id, "run_attempt": str(state.attempt)},
        needs=needs_context(state, job),
        matrix=instance.matrix,
        strategy=instance.strategy,
        inputs=frame.inputs,
        vars=variables,
        environment=plan.environment,
        binding=instance.gate.binding if instance.gate is not None else None,
        permissions=permissions if permissions is not None else frame.permissions,
        secret_frames=frame.secret_frames,
        timeout_s=plan.timeout_s,
        cancel_timeout_s=plan.cancel_timeout_s,
        continue_on_error=plan.continue_on_error,
        trust=created.trust,
        base_ref_scope=str(created.github.get("base_ref") or ""),
        resumption=state.resumptions_due.get(instance.key),
    )


def next_attempt(state: RunState, instance: InstanceState) -> int:
    """Attempts of a key count up for ever, so that no attempt starts twice even when a job runs again."""
    return state.attempts.get(instance.key, 0) + 1


def _evaluate(state: RunState, job: JobState, instance: InstanceState) -> InstancePlan:
    contexts = instance_contexts(state, job, instance)
    definition = job.job
    groups = []
    if definition.concurrency is not None:
        groups.append(_group(definition.concurrency, contexts))
    if definition.uses is not None:
        call = open_call(state, job, instance)
        if call.workflow.concurrency is not None:
            groups.append(_group(call.workflow.concurrency, frame_contexts(state, call)))
    environment = ""
    if definition.environment is not None:
        environment = text_of(definition.environment.name, contexts, what="environment")
    timeout_s = 360.0 * 60
    if definition.timeout_minutes is not None:
        timeout_s = number_of(definition.timeout_minutes, contexts, what="timeout-minutes") * 60
    cancel_timeout_s = CANCEL_TIMEOUT_S_DEFAULT
    if definition.cancel_timeout_minutes is not None:
        cancel_timeout_s = 60 * number_of(
            definition.cancel_timeout_minutes, contexts, what="cancel-timeout-minutes"
        )
    group, labels = _runs_on(definition.runs_on, contexts)
    return InstancePlan(
        groups=tuple({wish.name.lower(): wish for wish in groups}.values()),
        environment=environment,
        timeout_s=timeout_s,
        cancel_timeout_s=cancel_timeout_s,
        continue_on_error=flag_of(
            definition.continue_on_error, contexts, what="continue-on-error", default=False
        ),
        labels=labels,
        runner_group=group,
    )


def _group(concurrency: Concurrency, contexts: dict[str, Any]) -> GroupWish:
    name = text_of(concurrency.group, contexts, what="the concurrency group")
    if not name:
        raise Refusal(f"{concurrency.position}: the concurrency group is empty")
    cancel = flag_of(concurrency.cancel_in_progress, contexts, what="cancel-in-progress", default=False)
    queue = "single"
    if concurrency.queue is not None:
        queue = text_of(concurrency.queue, contexts, what="queue")
    if queue not in ("single", "max"):
        raise Refusal(f"{concurrency.position}: queue must be single or max, got {queue!r}")
    if cancel and queue == "max":
        raise Refusal(f"{concurrency.position}: cancel-in-progress and queue: max exclude each other")
    return GroupWish(name=name, cancel_in_progress=cancel, queue_max=GROUP_QUEUE_MAX if queue == "max" else 1)


def _runs_on(template: Template | None, contexts: dict[str, Any]) -> tuple[str, tuple[str, ...]]:
    if template is None:
        return "", ()
    value = value_of(template, contexts)
    group = ""
    if isinstance(value, dict):
        group = to_string(value.get("group"))
        value = value.get("labels") or []
    labels = value if isinstance(value, list) else [value]
    if any(isinstance(label, (list, dict)) for label in labels):
        raise Refusal(f"{template.position}: runs-on must be a label or a list of labels")
    return group, tuple(to_string(label) for label in labels)
