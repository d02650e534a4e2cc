"""Images and containers of Docker actions: pulled, built once for the same content, run to their end.

Source: GitHub's runner (`ContainerActionHandler`): workspace, home, event and environment files below
`/github`, the job's network, the image's own entrypoint unless one is given.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from akashic.cancellation import Cancellation
from akashic.containers.containers import Exit
from akashic.containers.context import packed_context
from akashic.containers.dockerfile import base_images
from akashic.containers.engine import Engine
from akashic.containers.errors import EngineError
from akashic.containers.images import PullPolicy
from akashic.containers.streams import Demultiplexer
from akashic.containers.transport import Hijacked
from akashic.errors import Interrupted
from akashic.executors import process
from akashic.executors.docker.labels import JOB
from akashic.executors.protocol import ExecutorError, ExitStatus, OutputSink

REPOSITORY = "akashic-action"
KILL_TIMEOUT_S = 30.0
"""For an engine to pass a signal on; it waits for the end of what it kills for up to 10 s itself."""
GONE_TIMEOUT_S = 30.0
"""From SIGKILL to giving up."""
OUTPUT_TIMEOUT_S = 5.0
"""For the rest of the output of a container that has ended."""


def line_sink(on_output: OutputSink) -> Any:
    """Lines for people as chunks of output."""
    return lambda line: on_output(f"{line}\n".encode(errors="replace"))


def build(
    engine: Engine,
    context: str,
    dockerfile: str,
    *,
    on_output: OutputSink,
    cancellation: Cancellation,
    pull: PullPolicy,
    platform: str = "",
    anonymous: bool = False,
) -> str:
    """The image of a Dockerfile; what has been built from the same files is taken again. The images that it
    starts from come as `pull` says: left alone, a builder gets those that are missing."""
    always = pull == "always"
    try:
        with packed_context(context, dockerfile) as (archive, digest):
            name = f"{REPOSITORY}:{digest[:32]}{'-' + platform.replace('/', '-') if platform else ''}"
            if not always and engine.images.exists(name):
                on_output(f"{dockerfile}: built before from the same files\n".encode(errors="replace"))
                return name
            for base in () if always else _base_images(context, dockerfile):
                engine.images.ensure(
                    base,
                    pull,
                    say=line_sink(on_output),
                    cancellation=cancellation,
                    platform=platform,
                    anonymous=anonymous,
                )
            engine.images.build(
                archive,
                dockerfile=dockerfile,
                tags=(name,),
                labels={JOB: "action"},
                pull=always,
                platform=platform,
                anonymous=anonymous,
                say=line_sink(on_output),
                cancellation=cancellation,
            )
            return name
    except EngineError as error:
        raise ExecutorError(error.message, hint=error.hint) from error


def _base_images(context: str, dockerfile: str) -> Sequence[str]:
    try:
        text = Path(context, dockerfile).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ()  # The builder says what is wrong.
    return base_images(text, {})


class ActionRun:
    """One container of an action, from create to remove."""

    def __init__(self, engine: Engine, config: Mapping[str, Any], name: str) -> None:
        self._engine = engine
        self._config = config
        self._name = name
        self.unsure = False
        """Whether the engine may still make the container, or run it, when nobody waits for it any more."""

    def run(self, on_output: OutputSink, cancellation: Cancellation, timeout_s: float | None) -> ExitStatus:
        """Raises ExecutorError when it cannot be started."""
        if cancellation.is_set():
            return ExitStatus(code=128 + signal.SIGINT, cancelled=True)
        containers = self._engine.under(cancellation).containers
        self.unsure = True
        try:
            container = containers.create(self._config, name=self._name)
            # Attached and awaited before it starts: nothing of it is missed.
            stream = containers.attach(container, cancellation=cancellation)
            try:
                with containers.exit_code(container, cancellation=cancellation) as end:
                    containers.start(container)
                    ending = _Ending(self._engine, container, cancellation, timeout_s)
                    code = ending.follow(stream, end, on_output)
                    self.unsure = False
                    return ExitStatus(code=code, cancelled=ending.cancelled, timed_out=ending.timed_out)
            finally:
                stream.close()
        except Interrupted:
            return ExitStatus(code=128 + signal.SIGINT, cancelled=True)
        except EngineError as error:
            raise ExecutorError(error.message, hint=error.hint) from error
        finally:
            # By its name: the engine may have made it when nobody waited for its answer any more.
            self._engine.containers.remove_later(self._name)


class _Ending:
    """Hands the output on, and ends the container step by step when that is asked for."""

    def __init__(
        self, engine: Engine, container: str, cancellation: Cancellation, timeout_s: float | None
    ) -> None:
        self._engine = engine
        self._container = container
        self._cancellation = cancellation
        self._deadline = None if timeout_s is None else time.monotonic() + timeout_s
        self._ladder: list[tuple[float, str]] = []
        self._give_up_at: float | None = None
        self.cancelled = False
        self.timed_out = False

    def follow(self, stream: Hijacked, end: Exit, on_output: OutputSink) -> int:
        """The exit code. A container may close its output long before it ends. Raises EngineError when it
        does not end, and when the engine is lost."""
        split = Demultiplexer(on_output)
        code: int | None = None
        output_open = True
        wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        forget = self._cancellation.on_cancel(lambda: os.eventfd_write(wake, 1))
        poll = select.poll()
        poll.register(stream.fileno(), select.POLLIN)
        poll.register(end.fileno(), select.POLLIN)
        poll.register(wake, select.POLLIN)
        try:
            while output_open or code is None:
                ready = {stream.fileno()}
                if not stream.has_early:
                    ready = {fd for fd, _ in poll.poll(self._patience_ms())}
                if stream.fileno() in ready:
                    piece = stream.receive()
                    split.feed(piece)
                    if not piece:
                        poll.unregister(stream.fileno())
                        output_open = False
                if end.fileno() in ready:
                    poll.unregister(end.fileno())
                    code = end.code()
                    self._ladder, self._deadline = [], None
                    self._give_up_at = time.monotonic() + OUTPUT_TIMEOUT_S
                if wake in ready:
                    os.eventfd_read(wake)
                    self._stop(cancelled=True)
                if self._give_up_at is not None and time.monotonic() >= self._give_up_at:
                    if code is not None:
                        break
                    raise EngineError(
                        f"the container {self._container[:12]} does not end, although it was killed",
                        hint="see what the engine does: `docker ps`, `journalctl -u docker`",
                    )
                if code is None:
                    self._climb()
            return code if code is not None else -1
        finally:
            forget()
            os.close(wake)

    def _patience_ms(self) -> float | None:
        times = [at for at, _ in self._ladder[:1]]
        times += [at for at in (self._deadline, self._give_up_at) if at is not None]
        return None if not times else max(0.0, (min(times) - time.monotonic()) * 1000 + 1)

    def _climb(self) -> None:
        now = time.monotonic()
        if self._deadline is not None and now >= self._deadline:
            self._deadline = None
            self._stop(cancelled=False)
        while self._ladder and now >= self._ladder[0][0]:
            number = self._ladder.pop(0)[1]
            self._engine.containers.kill(self._container, number, timeout_s=KILL_TIMEOUT_S)
            if number == "SIGKILL":
                self._give_up_at = time.monotonic() + GONE_TIMEOUT_S

    def _stop(self, *, cancelled: bool) -> None:
        now = time.monotonic()
        if not (self.cancelled or self.timed_out):
            self.cancelled, self.timed_out = cancelled, not cancelled
            self._ladder = [
                (now, "SIGINT"),
                (now + process.INTERRUPT_GRACE_S, "SIGTERM"),
                (now + process.INTERRUPT_GRACE_S + process.TERMINATE_GRACE_S, "SIGKILL"),
            ]
        if self._cancellation.is_set() and self._cancellation.force:
            self._ladder = [(now, "SIGKILL")]


def action_config(
    image: str,
    *,
    entrypoint: str | None,
    args: Sequence[str],
    env: Mapping[str, str],
    workdir: str,
    labels: Mapping[str, str],
    host: Mapping[str, Any],
) -> dict[str, Any]:
    """The container of an action, as the API wants it."""
    variables = {"GITHUB_ACTIONS": "true", "CI": "true", **env}
    config: dict[str, Any] = {
        "Image": image,
        "Env": [f"{name}={value}" for name, value in variables.items()],
        "WorkingDir": workdir,
        "Labels": dict(labels),
        # Gone with its end, also when nobody is left to ask for that.
        "HostConfig": {**host, "AutoRemove": True},
        "AttachStdout": True,
        "AttachStderr": True,
    }
    if args or entrypoint is not None:
        config["Cmd"] = list(args)
    if entrypoint:
        config["Entrypoint"] = [entrypoint]
    return config
