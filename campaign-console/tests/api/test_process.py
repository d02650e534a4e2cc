"""The service as the process that is deployed: started, asked, ended."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from conftest import Client

SOURCE = Path(__file__).parents[2] / "src"


@contextmanager
def started(environ: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    full = {"PATH": os.environ["PATH"], "PYTHONPATH": str(SOURCE)} | environ
    process = subprocess.Popen(
        [sys.executable, "-m", "campaign_console", "serve"],
        env=full,
        # Not a pipe: nobody would read it, and a service that cannot write its log lines stands still.
        stdout=subprocess.DEVNULL,
        stderr=subprocess.STDOUT,
    )
    try:
        client = Client(f"http://127.0.0.1:{environ['PORT']}")
        deadline = time.monotonic() + 20
        while True:
            try:
                if client.get("/api/health").status == 200:
                    break
            except OSError:
                pass
            assert process.poll() is None and time.monotonic() < deadline, (
                "the service did not become healthy"
            )
            time.sleep(0.02)
        yield process
    finally:
        process.kill()
        process.wait()


def test_sigterm_ends_it_with_code_zero(environ: dict[str, str]) -> None:
    with started(environ) as process:
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=10) == 0


def test_sigterm_drops_no_request_that_was_accepted(environ: dict[str, str]) -> None:
    with started(environ) as process:
        port = int(environ["PORT"])
        statuses: list[int] = []
        failures: list[str] = []
        stopping = threading.Event()

        def keep_asking() -> None:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            while True:
                try:
                    connection.request("GET", "/sign-in")
                    answer = connection.getresponse()
                    answer.read()
                except (OSError, http.client.HTTPException) as error:
                    failures.append(repr(error))
                    connection.close()
                    return
                statuses.append(answer.status)
                if answer.getheader("connection") == "close":
                    connection.close()
                    return
                if stopping.is_set():
                    time.sleep(0.01)

        threads = [threading.Thread(target=keep_asking) for _ in range(8)]
        for thread in threads:
            thread.start()
        # More lines of log than a pipe holds.
        while len(statuses) < 500 and not failures:
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        stopping.set()
        for thread in threads:
            thread.join(timeout=15)
        assert failures == []
        assert set(statuses) == {200}
        assert process.wait(timeout=10) == 0


def test_a_wrong_environment_ends_at_once_with_one_line(environ: dict[str, str]) -> None:
    full = {"PATH": os.environ["PATH"], "PYTHONPATH": str(SOURCE)} | environ
    full["SESSION_SECRET"] = ""
    done = subprocess.run(
        [sys.executable, "-m", "campaign_console", "serve"],
        env=full,
        capture_output=True,
        timeout=20,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.decode().count("\n") == 1 and b"SESSION_SECRET" in done.stderr
