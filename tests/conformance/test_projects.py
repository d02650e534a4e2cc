"""Workflows shaped like those of well-known projects — libraries, interpreters, monorepos, services —
are read without an error, and run as GitHub would run them: which jobs, in which cells, and why not.

The files below `projects/` are ours; what they do, large projects' files do.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from akashic.app.application import Application
from akashic.app.foresight import foresee_all
from akashic.app.runs import create
from akashic.app.selection import Request, no_remote, select
from akashic.cancellation import Cancellation
from akashic.driver.locks import FileRunLocks
from akashic.driver.runs import RunDriver
from akashic.testing.jobs import RuledGates, Script, ScriptedJobs
from akashic.workflow.action import parse_action
from akashic.workflow.lint import lint_action, lint_workflow

PROJECTS = Path(__file__).with_name("projects")
FILES = sorted((PROJECTS / ".github").rglob("*.yml"))
NAMES = [path.stem for path in FILES]

TOLD = {
    "interpreter": {(39, "number")},
    "monorepo": {(53, "unreachable")},
    "packages": {(27, "reference"), (45, "reference")},
}
"""Warnings by file, but for actions that are not pinned: what never runs, and what is always empty."""

CHANGED = Script(outputs={"code": "true", "manual": "false"})
SCRIPTS = {
    "scope/look": CHANGED,
    "flags": Script(outputs={"all": "true", "parser": "false"}),
    "version": Script(outputs={"version": "1.2.3", "go": "1.22"}),
}

# (file, event, what runs in the order of the file's stages, what is skipped)
RUNS = [
    ("library", "push", "check(0) check(1) check(2) check(3)", ""),
    ("interpreter", "push", "scope/look build(0) build(1) build(2) build(3) build(4) all-green", "manual"),
    ("monorepo", "push", "flags site test", "nightly-only fuzz"),
    ("monorepo", "pull_request", "flags site test", "nightly-only fuzz"),
    ("images", "pull_request", "build(0) build(1)", "join"),
    ("service", "push", "test_go windows some(0) some(1) some(2) verdict", "every publish"),
    ("packages", "push", "version build(0)/package build(1)/package try(0)", ""),
    ("legacy", "push", "test(0) test(1)", ""),
    ("release", "release", "build draft index", ""),
    ("housekeeping", "schedule", "", "stale answer close note"),
    ("housekeeping", "pull_request_target", "note", "stale answer close"),
    ("tarball", "push", "pack shared(0)/package shared(1)/package", ""),
]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Application:
    """A checkout of all of them."""
    root = tmp_path_factory.mktemp("projects") / "p"
    shutil.copytree(PROJECTS, root)
    settings = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-c", "commit.gpgsign=false")
    for argv in (("init", "-q", "-b", "main"), ("add", "-A"), ("commit", "-q", "-m", "Begin")):
        subprocess.run(("git", *settings, *argv), cwd=root, check=True)
    return Application.open(root, {"HOME": str(root.parent), "PATH": os.environ["PATH"]})


@pytest.mark.parametrize("file", FILES, ids=NAMES)
def test_lint_finds_no_error_and_only_what_is_so(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    if file.name == "action.yml":
        assert lint_action(text, file.name, lambda _: None) == []
        return
    local = PROJECTS / ".github/actions/toolchain/action.yml"
    action = parse_action(local.read_text(encoding="utf-8"), local.name)
    found = lint_workflow(text, file.name, lambda uses: action if uses.endswith("toolchain") else None)
    assert [str(one) for one in found if one.severity == "error"] == []
    told = {(one.position.line, one.rule) for one in found if one.severity == "warning"}
    assert {one for one in told if one[1] != "unpinned-action"} == TOLD.get(file.stem, set())


@pytest.mark.parametrize(("name", "event", "runs", "skipped"), RUNS, ids=lambda value: str(value)[:12])
def test_it_runs_as_on_github(project: Application, name: str, event: str, runs: str, skipped: str) -> None:
    request = Request(event_name=event, workflows=(f"{name}.yml",))
    selection = select(project, request, cwd=project.root, remote=no_remote)
    (triggered,) = selection.triggered
    run_id = create(project, request, selection, triggered)
    jobs = ScriptedJobs(SCRIPTS)
    driver = RunDriver(
        journal=project.journal,
        job_port=jobs,
        gate_port=RuledGates(),
        clock=project.clock,
        locks=FileRunLocks(project.state_dir / "locks"),
        jobs_max=1,
    )
    state = driver.drive(run_id, Cancellation())
    assert sorted(one.key for one in jobs.started) == sorted(runs.split())
    assert {path for path, job in state.jobs.items() if job.conclusion == "skipped"} == set(skipped.split())
    # What a plan foresees is what happens.
    for job_id, foreseen in foresee_all(project, request, selection)[triggered.loaded.workflow.path].items():
        if foreseen.skipped:
            assert job_id in skipped.split(), foreseen
        elif foreseen.names is not None and state.jobs[job_id].instances:
            names = [state.instances[key].name for key in state.jobs[job_id].instances]
            assert names == list(foreseen.names)
