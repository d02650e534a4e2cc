"""What people are told about a deployment."""

from __future__ import annotations

from akashic.engine.deployment import Deployment, Status
from akashic.engine.deployment_events import (
    AnyDeploymentEvent,
    DeploymentFailed,
    DeploymentGateOpened,
    DeploymentPromoted,
    DeploymentRejected,
    DeploymentRolledBack,
)
from akashic.notify.message import Message


def message_of(event: AnyDeploymentEvent, deployment: Deployment, *, link: str) -> Message | None:
    """The message for an event, None when it is not worth one."""
    request = deployment.request
    what = f"{request.release.version} {'rolled back on' if request.kind == 'rollback' else 'on'}"
    duration_s = deployment.ended_at - deployment.started_at if deployment.started_at else None

    def message(kind: str, title: str, text: str = "") -> Message:
        return Message(
            kind=kind,  # type: ignore[arg-type]
            title=title,
            text=text,
            version=f"{request.release.version} ({request.release.commit[:7]})",
            environment=request.environment,
            who=request.by,
            duration_s=duration_s if deployment.ended else None,
            link=link,
        )

    match event:
        case DeploymentPromoted() if request.kind == "rollback":
            return message(
                "rollback", f"{request.environment} went back to {request.release.version}", request.reason
            )
        case DeploymentPromoted() if request.kind == "start":
            return message("info", f"{request.environment} was started again with {request.release.version}")
        case DeploymentPromoted():
            return message("success", f"{what} {request.environment} serves")
        case DeploymentRolledBack():
            title = f"{request.release.version} was rolled back on {request.environment}"
            return message("rollback", title, deployment.reason)
        case DeploymentFailed():
            return message(
                "failure",
                f"{request.environment} needs somebody: {request.release.version} failed",
                event.reason,
            )
        case DeploymentRejected():
            title = f"{request.release.version} was rejected for {request.environment}"
            return message("failure", title, f"{event.by}: {event.reason}")
        case DeploymentGateOpened() if deployment.status is Status.WAITING and event.approvals_needed:
            title = f"{request.release.version} waits for approval on {request.environment}"
            return message("approval_wanted", title, f"akashic approve {request.environment}")
    return None
