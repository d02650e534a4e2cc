"""Whether an event starts a workflow, and why not.

Source: GitHub's "Events that trigger workflows" and "Workflow syntax" (`on`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from akashic.workflow.events import EVENTS
from akashic.workflow.globs import any_match, matches
from akashic.workflow.inputs import dispatch_inputs
from akashic.workflow.model import Filters, Trigger, Workflow


class TriggerEvent(msgspec.Struct, frozen=True, kw_only=True):
    """What happened. `ref` is the full ref that a filter is about (a pull request's base branch as
    `refs/heads/…` goes in `base_ref`); `changed_files` is None when it is not known (path filters then hold);
    `inputs` are what a person or a caller gave; `cron` says which schedule fired ("" for any); `workflow` is
    the name of the followed workflow for `workflow_run`."""

    name: str
    action: str = ""
    ref: str = ""
    base_ref: str = ""
    changed_files: tuple[str, ...] | None = None
    inputs: Mapping[str, Any] = {}
    cron: str = ""
    workflow: str = ""
    deleted: bool = False


class Match(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a workflow runs for an event; `reason` is a sentence for people either way."""

    matched: bool
    reason: str
    inputs: dict[str, Any] = {}


def match(workflow: Workflow, event: TriggerEvent) -> Match:
    """Whether the event starts the workflow. Raises InvalidInput when inputs are given that are not valid."""
    trigger = next((trigger for trigger in workflow.triggers if trigger.event == event.name), None)
    if trigger is None:
        events = ", ".join(trigger.event for trigger in workflow.triggers)
        return Match(matched=False, reason=f"it does not run on {event.name} (on: {events})")
    wrong = (
        _type_problem(trigger, event) or _source_problem(trigger, event) or _filter_problem(trigger, event)
    )
    if wrong:
        return Match(matched=False, reason=wrong)
    inputs: dict[str, Any] = {}
    if event.name == "workflow_dispatch":
        inputs = dispatch_inputs(trigger, event.inputs)
    return Match(matched=True, reason=f"it runs on {event.name}", inputs=inputs)


def _type_problem(trigger: Trigger, event: TriggerEvent) -> str:
    kind = EVENTS.get(event.name)
    if kind is None or kind.types is None:
        return ""
    wanted = trigger.types if trigger.types is not None else kind.defaults
    if not event.action or not wanted or event.action in wanted:
        return ""
    return f"the activity type {event.action} is not among {', '.join(wanted)}"


def _source_problem(trigger: Trigger, event: TriggerEvent) -> str:
    if event.name == "schedule" and event.cron and event.cron not in trigger.crons:
        return f"no schedule is `{event.cron}`"
    if event.name == "workflow_run" and event.workflow and not _follows(trigger.workflows, event.workflow):
        return f"it does not follow the workflow {event.workflow}"
    return ""


def _follows(patterns: Sequence[str], name: str) -> bool:
    return name in patterns or matches([pattern for pattern in patterns if "*" in pattern], name)


def _filter_problem(trigger: Trigger, event: TriggerEvent) -> str:
    filters = trigger.filters
    if event.name == "push":
        wrong = _push_ref_problem(filters, event)
        if wrong:
            return wrong
        # Path filters do not apply to pushed tags.
        return "" if event.ref.startswith("refs/tags/") else _paths_problem(filters, event)
    branch = (event.base_ref or event.ref).removeprefix("refs/heads/")
    return _branch_problem(filters, branch) or _paths_problem(filters, event)


def _push_ref_problem(filters: Filters, event: TriggerEvent) -> str:
    if event.deleted:
        return "a deleted branch or tag runs nothing"
    branch_filtered = filters.branches is not None or filters.branches_ignore is not None
    tag_filtered = filters.tags is not None or filters.tags_ignore is not None
    if event.ref.startswith("refs/tags/"):
        tag = event.ref.removeprefix("refs/tags/")
        if branch_filtered and not tag_filtered:
            return "it filters branches only, and this is a tag"
        if filters.tags is not None and not matches(filters.tags, tag):
            return f"the tag {tag} does not match `tags`"
        if filters.tags_ignore is not None and matches(filters.tags_ignore, tag):
            return f"the tag {tag} matches `tags-ignore`"
        return ""
    if tag_filtered and not branch_filtered:
        return "it filters tags only, and this is a branch"
    return _branch_problem(filters, event.ref.removeprefix("refs/heads/"))


def _branch_problem(filters: Filters, branch: str) -> str:
    if filters.branches is not None and not matches(filters.branches, branch):
        return f"the branch {branch} does not match `branches`"
    if filters.branches_ignore is not None and matches(filters.branches_ignore, branch):
        return f"the branch {branch} matches `branches-ignore`"
    return ""


def _paths_problem(filters: Filters, event: TriggerEvent) -> str:
    files = event.changed_files
    if files is None:
        return ""
    if filters.paths is not None and not any_match(filters.paths, files):
        return "no changed file matches `paths`"
    ignored = filters.paths_ignore
    if ignored is not None and files and all(matches(ignored, file) for file in files):
        return "every changed file matches `paths-ignore`"
    if ignored is not None and not files:
        return "no file changed"
    return ""
