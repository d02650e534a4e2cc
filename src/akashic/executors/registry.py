"""The executors by name, each imported only when it is chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from akashic.errors import UsageError
from akashic.executors.container_options import HOST_IMAGE, NO_OPTIONS, ContainerOptions, MixedExecutor
from akashic.executors.crashed import crashed_containers
from akashic.executors.protocol import Executor

EXECUTORS = ("host", "docker")
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
    options = containers or NO_OPTIONS
    if name == "host":
        return _host(state_dir, cache_dir, tool_cache, environ)
    if name == "docker":
        from akashic.executors.docker.executor import DockerExecutor

        docker = DockerExecutor(
            state_dir=state_dir,
            cache_dir=cache_dir,
            # What a container's root writes there is not for this machine's own jobs.
            tool_cache=f"{tool_cache}-in-containers",
            environ=environ,
            options=options,
        )
        if HOST_IMAGE in options.images.values():
            return MixedExecutor(docker, _host(state_dir, cache_dir, tool_cache, environ), options)
        return docker
    raise UsageError(f"there is no executor {name!r}", hint=f"expected one of: {', '.join(EXECUTORS)}")


def sweep_containers(
    *, state_dir: str, cache_dir: str, tool_cache: str, environ: Mapping[str, str]
) -> Sequence[str]:
    """What killed runs left on an engine, for a run that has no use for one; a line for each thing removed.
    No engine is asked when no folder says that there was such a run."""
    if not crashed_containers(state_dir):
        return ()
    docker = executor(
        "docker", state_dir=state_dir, cache_dir=cache_dir, tool_cache=tool_cache, environ=environ
    )
    return docker.sweep()


def _host(state_dir: str, cache_dir: str, tool_cache: str, environ: Mapping[str, str]) -> Executor:
    from akashic.executors.host.executor import HostExecutor

    return HostExecutor(state_dir=state_dir, cache_dir=cache_dir, tool_cache=tool_cache, environ=environ)
