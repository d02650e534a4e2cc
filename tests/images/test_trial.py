from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from akashic.errors import UsageError
from akashic.images.layout import build_layout
from akashic.images.source import find_source
from akashic.images.spec import HealthCheck, ImageSpec
from akashic.images.trial import try_image


@pytest.fixture
def built(make_repository: Callable[..., Path], spec: ImageSpec, tmp_path: Path) -> tuple[Path, str]:
    spec = msgspec.structs.replace(spec, healthcheck=HealthCheck(path="/health"), smoke_paths=("/",))
    image = build_layout(spec, find_source(make_repository()), tmp_path / "l", cache=tmp_path / "c")
    return tmp_path / "l", image.digest


def test_a_good_image_becomes_healthy_and_passes_its_smoke_checks(built: tuple[Path, str]) -> None:
    trial = try_image(*built, env={})
    assert trial.healthy, trial
    assert trial.smoke == ("/ 200",)


def test_an_image_that_ends_at_once_shows_its_log(built: tuple[Path, str]) -> None:
    trial = try_image(*built, env={"FAIL": "1"})
    assert not trial.healthy
    assert trial.problem == "the image's process ended with exit code 3"
    assert "cannot start: no database" in trial.log


def test_a_failing_smoke_check_is_named(built: tuple[Path, str]) -> None:
    trial = try_image(*built, env={}, smoke_paths=("/missing",))
    assert trial.problem == "smoke check /missing: answered 404"


def test_an_image_without_health_check_is_refused(
    make_repository: Callable[..., Path], spec: ImageSpec, tmp_path: Path
) -> None:
    image = build_layout(spec, find_source(make_repository()), tmp_path / "l", cache=tmp_path / "c")
    with pytest.raises(UsageError, match="no health check"):
        try_image(tmp_path / "l", image.digest, env={})
