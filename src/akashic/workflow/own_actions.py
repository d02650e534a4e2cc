"""`uses: $/path`: an action of the repository in which the file stands, at the commit of that file.

Source: GitHub's "Workflow syntax" (`jobs.<job_id>.steps[*].uses`). In a file of the workflow's own repository
it is a path of the workspace; in a file of another repository it is an action of that repository at the same
ref.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from akashic.workflow.model import Step, Workflow

PREFIX = "$/"


def with_repository(steps: Sequence[Step], repository: str, ref: str) -> tuple[Step, ...]:
    """The steps of a file of `owner/repo` at a ref, with its own actions named in full."""
    return tuple(_named(step, repository, ref) for step in steps)


def of_called_workflow(workflow: Workflow, source: str) -> Workflow:
    """A reusable workflow by its reference: `./path`, or `owner/repo/path@ref` for another repository's."""
    place, at, ref = source.partition("@")
    if not at or source.startswith("./"):
        return workflow
    repository = "/".join(place.split("/")[:2])
    jobs = {
        name: msgspec.structs.replace(job, steps=with_repository(job.steps, repository, ref))
        for name, job in workflow.jobs.items()
    }
    return msgspec.structs.replace(workflow, jobs=jobs)


def _named(step: Step, repository: str, ref: str) -> Step:
    if step.parallel is not None:
        return msgspec.structs.replace(step, parallel=with_repository(step.parallel, repository, ref))
    if step.uses is None or not step.uses.startswith(PREFIX):
        return step
    return msgspec.structs.replace(step, uses=f"{repository}/{step.uses.removeprefix(PREFIX)}@{ref}")
