"""Standing still at a step, and the shell that opens there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from akashic.executors.protocol import Unsupported
from akashic.runner.breakpoints import open_shell
from akashic.runner.parts import Stop


class Asked:
    def __init__(self, *answers: str) -> None:
        self.stops: list[Stop] = []
        self._answers = list(answers)

    def __call__(self, stop: Stop) -> Any:
        self.stops.append(stop)
        return self._answers.pop(0)


def test_a_named_step_stops_before_it_runs(house: Any) -> None:
    asked = Asked("continue")
    house.parts_options |= {"breakpoint": asked, "break_at": frozenset({"build/second"})}
    outcome = house.run("- {id: first, run: echo 1}\n- {id: second, run: echo 2, working-directory: .}")
    assert [(stop.id, stop.moment) for stop in asked.stops] == [("second", "before")]
    assert outcome.step("second").outcome == "success"
    assert asked.stops[0].env["GITHUB_ACTION"] == "second"


def test_abort_ends_the_job_but_not_its_cleaning_up(house: Any) -> None:
    asked = Asked("abort")
    house.parts_options |= {"breakpoint": asked, "break_on_failure": True}
    outcome = house.run(
        "- {id: a, run: exit 1}\n- {id: b, run: echo 2}\n- {id: c, if: always(), run: echo tidy}"
    )
    assert outcome.result.conclusion == "cancelled"
    assert outcome.step("b").outcome == "skipped" and outcome.step("c").outcome == "success"


def test_an_abort_before_a_step_does_not_run_it(house: Any) -> None:
    house.parts_options |= {"breakpoint": Asked("abort"), "break_at": frozenset({"build/2"})}
    outcome = house.run("- {id: a, run: echo printed}")
    assert outcome.step("a").outcome == "cancelled"
    assert "printed" not in [line for line in outcome.log.splitlines() if not line.startswith(("echo", "##"))]


def test_a_retry_reads_the_workspace_as_it_is_now(house: Any) -> None:
    asked = Asked("retry", "retry", "continue")
    house.parts_options |= {"breakpoint": asked, "break_on_failure": True}
    outcome = house.run("- {id: a, run: echo x >> tries; cat tries; exit 1}")
    assert outcome.step("a").outcome == "failure"
    assert outcome.log.splitlines().count("x") == 6
    assert len(asked.stops) == 3


def stop_at(folder: Path, env: dict[str, str]) -> Stop:
    class Sandbox:
        def host_path(self, path: str) -> str:
            return path

    return Stop(
        job_key="build",
        number=2,
        name="x",
        id="x",
        moment="failed",
        reason="",
        sandbox=Sandbox(),  # type: ignore[arg-type]
        env=env,
        cwd=str(folder),
    )


def test_the_shell_opens_in_the_steps_folder_with_its_environment(tmp_path: Path) -> None:
    shell = tmp_path / "shell"
    shell.write_text('#!/bin/sh\necho "$PWD $FROM_STEP $1" > seen\nexit 7\n')
    shell.chmod(0o755)
    assert open_shell(stop_at(tmp_path, {"PATH": "/usr/bin:/bin", "FROM_STEP": "yes"}), shell=str(shell)) == 7
    assert (tmp_path / "seen").read_text() == f"{tmp_path} yes -i\n"


def test_a_shell_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match="cannot open a shell"):
        open_shell(stop_at(tmp_path, {}), shell=str(tmp_path / "nothing"))
