"""Every key that the parser takes is read by somebody, or stands here with what is said about it.

A key that is parsed and then forgotten looks like it works: a new field of the model fails here until the
table says where it is honoured.
"""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import msgspec
import pytest

from akashic.workflow import model

SOURCES = Path(model.__file__).parents[1]
FACTS = {"position", "index", "id", "path", "event", "description"}
"""Where a thing stands, what it is called, and what is for people who read the file."""
TOLD = {
    "Job.snapshot": ("workflow/lint/differences.py", "runner/job.py"),
    "Trigger.timezones": ("workflow/lint/differences.py",),
    "EnvironmentRef.deployment": ("docs/compatibility.md",),
    "Trigger.names": ("docs/compatibility.md",),
    "Trigger.versions": ("docs/compatibility.md",),
}
"""Not honoured, and where that is told: nothing is made of a `snapshot`; nothing runs by the clock, so a
schedule's `timezone` has no effect; a job's environment makes no deployment of its own, whatever `deployment`
says; there are no runner images that `image_version` could be about."""
READERS = ("engine", "runner", "executors", "app", "workflow/triggers.py", "workflow/matrix.py")
ELSEWHERE = {
    "Trigger.outputs": "engine/calls.py",
    "Trigger.secrets": "engine/calls.py",
    "CallOutput.value": "engine/calls.py",
}


def fields() -> list[str]:
    return [
        f"{name}.{field}"
        for name, kind in vars(model).items()
        if inspect.isclass(kind) and issubclass(kind, msgspec.Struct) and kind.__module__ == model.__name__
        for field in kind.__struct_fields__
        if field not in FACTS
    ]


def text_of(place: str) -> str:
    path = SOURCES / place
    files = [path] if path.is_file() else sorted(path.rglob("*.py"))
    return "\n".join(file.read_text(encoding="utf-8") for file in files)


READ = "\n".join(text_of(place) for place in READERS)


@pytest.mark.parametrize("field", fields())
def test_each_key_is_honoured_or_told(field: str) -> None:
    name = field.partition(".")[2]
    if field in TOLD:
        for place in TOLD[field]:
            root = SOURCES.parents[1] if place.startswith("docs") else SOURCES
            word = {"timezones": "schedule"}.get(name, name)
            assert word in (root / place).read_text(encoding="utf-8"), f"{place} says nothing of {field}"
        return
    text = text_of(ELSEWHERE[field]) if field in ELSEWHERE else READ
    # Some are read by name: `getattr(step, "shell")`.
    assert re.search(rf"(\.{name}\b|\"{name}\")", text), f"nobody reads {field}: honour it, or tell of it"


def test_the_tables_name_what_there_is() -> None:
    assert set(TOLD) | set(ELSEWHERE) <= set(fields())
