"""Akashic against act, in turn, on the same repositories and the same machine."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from bench import process, workloads
from bench.report import Row
from bench.workloads import Workload

TOOLS = ("act", "akashic")
PAUSE_S = 0.1
COLD_RUNS_MAX = 5


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
) -> tuple[Row, Row, Row]:
    """The row of time, of time without a warm process, and of memory. Raises process.Failed when a tool did
    not do the work."""
    environ = environment(folder, scripts)
    repositories = {tool: folder / workload.name / tool for tool in TOOLS}
    for repository in repositories.values():
        workloads.make_repository(workload, repository)
    asked = commands(workload, scripts)

    def measured(rounds: int, environ: Mapping[str, str]) -> dict[str, list[process.Taken]]:
        taken: dict[str, list[process.Taken]] = {tool: [] for tool in TOOLS}
        for number in range(rounds + 1):
            for tool in TOOLS:
                # What one leaves to the kernel, or to a process of its own, is not the other's to pay.
                time.sleep(PAUSE_S)
                output = folder / workload.name / f"{tool}.txt"
                one = process.run(asked[tool], cwd=repositories[tool], environ=environ, output=output)
                if number == 0:
                    _must_have_worked(workload, tool, output)
                    continue
                taken[tool].append(one)
                say(f"{workload.name}: {tool} {one.wall_s:.3f} s, {one.memory_mb:.0f} MB")
        return taken

    # A warm process does the work outside of what is measured for memory, so that is measured without.
    cold = measured(min(runs, COLD_RUNS_MAX), {**environ, "AKASHIC_WARM": "off"})
    warm = measured(runs, environ)
    return (
        Row.ratio_of(workload.title, "s", _times(warm), workload.budget),
        Row.ratio_of("  the same without a warm process", "s", _times(cold), None),
        Row.ratio_of("  its peak memory", "MB", _memory(cold), 1.0),
    )


def _must_have_worked(workload: Workload, tool: str, output: Path) -> None:
    wrong = workloads.check(workload, output)
    if wrong:
        raise process.Failed(f"{tool} did not do the work of {workload.name!r}: {'; '.join(wrong[:5])}")


def _times(taken: Mapping[str, list[process.Taken]]) -> dict[str, float]:
    return {tool: statistics.median(one.wall_s for one in taken[tool]) for tool in TOOLS}


def _memory(taken: Mapping[str, list[process.Taken]]) -> dict[str, float]:
    return {tool: statistics.median(one.memory_mb for one in taken[tool]) for tool in TOOLS}
