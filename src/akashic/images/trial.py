"""Starts an unpacked image here, waits for its health, asks its smoke paths, and stops it again."""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from akashic.errors import UsageError
from akashic.images.config import ImageConfig
from akashic.images.local import local_process
from akashic.images.read import unpack

POLL_S = 0.1
STOP_TIMEOUT_S = 10.0
LOG_BYTES_MAX = 20_000
REQUEST_TIMEOUT_S = 5.0


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """How it went. `problem` is empty when all was well; `log` is the end of the image's output."""

    healthy: bool
    problem: str = ""
    log: str = ""
    started_in_s: float = 0.0
    smoke: tuple[str, ...] = ()


def try_image(
    layout: Path,
    digest: str,
    *,
    env: Mapping[str, str],
    timeout_s: float = 60.0,
    smoke_paths: tuple[str, ...] = (),
    python: str = sys.executable,
) -> Trial:
    """Run one trial. The image listens where its PORT says; nothing of it is left when this returns.

    Raises UsageError when the image has no health check to wait for, ImageError.
    """
    work = Path(tempfile.mkdtemp(prefix="akashic-image-"))
    try:
        root = work / "root"
        config = unpack(layout, digest, root)
        if config.healthcheck is None:
            raise UsageError(f"{digest}: the image has no health check", hint="give image.healthcheck a path")
        port = _free_port()
        process = local_process(
            config,
            root,
            env={"HOME": str(work), "TMPDIR": str(work), "PORT": str(port), **env},
            python=python,
        )
        log = work / "log"
        with log.open("wb") as output:
            started = subprocess.Popen(
                process.argv,
                env=process.env,
                cwd=process.cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                trial = _watch(started, config, port, timeout_s, smoke_paths or config.smoke_paths)
            finally:
                _stop(started)
        return msgspec.structs.replace(trial, log=_tail(log))
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _watch(
    process: subprocess.Popen[bytes], config: ImageConfig, port: int, timeout_s: float, smoke: tuple[str, ...]
) -> Trial:
    assert config.healthcheck is not None
    begun = time.monotonic()
    last = "it did not answer"
    while time.monotonic() - begun < timeout_s:
        if (code := process.poll()) is not None:
            return Trial(healthy=False, problem=f"the image's process ended with exit code {code}")
        status = get(port, config.healthcheck.path, config.healthcheck.timeout_s)
        if status == 200:
            break
        last = f"{config.healthcheck.path} answered {status}" if status else last
        time.sleep(POLL_S)
    else:
        return Trial(healthy=False, problem=f"not healthy within {timeout_s:g} s: {last}")
    took_s = time.monotonic() - begun
    checked: list[str] = []
    problem = check_smoke(port, smoke, checked)
    return Trial(healthy=not problem, problem=problem, started_in_s=took_s, smoke=tuple(checked))


def check_smoke(port: int, paths: Sequence[str], checked: list[str]) -> str:
    """Ask for each path until one is not well; the problem, empty when all are. `checked` gets what was
    answered."""
    for path in paths:
        status = get(port, path, REQUEST_TIMEOUT_S)
        checked.append(f"{path} {status}")
        if not 200 <= status < 400:
            return f"smoke check {path}: {f'answered {status}' if status else 'no answer'}"
    return ""


def get(port: int, path: str, timeout_s: float) -> int:
    """The status of a GET, 0 when there is no answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


def _stop(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    # It has its chance to end in order; what is left of it is killed.
    with suppress(subprocess.TimeoutExpired):
        process.wait(STOP_TIMEOUT_S)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _tail(log: Path) -> str:
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - LOG_BYTES_MAX))
        return file.read().decode(errors="replace")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
