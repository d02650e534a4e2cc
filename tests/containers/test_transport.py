"""What the engine's answers mean."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from akashic.cancellation import Cancellation
from akashic.containers.engine import Engine
from akashic.containers.errors import (
    BuildFailed,
    Conflict,
    EngineError,
    EngineMissing,
    NoSpace,
    NotFound,
    PullFailed,
)

Saying = Callable[..., Engine]


@pytest.mark.parametrize(
    ("status", "message", "kind"),
    [
        (404, "No such container: x", NotFound),
        (409, "name is in use", Conflict),
        (500, "Bind for 0.0.0.0:80 failed: port is already allocated", Conflict),
        (500, "write /var/lib/docker/x: no space left on device", NoSpace),
        (500, "something", EngineError),
    ],
)
def test_an_error_has_its_kind_and_the_engine_s_words(
    saying: Saying, status: int, message: str, kind: type[EngineError]
) -> None:
    engine = saying({"POST /containers/x/start": (status, f'{{"message": "{message}"}}'.encode())})
    with pytest.raises(kind) as caught:
        engine.containers.start("x")
    assert message in caught.value.message and type(caught.value) is kind


def test_an_engine_that_is_too_old_is_refused(saying: Saying) -> None:
    with pytest.raises(EngineError, match=r"speaks API 1\.24"):
        saying({}, "1.24").ping()


def test_a_newer_engine_is_spoken_to_in_our_version(saying: Saying) -> None:
    assert saying({}, "1.99").ping() == "1.47"


def test_what_is_no_engine_is_said(saying: Saying) -> None:
    with pytest.raises(EngineMissing, match="no container engine"):
        saying({}, "").ping()


def test_a_pull_that_ends_in_an_error_line_fails(saying: Saying) -> None:
    stream = b'{"status": "Pulling from x", "id": "1"}\n{"errorDetail": {}, "error": "unauthorized: no"}\n'
    engine = saying({"POST /images/create": (200, stream)})
    said: list[str] = []
    with pytest.raises(PullFailed, match="unauthorized") as caught:
        engine.images.pull("registry.example.com/x", say=said.append, cancellation=Cancellation())
    assert "docker login" in caught.value.hint
    assert said == ["Pulling registry.example.com/x:latest", "1: Pulling from x"]


def test_a_disk_that_is_full_in_the_middle_of_a_pull_is_said(saying: Saying) -> None:
    engine = saying({"POST /images/create": (200, b'{"error": "write /x: no space left on device"}\n')})
    with pytest.raises(NoSpace):
        engine.images.pull("x", say=lambda _: None, cancellation=Cancellation())


def test_a_build_that_fails_ends_with_its_log(saying: Saying) -> None:
    stream = (
        b'{"stream": "Step 1/2\\n"}\n{"stream": "half "}\n{"stream": "a line\\n"}\n{"error": "code: 1"}\n'
    )
    engine = saying({"POST /build": (200, stream)})
    with pytest.raises(BuildFailed, match=r"(?s)code: 1\nStep 1/2\nhalf a line"):
        engine.images.build(iter(()), say=lambda _: None, cancellation=Cancellation())


def test_never_asks_no_registry(saying: Saying) -> None:
    with pytest.raises(PullFailed, match="must not be pulled"):
        saying({}).images.ensure("x", "never", say=lambda _: None, cancellation=Cancellation())


@pytest.mark.parametrize("kind", ["containers", "networks", "volumes", "images"])
def test_what_is_gone_need_not_be_removed_and_what_cannot_go_is_said(saying: Saying, kind: str) -> None:
    gone = saying({f"DELETE /{kind}/x": (404, b'{"message": "no such thing"}')})
    assert getattr(gone, kind).remove("x") is None
    stays = saying({f"DELETE /{kind}/x": (500, b'{"message": "a driver failed"}')})
    with pytest.raises(EngineError, match="a driver failed"):
        getattr(stays, kind).remove("x")
