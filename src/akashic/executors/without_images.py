"""What a place without a container engine says to Docker actions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NoReturn

from akashic.cancellation import Cancellation
from akashic.executors.protocol import ExitStatus, OutputSink, Unsupported

CONTAINER_EXECUTORS = "docker"
"""The executors that can run containers, as messages name them."""


class WithoutImages:
    """The image half of `Sandbox` for an executor that runs none."""

    def image_path(self, path: str) -> str:
        return path

    def pull_image(self, image: str, *, on_output: OutputSink, cancellation: Cancellation) -> None:
        _refuse(image)

    def build_image(
        self, context: str, dockerfile: str, *, on_output: OutputSink, cancellation: Cancellation
    ) -> str:
        _refuse(f"{context}/{dockerfile}")

    def run_image(
        self,
        image: str,
        *,
        entrypoint: str | None,
        args: Sequence[str],
        env: Mapping[str, str],
        on_output: OutputSink,
        cancellation: Cancellation,
        timeout_s: float | None = None,
    ) -> ExitStatus:
        _refuse(image)


def _refuse(what: str) -> NoReturn:
    raise Unsupported(
        f"this executor runs no containers: {what}",
        hint=f"run the job on an executor that does: {CONTAINER_EXECUTORS}",
    )
