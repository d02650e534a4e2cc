"""Who is a person and who is a process of a job."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from akashic.app.people import inside_a_job

ASK = "import sys; from pathlib import Path; from akashic.app.people import inside_a_job; "
ASK += "print(inside_a_job({}, Path(sys.argv[1])))"


def asked(state: Path, *before: str, **env: str) -> str:
    """What a process says that is started by a shell which has these variables."""
    command = [*before, sys.executable, "-c", ASK, str(state)]
    script = '"$@"; code=$?; exit $code'  # More than one command: the shell stays, as a step's does.
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AKASHIC_")}
    done = subprocess.run(
        ["bash", "-c", script, "step", *command],
        env={**clean, **env},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def test_a_process_with_the_variables_of_a_job_is_inside(tmp_path: Path) -> None:
    assert inside_a_job({"AKASHIC_JOB": "deploy"}, tmp_path)


def test_a_process_that_cleared_its_variables_is_still_inside(tmp_path: Path) -> None:
    step = {"AKASHIC_JOB": "deploy", "AKASHIC_STATE": str(tmp_path.resolve())}
    assert asked(tmp_path, **step) == "True"
    scrubbed = ("env", "-u", "AKASHIC_JOB", "-u", "AKASHIC_STATE")
    assert asked(tmp_path, *scrubbed, **step) == "True"
    assert asked(tmp_path, "setsid", "--wait", *scrubbed, **step) == "True"


def test_a_person_is_not_inside_nor_is_a_job_of_another_state_folder(tmp_path: Path) -> None:
    assert asked(tmp_path) == "False"
    assert asked(tmp_path, AKASHIC_STATE=str(tmp_path.resolve())) == "False"
    elsewhere = {"AKASHIC_JOB": "deploy", "AKASHIC_STATE": str(tmp_path / "other")}
    assert asked(tmp_path, "env", "-u", "AKASHIC_JOB", **elsewhere) == "False"
