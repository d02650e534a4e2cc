"""How deployments read: one line each in tables, all of it before somebody approves."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from akashic.cli.present.style import Style, duration
from akashic.engine.deployment import Deployment
from akashic.runner.terminal import safe_for_terminal

KINDS = {
    "promoted": "success",
    "rolled back": "failure",
    "failed": "failure",
    "rejected": "failure",
    "cancelled": "cancelled",
    "waiting": "waiting",
    "queued": "queued",
    "requested": "queued",
}


def kind_of(deployment: Deployment) -> str:
    """The colour and mark of a deployment's status."""
    return KINDS.get(str(deployment.status), "running")


def when(at: float) -> str:
    return datetime.fromtimestamp(at).strftime("%Y-%m-%d %H:%M") if at else "–"


def took(deployment: Deployment, now: float) -> str:
    if not deployment.started_at:
        return "–"
    return duration((deployment.ended_at or now) - deployment.started_at)


def summary_line(deployment: Deployment, style: Style, now: float) -> str:
    """One deployment on one line."""
    request = deployment.request
    kind = kind_of(deployment)
    text = (
        f"{style.mark(kind)} {request.environment} #{request.number}: {request.release.version} "
        f"{style(kind, str(deployment.status))}"
    )
    if deployment.started_at:
        text += style("dim", f" in {took(deployment, now)}")
    return safe_lines(text) if not style.color else text


def details(deployment: Deployment) -> list[str]:
    """Exactly what an approval holds for, and what the rules ask."""
    request, gate = deployment.request, deployment.gate
    rows = [
        ("environment", request.environment),
        ("release", f"{request.release.version} ({request.release.id})"),
        ("commit", request.release.commit),
        ("digest", request.release.digest),
        ("workflow", request.binding.workflow_sha256),
        ("run", f"{request.run_id} {request.job}".strip() or "none: asked for by hand"),
        ("asked by", f"{request.by}, {when(deployment.requested_at)}"),
    ]
    if gate is not None:
        who = ", ".join(gate.reviewers) or "anybody"
        rows.append(("approvals", f"{gate.approvals_needed} needed, from {who}"))
        if gate.wait_until:
            rows.append(("not before", when(gate.wait_until)))
        if gate.reason:
            rows.append(("why it asks", gate.reason))
    width = max(len(name) for name, _ in rows)
    return [f"  {name.ljust(width)}  {safe_for_terminal(value)}" for name, value in rows]


def machine(deployment: Deployment) -> dict[str, Any]:
    """A deployment for `--json`."""
    request = deployment.request
    return {
        "id": deployment.id,
        "number": request.number,
        "environment": request.environment,
        "kind": request.kind,
        "status": str(deployment.status),
        "release": request.release.id,
        "version": request.release.version,
        "commit": request.release.commit,
        "digest": request.release.digest,
        "by": request.by,
        "run_id": request.run_id,
        "approved_by": list(deployment.approved_by),
        "requested_at": deployment.requested_at,
        "started_at": deployment.started_at,
        "ended_at": deployment.ended_at,
        "url": deployment.url,
        "reason": deployment.reason,
    }


def safe_lines(text: str) -> str:
    """Text of several lines that cannot steer the terminal."""
    return "\n".join(safe_for_terminal(line) for line in text.splitlines())
