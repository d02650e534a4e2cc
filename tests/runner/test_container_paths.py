"""A job whose paths are not this machine's: what the runner writes, reads and tells is the job's."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from akashic.executors.scripted import ScriptedExecutor, ScriptedSandbox

CONTAINER = "container: {image: node:20}\nsteps:\n"


@pytest.fixture
def engine(house: Any) -> ScriptedExecutor:
    executor = ScriptedExecutor(str(house.folder / "scripted"), containers=True)
    house.parts_options["executor"] = executor
    house.parts_options["executable_folder"] = "/opt/akashic/bin"
    return executor


class Seen:
    """What the processes of a job were given, by their command's first word."""

    def __init__(self, executor: ScriptedExecutor, *, scripts: bool = True) -> None:
        self.envs: list[dict[str, str]] = []
        self.argvs: list[list[str]] = []
        self.cwds: list[str] = []
        self.scripts: list[str] = []
        original = ScriptedSandbox.exec

        def watch(sandbox: ScriptedSandbox, argv: Any, **facts: Any) -> Any:
            self.argvs.append(list(argv))
            self.envs.append(dict(facts["env"]))
            self.cwds.append(facts["cwd"])
            if argv[-1].endswith(".sh"):
                self.scripts.append((sandbox.read(argv[-1], bytes_max=1000) or b"").decode())
            return original(sandbox, argv, **facts)

        self.exec = watch


@pytest.fixture
def seen(engine: ScriptedExecutor, monkeypatch: pytest.MonkeyPatch) -> Seen:
    seen = Seen(engine)
    monkeypatch.setattr(ScriptedSandbox, "exec", seen.exec)
    return seen


def test_contexts_and_variables_of_a_job_container_are_github_s(
    house: Any, engine: ScriptedExecutor, seen: Seen
) -> None:
    outcome = house.run(
        CONTAINER
        + """
  - run: >-
      ${{ github.workspace }} ${{ runner.temp }} ${{ runner.tool_cache }} ${{ github.event_path }}
      ${{ runner.workspace }} ${{ job.container.id }} ${{ job.container.network }}
"""
    )
    assert outcome.result.conclusion == "success", outcome.log
    assert seen.scripts == [
        "/__w/app/app /__w/_temp /__t /github/workflow/event.json /__w/app c0ffee scripted\n"
    ]
    env = seen.envs[0]
    assert env["GITHUB_WORKSPACE"] == "/__w/app/app" == seen.cwds[0]
    assert env["RUNNER_TEMP"] == "/__w/_temp" and env["RUNNER_TOOL_CACHE"] == "/__t"
    assert env["HOME"] == "/github/home" and env["GITHUB_EVENT_PATH"] == "/github/workflow/event.json"
    assert env["GITHUB_ENV"].startswith("/__w/_temp/_runner_file_commands/")
    assert not {"AKASHIC_STATE", "AKASHIC_ROOT"} & set(env)
    assert "/opt/akashic/bin" not in env["PATH"]


def test_the_event_is_where_its_path_says(house: Any, engine: ScriptedExecutor, seen: Seen) -> None:
    found: list[Any] = []

    def look(sandbox: ScriptedSandbox, env: Mapping[str, str]) -> None:
        found.append(json.loads(Path(sandbox.host_path(env["GITHUB_EVENT_PATH"])).read_bytes()))

    engine.does["docker-image"] = look
    house.run(CONTAINER + "  - {run: a}\n  - {uses: 'docker://x'}")
    path = engine.images[0][3]["GITHUB_EVENT_PATH"]
    assert path == "/github/workflow/event.json"


def test_scripts_run_with_sh_in_a_container_and_with_what_is_there_in_an_image(
    house: Any, engine: ScriptedExecutor, seen: Seen
) -> None:
    house.run(CONTAINER + "  - run: a\n  - {run: b, shell: bash}")
    assert seen.argvs[0][:2] == ["sh", "-e"] and seen.argvs[0][2].startswith("/__w/_temp/")
    assert seen.argvs[1][:3] == ["bash", "--noprofile", "--norc"]
    house.run("defaults: {run: {shell: python}}\n" + CONTAINER + "  - run: a")
    assert seen.argvs[2][0] == "python"
    house.run("- run: a")
    assert seen.argvs[3][:2] == ["sh", "-c"] and "exec bash -e" in seen.argvs[3][2]


def test_an_image_that_is_empty_means_no_container(house: Any, engine: ScriptedExecutor, seen: Seen) -> None:
    house.run("container: {image: ''}\nsteps:\n  - run: a".replace("''", "'${{ github.nothing }}'"))
    assert "exec bash -e" in seen.argvs[0][2]


