"""setup-python and setup-node find what is on the machine and keep the job's installs to the job."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from akashic.actions.protocol import ActionFailed
from akashic.actions.setup_node import SETUP_NODE
from akashic.actions.setup_python import SETUP_PYTHON
from akashic.actions.versions import is_range, matches, parse_version

HERE = f"{sys.version_info[0]}.{sys.version_info[1]}"


@pytest.mark.parametrize(
    ("version", "text", "expected"),
    [
        ((3, 11, 4), "3.11", True), ((3, 12, 0), "3.11", False), ((3, 11, 4), "3.x", True),
        ((3, 11, 4), ">=3.9 <3.12", True), ((3, 12, 0), ">=3.9 <3.12", False), ((20, 1, 0), "^20", True),
        ((0, 2, 5), "^0.2.3", True), ((0, 3, 0), "^0.2.3", False), ((1, 2, 9), "~1.2.3", True),
        ((1, 3, 0), "~1.2", False), ((2, 0, 0), "1 || 2", True), ((1, 5, 0), "1.2 - 1.6", True),
        ((3, 11, 4), "3.11.4", True), ((3, 11, 5), "<=3.11.4", False), ((3, 13, 0), ">3.12", True),
        ((9, 9, 9), "*", True),
    ],
)  # fmt: skip
def test_ranges(version, text: str, expected: bool) -> None:
    assert matches(version, text) is expected


@given(st.text(max_size=40))
def test_any_text_is_a_range_or_not(text: str) -> None:
    assert is_range(text) in (True, False)
    assert parse_version(text) is None or len(parse_version(text)) == 3


def test_python_gets_an_environment_of_its_own(job) -> None:
    ctx = job().use(SETUP_PYTHON, python_version=HERE)
    python = ctx.outputs["python-path"]
    assert python.startswith(ctx.sandbox.temp)
    assert ctx.outputs["python-version"].startswith(HERE)
    assert ctx.env_set["pythonLocation"] in python
    assert ctx.paths == [str(Path(python).parent)]
    shown = subprocess.run([python, "-m", "pip", "--version"], capture_output=True, text=True, check=True)
    assert ctx.sandbox.temp in shown.stdout


def test_the_second_job_gets_pip_from_the_tool_cache(job) -> None:
    first = job().use(SETUP_PYTHON, python_version=HERE)
    second = job()
    second.sandbox.tool_cache = first.sandbox.tool_cache
    second.use(SETUP_PYTHON, python_version=HERE, update_environment="false")
    pip = Path(second.outputs["python-path"]).with_name("pip")
    shown = subprocess.run([str(pip), "--version"], capture_output=True, text=True, check=True)
    assert second.sandbox.temp in shown.stdout
    assert second.paths == []


def test_the_version_can_stand_in_a_file(job) -> None:
    ctx = job()
    ctx.file(".python-version", f"{HERE}\n")
    assert ctx.use(SETUP_PYTHON).outputs["python-version"].startswith(HERE)
    ctx = job()
    ctx.file("pyproject.toml", f'[project]\nrequires-python = ">={HERE},<4"\n')
    assert ctx.use(SETUP_PYTHON, python_version_file="pyproject.toml").outputs["python-version"]


@pytest.mark.parametrize("version", ["2.1", "99", "pypy9.9"])
def test_a_version_that_is_not_here_is_a_clear_error(job, version: str) -> None:
    with pytest.raises(ActionFailed, match=f"The version '{version}'.*was not found") as caught:
        job().use(SETUP_PYTHON, python_version=version)
    assert "This machine has" in caught.value.hint


@pytest.mark.skipif(shutil.which("node") is None, reason="Node is not installed")
def test_node_is_found_by_range_and_global_installs_stay_in_the_job(job) -> None:
    shown = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    ctx = job().use(SETUP_NODE, node_version=shown[1:].split(".")[0])
    assert ctx.outputs["node-version"] == shown
    assert ctx.env_set["NPM_CONFIG_PREFIX"].startswith(ctx.sandbox.temp)
    assert (Path(ctx.paths[0]) / "node").exists()


def test_a_registry_is_set_up_without_writing_the_token(job) -> None:
    ctx = job()
    ctx.env["NODE_AUTH_TOKEN"] = "npm_secret"
    ctx.use(SETUP_NODE, registry_url="https://registry.example", scope="octo")
    config = Path(ctx.env_set["NPM_CONFIG_USERCONFIG"]).read_text()
    assert "npm_secret" not in config
    assert "@octo:registry=https://registry.example/" in config


def test_python_is_found_where_a_folder_that_is_named_cannot_be_read(job, tmp_path: Path) -> None:
    (tmp_path / "versions").write_text("no folder")
    ctx = job()
    ctx.env["PYENV_ROOT"] = str(tmp_path)
    assert ctx.use(SETUP_PYTHON, python_version=HERE).outputs["python-version"].startswith(HERE)


def test_pyenv_s_versions_are_found_without_asking_its_shims(job, tmp_path: Path) -> None:
    pyenv = tmp_path / "pyenv"
    for folder in ("versions/here/bin", "shims"):
        (pyenv / folder).mkdir(parents=True)
    (pyenv / "versions/here/bin/python3").symlink_to(sys.executable)
    shim = pyenv / "shims/python3"
    shim.write_text(f"#!/bin/sh\ntouch {tmp_path}/asked\nexit 1\n")
    shim.chmod(0o755)
    ctx = job()
    ctx.env["PYENV_ROOT"] = str(pyenv)
    ctx.sandbox.base_env["PATH"] = f"{pyenv}/shims:/usr/bin:/bin"
    assert ctx.use(SETUP_PYTHON, python_version=HERE).outputs["python-version"].startswith(HERE)
    assert any(argv[0] == f"{pyenv}/versions/here/bin/python3" for argv in ctx.commands)
    assert not (tmp_path / "asked").exists()
