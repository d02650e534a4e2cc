"""A job's outputs: evaluated after its steps, kept only when they hold no secret.

Source: GitHub's "Workflow syntax", `jobs.<job_id>.outputs` (outputs that hold secrets are redacted and not
sent; 1 MiB for a job).
"""

from __future__ import annotations

from collections.abc import Callable

from akashic.runner.state import JobState
from akashic.workflow.expressions import interpolate
from akashic.workflow.expressions.coercion import to_string

OUTPUTS_BYTES_MAX = 1024 * 1024


def job_outputs(state: JobState, warn: Callable[[str], None]) -> dict[str, str]:
    """The outputs that other jobs may see. Raises ExpressionError."""
    outputs: dict[str, str] = {}
    size = 0
    scope = state.scope(state.frame, state.frame.env)
    for name, template in state.request.job.outputs.items():
        value = to_string(interpolate(template.value, scope, template.position))
        if not value:
            continue
        if state.masker.holds_secret(value):
            warn(f"Skip output '{name}' since it may contain secret.")
            continue
        encoded = value.encode("utf-8", "replace")
        size += len(encoded)
        if size > OUTPUTS_BYTES_MAX:
            warn(
                f"Skip output '{name}': the outputs of a job must not exceed {OUTPUTS_BYTES_MAX // 1024} KiB."
            )
            continue
        outputs[name] = encoded.decode("utf-8")
    return outputs
