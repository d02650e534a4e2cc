"""What holds for all tests: they behave the same inside of a run of ours (`akashic run push` here).

There the variables of the outer run would make the commands under test believe that they are its steps, and
root has one user id and no /proc of its own to give.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import settings

from akashic.containers.engine import Engine
from akashic.errors import AkashicError
from akashic.executors.docker.labels import OWNER, is_dead
from scripts import base_image as images
from tests.waiting import eventually, living

# How long an example takes says how busy the machine is.
settings.register_profile("akashic", deadline=None)
settings.load_profile("akashic")

ENGINE_TIDY_S = 20
PROCESSES_TIDY_S = 20

_OF_THE_RUN = ("RUN_ID", "JOB", "ATTEMPT", "STATE", "ROOT", "ENVIRONMENT")
_INSIDE = os.environ.get("AKASHIC") == "true"
_ROOT_INSIDE = "root inside of a job has one user id: it cannot run a service as another user"
_PROC_INSIDE = "a job inside of a job cannot mount a /proc of its own"
_NEEDS_PROC = (
    "test_only_the_job_s_processes_are_seen",
    # Who owned a sandbox is told from process numbers and start times, which are the outer namespace's.
    "test_every_ending_is_clean_wherever_it_is_killed",
)
_NEEDS_USERS = ("test_providers.py", "test_local_services.py", "test_a_release_does_not_run_as_root")


def pytest_configure() -> None:
    for name in _OF_THE_RUN:
        os.environ.pop(f"AKASHIC_{name}", None)
    # No test leaves a server behind; those of the server itself turn it on.
    os.environ["AKASHIC_WARM"] = "off"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not _INSIDE:
        return
    for item in items:
        if item.name in _NEEDS_PROC:
            item.add_marker(pytest.mark.skip(reason=_PROC_INSIDE))
        elif os.geteuid() == 0 and (item.path.name in _NEEDS_USERS or item.name in _NEEDS_USERS):
            item.add_marker(pytest.mark.skip(reason=_ROOT_INSIDE))


@pytest.fixture(scope="session", autouse=True)
def nothing_runs_on(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """At the end no process is left that a test began, or that what it began began."""
    yield
    ours = f"{tmp_path_factory.getbasetemp()}/"
    left: dict[int, str] = {}

    def gone() -> bool:
        left.clear()
        for pid in {*living(ours), *living(ours, where="environ")}:
            with suppress(OSError):
                left[pid] = Path(f"/proc/{pid}/cmdline").read_text(errors="replace").replace("\0", " ")[:300]
        return not any(left.values())

    assert eventually(gone, timeout_s=PROCESSES_TIDY_S), f"left running: {left}"


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """The container engine of this machine; the test is skipped where there is none. At the end nothing of a
    run that is over may be left in it."""
    try:
        found = Engine.connect(os.environ)
        found.ping()
    except AkashicError as error:
        pytest.skip(f"no container engine: {error.message}")
    yield found
    # What a killed runner leaves the engine may still be removing.
    ends = time.monotonic() + ENGINE_TIDY_S
    while (left := _left_in(found)) and time.monotonic() < ends:
        time.sleep(0.1)
    assert not left, f"left in the engine: {left}"


def _left_in(engine: Engine) -> list[str]:
    """Containers, networks and volumes whose maker has ended. (Other sessions may be testing beside us.)"""
    kinds = (engine.containers, engine.networks, engine.volumes)
    found = [item for kind in kinds for item in kind.list(labels=(OWNER,))]  # type: ignore[attr-defined]
    return [str(item) for item in found if is_dead(item.labels[OWNER])]


@pytest.fixture(scope="session")
def test_image(engine: Engine) -> Callable[[str], str]:
    """Makes sure of an image of `scripts/base_image.py`; the test is skipped where it cannot be made."""
    reasons: dict[str, str] = {}

    def ensure(name: str) -> str:
        if name not in reasons:
            try:
                images.ensure(engine, name)
                reasons[name] = ""
            except AkashicError as error:
                reasons[name] = error.message
        if reasons[name]:
            pytest.skip(f"the image {name} cannot be made here: {reasons[name]}")
        return name

    return ensure


@pytest.fixture(scope="session")
def base_image(test_image: Callable[[str], str]) -> str:
    return test_image(images.BASE)


@pytest.fixture(scope="session")
def redis_image(test_image: Callable[[str], str]) -> str:
    return test_image(images.REDIS)


@pytest.fixture(scope="session")
def postgres_image(test_image: Callable[[str], str]) -> str:
    return test_image(images.POSTGRES)
