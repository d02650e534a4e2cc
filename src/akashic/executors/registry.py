"""The executors by name, each imported only when it is chosen."""

from __future__ import annotations

from collections.abc import Mapping

from akashic.errors import UsageError
from akashic.executors.container_options import ContainerOptions
from akashic.executors.protocol import Executor

EXECUTORS = ("host",)
"""Names for `--executor`."""


def executor(
    name: str,
    *,
    state_dir: str,
    cache_dir: str,
    tool_cache: str,
    environ: Mapping[str, str],
    containers: ContainerOptions | None = None,
) -> Executor:
    """The executor called `name`; see `HostExecutor` for the folders. `containers` is for those that run
    some. Raises UsageError for another name."""
    if name == "host":
        from akashic.executors.host.executor import HostExecutor

        return HostExecutor(state_dir=state_dir, cache_dir=cache_dir, tool_cache=tool_cache, environ=environ)
    raise UsageError(f"there is no executor {name!r}", hint=f"expected one of: {', '.join(EXECUTORS)}")
