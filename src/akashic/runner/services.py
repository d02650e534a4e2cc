"""What steps are told of the services that actions call: artifacts, caches, ID tokens.

Nothing of them exists before the first step that may need them: a JavaScript or Docker action, or a `run:`
step of a job with `id-token: write`. Source: GitHub's runner (`NodeScriptActionHandler`,
`ContainerActionHandler`, `ScriptHandler`: which variables which kind of step gets).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from akashic.errors import AkashicError
from akashic.executors.protocol import NetworkedSandbox

if TYPE_CHECKING:
    from akashic.runner.calls import Call
    from akashic.runner.parts import JobServices, OpenServices
    from akashic.runner.state import JobState

LOOPBACK = "127.0.0.1"
PROXY_VARIABLES = ("http_proxy", "https_proxy", "all_proxy")


def action_variables(call: Call) -> dict[str, str]:
    """Variables for the process of a JavaScript or Docker action; none where there are no services."""
    services = _services(call)
    if services is None:
        return {}
    variables = services.action_variables()
    return variables | _past_the_proxy(call, variables["ACTIONS_RESULTS_URL"])


def script_variables(call: Call) -> dict[str, str]:
    """Variables for the process of a `run:` step."""
    if not _asks_for_tokens(call.state):
        return {}
    services = _services(call)
    if services is None:
        return {}
    variables = services.script_variables()
    return variables | _past_the_proxy(call, variables.get("ACTIONS_ID_TOKEN_REQUEST_URL", ""))


def close_services(state: JobState) -> None:
    """The job has ended."""
    with state.lock:
        services, state.services = state.services, None
    if services is not None:
        services.close()


def _past_the_proxy(call: Call, url: str) -> dict[str, str]:
    """Where a proxy is set, what keeps it out of the way to this machine: the Azure client asks it even for
    loopback. Both spellings are read, by different programs."""
    env = {**call.state.base_env, **call.env}
    if not url or not any(name.lower() in PROXY_VARIABLES and env[name] for name in env):
        return {}
    before = env.get("no_proxy") or env.get("NO_PROXY") or ""
    host = url.partition("://")[2].partition("/")[0].rpartition(":")[0].strip("[]")
    value = f"{before},{host}".removeprefix(",")
    return {"no_proxy": value, "NO_PROXY": value}


def _asks_for_tokens(state: JobState) -> bool:
    permissions = state.request.permissions
    if isinstance(permissions, str):
        return permissions == "write-all"
    return permissions is not None and permissions.get("id-token") == "write"


def _services(call: Call) -> JobServices | None:
    state = call.state
    with state.lock:
        if state.services is None and not state.services_missing and state.parts.open_services is not None:
            state.services = _open(call, state.parts.open_services)
        return state.services


def _open(call: Call, open_services: OpenServices) -> JobServices | None:
    state, sandbox = call.state, call.state.sandbox
    try:
        # A container never reaches this machine's loopback; an engine elsewhere has another gateway.
        address = sandbox.host_address() if isinstance(sandbox, NetworkedSandbox) else LOOPBACK
        services = open_services(state.request, address)
    except AkashicError as error:
        # Most actions never call a service: one that does says itself what it misses.
        state.services_missing = True
        call.say(f"Actions have no artifacts, caches and ID tokens of this job: {error.message}")
        return None
    state.masker.add(*services.secrets)
    return services
