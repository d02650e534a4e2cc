"""What is known of a job before its place is open, and what the place may depend on: contexts and `env`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from akashic.engine.requests import JobRequest
from akashic.errors import AkashicError
from akashic.runner.job_secrets import TOKEN
from akashic.workflow.expressions import Scope, interpolate
from akashic.workflow.expressions.coercion import to_string


def early_contexts(request: JobRequest, secrets: dict[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
    """The contexts before a place exists, and the job's `env`. Raises AkashicError."""
    github = dict(request.github)
    github["job"] = request.job.id
    github["token"] = secrets.get(TOKEN, "")
    contexts: dict[str, Any] = {
        "github": github,
        "needs": request.needs,
        "strategy": request.strategy,
        "matrix": request.matrix,
        "inputs": request.inputs,
        "vars": request.vars,
        "secrets": secrets,
    }
    env: dict[str, str] = {}
    for template in (request.workflow_env, request.job.env):
        if template is not None:
            scope = Scope(contexts={**contexts, "env": env})
            values = interpolate(template.value, scope, template.position)
            if not isinstance(values, Mapping):
                raise AkashicError(f"{template.position}: env: expected a mapping")
            env = {**env, **{str(name): to_string(value) for name, value in values.items()}}
    return contexts, env
