"""Places of failed jobs that are kept, so that a job can be taken up again at the step that failed.

A kept place is the sandbox's own folder at its own path (a virtual environment, a build tree and PATH name
it), and beside it one file `kept/<mark>.json`: whose place it was, which trees lie in it, and what the runner
wants to know again. A folder without such a file is a crash's, and is swept. The file may hold what a step
masked or exported, so nobody but the user may read it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator

import msgspec

from akashic.executors.host.marker import write_owner
from akashic.executors.host.sandbox_folder import remove_folder
from akashic.executors.protocol import ExecutorError, SandboxSpec

KEPT_FOLDER = "kept"
CONTAINERS_FOLDER = "containers"
"""Jobs in containers have places of their own below the state folder, kept in the same way."""
KEPT_MAX = 5
"""Places that are kept; the oldest go first."""
KEPT_BYTES_MAX = 4 * 1024**3
"""What a kept place, and all of them together, may take on disk."""
KEPT_AGE_S_MAX = 7 * 24 * 3600.0


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """A kept place. `trees` maps folders of the job to the prepared trees that were checked out there,
    `overlays` those that are overlay mounts to the folder of their changes. `state` is the runner's."""

    mark: str
    run_id: str
    job_key: str
    attempt: int
    repository: str
    trees: dict[str, str]
    overlays: dict[str, str]
    size_bytes: int
    kept_at: float
    state: msgspec.Raw


def save(state_dir: str, kept: Kept) -> None:
    """Make it so that the folder stays. Raises OSError."""
    folder = _folder(state_dir)
    os.makedirs(folder, mode=0o700, exist_ok=True)
    target = f"{folder}/{kept.mark}.json"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(f"{target}.new")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with open(os.open(f"{target}.new", flags, 0o600), "wb") as file:
        file.write(msgspec.json.encode(kept))
    os.replace(f"{target}.new", target)


def find(state_dir: str, run_id: str, job_key: str, attempt: int) -> Kept | None:
    """The kept place of a job's attempt; None when there is none (any more)."""
    for kept in _all(state_dir):
        if (kept.run_id, kept.job_key, kept.attempt) == (run_id, job_key, attempt):
            return kept if os.path.isdir(f"{state_dir}/work/{kept.mark}") else None
    return None


def take_up(state_dir: str, spec: SandboxSpec) -> Kept:
    """Make the kept place that `spec` resumes a sandbox of ours, and nobody else's. What a crash leaves
    of it from here on is swept. Raises ExecutorError when it is not kept any more."""
    with locked(state_dir):
        kept = find(state_dir, spec.run_id, spec.job_key, spec.resumes)
        if kept is None:
            raise ExecutorError(
                f"the workspace of job {spec.job_key} (attempt {spec.resumes}) is not kept any more",
                hint="akashic rerun --failed runs the job from its beginning",
            )
        folder = f"{state_dir}/work/{kept.mark}"
        write_owner(folder, mark=kept.mark, run_id=spec.run_id, job_key=spec.job_key)
        forget(state_dir, kept.mark)
    return kept


def is_kept(work: str, mark: str) -> bool:
    """Whether the folder `mark` below `work` is to stay."""
    return os.path.isfile(f"{_folder(os.path.dirname(work))}/{mark}.json")


def forget(state_dir: str, mark: str) -> None:
    """The folder is not kept any more: a sandbox again, or about to be removed."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(f"{_folder(state_dir)}/{mark}.json")


def trees_in_use(state_dir: str) -> set[str]:
    """The prepared trees that kept places stand on."""
    places = (*_all(state_dir), *_all(f"{state_dir}/{CONTAINERS_FOLDER}"))
    return {tree for kept in places for tree in kept.trees.values()}


def prune(state_dir: str, now: float, remove: Callable[[str], None] = remove_folder) -> list[str]:
    """Remove what is too old or too much, oldest first; a line for each place removed."""
    lines = []
    with locked(state_dir):
        newest_first = sorted(_all(state_dir), key=lambda kept: -kept.kept_at)
        size_bytes = 0
        for count, kept in enumerate(newest_first, 1):
            size_bytes += kept.size_bytes
            old = now - kept.kept_at > KEPT_AGE_S_MAX
            if old or count > KEPT_MAX or size_bytes > KEPT_BYTES_MAX:
                forget(state_dir, kept.mark)
                remove(f"{state_dir}/work/{kept.mark}")
                lines.append(f"removed the kept workspace of job {kept.job_key} in run {kept.run_id}")
    return lines


@contextlib.contextmanager
def locked(state_dir: str) -> Iterator[None]:
    """One process at a time removes kept places or takes one up again."""
    folder = _folder(state_dir)
    if not os.path.isdir(folder):
        yield
        return
    lock = os.open(f"{folder}/.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def size_of(folder: str, bytes_max: int) -> int:
    """The bytes of all files below a folder, links not followed; more than `bytes_max` is not counted out."""
    total = 0
    remaining = [folder]
    while remaining and total <= bytes_max:
        try:
            with os.scandir(remaining.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        remaining.append(entry.path)
                    else:
                        total += entry.stat(follow_symlinks=False).st_blocks * 512
        except OSError:
            continue
    return total


def _folder(state_dir: str) -> str:
    return f"{state_dir}/{KEPT_FOLDER}"


def _all(state_dir: str) -> Iterator[Kept]:
    try:
        names = os.listdir(_folder(state_dir))
    except FileNotFoundError:
        return
    for name in names:
        if not name.endswith(".json"):
            continue
        with contextlib.suppress(OSError, msgspec.MsgspecError):
            with open(f"{_folder(state_dir)}/{name}", "rb") as file:
                kept = msgspec.json.decode(file.read(), type=Kept)
            if kept.mark == name.removesuffix(".json"):
                yield kept
