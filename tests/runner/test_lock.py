"""`akashic lock` pins actions with everything that they use."""

from __future__ import annotations

import argparse
import io
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from akashic.cli.command import CommandContext
from akashic.cli.commands import lock
from akashic.errors import UsageError
from akashic.runner.actions.lockfile import LOCK_PATH, LockFile
from akashic.runner.actions.locking import ImageDigest


def git_init(folder: Path) -> None:
    subprocess.run(["git", "init", "-q", str(folder)], check=True)


@pytest.fixture
def repository(tmp_path: Path, publish: Any, house: Any) -> Path:
    publish("octo/inner", {"deep/action.yml": "runs: {using: composite, steps: [{run: ls, shell: bash}]}\n"})
    publish("octo/outer", {"action.yml": "runs: {using: composite, steps: [{uses: octo/inner/deep@v1}]}\n"})
    workflows = house.root / ".github" / "workflows"
    workflows.mkdir(parents=True)
    (workflows / "ci.yml").write_text(
        "on: push\njobs:\n  a:\n    steps:\n      - uses: Octo/Outer@v1\n      - uses: actions/checkout@v4\n"
        "      - uses: ./local\n"
    )
    git_init(house.root)
    return Path(house.root)


def call(house: Any, *arguments: str, as_json: bool = False) -> tuple[int, str]:
    parser = argparse.ArgumentParser()
    lock.configure(parser)
    out = io.StringIO()
    context = CommandContext(
        cwd=house.root,
        environ={"XDG_CACHE_HOME": str(house.folder / "xdg"), "PATH": "/usr/bin:/bin"},
        color=False,
        json=as_json,
        interactive=False,
        debug=False,
        stdout=out,
    )
    code = lock.run(parser.parse_args(["--server-url", f"file://{house.server}", *arguments]), context)
    return code, out.getvalue()


def test_everything_that_is_used_is_pinned_and_built_ins_are_not(house: Any, repository: Path) -> None:
    # The server of this test knows names in lower case only.
    (house.server / "Octo").symlink_to(house.server / "octo")
    (house.server / "octo" / "Outer").symlink_to(house.server / "octo" / "outer")
    code, out = call(house)
    assert code == 0
    found = LockFile.read(repository)
    assert found is not None and sorted(found.pins) == ["octo/inner@v1", "octo/outer@v1"]
    assert "new    octo/inner@v1" in out and "2 actions pinned; 1 is built in and needs no pin" in out
    assert call(house, "--check") == (0, "")


def test_a_moved_tag_is_told_and_taken_only_on_request(house: Any, repository: Path, publish: Any) -> None:
    (repository / ".github/workflows/ci.yml").write_text(
        "on: push\njobs: {a: {steps: [{uses: octo/outer@v1}]}}\n"
    )
    call(house)
    before = LockFile.read(repository)
    moved = publish(
        "octo/inner", {"deep/action.yml": "runs: {using: composite, steps: [{run: id, shell: bash}]}\n"}
    )
    assert call(house)[0] == 0
    unchanged = LockFile.read(repository)
    assert before is not None and unchanged is not None and unchanged.pins == before.pins
    code, out = call(house, "--check", as_json=True)
    assert code == 1
    assert json.loads(out) == {"change": "moved", "action": "octo/inner@v1", "commit": moved}
    call(house, "--update")
    after = LockFile.read(repository)
    assert after is not None and after.pins["octo/inner@v1"] == moved


def test_an_unreachable_server_is_an_error_with_a_hint(house: Any, repository: Path) -> None:
    shutil.rmtree(house.server)
    from akashic.errors import AkashicError

    with pytest.raises(AkashicError, match="cannot be fetched") as error:
        call(house)
    assert "--local-repository" in error.value.hint


@pytest.mark.parametrize(
    "text", ["{", "[]", "{}", '{"version": 2, "actions": {}}', '{"version": 1, "actions": {"a@v1": "main"}}']
)
def test_a_lock_file_that_is_not_valid_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / LOCK_PATH
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(UsageError, match="expected version 1"):
        LockFile.read(tmp_path)


def test_outside_of_a_repository_it_says_so(house: Any) -> None:
    with pytest.raises(UsageError, match="not a git repository"):
        call(house)
    git_init(house.root)
    with pytest.raises(UsageError, match=r"no \.github/workflows"):
        call(house)


def test_the_images_of_docker_actions_are_pinned_where_the_engine_knows_them(
    house: Any, repository: Path, publish: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = "sha256:" + "d" * 64
    publish("octo/image", {"action.yml": "runs: {using: docker, image: docker://ghcr.io/octo/tool:1}"})
    publish("octo/built", {"Dockerfile": "FROM scratch"})
    (repository / ".github" / "workflows" / "ci.yml").write_text(
        "on: push\njobs:\n  a:\n    steps:\n      - uses: octo/image@v1\n      - uses: octo/built@v1\n"
        "      - uses: docker://alpine:3.20\n      - uses: docker://alpine@sha256:x\n"
    )
    asked: list[str] = []

    def digests(context: Any) -> Any:
        def find(image: str) -> ImageDigest:
            asked.append(image)
            return ImageDigest(digest) if image == "alpine:3.20" else ImageDigest("", "it is not there")

        return find

    monkeypatch.setattr(lock, "_digests", digests)
    code, out = call(house)
    assert code == 0 and "2 actions and 1 image pinned" in out
    assert f"new    docker://alpine:3.20 {digest}" in out
    found = LockFile.read(repository)
    assert found is not None
    assert found.images == {"alpine:3.20": digest, "ghcr.io/octo/tool:1": ""}
    assert sorted(asked) == ["alpine:3.20", "ghcr.io/octo/tool:1"]
    assert call(house, "--check")[0] == 0
    digest = "sha256:" + "e" * 64
    code, out = call(house, "--check")
    assert code == 1 and "moved  docker://alpine:3.20" in out


def test_an_engine_that_is_not_there_is_the_reason(house: Any, repository: Path) -> None:
    (repository / ".github" / "workflows" / "ci.yml").write_text(
        "on: push\njobs:\n  a:\n    steps:\n      - uses: docker://alpine:3.20\n"
    )
    errors = io.StringIO()
    context = CommandContext(
        cwd=repository,
        environ={"DOCKER_HOST": f"unix://{house.folder}/no.sock", "HOME": str(house.folder)},
        color=False,
        json=False,
        interactive=False,
        debug=False,
        stdout=io.StringIO(),
        stderr=errors,
    )
    parser = argparse.ArgumentParser()
    lock.configure(parser)
    assert lock.run(parser.parse_args([]), context) == 0
    assert "docker://alpine:3.20 is not pinned:" in errors.getvalue()
    assert LockFile.read(repository).images == {"alpine:3.20": ""}  # type: ignore[union-attr]
