"""What runs leave in an engine, and `akashic image cleanup` removes."""

from __future__ import annotations

import io
import tarfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from akashic.cancellation import Cancellation
from akashic.containers.engine import Engine
from akashic.executors.docker.actions import REPOSITORY
from akashic.executors.docker.kept import FOLDER
from akashic.executors.docker.kept import REPOSITORY as KEPT
from akashic.images.cleaning import clean_runs

pytestmark = pytest.mark.docker


@pytest.fixture
def make_image(engine: Engine) -> Iterator[Callable[..., str]]:
    names: list[str] = []

    def make(repository: str, folder: Path | None = None) -> str:
        empty = io.BytesIO()
        tarfile.open(fileobj=empty, mode="w").close()
        name = f"{repository}:{uuid.uuid4().hex}"
        changes = [f"LABEL {FOLDER}={folder}"] if folder else [f"LABEL unique={name}"]
        engine.images.import_archive([empty.getvalue()], name, changes=changes, cancellation=Cancellation())
        names.append(name)
        return name

    yield make
    for name in names:
        engine.images.remove(name)


def test_images_of_actions_are_old_when_newer_ones_are_there(
    engine: Engine, make_image: Callable[..., str]
) -> None:
    name = make_image(REPOSITORY)
    # Others may be testing beside us: nothing of theirs is removed.
    old = clean_runs(engine, keep=0, dry_run=True).removed
    assert name in {tag for image in old for tag in image.tags}
    few = clean_runs(engine, keep=1000, dry_run=True)
    assert not any(name in image.tags for image in few.removed)
    assert any(name in image.tags for image in few.kept)
    assert engine.images.exists(name)


def test_images_of_failed_jobs_go_with_their_folder(
    engine: Engine, make_image: Callable[..., str], tmp_path: Path
) -> None:
    lost, wanted = make_image(KEPT, tmp_path / "gone"), make_image(KEPT, tmp_path)
    removed = {tag for image in clean_runs(engine, keep=1000, dry_run=False).removed for tag in image.tags}
    assert lost in removed and wanted not in removed
    assert engine.images.exists(wanted) and not engine.images.exists(lost)
