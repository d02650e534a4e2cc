"""The project as pip installs it: into folders as people have them."""

from __future__ import annotations

import ensurepip
import os
import runpy
import subprocess
import sys
from pathlib import Path

import hatchling
import pytest

ROOT = Path(__file__).parents[1]
HATCHLING = Path(hatchling.__file__).parents[1]


def run(*argv: str | Path, cwd: Path, **variables: str) -> str:
    env = {"PATH": os.defpath, "HOME": str(cwd), "AKASHIC_WARM": "off", **variables}
    result = subprocess.run(argv, cwd=cwd, env=env, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.mark.parametrize("name", ["plain", "with a space"])
def test_the_command_starts_wherever_it_is_installed(name: str, tmp_path: Path) -> None:
    wheels = sorted(Path(ensurepip.__file__).parent.glob("_bundled/pip-*.whl"))
    if not wheels:
        pytest.skip("this Python comes without pip")
    venv = tmp_path / name
    run(sys.executable, "-m", "venv", "--without-pip", venv, cwd=tmp_path)
    python = venv / "bin" / "python"
    options = ("--no-index", "--no-deps", "--no-build-isolation", "--disable-pip-version-check", "--quiet")
    path = os.pathsep.join((str(wheels[-1]), str(HATCHLING)))
    run(python, "-m", "pip", "install", *options, ROOT, cwd=tmp_path, PYTHONPATH=path)

    assert run(venv / "bin" / "akashic", "--version", cwd=tmp_path).startswith("akashic ")
    starts_straight = (venv / "bin" / "akashic").read_bytes().startswith(b"#!" + os.fsencode(python) + b"\n")
    assert starts_straight == (name == "plain"), "a shell starts Python where that is not needed"


def test_a_path_that_the_kernel_would_cut_is_long() -> None:
    fits_shebang = runpy.run_path(str(ROOT / "scripts" / "command_script.py"))["fits_shebang"]

    assert fits_shebang("/" + 124 * "p")
    assert not fits_shebang("/" + 125 * "p")


def test_a_module_of_the_repository_is_not_taken_for_one_of_python_s(tmp_path: Path) -> None:
    for name in ("queue", "yaml", "argparse", "msgspec"):
        tmp_path.joinpath(f"{name}.py").write_text("raise SystemExit('of the repository')")

    assert "usage: akashic" in run(sys.executable, "-m", "akashic", "--help", cwd=tmp_path)
