"""Places of failed jobs in containers that are kept, so that a job can be taken up again where it failed.

The files are folders of this machine and stay where they are. What steps changed in the image's own files (an
installed package) becomes an image of the engine, named after the place. Neither holds the environment that
the container was made with: secrets may stand in it, and the workflow says it again.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence

from msgspec.structs import replace

from akashic.containers.engine import Engine
from akashic.containers.errors import EngineError, EngineMissing
from akashic.executors.docker import mounting
from akashic.executors.host import keeping
from akashic.executors.host.keeping import Kept
from akashic.executors.protocol import ExecutorError, SandboxSpec

REPOSITORY = "akashic-kept"
"""Images of kept places are called so, with the place's mark as tag."""
FOLDER = "dev.akashic.kept"
"""The label of such an image: the folder that it belongs to, which names the state folder, too."""
REMOVE_TIMEOUT_S = 5.0
REMOVE_PAUSE_S = 0.05
"""An image is free a moment after the end of its last container; what is left then the next sweep removes."""


class KeptPlaces:
    """The kept places of one executor. `folder` holds its sandboxes in `work/`, and in `kept/` what is known
    of those that are kept; `remove_folder` removes a sandbox's folder, with any image's help."""

    def __init__(
        self, folder: str, engine: Callable[[], Engine], remove_folder: Callable[[str], None]
    ) -> None:
        self._folder = folder
        self._work = f"{folder}/work"
        self._engine = engine
        self._remove_folder = remove_folder
        self._lock = threading.Lock()
        self._used: set[str] = set()

    def state(self, run_id: str, job_key: str, attempt: int) -> bytes | None:
        kept = keeping.find(self._folder, run_id, job_key, attempt)
        return None if kept is None else bytes(kept.state)

    def take_up(self, spec: SandboxSpec) -> Kept:
        """Make a kept place a sandbox of ours. Raises ExecutorError when it is not kept any more."""
        return keeping.take_up(self._folder, spec)

    def image(self, kept: Kept) -> str:
        """The image of a place, empty when its job changed nothing outside of its folders."""
        name = f"{REPOSITORY}:{kept.mark}"
        if not self._engine().images.exists(name):
            return ""
        with self._lock:
            self._used.add(name)
        return name

    def put_back(self, kept: Kept, spec: SandboxSpec) -> None:
        """Keep a place in which nothing has run: it can be taken up after this attempt."""
        mounting.unmount_below(f"{self._work}/{kept.mark}")
        keeping.save(self._folder, replace(kept, attempt=spec.attempt))

    def carry_over(self, spec: SandboxSpec) -> None:
        """The same for a place that was not even taken up."""
        with keeping.locked(self._folder):
            kept = keeping.find(self._folder, spec.run_id, spec.job_key, spec.resumes)
            if kept is not None:
                keeping.save(self._folder, replace(kept, attempt=spec.attempt))

    def keep(self, kept: Kept, container: str, variables: Sequence[str], mounts: Sequence[str]) -> bool:
        """Keep a place whose container still runs; whether it is kept. `variables` are those that the
        container was made with, `mounts` the paths that are not the image's."""
        size_bytes = keeping.size_of(f"{self._work}/{kept.mark}", keeping.KEPT_BYTES_MAX)
        name = f"{REPOSITORY}:{kept.mark}"
        try:
            containers = self._engine().containers
            if any(_is_own(path, mounts) for path in containers.changes(container)):
                size_bytes += containers.size_bytes(container)
                if size_bytes <= keeping.KEPT_BYTES_MAX:
                    containers.commit(
                        container,
                        name,
                        env=[f"{variable}=" for variable in variables],
                        labels={FOLDER: f"{self._work}/{kept.mark}"},
                    )
                    with self._lock:
                        self._used.discard(name)
            if size_bytes > keeping.KEPT_BYTES_MAX:
                return False
            os.chmod(f"{self._work}/{kept.mark}", 0o700)
            keeping.save(self._folder, replace(kept, size_bytes=size_bytes))
        except (EngineError, OSError):
            return False
        return True

    def is_kept(self, folder: str) -> bool:
        return keeping.is_kept(self._work, os.path.basename(folder))

    def prune(self) -> list[str]:
        """Remove what is too old or too much; a line for each place."""
        return keeping.prune(self._folder, time.time(), self._remove)

    def _remove(self, folder: str) -> None:
        self._remove_folder(folder)
        self._remove_image(f"{REPOSITORY}:{os.path.basename(folder)}")

    def end_run(self) -> None:
        """Remove the images of places that this process took up and that are not kept again."""
        with self._lock:
            used, self._used = self._used, set()
        for name in used:
            if not keeping.is_kept(self._work, name.rpartition(":")[2]):
                self._remove_image(name, timeout_s=REMOVE_TIMEOUT_S)

    def sweep_images(self) -> None:
        """Remove images whose place is gone. Raises EngineError."""
        for image in self._engine().images.list(labels=(FOLDER,)):
            folder = image.labels.get(FOLDER, "")
            ours = os.path.dirname(folder) == self._work
            if ours and not os.path.isdir(folder):
                self._remove_image(f"{REPOSITORY}:{os.path.basename(folder)}")

    def _remove_image(self, name: str, *, timeout_s: float = 0.0) -> None:
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                self._engine().images.remove(name)
            except (EngineMissing, ExecutorError):
                return
            except EngineError:
                if time.monotonic() >= deadline:
                    return
                time.sleep(REMOVE_PAUSE_S)
            else:
                return


def _is_own(path: str, mounts: Sequence[str]) -> bool:
    """Whether a changed path is the image's own: nothing that was mounted, nor a folder above or below."""
    return not any(f"{mount}/".startswith(f"{path}/") or path.startswith(f"{mount}/") for mount in mounts)
