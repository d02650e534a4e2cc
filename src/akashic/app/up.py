"""`akashic up`: the whole way of the current commit on this machine, as a push to a branch that delivers."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from akashic.app.application import Application
from akashic.app.repository import Repository
from akashic.app.selection import Request, Selection, no_remote, select
from akashic.engine.requests import TestReport
from akashic.engine.view import JobView, RunView
from akashic.errors import AkashicError, UsageError

if TYPE_CHECKING:
    from akashic.app.workflows import RemoteReader


@contextmanager
def only_one(application: Application) -> Iterator[None]:
    """Held while `up` works: a second one would deploy the same commit against the first."""
    path = application.state_dir / "up.lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        owner = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
        os.close(descriptor)
        raise AkashicError(
            f"another `akashic up` is at work in this repository (process {owner or 'unknown'})",
            hint="wait for it to end, or stop it with Ctrl-C in its terminal",
        ) from None
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(descriptor)


def choose(
    application: Application, branch: str, remote: RemoteReader = no_remote
) -> tuple[Request, Selection]:
    """The push that takes the current commit furthest: to `branch` when it is named, else to the checked-out
    branch when a workflow runs on it, else to the default branch.

    Raises UsageError when no workflow runs on any of them.
    """
    repository = application.repository
    reasons: list[str] = []
    for candidate in dict.fromkeys((branch,) if branch else _branches(repository)):
        request = Request(event_name="push", branch=candidate, from_commit=True)
        selection = select(application, request, cwd=application.root, remote=remote)
        if selection.triggered:
            return request, selection
        reasons += [f"{candidate}: {path}: {reason}" for path, reason in selection.passed_over]
    raise UsageError(
        "no workflow runs on a push of this commit:\n  " + "\n  ".join(reasons),
        hint="name the branch that delivers with --branch",
    )


def _branches(repository: Repository) -> tuple[str, ...]:
    names = (repository.branch, repository.default_branch, "main", "master")
    return tuple(name for name in names if name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """What an environment serves after the run."""

    environment: str
    url: str
    version: str
    commit: str
    digest: str
    problems: tuple[str, ...]
    """Why it is not in order; none: it is."""


def served(application: Application) -> list[Served]:
    """What each environment of `akashic.yaml` serves now; environments that serve nothing are left out."""
    found: list[Served] = []
    for name in application.config.environments:
        deployment = application.deployments.state(name).serving()
        if deployment is None:
            continue
        status = application.deployments.status(name)
        release = deployment.request.release
        found.append(
            Served(
                environment=name,
                url=deployment.url or application.config.environments[name].url,
                version=release.version,
                commit=release.commit,
                digest=release.digest,
                problems=status.problems if status.reachable else status.problems or ("nobody can say",),
            )
        )
    return found


def findings(view: RunView) -> Mapping[str, list[tuple[JobView, TestReport]]]:
    """The run's reports by kind."""
    found: dict[str, list[tuple[JobView, TestReport]]] = {}
    for job in view.jobs:
        for report in job.reports:
            found.setdefault(report.kind, []).append((job, report))
    return found
