"""Akashic against act, in turn, on the same repositories and the same machine."""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Mapping
from pathlib import Path

from bench import process, workloads
from bench.report import Row
from bench.workloads import Workload

TOOLS = ("act", "akashic")


def environment(folder: Path, scripts: Path) -> dict[str, str]:
    """What both tools see: a home of their own, so that nobody's settings or caches count, and compiled
    bytecode, as an installed program has it."""
    keep = {name: os.environ[name] for name in ("LANG", "LC_ALL", "TZ") if name in os.environ}
    return keep | {
        "HOME": str(folder / "home"),
        "PATH": f"{scripts}:{os.environ.get('PATH', os.defpath)}",
        "USER": "bench",
        "XDG_CACHE_HOME": str(folder / "home" / ".cache"),
        "XDG_CONFIG_HOME": str(folder / "home" / ".config"),
    }


def commands(workload: Workload, scripts: Path) -> dict[str, list[str]]:
    """How each tool is asked for the same work: act in host mode, so that neither needs a container."""
    secrets = [word for name, value in workload.secrets.items() for word in ("-s", f"{name}={value}")]
    platform = ["-P", "ubuntu-latest=-self-hosted"]
    return {
        tool: [str(scripts / tool), verb, "push", *secrets, *platform]
        if verb
        else [str(scripts / tool), "push", *secrets, *platform]
        for tool, verb in (("act", ""), ("akashic", "run"))
    }


def compare(
    workload: Workload,
    folder: Path,
    scripts: Path,
    *,
    runs: int,
    say: Callable[[str], None],
    commands: Callable[[Workload, Path], dict[str, list[str]]] = commands,
) -> tuple[Row, Row]:
    """The row of time and the row of memory. Raises process.Failed when a tool did not do the work."""
    environ = environment(folder, scripts)
    repositories = {tool: folder / workload.name / tool for tool in TOOLS}
    for repository in repositories.values():
        workloads.make_repository(workload, repository)
    asked = commands(workload, scripts)
    times: dict[str, list[float]] = {tool: [] for tool in TOOLS}
    memory: dict[str, list[float]] = {tool: [] for tool in TOOLS}
    for number in range(runs + 1):
        for tool in TOOLS:
            output = folder / workload.name / f"{tool}.txt"
            taken = process.run(asked[tool], cwd=repositories[tool], environ=environ, output=output)
            if number == 0:
                _must_have_worked(workload, tool, output)
                continue
            times[tool].append(taken.wall_s)
            memory[tool].append(taken.memory_mb)
            say(f"{workload.name}: {tool} {taken.wall_s:.3f} s, {taken.memory_mb:.0f} MB")
    return (
        Row.ratio_of(workload.title, "s", _medians(times), workload.budget),
        Row.ratio_of("  its peak memory", "MB", _medians(memory), 1.0),
    )


def _must_have_worked(workload: Workload, tool: str, output: Path) -> None:
    wrong = workloads.check(workload, output)
    if wrong:
        raise process.Failed(f"{tool} did not do the work of {workload.name!r}: {'; '.join(wrong[:5])}")


def _medians(values: Mapping[str, list[float]]) -> dict[str, float]:
    return {tool: statistics.median(found) for tool, found in values.items()}
