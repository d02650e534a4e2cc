"""The fake passes the part of the contract that needs no real process, and does what it is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from akashic.cancellation import Cancellation
from akashic.executors.protocol import ExecutorError, Tree
from akashic.executors.scripted import ScriptedExecutor
from tests.executors.contract import ExecutorContract, ExecutorParts


class TestScripted(ExecutorParts):
    test_a_job_in_a_container_is_refused_with_who_can = (
        ExecutorContract.test_a_job_in_a_container_is_refused_with_who_can
    )

    @pytest.fixture
    def executor(self, tmp_path: Path) -> ScriptedExecutor:
        return ScriptedExecutor(
            str(tmp_path / "s"), answers={"greet": (b"hi\n", 3)}, fail_open={"bad": "no room"}, hang=["wait"]
        )

    def test_it_answers_as_told(self, executor: ScriptedExecutor, tree: Tree) -> None:
        sandbox = executor.open(self.spec(tree), cancellation=Cancellation())
        ran = self.run(sandbox, "greet")
        assert (ran.code, ran.text) == (3, "hi\n")
        assert self.run(sandbox, "wait", timeout_s=0.01).status.timed_out
        sandbox.write(f"{sandbox.workspace}/a/b", b"1")
        assert sandbox.read(f"{sandbox.workspace}/a/b", bytes_max=9) == b"1"
        sandbox.close()
        sandbox.close()
        assert executor.closed == ["build"] and not Path(sandbox.workspace).exists()

    def test_it_fails_to_open_as_told(self, executor: ScriptedExecutor, tree: Tree) -> None:
        with pytest.raises(ExecutorError, match="no room"):
            executor.open(self.spec(tree, job_key="bad"), cancellation=Cancellation())
