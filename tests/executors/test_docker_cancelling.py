"""Jobs in containers that are cancelled at any moment, on an engine that is slow, holds its answers, or goes
away: every call ends, with words, and nothing stays behind."""

from __future__ import annotations

import contextlib
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from akashic.cancellation import Cancellation
from akashic.containers import transport
from akashic.containers.engine import Engine
from akashic.errors import Interrupted
from akashic.executors import process
from akashic.executors.docker import belongings, link
from akashic.executors.docker.executor import DockerExecutor
from akashic.executors.protocol import ContainerSpec, ExecutorError, ExitStatus, ServiceSpec
from tests.engine_proxy import EngineProxy
from tests.executors.test_docker_jobs import World
from tests.waiting import PATIENCE_S, eventually

pytestmark = pytest.mark.docker

SEED = int(os.environ.get("AKASHIC_TEST_SEED", "4711"))
CANCELS = 96 if os.environ.get("AKASHIC_TEST_SLOW") else 8
HELD_S = 3600.0


@pytest.fixture
def world(tmp_path: Path, engine: Engine, base_image: str, proxy: EngineProxy) -> Iterator[World]:
    del proxy  # It outlives the check: what nobody waits for may still be on its way.
    found = World(tmp_path, engine, base_image)
    yield found
    assert eventually(lambda: not found.left()), found.left()
    assert not list((tmp_path / "state").glob("containers/work/*"))


@pytest.fixture
def proxy(tmp_path: Path, engine: Engine) -> Iterator[EngineProxy]:
    found = EngineProxy(tmp_path / "engine.sock", engine)
    yield found
    found.shut()


def ends(work: Callable[[], None]) -> BaseException | None:
    """What the work raised; only that it never ends is a failure."""
    raised: list[BaseException] = []

    def attempt() -> None:
        try:
            work()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=attempt, daemon=True)
    thread.start()
    thread.join(2 * PATIENCE_S)
    assert not thread.is_alive(), "it waits for ever"
    return raised[0] if raised else None


class Story:
    """A job from its opening to its close, with one of each that can be waited for."""

    def __init__(self, world: World, executor: DockerExecutor, redis: str, chance: random.Random) -> None:
        self.world = world
        self.executor = executor
        self.cancellation = Cancellation()
        self.services = chance.choice(
            (
                (),
                (ServiceSpec(name="cache", image=redis, options='--health-cmd "redis-cli ping"'),),
                (ServiceSpec(name="cache", image=redis, options="--health-cmd false --health-retries 600"),),
            )
        )
        self.container = chance.choice(
            (
                None,
                ContainerSpec(image=world.image),
                ContainerSpec(image=world.image, volumes=("kept:/kept",)),
            )
        )
        self.in_action = chance.random() < 0.4
        self.attempt = 0

    def tell(self) -> None:
        self.attempt += 1
        sandbox = self.executor.open(
            self.world.spec(services=self.services, container=self.container, attempt=self.attempt),
            cancellation=self.cancellation,
        )
        try:
            while not self.cancellation.is_set():
                if self.in_action:
                    sandbox.run_image(
                        self.world.image,
                        entrypoint="sleep",
                        args=["600"],
                        env={},
                        on_output=lambda _: None,
                        cancellation=self.cancellation,
                    )
                else:
                    sandbox.exec(
                        ["bash", "-c", "true" if self.attempt % 2 else "sleep 600"],
                        env=sandbox.base_env,
                        cwd=sandbox.workspace,
                        on_output=lambda _: None,
                        cancellation=self.cancellation,
                    )
        finally:
            sandbox.close()


