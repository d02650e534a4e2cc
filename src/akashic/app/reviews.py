"""A gate of a run, approved by who runs this."""

from __future__ import annotations

from akashic.app.application import Application
from akashic.delivery.review import Waiting, review_waiting
from akashic.engine.events import GateOpened
from akashic.engine.requests import GateBinding


def approve(
    application: Application, run_id: str, gate: GateOpened, binding: GateBinding, comment: str
) -> None:
    """Approve exactly what the gate is bound to, in the name of who runs this command.

    Raises UsageError when they may not.
    """
    what = Waiting(
        environment=gate.environment,
        binding=binding,
        reviewers=gate.reviewers,
        approvals_needed=gate.approvals_needed,
        author=gate.author,
        run_id=run_id,
        key=gate.key,
    )
    review_waiting(
        application.journal,
        application.deployments,
        application.clock,
        what,
        by=application.user,
        approved=True,
        comment=comment,
    )
