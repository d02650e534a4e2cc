"""The artifact store: names, ids, attempts, expiry, and processes that die."""

import multiprocessing
import os
import signal
from pathlib import Path

import pytest

from akashic.journal.archive import Member
from akashic.journal.artifact import ArtifactError
from akashic.journal.artifacts import ArtifactStore
from akashic.journal.beneath import open_beneath


class Clock:
    time = 1000.0

    def __call__(self) -> float:
        return self.time


def _store(tmp_path: Path, name: str = "a", content: str = "x", **more: object):  # type: ignore[no-untyped-def]
    (tmp_path / "f").write_text(content)
    store = ArtifactStore(tmp_path / "store")
    options = {"run_id": "r", "run_attempt": 1, **more}
    return store, store.create(name, [Member(name="f", path=str(tmp_path / "f"))], **options)  # type: ignore[arg-type]


def test_ids_count_up_and_survive_a_new_store(tmp_path: Path) -> None:
    _, first = _store(tmp_path, "a")
    store, second = _store(tmp_path, "b")
    assert second.id == first.id + 1
    assert store.get(first.id) == first
    (tmp_path / "store/next-id").write_text("torn?")
    _, third = _store(tmp_path, "c")
    assert third.id == second.id + 1


def test_a_later_attempt_may_use_the_name_again_and_wins(tmp_path: Path) -> None:
    _store(tmp_path, run_attempt=1)
    store, second = _store(tmp_path, content="2", run_attempt=2)
    assert [a.id for a in store.find_all("r")] == [second.id]
    first = store.find("a", run_id="r", run_attempt=1)
    assert first is not None
    assert first.id != second.id
    with pytest.raises(ArtifactError, match="already exists"):
        _store(tmp_path, run_attempt=2)


def test_overwriting_gives_a_new_id(tmp_path: Path) -> None:
    _, first = _store(tmp_path)
    store, second = _store(tmp_path, overwrite=True)
    assert store.get(first.id) is None
    assert store.get(second.id) is not None


def test_expired_artifacts_are_invisible_and_removed(tmp_path: Path) -> None:
    clock = Clock()
    (tmp_path / "f").write_text("x")
    store = ArtifactStore(tmp_path / "store", now=clock)
    made = store.create(
        "a", [Member(name="f", path=str(tmp_path / "f"))], run_id="r", run_attempt=1, retention_days=1
    )
    clock.time += 86400 - 1
    assert store.get(made.id)
    clock.time += 2
    assert store.find_all() == []
    assert [a.id for a in store.remove_expired()] == [made.id]
    assert not (tmp_path / "store/r").exists()


@pytest.mark.parametrize("days", [-1, 91])
def test_retention_has_limits(tmp_path: Path, days: int) -> None:
    with pytest.raises(ArtifactError, match="retention-days"):
        _store(tmp_path, retention_days=days)


def test_altered_content_is_not_used(tmp_path: Path) -> None:
    store, made = _store(tmp_path)
    content = tmp_path / "store/r" / str(made.id) / "content"
    content.write_bytes(content.read_bytes().replace(b"f", b"g"))
    (tmp_path / "out").mkdir()
    with (
        open_beneath(str(tmp_path / "out"), (), create=False) as folder,
        pytest.raises(ArtifactError, match="has changed"),
    ):
        store.extract(made, folder)
    assert list((tmp_path / "out").iterdir()) == []


def _upload_until_killed(folder: str) -> None:
    store = ArtifactStore(folder)
    big = Path(folder).parent / "big"
    number = 0
    while True:
        number += 1
        store.create(
            f"n{number}-{os.getpid()}", [Member(name="big", path=str(big))], run_id="r", run_attempt=1,
            job_key=f"{os.getpid()}-{number}",
        )  # fmt: skip


def test_a_killed_upload_leaves_no_half_artifact(tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(os.urandom(3_000_000))
    (tmp_path / "store").mkdir()
    context = multiprocessing.get_context("fork")
    for delay in (0.02, 0.05, 0.09, 0.13, 0.17):
        process = context.Process(target=_upload_until_killed, args=(str(tmp_path / "store"),))
        process.start()
        process.join(delay)
        assert process.pid
        os.kill(process.pid, signal.SIGKILL)
        process.join()
    store, _ = _store(tmp_path, "after")
    for number, artifact in enumerate(store.find_all()):
        (tmp_path / f"out{number}").mkdir()
        with open_beneath(str(tmp_path / f"out{number}"), (), create=False) as folder:
            assert store.extract(artifact, folder).bytes == artifact.bytes


def _upload_some(folder: str, who: int) -> None:
    store = ArtifactStore(folder)
    for number in range(10):
        member = Member(name="f", path=str(Path(folder).parent / "f"))
        store.create(f"{who}-{number}", [member], run_id="r", run_attempt=1)


def test_processes_side_by_side_get_different_ids(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("x")
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_upload_some, args=(str(tmp_path / "store"), n)) for n in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    ids = [artifact.id for artifact in ArtifactStore(tmp_path / "store").find_all()]
    assert len(ids) == len(set(ids)) == 30
