"""Rows 17 and 20 with jobs in containers: what is stored, what processes are called, and what the engine is
left with is searched for secrets."""

from __future__ import annotations

import contextlib
import io
import json
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from akashic.containers.engine import Engine
from akashic.containers.errors import NotFound
from tests.cli.cli_process import Cli

GIVEN = "canary-C0ntainer-given-7"
FILED = "canary-C0ntainer-filed-8"
FORMS = (b"canary-C0ntainer", b"Y2FuYXJ5LUMwbnRhaW5lc", b"63616e6172792d43306e7461696e6572")
WORKFLOW = """
    name: ci
    on: push
    jobs:
      build:
        runs-on: ubuntu-latest
        container:
          image: IMAGE
          env: {{TOKEN: "${{{{ secrets.GIVEN }}}}"}}
        services:
          side: {{image: IMAGE, env: {{PASSWORD: "${{{{ secrets.FILED }}}}"}}, command: sleep 1234}}
        env: {{OTHER: "${{{{ secrets.FILED }}}}"}}
        steps:
          - uses: actions/checkout@v4
          - uses: ./action
            with: {{token: "${{{{ secrets.GIVEN }}}}"}}
            env: {{EXTRA: "${{{{ secrets.FILED }}}}"}}
          - run: |
              echo "$TOKEN $OTHER"; printf %s "$TOKEN" | base64
              printf %s "$OTHER" | od -An -tx1 -w99 | tr -d ' '
              echo "::warning title=$TOKEN::$OTHER"; echo "# $TOKEN" >> "$GITHUB_STEP_SUMMARY"
              echo "KEPT=$OTHER" >> "$GITHUB_ENV"; echo "out=$TOKEN" >> "$GITHUB_OUTPUT"
              touch /of-the-image; sleep 0.5; {end}
"""
ACTION = """
    name: tell
    inputs: {token: {}}
    runs: {using: docker, image: Dockerfile, args: ["${{ inputs.token }}"]}
"""


@pytest.fixture
def cli(tmp_path: Path, base_image: str, engine: Engine) -> Iterator[Cli]:
    found = Cli(tmp_path / "shop", tmp_path / "home")
    found.write("action/action.yml", ACTION)
    found.write("action/Dockerfile", f'FROM {base_image}\nLABEL of={tmp_path}\nENTRYPOINT ["echo"]\n')
    yield found
    for image in images_of(engine, tmp_path):
        engine.images.remove(image, force=True)


def images_of(engine: Engine, folder: Path) -> list[str]:
    """What was built for this test, or kept of its jobs."""
    return [
        tag
        for image in engine.images.list()
        if any(value.startswith(str(folder)) for value in image.labels.values())
        for tag in image.tags
    ]


class Watch:
    """Looks at every process's command line while a run goes on, and at what the engine's containers are
    called and labelled with."""

    def __init__(self, engine: Engine) -> None:
        self.found: set[str] = set()
        self.looks = 0
        self._engine = engine
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(0.02):
            self.looks += 1
            for process in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    line = process.read_bytes()
                except OSError:
                    continue
                # The action's own program is given its arguments, as the workflow says.
                if any(form in line for form in FORMS) and not line.startswith(b"echo\0"):
                    self.found.add(line.decode(errors="replace"))


def layers(engine: Engine, image: str) -> Iterator[bytes]:
    """An image as the engine would hand it on: settings, history and the files of its layers."""
    with engine.transport.stream("GET", f"/images/{image}/get") as response:
        archive = tarfile.open(fileobj=io.BytesIO(response.read()))  # noqa: SIM115
    for member in archive.getmembers():
        content = archive.extractfile(member)
        if content is not None:
            yield content.read()


@pytest.mark.docker
@pytest.mark.parametrize("end", ["exit 1", "true"])
def test_attack_17_jobs_in_containers_leave_no_secret(
    cli: Cli, engine: Engine, base_image: str, end: str
) -> None:
    cli.workflow(WORKFLOW.format(end=end).replace("IMAGE", base_image))
    assert cli("secret", "init").returncode == 0
    assert cli("secret", "set", "FILED", given=FILED).returncode == 0
    cli.commit()
    argv = ("run", "--executor", "docker", "-P", f"ubuntu-latest={base_image}", "-s", "GIVEN", "--step-debug")
    with Watch(engine) as watch:
        done = cli(*argv, env={"GIVEN": GIVEN})
    assert done.returncode == (1 if end == "exit 1" else 0), done.stdout + done.stderr
    assert done.stdout.count("***") > 5 and watch.looks > 5
    assert watch.found == set()
    shown = done.stdout + done.stderr + cli("logs", "1").stdout + cli("--json", "runs").stdout
    shown += cli("journal", "export").stdout
    assert [form for form in FORMS if form in shown.encode()] == []
    leaks = [
        str(path)
        for path in (cli.path / ".akashic").rglob("*")
        if path.is_file() and not path.is_symlink() and any(form in path.read_bytes() for form in FORMS)
    ]
    assert leaks == []
    images = images_of(engine, cli.path.parent)
    assert len(images) == (2 if end == "exit 1" else 1), "the action's, and what a failed job changed"
    for image in images:
        facts = json.dumps(engine.transport.call("GET", f"/images/{image}/json")).encode()
        facts += json.dumps(engine.transport.call("GET", f"/images/{image}/history")).encode()
        assert [form for form in FORMS if form in facts] == [], image
        for content in layers(engine, image):
            assert [form for form in FORMS if form in content] == [], image
    for item in engine.transport.call("GET", "/containers/json", query={"all": True}) or ():
        # Others may use the engine at the same time.
        with contextlib.suppress(NotFound):
            facts = json.dumps(engine.transport.call("GET", f"/containers/{item['Id']}/json")).encode()
            assert [form for form in FORMS if form in facts] == [], item["Names"]
