"""Which contexts and special functions may be used at which key of a workflow or an action.

Source: GitHub's "Contexts reference" (table "Context availability") and its published workflow schema.
"""

from __future__ import annotations

import msgspec

KNOWN_CONTEXTS = frozenset(
    [
        "github",
        "env",
        "vars",
        "job",
        "jobs",
        "steps",
        "runner",
        "secrets",
        "strategy",
        "matrix",
        "needs",
        "inputs",
    ]
)
"""Every context of GitHub's."""
GITHUB_VARIABLES = (
    "action",
    "action_path",
    "action_ref",
    "action_repository",
    "actor",
    "actor_id",
    "api_url",
    "base_ref",
    "env",
    "event_name",
    "event_path",
    "graphql_url",
    "head_ref",
    "job",
    "output",
    "path",
    "ref",
    "ref_name",
    "ref_protected",
    "ref_type",
    "repository",
    "repository_id",
    "repository_owner",
    "repository_owner_id",
    "retention_days",
    "run_attempt",
    "run_id",
    "run_number",
    "server_url",
    "sha",
    "state",
    "step_summary",
    "triggering_actor",
    "workflow",
    "workflow_ref",
    "workflow_sha",
    "workspace",
)
"""Properties of `github` that steps have as GITHUB_* variables, too."""
GITHUB_PROPERTIES = frozenset(GITHUB_VARIABLES) | {
    "action_status",
    "artifact_cache_size_limit",
    "event",
    "repository_visibility",
    "repositoryurl",
    "secret_source",
    "token",
}
"""Every property of the `github` context."""


class Availability(msgspec.Struct, frozen=True):
    """What one key may use; `functions` are the special ones, in lower case (all others are always there)."""

    contexts: frozenset[str]
    functions: frozenset[str] = frozenset()


def _at(contexts: str, functions: str = "") -> Availability:
    return Availability(frozenset(contexts.split()), frozenset(functions.split()))


_STATUS = "always cancelled success failure"
_BASE = "github inputs vars"
_NEEDS = _BASE + " needs"
_STRATEGY = _NEEDS + " strategy matrix"
_RUNNING = _STRATEGY + " steps job runner env"
_STEP = _at(_RUNNING + " secrets", "hashfiles")

AVAILABILITY: dict[str, Availability] = {
    "run-name": _at(_BASE),
    "concurrency": _at(_BASE),
    "env": _at(_BASE + " secrets"),
    "on.workflow_call.inputs.<inputs_id>.default": _at(_BASE),
    "on.workflow_call.outputs.<output_id>.value": _at(_BASE + " jobs"),
    "jobs.<job_id>.concurrency": _at(_STRATEGY),
    "jobs.<job_id>.container": _at(_STRATEGY),
    "jobs.<job_id>.container.credentials": _at(_STRATEGY + " env secrets"),
    "jobs.<job_id>.container.env.<env_id>": _at(_RUNNING + " secrets"),
    "jobs.<job_id>.container.image": _at(_STRATEGY),
    "jobs.<job_id>.continue-on-error": _at(_STRATEGY),
    "jobs.<job_id>.defaults.run": _at(_STRATEGY + " env"),
    "jobs.<job_id>.env": _at(_STRATEGY + " secrets"),
    "jobs.<job_id>.environment": _at(_STRATEGY),
    "jobs.<job_id>.environment.url": _at(_RUNNING),
    "jobs.<job_id>.if": _at(_NEEDS, _STATUS),
    "jobs.<job_id>.name": _at(_STRATEGY),
    "jobs.<job_id>.outputs.<output_id>": _at(_RUNNING + " secrets"),
    "jobs.<job_id>.runs-on": _at(_STRATEGY),
    "jobs.<job_id>.secrets.<secrets_id>": _at(_STRATEGY + " secrets"),
    "jobs.<job_id>.services": _at(_STRATEGY),
    "jobs.<job_id>.services.<service_id>.credentials": _at(_STRATEGY + " env secrets"),
    "jobs.<job_id>.services.<service_id>.env.<env_id>": _at(_RUNNING + " secrets"),
    "jobs.<job_id>.snapshot.if": _at(_STRATEGY),
    "jobs.<job_id>.steps.continue-on-error": _STEP,
    "jobs.<job_id>.steps.env": _STEP,
    "jobs.<job_id>.steps.if": _at(_RUNNING, _STATUS + " hashfiles"),
    "jobs.<job_id>.steps.name": _STEP,
    "jobs.<job_id>.steps.run": _STEP,
    "jobs.<job_id>.steps.timeout-minutes": _STEP,
    "jobs.<job_id>.steps.with": _STEP,
    "jobs.<job_id>.steps.working-directory": _STEP,
    "jobs.<job_id>.strategy": _at(_NEEDS),
    "jobs.<job_id>.timeout-minutes": _at(_STRATEGY),
    "jobs.<job_id>.with.<with_id>": _at(_STRATEGY),
}
"""Availability by key, as GitHub's table names the keys."""

_ACTION_RUNNING = "github inputs strategy matrix steps job runner env"
_ACTION_STEP = _at(_ACTION_RUNNING, "hashfiles")

ACTION_AVAILABILITY: dict[str, Availability] = {
    "inputs.<input_id>.default": _at("github strategy matrix job runner", "hashfiles"),
    "outputs.<output_id>.value": _at(_ACTION_RUNNING),
    "runs.pre-if": _at("runner github job strategy matrix env inputs", _STATUS + " hashfiles"),
    "runs.post-if": _at("runner github job strategy matrix env inputs", _STATUS + " hashfiles"),
    "runs.args": _at("inputs"),
    "runs.env": _at("inputs"),
    "runs.steps": _ACTION_STEP,
    "runs.steps.if": _at(_ACTION_RUNNING, _STATUS + " hashfiles"),
}
"""The same for an action's metadata file."""

NOTHING = Availability(frozenset())
"""A key that takes no expression at all."""