def test_environment_files_are_read_from_where_the_container_wrote_them(
    house: Any, engine: ScriptedExecutor, seen: Seen
) -> None:
    def write(sandbox: ScriptedSandbox, env: Mapping[str, str]) -> None:
        file = Path(sandbox.host_path(env["GITHUB_OUTPUT"]))
        assert file.stat().st_mode & 0o777 == 0o666, "a user of the image may write, too"
        file.write_text("answer=42\n")

    engine.does["node /__w/_actions/octo/js/v1/main.js"] = write
    house.overrides["octo/js@v1"] = str(house.folder / "js")
    action = house.folder / "js"
    action.mkdir()
    (action / "action.yml").write_text("runs: {using: node20, main: main.js}")
    (action / "main.js").write_text("")
    engine.answers['node=$(command -v node) && "$node" --version && printf "%s\\n" "$node"'] = (
        b"v20.1.0\nnode\n",
        0,
    )
    outcome = house.run(
        CONTAINER + "  - {id: a, uses: octo/js@v1}\n  - {run: 'got ${{ steps.a.outputs.answer }}'}"
    )
    assert outcome.result.conclusion == "success", outcome.log
    assert seen.scripts == ["got 42\n"]


def test_a_checkout_fills_the_container_s_workspace_and_tells_git_to_trust_it(
    house: Any, engine: ScriptedExecutor, seen: Seen, git: Any
) -> None:
    (house.root / "file.txt").write_text("x")
    (house.root / "sub").mkdir()
    git(house.root, "init", "-q")
    git(house.root, "add", "-A")
    git(house.root, "commit", "-q", "-m", "x")
    commit = git(house.root, "rev-parse", "HEAD")
    git(house.root, "branch", "other")
    outcome = house.run(
        CONTAINER
        + """
  - {id: c, uses: actions/checkout@v4, with: {ref: other}}
  - {run: "commit ${{ steps.c.outputs.commit }} ${{ hashFiles('file.txt') }}", working-directory: sub}
  - {run: never, working-directory: nowhere, id: nowhere}
"""
    )
    assert [
        "git", "config", "--global", "--add", "safe.directory", "/__w/app/app"
    ] in seen.argvs  # fmt: skip
    assert seen.scripts[0].startswith(f"commit {commit} ") and len(seen.scripts[0].split()[-1]) == 64
    assert "/__w/app/app/sub" in seen.cwds
    assert "no such folder: 'nowhere'" in outcome.step("nowhere").error


def test_an_artifact_of_what_only_the_container_has_is_refused_with_what_to_do(
    house: Any, engine: ScriptedExecutor
) -> None:
    outcome = house.run(CONTAINER + "  - {id: a, uses: actions/upload-artifact@v4, with: {path: /etc/os}}")
    assert "lies inside of the container" in outcome.step("a").error
    assert "copy it into the workspace" in outcome.log


def test_a_cache_of_what_only_the_container_has_is_refused(house: Any, engine: ScriptedExecutor) -> None:
    outcome = house.run(CONTAINER + "  - {id: a, uses: actions/cache@v4, with: {path: /tmp/x, key: k}}")
    assert "lies inside of the container" in outcome.step("a").error


def test_node_and_python_are_looked_for_in_the_container(
    house: Any, engine: ScriptedExecutor, seen: Seen
) -> None:
    outcome = house.run(
        CONTAINER + "  - {id: n, uses: actions/setup-node@v4, with: {node-version: 20}}\n"
        "  - {id: p, uses: actions/setup-python@v5, if: always(), with: {python-version: '3.x'}}"
    )
    assert "20" in outcome.step("n").error and "3.x" in outcome.step("p").error
    asked = [argv for argv in seen.argvs if argv[:2] == ["sh", "-c"] and "readlink" in argv[2]]
    assert asked and "node" in asked[0] and "python* pypy3*" in asked[1]


def test_the_runner_s_own_node_comes_along_where_the_image_has_none(
    house: Any, engine: ScriptedExecutor, seen: Seen, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ours = tmp_path / "node"
    ours.write_text("program")
    ours.chmod(0o755)
    monkeypatch.setattr("akashic.actions.container_node.installed_with_us", lambda: str(ours))
    action = house.folder / "js"
    action.mkdir()
    (action / "action.yml").write_text("runs: {using: node20, main: main.js}")
    house.overrides["octo/js@v1"] = str(action)
    engine.answers['node=$(command -v node) && "$node" --version && printf "%s\\n" "$node"'] = (b"", 127)
    engine.answers["/__w/_actions/node/bin/node --version"] = (b"v24.0.0\n", 0)
    outcome = house.run(CONTAINER + "  - uses: octo/js@v1")
    assert outcome.result.conclusion == "success", outcome.log
    assert seen.argvs[-1][0] == "/__w/_actions/node/bin/node"
    engine.answers["/__w/_actions/node/bin/node --version"] = (b"not found\n", 127)
    outcome = house.run(CONTAINER + "  - {uses: octo/js@v1, id: a}")
    assert "the container's image has none" in outcome.step("a").error
    assert os.path.exists(ours)  # noqa: PTH110
