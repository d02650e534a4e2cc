"""How a person wants jobs in containers: what `akashic run` was asked with, and what akashic.yaml says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from akashic.cancellation import Cancellation
from akashic.executors.protocol import (
    Capabilities,
    Executor,
    KeepingExecutor,
    Sandbox,
    SandboxSpec,
    Say,
    Unsupported,
    quiet,
)

PullPolicy = Literal["always", "missing", "never"]

IMAGES_OPTION = "images"
"""Where a run's record keeps the images that were named when it began: another attempt takes them, too."""
HOST_IMAGE = "-self-hosted"
"""In place of an image: jobs with that label run on this machine (act's spelling)."""


class ContainerOptions(msgspec.Struct, frozen=True, kw_only=True):
    """`images` maps a `runs-on` label, in lower case, to the image that stands for it. `options` are docker's
    create options for a job container that gives none of its own. `platform` is `os/architecture`. Of
    `daemon_socket` a job's containers see the engine's socket, which makes them root on the engine's machine:
    empty mounts none."""

    images: dict[str, str] = {}
    pull: PullPolicy = "missing"
    options: str = ""
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    platform: str = ""
    privileged: bool = False
    userns: str = ""
    daemon_socket: str = ""


NO_OPTIONS = ContainerOptions()
"""What holds when nobody chose anything."""


def image_for(labels: Sequence[str], options: ContainerOptions) -> str:
    """What the first label that is mapped stands for: an image, or HOST_IMAGE. Raises Unsupported when none
    is mapped; no image is taken that nobody chose."""
    for label in labels:
        image = options.images.get(label.lower())
        if image:
            return image
    shown = ", ".join(labels) or "(none)"
    label = labels[0] if labels else "ubuntu-latest"
    raise Unsupported(
        f"no image stands for `runs-on: {shown}`",
        hint=f"say which one: -P {label}=IMAGE, or `labels: {{{label}: IMAGE}}` in akashic.yaml; "
        f"-P {label}={HOST_IMAGE} runs the job on this machine",
    )


class MixedExecutor:
    """See `Executor`: jobs run in containers, but for those whose label stands for this machine."""

    def __init__(self, containers: Executor, host: Executor, options: ContainerOptions) -> None:
        self._containers = containers
        self._host = host
        self._options = options

    @property
    def capabilities(self) -> Capabilities:
        return self._containers.capabilities

    def open(self, spec: SandboxSpec, *, cancellation: Cancellation, say: Say = quiet) -> Sandbox:
        if spec.container is None and image_for(spec.labels, self._options) == HOST_IMAGE:
            sandbox = self._host.open(spec, cancellation=cancellation, say=say)
            sandbox.notes = (f"on this machine, which {', '.join(spec.labels)} stands for", *sandbox.notes)
            return sandbox
        return self._containers.open(spec, cancellation=cancellation, say=say)

    def end_run(self) -> None:
        self._containers.end_run()
        self._host.end_run()

    def finish(self) -> None:
        self._containers.finish()
        self._host.finish()

    def sweep(self) -> Sequence[str]:
        return (*self._containers.sweep(), *self._host.sweep())

    def kept_state(self, run_id: str, job_key: str, attempt: int) -> bytes | None:
        """See `akashic.executors.protocol.KeepingExecutor`."""
        for executor in (self._containers, self._host):
            if isinstance(executor, KeepingExecutor):
                found = executor.kept_state(run_id, job_key, attempt)
                if found is not None:
                    return found
        return None
