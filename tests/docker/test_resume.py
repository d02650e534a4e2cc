"""Jobs in containers that failed go on where they failed: with their files, and with what they installed."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from akashic.containers.engine import Engine
from akashic.executors.host.keeping import KEPT_AGE_S_MAX

pytestmark = pytest.mark.docker

JOB = """
build:
  runs-on: ubuntu-latest
  container: {image: {base}, env: {TOKEN: "${{ secrets.GIVEN }}"}@OPTIONS}
  steps:
    - uses: actions/checkout@v4
    - id: first
      run: |
        echo earlier >> made.txt
        echo version=1.2.3 >> "$GITHUB_OUTPUT"
        echo COLOUR=green >> "$GITHUB_ENV"
        echo private > "$RUNNER_TEMP/note"; echo set > "$HOME/.setting"
        @INSTALL
    - run: |
        cat made.txt "$RUNNER_TEMP/note" "$HOME/.setting"
        echo "facts=$COLOUR ${{ steps.first.outputs.version }} $TOKEN"
        echo mine >> made.txt
        grep good app.txt
        @USE
    - run: echo "status=$(git status --porcelain | tr '\\n' ' ')"
"""


INSTALLED = ("printf '#!/bin/sh\\necho tool=installed\\n' > /usr/bin/tool; chmod +x /usr/bin/tool", "tool")


def job(install: str = "true", use: str = "true", options: str = "") -> str:
    return JOB.replace("@INSTALL", install).replace("@USE", use).replace("@OPTIONS", options)


@pytest.fixture
def failed(shop: Any) -> Any:
    shop.write("app.txt", "bad\n")
    shop.run(job(*INSTALLED), "-s", "GIVEN=hunter22secret", code=1)
    return shop


def test_a_job_goes_on_with_its_files_and_with_what_it_installed(failed: Any) -> None:
    assert len(failed.kept_images()) == 1
    failed.write("app.txt", "good\n")
    run = failed.resume("-s", "GIVEN=hunter22secret")
    lines = run.lines("build")
    assert "changed since: app.txt" in lines
    assert lines.count("earlier") == 1, "the step ran again, or its file is gone"
    assert "private" in lines and "set" in lines
    assert run.value("build", "facts") == "green 1.2.3 ***"
    assert run.value("build", "tool") == "installed"
    assert run.value("build", "status").split() == ["M", "app.txt", "??", "made.txt"]
    assert failed.kept_images() == []


def test_a_second_failure_can_be_taken_up_too(failed: Any) -> None:
    failed.resume("-s", "GIVEN=hunter22secret", code=1)
    failed.write("app.txt", "good\n")
    run = failed.resume("-s", "GIVEN=hunter22secret")
    assert run.lines("build").count("mine") == 2
    assert run.value("build", "tool") == "installed"
    assert failed.kept_images() == []


def test_no_secret_is_kept(failed: Any, engine: Engine) -> None:
    (image,) = failed.kept_images()
    assert "hunter22secret" not in str(engine.images.inspect(image).env)
    for path in (failed.cli.path / ".akashic").rglob("*"):
        if path.is_file():
            assert b"hunter22secret" not in path.read_bytes(), path


def test_no_image_is_made_for_a_job_that_stayed_in_its_folders(shop: Any) -> None:
    shop.write("app.txt", "bad\n")
    shop.run(job(), "-s", "GIVEN=hunter22secret", code=1)
    assert shop.kept_images() == []
    shop.write("app.txt", "good\n")
    run = shop.resume("-s", "GIVEN=hunter22secret")
    assert run.lines("build").count("earlier") == 1


def test_another_user_s_job_goes_on(shop: Any) -> None:
    shop.write("app.txt", "bad\n")
    shop.run(job(options=", options: --user 1001"), "-s", "GIVEN=hunter22secret", code=1)
    shop.write("app.txt", "good\n")
    run = shop.resume("-s", "GIVEN=hunter22secret")
    assert run.lines("build").count("earlier") == 1
    assert run.value("build", "facts") == "green 1.2.3 ***"


def test_a_place_that_cannot_be_opened_stays(failed: Any) -> None:
    result = failed.cli("resume", "1", "-s", "GIVEN=hunter22secret", env={"DOCKER_HOST": "unix:///nowhere"})
    assert result.returncode == 1, result.stdout
    failed.write("app.txt", "good\n")
    assert failed.resume("-s", "GIVEN=hunter22secret").value("build", "tool") == "installed"


def test_what_nobody_takes_up_goes_with_its_image(failed: Any) -> None:
    (file,) = (failed.cli.path / ".akashic" / "containers" / "kept").glob("*.json")
    kept = json.loads(file.read_text())
    kept["kept_at"] = time.time() - KEPT_AGE_S_MAX - 1
    file.write_text(json.dumps(kept))
    failed.run("build: {runs-on: ubuntu-latest, steps: [{run: 'true'}]}")
    assert failed.kept_images() == [] and not file.exists()


def test_a_kill_in_a_resumed_job_leaves_no_image(failed: Any) -> None:
    failed.write("app.txt", "good\n")
    file = failed.cli.path / ".github" / "workflows" / "ci.yml"
    file.write_text(file.read_text().replace('echo "status=', 'echo here; sleep 300; echo "status='))
    process = failed.cli.start("resume", "1", "-v", "-s", "GIVEN=hunter22secret")
    while "| here" not in process.stdout.readline():
        assert process.poll() is None
    process.kill()
    process.wait()
    failed.run("build: {runs-on: ubuntu-latest, steps: [{run: 'true'}]}")
    assert failed.kept_images() == []
