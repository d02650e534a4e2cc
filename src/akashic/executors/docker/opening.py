"""Opening a job's place: images, network, services and the job's container, most of it at the same time.
What the engine is told of the container is said by `job_container`."""

from __future__ import annotations

import os
import platform
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from akashic.cancellation import Cancellation
from akashic.containers.engine import Engine
from akashic.containers.errors import EngineError, NotFound
from akashic.containers.images import ImageInfo
from akashic.containers.references import is_image_id, parse_image_name
from akashic.errors import Interrupted
from akashic.executors.container_options import ContainerOptions
from akashic.executors.docker import forks, services
from akashic.executors.docker.belongings import Belongings
from akashic.executors.docker.create_options import CreateOptions
from akashic.executors.docker.job_container import JobContainer
from akashic.executors.docker.kept import KeptPlaces
from akashic.executors.docker.labels import labels_of
from akashic.executors.docker.layout import NODE, TEMP, Layout
from akashic.executors.docker.link import AgentDoor, AgentLink
from akashic.executors.docker.node import find_node_program
from akashic.executors.docker.ports import free_port, parse_ports, parse_volume
from akashic.executors.docker.sandbox import DockerSandbox
from akashic.executors.docker.services import Service
from akashic.executors.docker.together import together
from akashic.executors.host.keeping import Kept
from akashic.executors.protocol import (
    ContainerSpec,
    ExecutorError,
    SandboxSpec,
    Say,
    ServiceInfo,
)

