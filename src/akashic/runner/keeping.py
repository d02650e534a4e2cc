"""What a job knew before the step that failed: written beside its kept place, and taken up from there.

No secret is written to it: where a declared one stands, its name does, and the value is asked for again. What
a step masked by itself has no name, so the place of such a job is not kept at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeVar

import msgspec

from akashic.engine.requests import StepReport
from akashic.errors import AkashicError
from akashic.runner.actions.dispatch import find_action
from akashic.runner.state import Frame, JobState, LaterStep
from akashic.workflow.model import Step

SECRET_MARK = "\0"
"""Around the name of a secret; no variable, output or input can hold it."""
SECRET_CHARACTERS_MIN = 4
"""A shorter secret stands in every other word, and is what it is."""


T = TypeVar("T")


class _FirstStep(msgspec.Struct, frozen=True):
    first_step: int


class KeptPost(msgspec.Struct, frozen=True, kw_only=True):
    """A post part that is left to do: see `LaterStep`. `at_job_level` says whose context it sees."""

    step: Step
    name: str
    condition: str
    uses: str
    inputs: dict[str, str]
    saved: dict[str, str]
    at_job_level: bool
    env: dict[str, str] = {}
    contexts: dict[str, Any] = {}
    steps: dict[str, Any] = {}


class KeptJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job before its step `first_step` (an index of the job's steps); `number` is the last that was given
    to a step."""

    first_step: int
    number: int
    attempt: int
    matrix: Any = None
    started_at: float
    exported: dict[str, str]
    path: tuple[str, ...]
    steps: dict[str, Any]
    named: dict[str, int]
    masked: tuple[str, ...]
    matchers: tuple[tuple[Literal["add", "remove"], str], ...]
    summaries: tuple[str, ...]
    reports: tuple[StepReport, ...]
    posts: tuple[KeptPost, ...]


def snapshot(state: JobState, first_step: int) -> KeptJob:
    """The job as it is now, before its step `first_step`. Cheap: it is taken before each step."""
    frame = state.frame
    return KeptJob(
        first_step=first_step,
        number=state.number,
        attempt=state.request.attempt,
        matrix=state.request.matrix,
        started_at=state.started_at,
        exported=dict(state.exported),
        path=tuple(state.path),
        steps=dict(frame.steps),
        named=dict(frame.named),
        masked=tuple(state.masked),
        matchers=tuple(state.matchers.history),
        summaries=tuple(state.summaries),
        reports=tuple(state.finished),
        posts=tuple(_kept_post(state, later) for later in state.posts if later.uses),
    )


def pack(kept: KeptJob, secrets: Mapping[str, str]) -> bytes:
    """The snapshot as JSON, each secret's value replaced by its name."""
    names = {
        value: f"{SECRET_MARK}{name}{SECRET_MARK}"
        for name, value in secrets.items()
        if len(value) >= SECRET_CHARACTERS_MIN
    }
    # The longest first: one secret may be a part of another.
    ordered = sorted(names.items(), key=lambda item: -len(item[0]))
    return msgspec.json.encode(_replaced(msgspec.to_builtins(kept), ordered))


def first_step_of(content: bytes) -> int:
    """Which step (an index of the job's steps) a kept job begins with. Raises AkashicError."""
    return _decode(content, _FirstStep).first_step


def unpack(content: bytes, secrets: Mapping[str, str]) -> KeptJob:
    """The snapshot with the secrets as they are now. Raises AkashicError when it cannot be read, or names a
    secret that is gone."""
    ordered = [(f"{SECRET_MARK}{name}{SECRET_MARK}", value) for name, value in secrets.items()]
    plain = _replaced(_decode(content, dict[str, Any]), ordered)
    if _holds_mark(plain):
        raise AkashicError(
            "a secret that the job's earlier steps used is not there any more",
            hint="give it again with --secret, or run the whole job: akashic rerun --failed",
        )
    return _decode(msgspec.json.encode(plain), KeptJob)


def _decode(content: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(content, type=kind)
    except msgspec.MsgspecError as error:
        raise AkashicError(
            f"what was kept of the job cannot be read: {error}",
            hint="akashic rerun --failed runs the job from its beginning",
        ) from error


def take_up(state: JobState, kept: KeptJob) -> None:
    """Let the job know what it knew. Raises AkashicError."""
    frame = state.frame
    state.mask(*kept.masked)
    frame.env.update(kept.exported)
    frame.steps.update(kept.steps)
    frame.named.update(kept.named)
    state.exported.update(kept.exported)
    state.path.extend(kept.path)
    state.matchers.replay(kept.matchers)
    for summary in kept.summaries:
        state.keep((), summary)
    for post in kept.posts:
        state.posts.append(_later_step(state, post))
    state.number = kept.number
    # What the earlier steps wrote is this attempt's report, too.
    state.started_at = kept.started_at


def tell_reused(state: JobState, kept: KeptJob) -> None:
    """Report the steps that are not run again."""
    for report in kept.reports:
        reused = msgspec.structs.replace(report, reused_from=report.reused_from or kept.attempt)
        state.reporter.step_finished(reused)
        state.finished.append(reused)
        state.keep(reused.annotations, "")


def _kept_post(state: JobState, later: LaterStep) -> KeptPost:
    at_job_level = later.frame is state.frame
    return KeptPost(
        step=later.step,
        name=later.name,
        condition=later.condition,
        uses=later.uses,
        inputs=dict(later.inputs),
        saved=dict(later.saved),
        at_job_level=at_job_level,
        env={} if at_job_level else dict(later.frame.env),
        contexts={} if at_job_level else dict(later.frame.contexts),
        steps={} if at_job_level else dict(later.frame.steps),
    )


def _later_step(state: JobState, kept: KeptPost) -> LaterStep:
    frame = state.frame
    if not kept.at_job_level:
        frame = Frame(
            env=dict(kept.env),
            contexts=dict(kept.contexts),
            cancellation=state.cancellation,
            steps=dict(kept.steps),
        )
    action = find_action(state, kept.uses)
    saved = dict(kept.saved)
    if action.builtin is not None:
        # Imported here: it brings the stores along, and most jobs start without them.
        from akashic.runner.actions.builtin import builtin_post

        body = builtin_post(action.builtin, kept.inputs, saved)
    else:
        from akashic.runner.actions.javascript import part

        assert action.metadata is not None and action.metadata.runs.post, kept.uses
        body = part(action, action.metadata.runs.post, kept.inputs, saved)
    return LaterStep(
        kept.step, kept.name, kept.condition, frame, body, uses=kept.uses, inputs=kept.inputs, saved=saved
    )


def _replaced(value: Any, pairs: list[tuple[str, str]]) -> Any:
    if isinstance(value, str):
        for old, new in pairs:
            if old in value:
                value = value.replace(old, new)
        return value
    if isinstance(value, dict):
        return {name: _replaced(item, pairs) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_replaced(item, pairs) for item in value]
    return value


def _holds_mark(value: Any) -> bool:
    if isinstance(value, str):
        return SECRET_MARK in value
    if isinstance(value, dict):
        return any(_holds_mark(item) for item in value.values())
    return isinstance(value, list) and any(_holds_mark(item) for item in value)
