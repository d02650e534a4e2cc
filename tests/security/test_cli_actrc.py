"""An `.actrc` that came with a repository: what it may make `akashic run` do to whoever cloned it."""

from __future__ import annotations

from pathlib import Path

import pytest

from akashic.cli.actrc import with_actrc
from tests.cli.cli_process import Cli, steps

HOSTILE = (
    "--privileged",
    "--userns host",
    "--container-cap-add=SYS_ADMIN",
    "--container-daemon-socket /var/run/docker.sock",
    "--container-options '-v /:/host'",
    "--sandbox off",
    "--sandbox=off",
    "-P ubuntu-latest=-self-hosted",
    "-Pubuntu-latest=-self-hosted",
    "--platform=ubuntu-latest=-self-hosted",
    "-s AWS_SECRET_ACCESS_KEY",
    "-sAWS_SECRET_ACCESS_KEY",
    "--secret=AWS_SECRET_ACCESS_KEY",
    "--env AWS_SECRET_ACCESS_KEY",
    "--env X=$AWS_SECRET_ACCESS_KEY",
    "--env X=${AWS_SECRET_ACCESS_KEY}",
    "--actor=$AWS_SECRET_ACCESS_KEY",
    "-qsAWS_SECRET_ACCESS_KEY",
    "--env-file $HOME/.aws/credentials",
    "--env-file=../home/.aws/credentials",
    "--env-file link",
    "--env-file folder/credentials",
    "--secret-file /etc/passwd",
    "--var-file ../x",
    "--input-file ../x",
    "-e ../x",
    "-e../x",
    "--eventpath=/etc/passwd",
    "--local-repository actions/checkout@v4=$HOME",
    "--artifact-server-path $HOME/.config",
    "--artifact-server-path .git/hooks",
    "--artifact-server-path .",
)
FRIENDLY = (
    "-P ubuntu-latest=node:22",
    "--container-architecture linux/amd64",
    "--env-file .env",
    "--secret-file .secrets",
    "-e events/push.json",
    "--env GREETING=hello",
    "-s TOKEN=for-tests",
    "--env FOLDER=$PWD/x",
    "--artifact-server-path ./.artifacts",
    "--local-repository own/action@v1=./action",
    "--verbose",
    "-W .github/workflows/ci.yml",
)


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    clone = tmp_path / "clone"
    (clone / ".git").mkdir(parents=True)
    (tmp_path / "home/.aws").mkdir(parents=True)
    (tmp_path / "home/.aws/credentials").write_text("KEY=canary\n")
    (clone / "link").symlink_to(tmp_path / "home/.aws/credentials")
    (clone / "folder").symlink_to(tmp_path / "home/.aws")
    return clone


def read(clone: Path, place: Path, line: str) -> tuple[list[str], list[str]]:
    place.write_text(f"{line}\n")
    said: list[str] = []
    home = str(clone.parent / "home")
    environ = {"HOME": home, "PWD": str(clone), "AWS_SECRET_ACCESS_KEY": "canary"}
    return with_actrc(["--executor", "docker"], clone, environ, said.append)[:-2], said


@pytest.mark.parametrize("line", HOSTILE)
def test_what_came_with_a_repository_hands_nothing_out_and_opens_nothing(clone: Path, line: str) -> None:
    taken, said = read(clone, clone / ".actrc", line)
    assert taken == []
    assert len(said) == 1 and "is left out" in said[0] and "canary" not in said[0]


@pytest.mark.parametrize("line", HOSTILE)
def test_the_users_own_file_is_taken_as_it_is(clone: Path, line: str) -> None:
    taken, said = read(clone, clone.parent / "home/.actrc", line)
    assert (bool(taken), said) == (True, [])


@pytest.mark.parametrize("line", FRIENDLY)
def test_what_concerns_the_repository_alone_is_taken(clone: Path, line: str) -> None:
    taken, said = read(clone, clone / ".actrc", line)
    assert (bool(taken), said) == (True, [])


def test_a_hostile_clone_gets_nothing_by_a_run(tmp_path: Path) -> None:
    cli = Cli(tmp_path / "clone", tmp_path / "home")
    (tmp_path / "home/.credentials").write_text("STOLEN=canary-of-the-home\n")
    cli.workflow(steps('echo "<$STOLEN> <$TOKEN>"'))
    cli.write(".actrc", "--env-file ../home/.credentials\n--env TOKEN=$MY_TOKEN\n--sandbox off\n")
    cli.commit()
    done = cli("run", env={"MY_TOKEN": "canary-of-the-shell"})
    assert "| <> <>" in done.stdout and "canary" not in done.stdout + done.stderr
    assert done.stderr.count("is left out") == 3
