"""What the tests of the command line share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.cli_process import Cli


@pytest.fixture
def cli(tmp_path: Path) -> Iterator[Cli]:
    made = Cli(tmp_path / "shop", tmp_path / "home")
    yield made
    for process in made.started:
        if process.poll() is None:
            process.kill()
            process.communicate()