@pytest.mark.parametrize("number", range(CANCELS))
def test_a_cancellation_at_any_moment_ends_the_job(
    world: World, proxy: EngineProxy, redis_image: str, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "INTERRUPT_GRACE_S", 0.5)
    monkeypatch.setattr(process, "TERMINATE_GRACE_S", 0.2)
    monkeypatch.setattr(transport, "CANCEL_GRACE_S", 2.0)
    chance = random.Random(SEED * 1000 + number)
    slowest_s = chance.choice((0.0, 0.0, 0.1, 0.4))
    proxy.on_request = lambda line: chance.random() * slowest_s
    executor = world.executor(proxy.environ)
    story = Story(world, executor, redis_image, chance)
    moment_s = chance.random() * (1.5 + 10 * slowest_s)
    again_s = chance.choice((0.0, 0.0, chance.random()))

    def stop() -> None:
        time.sleep(moment_s)
        story.cancellation.cancel(source="user", reason="Ctrl-C")
        if again_s:
            time.sleep(again_s)
            story.cancellation.cancel(source="user", reason="Ctrl-C", force=True)

    stopper = threading.Thread(target=stop)
    stopper.start()
    raised = ends(story.tell)
    stopper.join()
    assert raised is None or isinstance(raised, Interrupted), raised


