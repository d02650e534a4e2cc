"""The logs of an environment: who writes them, how they are found, how many are kept."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from akashic.delivery.local.processes import ProcessId, identify

DEPLOYMENTS_KEPT_MAX = 20
"""Of how many deployments an environment keeps what they printed."""
LOG_END_TIMEOUT_S = 3.0
"""How long the last lines of something that has ended are waited for."""
_WRITER = "akashic.delivery.local.log_writer"


def open_log(log: Path, *, bytes_max: int, secrets: Iterable[str]) -> tuple[int, ProcessId]:
    """A descriptor for the output of a process, and who writes it down. The caller closes the descriptor when
    the process has it. Raises OSError."""
    log.parent.mkdir(parents=True, exist_ok=True)
    reading, writing = os.pipe2(os.O_CLOEXEC)
    known = os.memfd_create("secrets", os.MFD_CLOEXEC)
    try:
        os.write(known, json.dumps(list(secrets)).encode())
        os.lseek(known, 0, os.SEEK_SET)
        popen = subprocess.Popen(
            [sys.executable, "-S", "-m", _WRITER, str(log), str(bytes_max), str(known)],
            env={"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            cwd="/",
            stdin=reading,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(known,),
            start_new_session=True,
        )
    except BaseException:
        os.close(writing)
        raise
    finally:
        os.close(reading)
        os.close(known)
    return writing, identify(popen.pid) or ProcessId(popen.pid, 0)


def log_of(logs: Path, deployment: str, what: str) -> Path:
    """The log of an instance (its number) or of the release command of a deployment (`release`)."""
    return logs / f"{deployment}.{what}.log"


def logs_of(logs: Path, deployment: str) -> list[tuple[str, list[Path]]]:
    """What a deployment printed: for each part (`release`, `0`, `1`, …) its files, the older one first."""
    found: list[tuple[str, list[Path]]] = []
    for log in sorted(logs.glob(f"{deployment}.*.log")):
        part = log.name.removeprefix(f"{deployment}.").removesuffix(".log")
        files = [log.with_name(log.name + ".1"), log]
        found.append((part, [path for path in files if path.is_file()]))
    # The release command ran first.
    return sorted(found, key=lambda one: (one[0] != "release", one[0]))


def prune(logs: Path, keep: Iterable[str]) -> None:
    """Remove the logs of all deployments but the newest ones and those in `keep`. The ids of deployments
    begin with their time."""
    if not logs.is_dir():
        return
    by_deployment: dict[str, list[Path]] = {}
    for log in logs.iterdir():
        deployment, _, rest = log.name.partition(".")
        if rest.endswith((".log", ".log.1")):
            by_deployment.setdefault(deployment, []).append(log)
    kept = {*sorted(by_deployment)[-DEPLOYMENTS_KEPT_MAX:], *keep}
    for deployment, files in by_deployment.items():
        if deployment not in kept:
            for log in files:
                log.unlink(missing_ok=True)
