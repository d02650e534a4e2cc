"""What a job's place has on the engine and on this machine, and how all of it is given back."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

from akashic.containers.engine import Engine
from akashic.containers.errors import EngineError, EngineMissing
from akashic.executors.docker.layout import Layout
from akashic.executors.docker.link import AgentLink
from akashic.executors.docker.services import Service
from akashic.executors.docker.together import together
from akashic.executors.host import workspace

CLOSE_TIMEOUT_S = 20.0
ENGINE_TIMEOUT_S = 20.0
"""For the engine to let go of a network or a volume, and for each of its answers. What is left after that,
the next sweep removes."""
PAUSE_S = 0.05


@dataclass(slots=True)
class Belongings:
    """What a sandbox has on the engine; filled while it is opened, so that a failure can take all of it
    back."""

    engine: Engine
    layout: Layout
    mark: str
    labels: Mapping[str, str]
    container: str = ""
    network: str = ""
    network_is_ours: bool = False
    link: AgentLink | None = None
    services: list[Service] = field(default_factory=list)
    volumes: list[str] = field(default_factory=list)
    prepared: list[workspace.Prepared] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    left_behind: dict[str, float] = field(default_factory=dict)
    """The marks of sandboxes that an engine was lost for, and when that was (on the monotonic clock): the
    next sweeps end them."""
    unsure: bool = False
    """Whether the engine may still make something that nobody waits for any more."""

    def give_back(self, tidy_folder: Callable[[str], None], *, keeps: bool = False) -> None:
        """End and remove everything. What the engine does not need to be waited for is only asked of it.
        Where it was lost, the folder stays to tell of what is left, unless `tidy_folder` keeps it anyhow."""
        ended = self.link.close(CLOSE_TIMEOUT_S) if self.link is not None else False
        try:
            given_back = self._end_all(ended)
        except EngineError:
            given_back = False
        for prepared in self.prepared:
            prepared.release()
        if not given_back or self.unsure:
            self.left_behind[self.mark] = time.monotonic()
        if given_back or keeps:
            tidy_folder(self.layout.folder)

    def _end_all(self, job_ended: bool) -> bool:
        """No process is left then; removing files of containers is work of the engine that nobody waits for.
        Whether all of it could be done. Raises EngineMissing."""
        containers = [service.container for service in self.services if service.container]
        if self.container and not job_ended:
            containers.append(self.container)
        together([partial(self._end, container) for container in containers])
        if self.container:
            self.engine.containers.remove_later(self.container)
        removals: list[Callable[[], None]] = [
            partial(self.engine.volumes.remove, volume) for volume in self.volumes
        ]
        if self.network_is_ours:
            removals.insert(0, partial(self.engine.networks.remove, self.network))
        freed = [self._until_free(remove) for remove in removals]
        return all(freed)

    @staticmethod
    def _until_free(remove: Callable[[], None]) -> bool:
        """The engine lets go of a thing when it has seen the end of the last container that used it, which is
        a moment after that end. Whether it has. Raises EngineMissing."""
        deadline = time.monotonic() + ENGINE_TIMEOUT_S
        while time.monotonic() < deadline:
            try:
                remove()
            except EngineMissing:
                raise
            except EngineError:
                time.sleep(PAUSE_S)
            else:
                return True
        return False

    def _end(self, container: str) -> None:
        containers = self.engine.containers
        try:
            if self.volumes:
                containers.remove(container, timeout_s=ENGINE_TIMEOUT_S)
            else:
                containers.kill(container, timeout_s=ENGINE_TIMEOUT_S)
                containers.remove_later(container)
        except EngineMissing:
            raise
        except EngineError:
            containers.remove_later(container)
