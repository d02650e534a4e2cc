"""What steps are told of the services that actions call: artifacts, caches, ID tokens.

Nothing of them exists before the first step that may need them: a JavaScript or Docker action, or a `run:`
step of a job with `id-token: write`. Source: GitHub's runner (`NodeScriptActionHandler`,
`ContainerActionHandler`, `ScriptHandler`: which variables which kind of step gets).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from akashic.executors.protocol import NetworkedSandbox

if TYPE_CHECKING:
    from akashic.runner.parts import JobServices
    from akashic.runner.state import JobState

LOOPBACK = "127.0.0.1"


def action_variables(state: JobState) -> dict[str, str]:
    """Variables for the process of a JavaScript or Docker action; none where there are no services. Raises
    AkashicError when the services cannot start."""
    services = _services(state)
    return services.action_variables() if services is not None else {}


def script_variables(state: JobState) -> dict[str, str]:
    """Variables for the process of a `run:` step. Raises AkashicError."""
    if not _asks_for_tokens(state):
        return {}
    services = _services(state)
    return services.script_variables() if services is not None else {}


def close_services(state: JobState) -> None:
    """The job has ended."""
    with state.lock:
        services, state.services = state.services, None
    if services is not None:
        services.close()


def _asks_for_tokens(state: JobState) -> bool:
    permissions = state.request.permissions
    if isinstance(permissions, str):
        return permissions == "write-all"
    return permissions is not None and permissions.get("id-token") == "write"


def _address(state: JobState) -> str:
    """The address of this machine that the job's processes reach it by."""
    sandbox = state.sandbox
    return sandbox.host_address if isinstance(sandbox, NetworkedSandbox) else LOOPBACK


def _services(state: JobState) -> JobServices | None:
    open_services = state.parts.open_services
    if open_services is None:
        return None
    with state.lock:
        if state.services is None:
            state.services = open_services(state.request, _address(state))
            state.masker.add(*state.services.secrets)
        return state.services
