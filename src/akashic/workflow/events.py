"""The events that start workflows: their activity types, the ones that count by default, and their filters.

Source: GitHub's "Events that trigger workflows".
"""

from __future__ import annotations

import msgspec


class EventKind(msgspec.Struct, frozen=True, kw_only=True):
    """One event. `types` are its activity types (None: it has none; empty: any name, as for
    `repository_dispatch`), `defaults` those that count without `types:` (empty: all), `keys` what may stand
    below it in `on:`."""

    name: str
    types: tuple[str, ...] | None = None
    defaults: tuple[str, ...] = ()
    keys: frozenset[str] = frozenset()


_BRANCHES = frozenset({"branches", "branches-ignore"})
_PATHS = frozenset({"paths", "paths-ignore"})
_TAGS = frozenset({"tags", "tags-ignore"})
FILTER_KEYS = _BRANCHES | _PATHS | _TAGS

_PULL_REQUEST_TYPES = (
    "assigned unassigned labeled unlabeled opened edited closed reopened synchronize converted_to_draft "
    "locked unlocked enqueued dequeued milestoned demilestoned ready_for_review review_requested "
    "review_request_removed auto_merge_enabled auto_merge_disabled stacked"
)
_ISSUE_TYPES = (
    "opened edited deleted transferred pinned unpinned closed reopened assigned unassigned labeled unlabeled "
    "locked unlocked milestoned demilestoned field_added field_removed typed untyped"
)
_DISCUSSION_TYPES = (
    "created edited deleted transferred pinned unpinned labeled unlabeled locked unlocked category_changed "
    "answered unanswered"
)
_TYPES = {
    "branch_protection_rule": "created edited deleted",
    "check_run": "created rerequested completed requested_action",
    "check_suite": "completed",
    "discussion": _DISCUSSION_TYPES,
    "discussion_comment": "created edited deleted",
    "image_version": "created ready deleted",
    "issue_comment": "created edited deleted",
    "issues": _ISSUE_TYPES,
    "label": "created edited deleted",
    "merge_group": "checks_requested",
    "milestone": "created closed opened edited deleted",
    "project": "created closed reopened edited deleted",
    "project_card": "created moved converted edited deleted",
    "project_column": "created updated moved deleted",
    "pull_request": _PULL_REQUEST_TYPES,
    "pull_request_comment": "created edited deleted",
    "pull_request_review": "submitted edited dismissed",
    "pull_request_review_comment": "created edited deleted",
    "pull_request_target": _PULL_REQUEST_TYPES,
    "registry_package": "published updated",
    "release": "published unpublished created edited deleted prereleased released",
    "repository_dispatch": "",
    "watch": "started",
    "workflow_run": "completed requested in_progress",
}
_WITHOUT_TYPES = (
    "create delete deployment deployment_status fork gollum page_build public push schedule status "
    "workflow_call workflow_dispatch"
)
_DEFAULTS = {
    "pull_request": ("opened", "synchronize", "reopened"),
    "pull_request_target": ("opened", "synchronize", "reopened"),
}
_KEYS = {
    "push": _BRANCHES | _TAGS | _PATHS,
    "pull_request": _BRANCHES | _PATHS,
    "pull_request_target": _BRANCHES | _PATHS,
    "merge_group": _BRANCHES,
    "workflow_run": _BRANCHES | {"workflows"},
    "workflow_dispatch": frozenset({"inputs"}),
    "workflow_call": frozenset({"inputs", "outputs", "secrets"}),
    "image_version": frozenset({"names", "versions"}),
}


def _kinds() -> dict[str, EventKind]:
    kinds = {name: EventKind(name=name, keys=_KEYS.get(name, frozenset())) for name in _WITHOUT_TYPES.split()}
    for name, types in _TYPES.items():
        kinds[name] = EventKind(
            name=name,
            types=tuple(types.split()),
            defaults=_DEFAULTS.get(name, ()),
            keys=_KEYS.get(name, frozenset()) | {"types"},
        )
    return kinds


EVENTS = _kinds()
"""Every known event by name."""
