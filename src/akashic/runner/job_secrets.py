"""Which secrets a job sees: the repository's and its environment's, handed down through reusable workflows.

Source: GitHub's "Reusing workflow configurations" (passing secrets: `inherit` or by name; an environment's
secrets belong to the job that names the environment) and "Using secrets" (none for forks).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from akashic.engine.requests import JobRequest
from akashic.runner.masking import Masker
from akashic.runner.parts import SecretSource
from akashic.workflow.expressions import Scope, interpolate
from akashic.workflow.expressions.coercion import to_string

TOKEN = "GITHUB_TOKEN"


def resolve_secrets(request: JobRequest, source: SecretSource, masker: Masker) -> dict[str, str]:
    """The `secrets` context of the job. Everything that passes through is masked, also what is not handed
    on."""
    if request.trust == "fork":
        return {}
    own = _masked(source("", request.trust), masker)
    secrets = own
    for frame in request.secret_frames:
        if frame.mapping == "inherit":
            continue
        # The token is every workflow's own; it is not handed down by name.
        token = {TOKEN: own[TOKEN]} if TOKEN in own else {}
        if frame.mapping is None:
            secrets = token
            continue
        contexts: dict[str, Any] = {**frame.contexts, "secrets": secrets}
        values = interpolate(frame.mapping.value, Scope(contexts=contexts), frame.mapping.position)
        given = {str(name).upper(): to_string(value) for name, value in (values or {}).items()}
        secrets = {**_masked(given, masker), **token}
    if request.environment:
        scoped = _masked(source(request.environment, request.trust), masker)
        secrets = {**secrets, **{name: value for name, value in scoped.items() if own.get(name) != value}}
    return secrets


def _masked(secrets: Mapping[str, str], masker: Masker) -> dict[str, str]:
    upper = {name.upper(): value for name, value in secrets.items()}
    masker.add(*upper.values())
    return upper
