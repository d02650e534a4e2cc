"""What `pre`, `main` and `post` of one use of an action share: handed-on state, conditions and names.

Source: GitHub's "Metadata syntax" (`runs.pre-if`, `runs.post-if`) and "Workflow commands" (`save-state`).
"""

from __future__ import annotations

from collections.abc import Mapping

from akashic.runner.state import Frame, JobState
from akashic.workflow.expressions.coercion import to_string
from akashic.workflow.model import Step, Template


def saved_state(state: JobState, frame: Frame, step: Step) -> dict[str, str]:
    """What the parts of one use of an action hand on to each other."""
    with state.lock:
        return frame.saved.setdefault(id(step), {})


def state_variables(saved: Mapping[str, str]) -> dict[str, str]:
    """STATE_*: names as they were saved."""
    return {f"STATE_{name}": value for name, value in saved.items()}


def condition_text(template: Template | None) -> str:
    """A `pre-if` or `post-if`; GitHub's default is `always()`."""
    return "always()" if template is None else to_string(template.value)


def title(step: Step, name: str) -> str:
    """What a later part of a step is called, after `Pre` or `Post`."""
    return name if step.name is not None else name.removeprefix("Run ") if name.startswith("Run ") else name
