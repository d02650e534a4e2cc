"""`akashic image build` as a step: what one run installed, the next one need not fetch again."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.cli.cli_process import Cli
from tests.images.test_dependencies import make_wheel

WORKFLOW = """
on: push
jobs:
  build:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v4
      - run: akashic image build --engine none
"""
CONFIG = """
image: {name: hello, include: [src], requirements: requirements.lock, source_paths: [src], command: [python]}
"""


def test_the_second_run_builds_without_the_package_index(cli: Cli, tmp_path: Path) -> None:
    """Without isolation: with it a job has a /tmp of its own, where the wheels of this test are not."""
    cli.env["PATH"] = f"{Path(sys.executable).parent}:{cli.env['PATH']}"
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    cli.write("requirements.lock", f"--no-index\n--find-links {wheels}\n{make_wheel(wheels)}")
    cli.write("akashic.yaml", CONFIG)
    cli.write("src/hello.py", "")
    cli.workflow(WORKFLOW)
    cli.commit()
    first = cli("run", "--sandbox", "off")
    assert first.returncode == 0, first.stdout
    for wheel in wheels.iterdir():
        wheel.unlink()
    cli.write("src/hello.py", "print('hello')\n")
    cli.commit()
    second = cli("run", "--sandbox", "off")
    assert second.returncode == 0, second.stdout