AGENT_TIMEOUT_S = 60.0
AGENT_LOOK_S = 2.0
"""How often it is looked whether the container still runs, while its agent has not come."""
DEFAULT_NETWORK = "bridge"
_ARCHITECTURES = {"amd64": "X64", "arm64": "ARM64", "arm": "ARM", "386": "X86"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What all sandboxes of an executor share; see `DockerExecutor`. `claim` makes a sandbox's folder or
    takes a kept one up, `remove_folder` takes it away, with the help of a container of the image where that
    needs one. `left_behind`: see `Belongings`."""

    options: ContainerOptions
    tool_cache: str
    cache_dir: str
    trees: str
    environ: Mapping[str, str]
    claim: Callable[[SandboxSpec], tuple[str, Kept | None]]
    remove_folder: Callable[[str, str], None]
    places: KeptPlaces
    left_behind: dict[str, float]


class Opening:
    """One sandbox on its way; what has been made is taken back when it does not succeed."""

    def __init__(
        self,
        around: Surroundings,
        engine: Engine,
        spec: SandboxSpec,
        container: ContainerSpec,
        options: CreateOptions,
        planned: list[Service],
        cancellation: Cancellation,
        say: Say,
    ) -> None:
        self._around = around
        # What takes things back speaks to the engine itself: it has to go on after a request to stop.
        self._engine_to_end = engine
        self._engine = engine.under(cancellation)
        self._spec = spec
        self._container = container
        self._options = options
        self._planned = planned
        self._cancellation = cancellation
        self._notes: list[str] = list(options.notes)
        self._say_aloud = say
        self._saying = threading.Lock()
        ports = parse_ports("container.ports", (*container.ports, *options.ports))
        volumes = [parse_volume("container.volumes", text) for text in (*container.volumes, *options.volumes)]
        self._told = JobContainer(
            spec=spec,
            container=container,
            options=options,
            chosen=around.options,
            cache_dir=around.cache_dir,
            node=find_node_program(around.environ),
            ports=ports,
            mounts=[*volumes, *options.mounts],
        )
        if spec.trust == "fork":
            forks.check("container", options, self._told.mounts, self._told.ports)
        # Only a job with `container:` speaks to its services by name; for all others they are on localhost.
        self._by_name = spec.container is not None
        self._kept: Kept | None = None
        self._mounted_at: list[str] = []

    def run(self) -> DockerSandbox:
        folder, self._kept = self._around.claim(self._spec)
        mark = os.path.basename(folder)
        layout = Layout(folder=folder, tools=self._around.tool_cache, workspace="")
        labels = labels_of(mark, self._spec.run_id, self._spec.job_key)
        left_behind = self._around.left_behind
        belongings = Belongings(self._engine_to_end, layout, mark, labels, left_behind=left_behind)
        image_id = ""
        try:
            repository = self._spec.repository if self._kept is None else self._kept.repository
            belongings.layout = layout = Layout.make(folder, self._around.tool_cache, repository)
            image, images = self._ready(belongings)
            image_id = image.id
            self._go_on()
            self._start_all(belongings, image, images)
            self._go_on()
            link = belongings.link
            assert link is not None
            if self._kept is None:
                layout.hand_over(link.uid, link.gid)
            infos = self._services_ready(belongings, link)
            sandbox = self._sandbox(belongings, image, infos)
            if self._kept is not None:
                sandbox.restore(self._kept.trees, self._kept.overlays)
            return sandbox
        except BaseException:
            belongings.unsure = bool(belongings.container)
            belongings.give_back(lambda path: self._undo(path, image_id), keeps=self._kept is not None)
            raise

    def _undo(self, folder: str, image: str) -> None:
        if self._kept is None:
            self._around.remove_folder(folder, image)
        else:
            self._around.places.put_back(self._kept, self._spec)

    def _go_on(self) -> None:
        if self._cancellation.is_set():
            raise Interrupted(f"stopped before the job's place was open: {self._cancellation.reason}")

    def _ready(self, belongings: Belongings) -> tuple[ImageInfo, list[ImageInfo]]:
        """All images, and the network when there has to be one, at the same time."""
        self._name_volumes(belongings)
        wanted = [(self._container.image, self._container.credentials, self._options.platform)]
        wanted += [(s.spec.image, s.spec.credentials, s.options.platform) for s in self._planned]
        found: dict[int, ImageInfo] = {}

        def ensure(index: int) -> None:
            image, credentials, platform_ = wanted[index]
            found[index] = self._ensure(image, credentials, platform_)

        tasks: list[Callable[[], None]] = [partial(ensure, index) for index in range(len(wanted))]
        if self._planned or self._by_name:
            tasks.append(partial(self._make_network, belongings))
        else:
            belongings.network = DEFAULT_NETWORK
        together(tasks)
        job_image = found[0]
        if self._kept is not None and (name := self._around.places.image(self._kept)):
            job_image = self._engine.images.inspect(name)
        return job_image, [found[index] for index in range(1, len(wanted))]

    def _ensure(self, image: str, credentials: Mapping[str, str], platform_: str) -> ImageInfo:
        options = self._around.options
        registry = "" if is_image_id(image) else parse_image_name(image).registry
        return self._engine.images.ensure(
            image,
            options.pull,
            say=self._say,
            cancellation=self._cancellation,
            credentials=services.credentials_of(credentials, registry),
            platform=platform_ or options.platform,
            anonymous=self._spec.trust == "fork",
        )

    def _say(self, line: str) -> None:
        with self._saying:  # Images come at the same time.
            self._say_aloud(line)

    def _make_network(self, belongings: Belongings) -> None:
        name = f"akashic-{belongings.mark}"
        belongings.network = name
        belongings.network_is_ours = True
        self._engine.networks.create(name, labels=belongings.labels)

    def _name_volumes(self, belongings: Belongings) -> None:
        """Named volumes are the job's own here: on GitHub they go with its machine."""
        made: dict[str, str] = {}
        for mounts in (self._told.mounts, *(service.mounts for service in self._planned)):
            for mount in mounts:
                name = mount.get("Source")
                if mount["Type"] == "volume" and name:
                    if name not in made:
                        made[name] = f"akashic-{belongings.mark}-{name}"
                        belongings.volumes.append(made[name])
                        self._engine.volumes.create(made[name], labels=belongings.labels)
                    mount["Source"] = made[name]

    def _start_all(self, belongings: Belongings, image: ImageInfo, images: Sequence[ImageInfo]) -> None:
        belongings.services = self._planned

        def start_service(service: Service, found: ImageInfo, index: int) -> None:
            services.start(
                self._engine,
                service,
                found,
                name=f"akashic-{belongings.mark}-service-{index}",
                network=belongings.network,
                labels=belongings.labels,
                publish=self._by_name,
            )

        tasks: list[Callable[[], None]] = [partial(self._start_job, belongings, image)]
        for index, (service, found) in enumerate(zip(self._planned, images, strict=True)):
            tasks.append(partial(start_service, service, found, index))
        together(tasks)

    def _start_job(self, belongings: Belongings, image: ImageInfo) -> None:
        if image.os and image.os != "linux":
            raise ExecutorError(
                f"image {self._container.image} is made for {image.os}, and jobs run on Linux"
            )
        config = self._told.config(belongings, image)
        self._mounted_at = [str(mount["Target"]) for mount in config["HostConfig"]["Mounts"]]
        door = AgentDoor(belongings.layout.host(TEMP))
        try:
            # What the engine makes when nobody waits for its answer any more is found by its name.
            belongings.container = name = f"akashic-{belongings.mark}"
            belongings.container = self._engine.containers.create(
                config,
                name=name,
                platform=self._options.platform or self._around.options.platform,
            )
            self._engine.containers.start(belongings.container)
            belongings.link = self._await_agent(belongings, door)
        finally:
            door.close()

    def _await_agent(self, belongings: Belongings, door: AgentDoor) -> AgentLink:
        why = ""
        deadline = time.monotonic() + AGENT_TIMEOUT_S
        wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        forget = self._cancellation.on_cancel(lambda: os.eventfd_write(wake, 1))
        try:
            while not why and time.monotonic() < deadline:
                link = door.wait(AGENT_LOOK_S, wake)
                if link is not None:
                    return link
                self._go_on()
                why = self._ended(belongings.container)
        finally:
            forget()
            os.close(wake)
        why = why or (
            "the engine does not share this machine's kernel (a remote engine, or one in a virtual machine)"
        )
        raise ExecutorError(
            f"the container of job {self._spec.job_key} ({self._container.image}) does not answer: {why}",
            hint="use an engine of this machine, with an image for Linux",
        )

    def _ended(self, container: str) -> str:
        """Why nobody will come from a container any more; empty while it runs."""
        try:
            info = self._engine.containers.inspect(container)
        except NotFound:
            return "its first process ended at once, and the engine has removed it"
        except EngineError as error:
            return error.message
        return "" if info.running else f"its first process ended with exit code {info.exit_code}"

    def _services_ready(self, belongings: Belongings, link: AgentLink) -> dict[str, ServiceInfo]:
        """Wait for all services at the same time; a job without `container:` reaches them on localhost."""
        # Those without a check are looked at last: there is nothing to wait for, only an end to be told.
        for checked in (True, False):
            group = [service for service in self._planned if (service.health is not None) == checked]
            together(
                [partial(services.wait_healthy, self._engine, found, self._cancellation) for found in group]
            )
        infos = {
            service.spec.name: services.info_of(
                self._engine, service, belongings.network, publish=self._by_name
            )
            for service in self._planned
        }
        if self._by_name:
            return infos
        taken: set[int] = set()
        for service in self._planned:
            ports = {}
            for port in service.ports:
                if port.protocol != "tcp":
                    self._notes.append(
                        f"service {service.spec.name}: {port.key} is reached as "
                        f"{service.spec.name}:{port.inner}"
                    )
                    continue
                near = free_port(port, taken)
                link.forward(near, service.spec.name, port.inner)
                ports[str(port.inner)] = str(near)
            infos[service.spec.name] = ServiceInfo(
                name=service.spec.name,
                id=service.container,
                network=belongings.network,
                host="localhost",
                ports=ports,
                notes=tuple(service.options.notes),
            )
        return infos

    def _sandbox(
        self, belongings: Belongings, image: ImageInfo, infos: Mapping[str, ServiceInfo]
    ) -> DockerSandbox:
        container: dict[str, Any] = {}
        if self._by_name:
            container = {"id": belongings.container, "network": belongings.network}
        if belongings.network_is_ours and not self._by_name:
            container = {"network": belongings.network}
        return DockerSandbox(
            belongings,
            spec=self._spec,
            places=self._around.places,
            variables=sorted(self._told.env),
            mounted_at=self._mounted_at,
            image=image.id,
            arch=_ARCHITECTURES.get(image.architecture, platform.machine().upper()),
            base_env=self._told.base_env(image),
            infos=infos,
            container=container,
            notes=self._notes,
            pull=self._around.options.pull,
            platform=self._around.options.platform,
            anonymous=self._spec.trust == "fork",
            trees=self._around.trees,
            environ=self._around.environ,
            action_host=self._told.action_host(),
            node_folder=f"{NODE}/bin" if self._told.node else "",
            remove_folder=lambda path: self._around.remove_folder(path, image.id),
        )
