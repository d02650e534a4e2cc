"""`kill -9` at random moments, then the next command: every ending is clean.

AKASHIC_CRASH_ROUNDS says how many moments, AKASHIC_CRASH_SEED repeats those of an earlier run.
"""

from __future__ import annotations

import contextlib
import os
import random
import secrets
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.crash.crash_checks import Aftermath
from tests.e2e.small_shop import SmallShop
from tests.waiting import eventually

ROUNDS = int(os.environ.get("AKASHIC_CRASH_ROUNDS", "50"))
SEED = int(os.environ.get("AKASHIC_CRASH_SEED", "0")) or secrets.randbelow(1_000_000) + 1
ROUND_TIMEOUT_S = 60


@dataclass(frozen=True, kw_only=True)
class Moment:
    """One crash: what runs, after which part of its usual time it is killed, whether the supervisor is killed
    with it, and after which part of its own time the command that tidies up is killed too (0: it is not)."""

    command: tuple[str, ...]
    after: float
    supervisor: bool
    again_after: float


def moment_of(chance: random.Random, round_number: int) -> Moment:
    by_hand = round_number > 4 and chance.random() < 0.3
    commands = (("deploy", "staging"), ("rollback", "staging")) if by_hand else (("up", "--approve"),)
    return Moment(
        command=chance.choice(commands),
        after=chance.random(),
        supervisor=chance.random() < 0.3,
        again_after=chance.random() if chance.random() < 0.2 else 0.0,
    )


class Crashes:
    """Starts, kills and tidies up. `usual_s` is how long each command took when nobody killed it."""

    def __init__(self, shop: SmallShop) -> None:
        self.shop = shop
        self.usual_s: dict[str, float] = {}

    def once(self, moment: Moment) -> str:
        """One crash and what comes after it; what was printed."""
        said = self.kill(moment.command, moment.after, supervisor=moment.supervisor)
        if moment.again_after:
            said += self.kill(("resume",), moment.again_after, supervisor=moment.supervisor)
        return said + self.resume()

    def kill(self, command: tuple[str, ...], after: float, *, supervisor: bool) -> str:
        victims = [self.shop.supervisor_pid()] if supervisor else []
        process = self.shop.start(*command, stderr=subprocess.STDOUT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(after * self.usual_s.get(command[0], 2.0))
        process.kill()
        if supervisor and not victims[0]:
            victims = [self.shop.supervisor_pid()]
        for pid in filter(None, victims):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return self._ended(process)

    def resume(self) -> str:
        """The next command; production is approved when it asks."""
        after = Aftermath(self.shop)
        process = self.shop.start("resume", stderr=subprocess.STDOUT)
        started = time.monotonic()
        said = ""
        try:
            while process.poll() is None and time.monotonic() - started < ROUND_TIMEOUT_S:
                time.sleep(0.1)
                if after.gate_is_open():
                    said += self.shop("approve", "production", "--yes").stdout
        finally:
            after.close()
        if process.poll() is None:
            process.kill()
            pytest.fail(f"resume did not end in {ROUND_TIMEOUT_S} s:\n{self._ended(process)}{said}")
        return self._ended(process)

    def _ended(self, process: subprocess.Popen[str]) -> str:
        stdout, _ = process.communicate(timeout=ROUND_TIMEOUT_S)
        assert "Traceback" not in stdout, stdout
        return stdout


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[SmallShop]:
    made = SmallShop(tmp_path)
    yield made
    made.close()


@pytest.mark.slow
def test_every_ending_is_clean_wherever_it_is_killed(shop: SmallShop) -> None:
    print(f"AKASHIC_CRASH_SEED={SEED} AKASHIC_CRASH_ROUNDS={ROUNDS}")
    chance = random.Random(SEED)
    crashes = Crashes(shop)
    for command in (("up", "--approve"), ("deploy", "staging"), ("up", "--approve"), ("rollback", "staging")):
        shop.release(f"Uninterrupted {command[0]}")
        started = time.monotonic()
        result = shop(*command)
        assert result.returncode == 0, result.stdout + result.stderr
        crashes.usual_s[command[0]] = time.monotonic() - started
    crashes.usual_s["resume"] = crashes.usual_s["up"] / 2
    for number in range(1, ROUNDS + 1):
        moment = moment_of(chance, number)
        shop.release(f"Round {number}", round=number)
        started = time.monotonic()
        said = crashes.once(moment)
        wrong = everything_wrong(shop)
        print(f"round {number}: {moment}, {time.monotonic() - started:.1f} s")
        assert not wrong, f"seed {SEED}, round {number}, {moment}:\n" + "\n".join(wrong) + f"\n\n{said}"
    assert shop("journal", "verify").returncode == 0
    shop("down")
    after = Aftermath(shop)
    taken_on = after.count_of("RunResumed")
    print(f"{taken_on} runs were taken on, {after.count_of('DeploymentPromoted')} deployments promoted")
    assert taken_on >= ROUNDS // 5, "most moments hit nothing"
    shop.client.paths.state_file.unlink()  # Nothing is owned any more.
    assert eventually(lambda: not after.orphans())
    after.close()


def everything_wrong(shop: SmallShop) -> list[str]:
    after = Aftermath(shop)
    try:
        return [
            *after.journal_faults(),
            *(f"{stream} has not ended" for stream in after.open_runs()),
            *(f"{name} started more than once" for name in after.attempts_started_twice()),
            *after.deployments_in_between(),
            *after.environments_that_lie(),
            *(f"left behind: {path}" for path in after.leftover_files()),
            *(f"orphan {process}" for process in after.orphans()),
        ]
    finally:
        after.close()
