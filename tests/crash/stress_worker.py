"""One of many processes on one journal: begins and drives runs and deployments, cancels what others drive,
empties the log, takes over from the dead. Arguments: the folder, a seed, how many things to do."""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import sys
import time
from pathlib import Path

from akashic.cancellation import Cancellation
from akashic.driver.deployments import DeploymentDriver
from akashic.driver.locks import FileRunLocks
from akashic.driver.runs import RunDriver
from akashic.engine.codec import encode, run_stream
from akashic.engine.deployment import EnvironmentState
from akashic.engine.deployment_events import DeploymentRequested
from akashic.engine.events import CancelRequested
from akashic.engine.requests import JobRequest
from akashic.errors import AkashicError
from akashic.journal.protocol import NewRecord
from akashic.journal.sqlite import SqliteJournal
from akashic.testing.jobs import RuledGates, Script, ScriptedJobs
from tests.driver.test_deployment_crash_points import Target
from tests.driver.test_deployments import request
from tests.driver.test_driver_runs import create

WORKFLOW = """
on: push
jobs:
  build:
    runs-on: x
    strategy: {matrix: {v: [1, 2]}}
    steps: [{run: echo}]
  deploy:
    needs: build
    concurrency: {group: deploy, queue: max}
    runs-on: x
    steps: [{run: echo}]
"""
KEYS = ("build(0)", "build(1)", "deploy")


class Wall:
    def now(self) -> float:
        return time.time()


class Worker:
    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.chance = random.Random(seed)
        self.journal = SqliteJournal(folder / "journal.db")
        self.jobs = ScriptedJobs({key: Script(before=self.start, steps=2) for key in KEYS})
        self.locks = FileRunLocks(folder / "locks")

    def start(self, job: JobRequest) -> None:
        self.note("started", f"{job.run_id} {job.key} {job.attempt}")
        if job.key == "deploy":
            self.alone("deploy")

    def alone(self, name: str) -> None:
        """Work in a place that one process may be in at a time."""
        with open(self.folder / f"{name}.alone", "w") as place:
            try:
                fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                self.note("wrong", f"two are in {name}")
            time.sleep(0.002)

    def note(self, name: str, line: str) -> None:
        descriptor = os.open(self.folder / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(descriptor, f"{line}\n".encode())
        os.close(descriptor)

    def driver(self) -> RunDriver:
        return RunDriver(
            journal=self.journal, job_port=self.jobs, gate_port=RuledGates(), clock=Wall(), locks=self.locks
        )

    def act(self) -> None:
        choices = [self.run, self.run, self.deploy, self.cancel, self.resume, self.journal.tidy, self.check]
        with contextlib.suppress(AkashicError):
            self.chance.choice(choices)()

    def run(self) -> None:
        counted = [NewRecord("Counted", b"{}")]
        at = time.time()
        number = self.journal.append("counter/runs", counted, at=at, expected_version=None, durable=False)[
            0
        ].version
        create(self.journal, WORKFLOW, f"R{number}")
        self.driver().drive(f"R{number}", Cancellation())

    def deploy(self) -> None:
        driver = DeploymentDriver(
            journal=self.journal, port=Alone(self), clock=Wall(), locks=self.folder / "deployments"
        )
        id_ = f"d{self.chance.getrandbits(60)}"

        def make(state: EnvironmentState) -> DeploymentRequested:
            return request(id_, f"r-{id_}")

        driver.request("prod", id_, make)
        driver.drive("prod", id_, Cancellation())

    def cancel(self) -> None:
        runs = self.journal.streams("run/", streams_max=5)
        if runs:
            said = CancelRequested(by="ann", reason="enough", force=self.chance.random() < 0.5)
            stream = self.chance.choice(runs)
            self.journal.append(stream, [encode(said)], at=time.time(), expected_version=None)

    def resume(self) -> None:
        """Take on what the dead have left."""
        for stream in self.journal.streams("run/"):
            run_id = stream.removeprefix("run/")
            if self.journal.read(run_stream(run_id))[-1].type != "RunFinished":
                with contextlib.suppress(AkashicError):
                    self.driver().drive(run_id, Cancellation())
        driver = DeploymentDriver(
            journal=self.journal, port=Alone(self), clock=Wall(), locks=self.folder / "deployments"
        )
        driver.recover("prod", Cancellation())

    def check(self) -> None:
        for fault in self.journal.verify():
            self.note("wrong", fault.message)


class Alone(Target):
    """A target where one deployment at a time may be at work."""

    def __init__(self, worker: Worker) -> None:
        super().__init__()
        self.worker = worker

    def perform(self, effect, deployment, key, cancellation):  # type: ignore[no-untyped-def]
        self.worker.note("effects", key)
        self.worker.alone("prod")
        return super().perform(effect, deployment, key, cancellation)


if __name__ == "__main__":
    worker = Worker(Path(sys.argv[1]), int(sys.argv[2]))
    print("ready", flush=True)
    for _ in range(int(sys.argv[3])):
        worker.act()
    worker.resume()
    worker.journal.close()
