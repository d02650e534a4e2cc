"""A parsed workflow: what the file says, with positions, before any expression is evaluated.

Sources: GitHub's "Workflow syntax for GitHub Actions". Values that may hold `${{ }}` stay raw as
`Template`s; they are evaluated by the engine (job level) or by the runner (step level).
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from akashic.source.position import Position


class Template(msgspec.Struct, frozen=True):
    """A YAML value that may contain `${{ }}` anywhere inside: plain data (None, bool, int, float, str,
    list, dict) and the position of the value. For `if:` the value is the condition's text, with or
    without `${{ }}`."""

    value: Any
    position: Position


class Filters(msgspec.Struct, frozen=True, kw_only=True):
    """Branch, tag and path filters of an event; None where the key is not given."""

    branches: tuple[str, ...] | None = None
    branches_ignore: tuple[str, ...] | None = None
    tags: tuple[str, ...] | None = None
    tags_ignore: tuple[str, ...] | None = None
    paths: tuple[str, ...] | None = None
    paths_ignore: tuple[str, ...] | None = None


InputType = Literal["string", "boolean", "number", "choice", "environment"]


class Input(msgspec.Struct, frozen=True, kw_only=True):
    """An input of `workflow_dispatch` or `workflow_call`. `default` is a Template because
    `workflow_call` defaults may hold expressions."""

    name: str
    type: InputType = "string"
    description: str = ""
    required: bool = False
    default: Template | None = None
    options: tuple[str, ...] = ()
    position: Position


class CallOutput(msgspec.Struct, frozen=True, kw_only=True):
    """An output of a reusable workflow."""

    name: str
    value: Template
    description: str = ""


class CallSecret(msgspec.Struct, frozen=True, kw_only=True):
    """A secret that a reusable workflow declares."""

    name: str
    required: bool = False
    description: str = ""


class Trigger(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of `on:`."""

    event: str
    position: Position
    types: tuple[str, ...] | None = None
    filters: Filters = Filters()
    crons: tuple[str, ...] = ()
    timezones: tuple[str, ...] = ()
    """One for each cron, "" for UTC."""
    names: tuple[str, ...] | None = None
    versions: tuple[str, ...] | None = None
    workflows: tuple[str, ...] = ()
    inputs: tuple[Input, ...] = ()
    outputs: tuple[CallOutput, ...] = ()
    secrets: tuple[CallSecret, ...] = ()


class RunDefaults(msgspec.Struct, frozen=True, kw_only=True):
    """`defaults.run`; None where not given."""

    shell: Template | None = None
    working_directory: Template | None = None


class Concurrency(msgspec.Struct, frozen=True, kw_only=True):
    """A `concurrency:` block. The short form (a string) has no `cancel_in_progress`."""

    group: Template
    cancel_in_progress: Template | None = None
    queue: Template | None = None
    position: Position


class EnvironmentRef(msgspec.Struct, frozen=True, kw_only=True):
    """A job's `environment:`; the URL is evaluated by the runner after the steps."""

    name: Template
    url: Template | None = None
    deployment: Template | None = None
    position: Position


class Strategy(msgspec.Struct, frozen=True, kw_only=True):
    """A job's `strategy:`. `matrix` may be an expression as a whole, or hold expressions; `whole` is an
    expression in place of the mapping, and then the others are None."""

    whole: Template | None = None
    matrix: Template | None = None
    fail_fast: Template | None = None
    max_parallel: Template | None = None
    position: Position

    @property
    def may_have_matrix(self) -> bool:
        """Whether the job can become several; not known before it is evaluated when `whole` is set."""
        return self.matrix is not None or self.whole is not None


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One step. Exactly one of `run`, `uses`, `wait`, `wait_all`, `cancel`, `parallel` says what it does."""

    index: int
    position: Position
    id: str = ""
    name: Template | None = None
    if_: Template | None = None
    run: Template | None = None
    uses: str | None = None
    with_: Template | None = None
    env: Template | None = None
    shell: Template | None = None
    working_directory: Template | None = None
    continue_on_error: Template | None = None
    timeout_minutes: Template | None = None
    background: bool = False
    wait: tuple[str, ...] | None = None
    wait_all: bool = False
    cancel: str | None = None
    parallel: tuple[Step, ...] | None = None


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One job of a workflow: steps of its own, or a call of a reusable workflow (`uses`)."""

    id: str
    position: Position
    name: Template | None = None
    needs: tuple[str, ...] = ()
    if_: Template | None = None
    runs_on: Template | None = None
    permissions: dict[str, str] | str | None = None
    environment: EnvironmentRef | None = None
    concurrency: Concurrency | None = None
    outputs: dict[str, Template] = {}
    env: Template | None = None
    defaults: RunDefaults = RunDefaults()
    strategy: Strategy | None = None
    steps: tuple[Step, ...] = ()
    timeout_minutes: Template | None = None
    continue_on_error: Template | None = None
    container: Template | None = None
    services: Template | None = None
    snapshot: Template | None = None
    cancel_timeout_minutes: Template | None = None
    uses: str | None = None
    with_: Template | None = None
    secrets: Template | Literal["inherit"] | None = None


class Workflow(msgspec.Struct, frozen=True, kw_only=True):
    """A whole workflow file."""

    path: str
    triggers: tuple[Trigger, ...]
    jobs: dict[str, Job]
    name: str = ""
    run_name: Template | None = None
    permissions: dict[str, str] | str | None = None
    env: Template | None = None
    defaults: RunDefaults = RunDefaults()
    concurrency: Concurrency | None = None

    @property
    def title(self) -> str:
        """The name people see: `name:`, or the file's path as GitHub shows it."""
        return self.name or self.path
