"""Follows a deployment for a person or a machine: lines while it goes on, a question where it waits, the
end."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from akashic.app import Application
from akashic.app.signals import passed_on
from akashic.cancellation import Cancellation
from akashic.cli.asking import line_typed
from akashic.cli.command import CommandContext
from akashic.cli.present.deployments import details, machine, safe_lines, summary_line
from akashic.cli.present.style import Style
from akashic.delivery.previews import Previews
from akashic.delivery.service import Origin
from akashic.engine.deployment import Deployment, EnvironmentState
from akashic.errors import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OK, AkashicError


def origin(application: Application, context: CommandContext) -> Origin:
    """Who asks, from where: a step of a job says so in its environment."""
    environ = context.environ
    if environ.get("AKASHIC_RUN_ID") and environ.get("AKASHIC_JOB"):
        attempt = environ.get("AKASHIC_ATTEMPT", "1")
        return Origin(
            by=application.user,
            run_id=environ["AKASHIC_RUN_ID"],
            job=environ["AKASHIC_JOB"],
            attempt=int(attempt) if attempt.isdigit() else 1,
        )
    return Origin(by=application.user)


def recover(application: Application, context: CommandContext) -> None:
    """What dead processes left is ended before anything new begins; a step leaves that to its run."""
    if context.environ.get("AKASHIC_JOB"):
        return
    style = Style(context.color)
    for deployment in application.deployments.recover():
        line = summary_line(deployment, style, application.clock.now())
        context.stderr.write(f"taken up here, since nobody drove it: {line}\n")
    for name in Previews(application.deployments).sweep(by="akashic"):
        context.stderr.write(safe_lines(f"{name} is removed: its time is over") + "\n")


def follow(
    application: Application, context: CommandContext, environment: str, deployment: str, *, wait: bool = True
) -> int:
    """Drive a deployment to its end and say how it ended; the exit code. Without `wait` one that asks for an
    approval is left waiting."""
    deployments = application.deployments
    style = Style(context.color)
    told = _Told(application, context, wait=wait)
    deployments.progress = told.progress
    with interruptible() as cancellation:
        told.cancelled = cancellation.is_set
        found = deployments.follow(environment, deployment, cancellation, waiting=told.waiting)
    if context.json:
        context.stdout.write(json.dumps(machine(found)) + "\n")
    else:
        context.stdout.write(summary_line(found, style, application.clock.now()) + "\n")
        for note in found.notes:
            context.stdout.write(f"  note: {safe_lines(note)}\n")
        if found.reason:
            context.stdout.write(_reason(found, context))
        if found.status == "promoted":
            context.stdout.write(f"  {found.url}\n")
    _set_output(context, found)
    if cancellation.is_set():
        return EXIT_INTERRUPTED
    return EXIT_OK if found.status == "promoted" or not found.ended else EXIT_FAILED


def _reason(found: Deployment, context: CommandContext) -> str:
    """Why it ended so. In a step a failure is an error of the step, as the runner shows it among the reasons
    of the run (GitHub's "Workflow commands": setting an error message)."""
    if found.status == "promoted" or context.environ.get("GITHUB_ACTIONS") != "true":
        return "  " + safe_lines(found.reason).replace("\n", "\n  ") + "\n"
    escaped = found.reason.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    return f"::error::{escaped}\n"


class _Told:
    """What has been said already, so that it is said once."""

    def __init__(self, application: Application, context: CommandContext, *, wait: bool) -> None:
        self.application = application
        self.context = context
        self.wait = wait
        self.last = ""
        self.cancelled: Callable[[], bool] = lambda: False

    def progress(self, environment: str, text: str) -> None:
        if not self.context.json:
            self.context.stdout.write(safe_lines(f"{environment}: {text}") + "\n")
            self.context.stdout.flush()

    def waiting(self, deployment: Deployment, state: EnvironmentState) -> bool:
        """Say what it waits for, ask where there is somebody to ask."""
        name = deployment.request.environment
        if deployment.status == "waiting":
            gate = deployment.gate
            assert gate is not None
            missing = gate.approvals_needed - sum(review.approved for review in deployment.reviews)
            if missing > 0 and self.context.interactive and self.last != "asked":
                self.last = "asked"
                self._ask(deployment)
                return True
            self._say(
                f"waits for approval: akashic approve {name}" if missing > 0 else "waits for its wait timer"
            )
            return self.wait
        if deployment.status == "queued" and state.active and state.active != deployment.id:
            holder = state.deployments[state.active].request
            self._say(f"waits for #{holder.number} ({holder.release.version}) to end")
        return True

    def _say(self, text: str) -> None:
        if text != self.last:
            self.last = text
            self.context.stderr.write(text + "\n")
            self.context.stderr.flush()

    def _ask(self, deployment: Deployment) -> None:
        out = self.context.stdout
        out.write("this deployment needs an approval:\n" + "\n".join(details(deployment)) + "\n")
        out.write("approve it? [y/N/later] ")
        out.flush()
        answer = (line_typed(sys.stdin.fileno(), self.cancelled) or "").strip().lower()
        if answer in ("", "l", "later"):
            return
        gate = deployment.gate
        assert gate is not None
        try:
            self.application.deployments.review(
                deployment.request.environment,
                deployment.id,
                by=self.application.user,
                approved=answer in ("y", "yes"),
                comment="at the terminal",
                binding=gate.binding,
            )
        except AkashicError as error:
            self.context.stderr.write(f"{error.message}\n")


def _set_output(context: CommandContext, deployment: Deployment) -> None:
    """In a step: the address and the release as the step's outputs."""
    path = context.environ.get("GITHUB_OUTPUT")
    if not path or not context.environ.get("AKASHIC_JOB"):
        return
    request = deployment.request
    with open(path, "a", encoding="utf-8") as file:
        for name, value in (
            ("url", deployment.url),
            ("deployment", deployment.id),
            ("release", request.release.id),
            ("status", str(deployment.status)),
        ):
            file.write(f"{name}={' '.join(value.split())}\n")


@contextmanager
def interruptible() -> Iterator[Cancellation]:
    """Ctrl-C, SIGTERM and a closed terminal take the deployment back, or roll it back."""
    cancellation = Cancellation()

    def stop(number: int) -> None:
        cancellation.cancel(source="user", reason=signal.Signals(number).name)

    with passed_on(stop):
        yield cancellation
