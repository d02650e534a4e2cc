"""What a job's place has on the engine and on this machine, and how all of it is given back."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

from akashic.containers.engine import Engine
from akashic.containers.errors import EngineError
from akashic.executors.docker.layout import Layout
from akashic.executors.docker.link import AgentLink
from akashic.executors.docker.services import Service
from akashic.executors.docker.together import together
from akashic.executors.host import workspace

CLOSE_TIMEOUT_S = 20.0
NETWORK_ATTEMPTS = 200
NETWORK_PAUSE_S = 0.05
"""What is left after that, the next sweep removes."""


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

    def give_back(self, remove_folder: Callable[[str], None]) -> None:
        """End and remove everything. What the engine does not need to be waited for is only asked of it."""
        ended = self.link.close(CLOSE_TIMEOUT_S) if self.link is not None else False
        with contextlib.suppress(EngineError):
            self._end_all(ended)
        for prepared in self.prepared:
            prepared.release()
        remove_folder(self.layout.folder)

    def _end_all(self, job_ended: bool) -> None:
        """No process is left then; removing files of containers is work of the engine that nobody waits
        for."""
        containers = [service.container for service in self.services if service.container]
        if self.container and not job_ended:
            containers.append(self.container)
        together([partial(self._end, container) for container in containers])
        if self.container:
            self.engine.containers.remove_later(self.container)
        if self.network_is_ours:
            self._remove_network()
        for volume in self.volumes:
            with contextlib.suppress(EngineError):
                self.engine.volumes.remove(volume)

    def _remove_network(self) -> None:
        """It is free when the engine has seen the end of the last container, which is a moment after that
        end."""
        for _ in range(NETWORK_ATTEMPTS):
            try:
                self.engine.networks.remove(self.network)
            except EngineError:
                time.sleep(NETWORK_PAUSE_S)
            else:
                return

    def _end(self, container: str) -> None:
        with contextlib.suppress(EngineError):
            if self.volumes:
                self.engine.containers.remove(container)
            else:
                self.engine.containers.kill(container)
                self.engine.containers.remove_later(container)
