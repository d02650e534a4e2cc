"""What a built-in action is, and what it is given.

A runner finds a `Builtin` through `akashic.actions.registry.find`, turns the step's `with:` into inputs with
`resolve_inputs`, and calls `main` with an `ActionContext` of its own; when the job ends, it calls `post` (in
reverse order of the mains, as GitHub does) with a context that has the same inputs, the saved state, and the
job's status. Source of the behaviour: GitHub's "Metadata syntax for GitHub Actions".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Literal, Protocol

import msgspec

from akashic.cancellation import Cancellation
from akashic.errors import AkashicError
from akashic.executors.protocol import ExitStatus, Sandbox, Tree

if TYPE_CHECKING:
    from akashic.journal.artifacts import ArtifactStore
    from akashic.journal.caches import CacheScopes, CacheStore

Level = Literal["debug", "notice", "warning", "error"]


class ActionFailed(AkashicError):
    """The action ended with an error: the step fails, and the message is its `::error::` annotation."""


class ActionInput(msgspec.Struct, frozen=True, kw_only=True):
    """One declared input. `default` may hold `${{ }}` over `github`, `env` and `runner`, as in an action's
    metadata. `deprecated` is the message that GitHub shows when the input is given. `refused` is set for an
    input that the real action documents and this one cannot honour: the reason; only values in `allowed`
    (compared without case) are then accepted."""

    name: str
    default: str = ""
    required: bool = False
    deprecated: str = ""
    refused: str = ""
    allowed: tuple[str, ...] = ("",)


class ActionContext(Protocol):
    """What a built-in sees of its step, and how it speaks. Everything that is written to the log is masked
    by the runner. All members may be used from one thread only, `cancellation` excepted."""

    inputs: Mapping[str, str]
    """Every declared input by its lower-case name, defaults filled in."""
    env: Mapping[str, str]
    """The step's environment as a process would see it, GITHUB_* and RUNNER_* included."""
    github: Mapping[str, Any]
    """The `github` context of the step."""
    job_status: Literal["success", "failure", "cancelled"]
    """`job.status` right now."""
    sandbox: Sandbox
    tree: Tree
    repository: str
    """`owner/name` that `tree` belongs to."""
    artifacts: ArtifactStore
    caches: CacheStore
    cache_scopes: CacheScopes
    """What this job may read and write, from `akashic.actions.scopes.cache_scopes`."""
    trust: Literal["trusted", "fork"]
    run_id: str
    run_attempt: int
    job_key: str
    state: Mapping[str, str]
    """What `main` saved with `save_state`; empty in `main`."""
    cancellation: Cancellation

    def output(self, name: str, value: str) -> None:
        """Set the step's output."""
        ...

    def set_env(self, name: str, value: str) -> None:
        """Set a variable for the steps that follow (and `exec`)."""
        ...

    def add_path(self, path: str) -> None:
        """Put a folder in front of PATH for the steps that follow (and `exec`)."""
        ...

    def save_state(self, name: str, value: str) -> None:
        """Keep a value for `post`."""
        ...

    def mask(self, secret: str) -> None:
        """Have a value masked from now on."""
        ...

    def log(self, text: str) -> None:
        """Write a line, or several, to the step's log."""
        ...

    def group(self, title: str) -> AbstractContextManager[None]:
        """Fold the lines written inside."""
        ...

    def annotate(
        self, level: Level, message: str, *, title: str = "", file: str = "", line: int = 0, column: int = 0
    ) -> None:
        """Leave an annotation (also logged); debug is shown only when step debugging is on."""
        ...

    def summary(self, markdown: str) -> None:
        """Append to the step's summary."""
        ...

    def exec(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        log: bool = True,
        stdin: bytes | None = None,
        commands: bool = False,
        timeout_s: float | None = None,
    ) -> tuple[ExitStatus, bytes]:
        """Run a command in the sandbox and return how it ended with its merged output (the first 16 MiB).
        `env` is added to the step's; `cwd` is the workspace when None; `log` streams the output to the step's
        log; `commands` obeys workflow commands in it and gives it the environment files, as for a step."""
        ...


class Builtin(msgspec.Struct, frozen=True, kw_only=True):
    """A built-in action. `name` is what stands before `@` in `uses:`, in lower case. Both functions raise
    ActionFailed when the step shall fail. `post` runs when `main` ran and `post_if` holds."""

    name: str
    inputs: tuple[ActionInput, ...] = ()
    outputs: tuple[str, ...] = ()
    main: Callable[[ActionContext], None]
    post: Callable[[ActionContext], None] | None = None
    post_if: str = "always()"


class ResolvedInputs(msgspec.Struct, frozen=True, kw_only=True):
    """Inputs with defaults filled in, and the warnings that GitHub's runner gives beside them."""

    values: dict[str, str]
    warnings: tuple[str, ...] = ()


def resolve_inputs(
    builtin: Builtin, given: Mapping[str, str], evaluate: Callable[[str], str] = str
) -> ResolvedInputs:
    """Match `with:` against the declared inputs; names compare without case.

    `evaluate` turns the `${{ }}` of a default into text. An unknown input is a warning, as on GitHub; a
    required one without a value, and one that is documented but cannot be honoured here, is ActionFailed.
    """
    lowered = {name.lower(): value for name, value in given.items()}
    declared = {spec.name.lower(): spec for spec in builtin.inputs}
    warnings: list[str] = []
    unknown = [name for name in given if name.lower() not in declared]
    if unknown:
        valid = ", ".join(repr(spec.name) for spec in builtin.inputs)
        names = ", ".join(repr(name) for name in unknown)
        warnings.append(f"Unexpected input(s) {names}, valid inputs are [{valid}]")
    values: dict[str, str] = {}
    for name, spec in declared.items():
        if name in lowered:
            value = lowered[name]
            if spec.deprecated and value:
                warnings.append(f"Input '{spec.name}' has been deprecated with message: {spec.deprecated}")
        else:
            value = evaluate(spec.default) if "${{" in spec.default else spec.default
        if spec.required and not value:
            raise ActionFailed(f"{builtin.name}: input required and not supplied: {spec.name}")
        if spec.refused and value.strip().lower() not in spec.allowed:
            raise ActionFailed(
                f"{builtin.name}: the input '{spec.name}' with the value {value!r} does not work here:"
                f" {spec.refused}",
                hint="Remove the input, or run the action itself with --no-builtin.",
            )
        values[name] = value
    return ResolvedInputs(values=values, warnings=tuple(warnings))
