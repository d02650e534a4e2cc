"""Before the first step: every action that the job names is found, and those that have a pre part run it.

Source: GitHub's "Metadata syntax" (`runs.pre`) and its runner (actions are downloaded in "Set up job", with
what composite actions use; a local action is found when its step runs, and has no pre part).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from akashic.errors import AkashicError
from akashic.runner.actions.resolve import ActionResolver, ResolvedAction
from akashic.source.position import placed
from akashic.workflow.model import Step
from akashic.workflow.own_actions import PREFIX

DEPTH_MAX = 10
"""GitHub's limit for composite actions inside each other."""


def find_actions(
    resolver: ActionResolver, steps: Iterable[Step], say: Callable[[str], None]
) -> dict[str, ResolvedAction]:
    """All repository actions that `steps` use, also inside composite ones, by their `uses:`."""
    found: dict[str, ResolvedAction] = {}
    _find(resolver, steps, say, found, 0)
    return found


def _find(
    resolver: ActionResolver,
    steps: Iterable[Step],
    say: Callable[[str], None],
    found: dict[str, ResolvedAction],
    depth: int,
) -> None:
    if depth > DEPTH_MAX:
        raise AkashicError(f"composite actions are nested more than {DEPTH_MAX} deep")
    for step, uses in _using(steps):
        if uses in found or uses.startswith((".", PREFIX)):
            continue
        try:
            action = found[uses] = resolver.resolve(uses)
        except AkashicError as error:
            raise AkashicError(placed(error.message, step.position), hint=error.hint) from error
        at = f" (SHA:{action.commit})" if action.commit else ""
        if uses.startswith("docker://"):
            continue
        say(f"Action '{uses}': {action.origin}{at}")
        if action.metadata is not None:
            _find(resolver, action.metadata.runs.steps, say, found, depth + 1)


def _using(steps: Iterable[Step]) -> Iterator[tuple[Step, str]]:
    for step in steps:
        if step.uses is not None:
            yield step, step.uses
        if step.parallel is not None:
            yield from _using(step.parallel)