@pytest.mark.parametrize("number", range(CANCELS // 2))
def test_an_engine_that_goes_at_any_moment_leaves_nothing_when_it_is_back(
    world: World, proxy: EngineProxy, redis_image: str, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "INTERRUPT_GRACE_S", 0.5)
    monkeypatch.setattr(process, "TERMINATE_GRACE_S", 0.2)
    monkeypatch.setattr(transport, "CANCEL_GRACE_S", 2.0)
    chance = random.Random(SEED * 2000 + number)
    executor = world.executor(proxy.environ)
    story = Story(world, executor, redis_image, chance)
    executor.engine.ping()
    left = [chance.randrange(1, 25)]

    def count(line: str) -> float:
        left[0] -= 1
        if left[0] == 0:
            proxy.shut()
        return 0.0

    proxy.on_request = count
    stopper = threading.Timer(
        3.0 + chance.random(), lambda: story.cancellation.cancel(source="user", reason="Ctrl-C")
    )
    stopper.start()
    raised = ends(story.tell)
    stopper.join()
    assert raised is None or isinstance(raised, (Interrupted, ExecutorError)), raised
    if isinstance(raised, ExecutorError):
        assert str(proxy.environ["DOCKER_HOST"]) in raised.message and raised.hint, raised
    proxy.shut()
    proxy.open()
    proxy.on_request = lambda line: 0.0
    executor.end_run()

    def swept() -> bool:
        # What the real engine was asked for before the door was shut it may make a moment later.
        executor.sweep()
        return not world.left()

    assert eventually(swept), world.left()


def cancel_and_hold(proxy: EngineProxy, request_line: str, cancellation: Cancellation) -> threading.Event:
    """Have the first request with these words cancelled, and its answer kept; what is set then."""
    held = threading.Event()

    def hold(line: str) -> float:
        if request_line not in line or held.is_set():
            return 0.0
        held.set()
        cancellation.cancel(source="user", reason="Ctrl-C")
        return HELD_S

    proxy.on_request = hold
    return held


@pytest.mark.parametrize(
    "request_line",
    ["/containers/create", "/start", "/networks/create", "/exec", "/images/", "/volumes/create"],
)
def test_an_engine_that_keeps_its_answer_is_not_waited_for_when_cancelled(
    world: World,
    proxy: EngineProxy,
    redis_image: str,
    request_line: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(transport, "CANCEL_GRACE_S", 0.5)
    cancellation = Cancellation()
    held = cancel_and_hold(proxy, request_line, cancellation)
    executor = world.executor(proxy.environ)
    spec = world.spec(
        services=(ServiceSpec(name="cache", image=redis_image, options='--health-cmd "redis-cli ping"'),),
        container=ContainerSpec(image=world.image, volumes=("kept:/kept",)),
    )
    raised = ends(lambda: executor.open(spec, cancellation=cancellation).close())
    assert held.is_set(), proxy.requests
    assert isinstance(raised, Interrupted), raised


@pytest.mark.parametrize("request_line", ["/attach", "/wait", "/start", "/containers/create"])
def test_an_engine_that_keeps_its_answer_does_not_hold_an_action(
    world: World, proxy: EngineProxy, request_line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "CANCEL_GRACE_S", 0.5)
    cancellation = Cancellation()
    sandbox = world.open(world.executor(proxy.environ))
    held = cancel_and_hold(proxy, request_line, cancellation)
    found: list[ExitStatus] = []
    try:
        raised = ends(
            lambda: found.append(
                sandbox.run_image(
                    world.image,
                    entrypoint="sleep",
                    args=["600"],
                    env={},
                    on_output=lambda _: None,
                    cancellation=cancellation,
                )
            )
        )
    finally:
        sandbox.close()
    assert held.is_set(), proxy.requests
    assert raised is None and found[0].cancelled


def test_an_action_that_closes_its_output_can_be_cancelled_and_keeps_its_code(world: World) -> None:
    sandbox = world.open()
    try:
        for script, stops, code in (
            ("exec >&- 2>&-; sleep 0.3; exit 7", False, 7),
            ("trap 'exit 5' INT; exec >&- 2>&-; while :; do sleep 0.02; done", True, 5),
        ):
            cancellation, found = Cancellation(), []
            stopper = threading.Timer(1.5, lambda c=cancellation: c.cancel(source="user", reason="Ctrl-C"))
            if stops:
                stopper.start()
            raised = ends(
                lambda script=script, c=cancellation, found=found: found.append(
                    sandbox.run_image(
                        world.image,
                        entrypoint="bash",
                        args=["-c", script],
                        env={},
                        on_output=lambda _: None,
                        cancellation=c,
                    )
                )
            )
            assert raised is None
            assert found == [ExitStatus(code=code, cancelled=stops)]
    finally:
        sandbox.close()


def test_a_check_that_hangs_is_not_waited_for(world: World, redis_image: str) -> None:
    hangs = ServiceSpec(
        name="cache",
        image=redis_image,
        options='--health-cmd "sleep 600" --health-interval 100ms --health-timeout 200ms --health-retries 2',
    )
    raised = ends(lambda: world.open(services=(hangs,)).close())
    assert isinstance(raised, ExecutorError) and "did not become healthy" in raised.message
    assert "did not end in time" in raised.message


def test_a_paused_container_does_not_hold_the_job(
    world: World, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing in it answers, neither to a new command nor to a signal."""
    monkeypatch.setattr(link, "ANSWER_TIMEOUT_S", 0.5)
    monkeypatch.setattr(belongings, "CLOSE_TIMEOUT_S", 0.5)
    monkeypatch.setattr(process, "INTERRUPT_GRACE_S", 0.2)
    monkeypatch.setattr(process, "TERMINATE_GRACE_S", 0.2)
    monkeypatch.setattr(process, "GONE_TIMEOUT_S", 0.5)
    sandbox = world.open(container=ContainerSpec(image=world.image))
    identity = sandbox.container["id"]
    cancellation = Cancellation()

    def pause(chunk: bytes) -> None:
        engine.transport.call("POST", f"/containers/{identity}/pause")
        cancellation.cancel(source="user", reason="Ctrl-C")

    def execute(script: str) -> None:
        sandbox.exec(
            ["bash", "-c", script],
            env=sandbox.base_env,
            cwd=sandbox.workspace,
            on_output=pause,
            cancellation=cancellation if "ready" in script else Cancellation(),
        )

    try:
        raised = ends(lambda: execute("echo ready; sleep 600"))
        assert isinstance(raised, ExecutorError) and "does not end" in raised.message
        raised = ends(lambda: execute("true"))
        assert isinstance(raised, ExecutorError) and "docker unpause" in raised.message
    finally:
        with contextlib.suppress(ExecutorError):
            sandbox.close()
