"""Row 36 for every git that we start ourselves: what a repository brings along is not run."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from akashic.git import git_argv, git_env


@pytest.fixture
def hostile(tmp_path: Path) -> tuple[Path, Path]:
    """A repository with hooks and a monitor, and the file that each of them would make."""
    root, proof = tmp_path / "r", tmp_path / "proof"
    plain = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    for argv in (
        ("init", "-q", "-b", "main", str(root)),
        (
            "-C",
            str(root),
            "-c",
            "user.name=a",
            "-c",
            "user.email=a@b",
            "commit",
            "-q",
            "--allow-empty",
            "-m",
            "x",
        ),
    ):
        subprocess.run(("git", *argv), check=True, env=plain)
    for name in ("post-checkout", "post-index-change", "reference-transaction", "pre-auto-gc"):
        hook = root / ".git/hooks" / name
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(f"#!/bin/sh\necho {name} >> {proof}\n")
        hook.chmod(0o755)
    subprocess.run(
        ("git", "-C", str(root), "config", "core.fsmonitor", f"echo monitor >> {proof}; false"),
        check=True,
        env=plain,
    )
    return root, proof


def test_attack_36_no_hook_and_no_monitor_runs_when_we_call_git(hostile: tuple[Path, Path]) -> None:
    root, proof = hostile
    (root / "file").write_text("x")
    for argv in (
        ("add", "file"),
        ("status",),
        ("checkout", "-q", "-b", "other"),
        ("update-ref", "refs/x", "HEAD"),
    ):
        subprocess.run(git_argv(root, *argv), check=True, capture_output=True, env=git_env(os.environ))
    assert not proof.exists(), proof.read_text()


def test_attack_36_the_hooks_of_this_test_would_run(hostile: tuple[Path, Path]) -> None:
    root, proof = hostile
    (root / "file").write_text("x")
    subprocess.run(("git", "-C", str(root), "add", "file"), check=True, capture_output=True)
    subprocess.run(("git", "-C", str(root), "checkout", "-q", "-b", "other"), check=True, capture_output=True)
    assert {"monitor", "post-index-change", "post-checkout"} <= set(proof.read_text().split())
