"""A run for nobody, so that the first one for somebody is not the first: caches are filled, parsers made,
libraries initialised. A worker that only has the modules takes 3 of 20 ms longer."""

from __future__ import annotations

import os
import subprocess
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

from akashic.cli.afterwards import do_rest
from akashic.git import SAFE

_WORKFLOW = """\
name: rehearsal
on: push
env: {NAME: "${{ github.ref_name }}"}
jobs:
  rehearse:
    runs-on: ubuntu-latest
    steps:
      - run: echo "answer=${{ github.run_id }}" >> "$GITHUB_OUTPUT"
        id: first
      - run: echo "${{ steps.first.outputs.answer }}"
        if: success()
"""
_AUTHOR = ("-c", "user.name=akashic", "-c", "user.email=akashic@localhost", "-c", "commit.gpgSign=false")
_GIT_TIMEOUT_S = 10.0
_PATIENCE_S = 2.0


def rehearse() -> bool:
    """Run a small workflow in a repository of its own in this process. False when a thread of it is still
    alive, and this process can therefore not be forked from. That it fails is no matter."""
    with suppress(Exception, SystemExit), tempfile.TemporaryDirectory(prefix="akashic-") as folder:
        workflows = Path(folder, ".github", "workflows")
        workflows.mkdir(parents=True)
        (workflows / "rehearsal.yml").write_text(_WORKFLOW)
        _git(folder, "init", "--quiet")
        _git(folder, "commit", "--quiet", "--allow-empty", "--message", "rehearsal")
        _run(folder)
    deadline = time.monotonic() + _PATIENCE_S
    while threading.active_count() > 1 and time.monotonic() < deadline:
        time.sleep(0.01)
    return threading.active_count() == 1


def _git(folder: str, *argv: str) -> None:
    subprocess.run(
        ("git", "-C", folder, *SAFE, *_AUTHOR, *argv), check=True, capture_output=True, timeout=_GIT_TIMEOUT_S
    )


def _run(folder: str) -> None:
    from akashic.cli.dispatch import dispatch  # at the door, as `akashic.cli.work` has it

    # Only root can try isolation and stay who it is: others would move this process into a namespace.
    sandbox = "auto" if os.geteuid() == 0 else "off"
    dispatch(["-C", folder, "run", "push", "--quiet", "--no-keep", "--sandbox", sandbox])
    do_rest()
