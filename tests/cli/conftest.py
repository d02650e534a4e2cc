"""What the tests of the command line share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.cli_process import Cli, living
from tests.waiting import eventually


@pytest.fixture
def cli(tmp_path: Path) -> Iterator[Cli]:
    made = Cli(tmp_path / "shop", tmp_path / "home")
    yield made
    for process in made.started:
        if process.poll() is None:
            process.kill()
            process.communicate()
    if (made.path / ".akashic" / "supervisor").is_dir():
        assert made("down").returncode == 0
    assert eventually(lambda: not living(str(made.path)), timeout_s=10), "a process was left behind"
