"""What a run's jobs are handed, and how signals reach it."""

from __future__ import annotations

from akashic.app.application import Application
from akashic.app.driving import DriveOptions, executor_of, runner_parts
from akashic.app.history import load_state
from akashic.app.runs import create
from akashic.app.selection import Request, no_remote, select
from akashic.executors.container_options import HOST_IMAGE, ContainerOptions
from akashic.executors.docker.executor import DockerExecutor
from akashic.runner.parts import RunnerParts


def parts_of(application: Application, options: DriveOptions) -> RunnerParts:
    selection = select(application, Request(), cwd=application.root, remote=no_remote)
    run_id = create(application, Request(), selection, selection.triggered[0])
    return runner_parts(application, load_state(application, run_id).created, options)


def test_given_secrets_come_over_those_of_the_file(application: Application) -> None:
    kept = {"": {"TOKEN": "kept", "OTHER": "kept"}, "production": {"TOKEN": "of production"}}
    application.secrets_of = lambda environment: dict(kept[environment])  # type: ignore[method-assign]
    secrets = parts_of(application, DriveOptions(secrets={"token": "given"})).secrets
    assert secrets("", "trusted") == {"TOKEN": "given", "OTHER": "kept"}
    assert secrets("production", "trusted") == {"TOKEN": "given"}


def test_a_fork_gets_no_secret_wherever_it_is_from(application: Application) -> None:
    application.secrets_of = lambda environment: {"TOKEN": "kept"}  # type: ignore[method-assign]
    secrets = parts_of(application, DriveOptions(secrets={"GIVEN": "x"})).secrets
    assert secrets("", "fork") == secrets("production", "fork") == {}


def test_a_run_is_about_its_own_commit(application: Application) -> None:
    parts = parts_of(application, DriveOptions(env={"A": "b"}, sandbox="off", step_debug=True))
    assert (parts.tree.commit, parts.tree.dirty) == (application.repository.commit, False)
    assert (parts.extra_env, parts.sandbox_mode, parts.step_debug) == ({"A": "b"}, "off", True)


def test_images_come_from_the_command_line_then_the_run_then_the_file(application: Application) -> None:
    (application.root / "akashic.yaml").write_text("labels: {A: file, b: file, c: file}\n")
    request = Request(executor="docker", options={"images": {"a": "run", "b": "run"}})
    selection = select(application, request, cwd=application.root, remote=no_remote)
    created = load_state(application, create(application, request, selection, selection.triggered[0])).created
    executor = executor_of(application, created, ContainerOptions(images={"a": "typed"}))
    assert isinstance(executor, DockerExecutor)
    assert executor.options.images == {"a": "typed", "b": "run", "c": "file"}


def test_options_of_containers_on_this_machine_are_told_to_have_no_effect(application: Application) -> None:
    said: list[str] = []
    application.say = said.append
    parts_of(application, DriveOptions(containers=ContainerOptions(images={"a": HOST_IMAGE})))
    assert said == []
    parts_of(application, DriveOptions(containers=ContainerOptions(images={"a": "alpine"})))
    assert len(said) == 1 and "--executor docker" in said[0]
