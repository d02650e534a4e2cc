from __future__ import annotations

import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from akashic.errors import UsageError
from akashic.images.engine import base_images, build_command, choose_engine, import_archive
from akashic.images.layout import build_layout
from akashic.images.read import read_config
from akashic.images.source import find_source
from akashic.images.spec import ImageSpec
from akashic.images.store import ImageError


def test_base_images_are_those_that_are_not_stages() -> None:
    text = """ARG VERSION=3.11
FROM --platform=$BUILDPLATFORM python:${VERSION}-slim AS base
FROM base AS build
FROM scratch
FROM ${OTHER:-alpine:3} AS last
"""
    assert base_images(text, {}) == ("python:3.11-slim", "alpine:3")
    assert base_images(text, {"VERSION": "3.13"})[0] == "python:3.13-slim"


def test_the_engines_command_is_a_list_that_no_shell_reads(spec: ImageSpec, tmp_path: Path) -> None:
    hostile = msgspec.structs.replace(
        spec, dockerfile="Dockerfile", build_args={"A": "$(touch x); --privileged"}
    )
    argv = build_command(hostile, tmp_path, "t:1", {"COMMIT": "abc"})
    assert argv == (
        *("docker", "build", "--file", f"{tmp_path}/Dockerfile", "--tag", "t:1", "--platform", "linux/amd64"),
        *("--build-arg", "A=$(touch x); --privileged", "--build-arg", "COMMIT=abc", "--", str(tmp_path)),
    )


def test_without_a_dockerfile_or_an_engine_auto_says_why_and_docker_refuses(
    spec: ImageSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert choose_engine("auto", spec, None).reason == "built without an engine: image.dockerfile is not set"
    monkeypatch.setenv("PATH", "/nowhere")
    assert choose_engine("auto", spec, b"FROM a").reason.endswith("docker is not installed")
    with pytest.raises(UsageError, match="docker is not installed"):
        choose_engine("docker", spec, b"FROM a")


def archive_of(layout: Path, target: Path) -> Path:
    with tarfile.open(target, "w") as archive:
        archive.add(layout, arcname="", recursive=True)
    return target


def test_an_engines_archive_is_taken_in_and_verified(
    make_repository: Callable[..., Path], spec: ImageSpec, tmp_path: Path
) -> None:
    built = build_layout(spec, find_source(make_repository()), tmp_path / "l", cache=tmp_path / "c")
    index = msgspec.json.decode((tmp_path / "l/index.json").read_bytes())
    index["manifests"] = [entry for entry in index["manifests"] if entry["digest"] == built.digest]
    (tmp_path / "l/index.json").write_bytes(msgspec.json.encode(index))

    descriptor = import_archive(archive_of(tmp_path / "l", tmp_path / "a.tar"), tmp_path / "new")
    assert read_config(tmp_path / "new", descriptor["digest"]) == built.config

    (tmp_path / "l/blobs/sha256" / built.digest[7:]).write_bytes(b"other")
    shutil.rmtree(tmp_path / "new")
    with pytest.raises(ImageError, match="damaged"):
        import_archive(archive_of(tmp_path / "l", tmp_path / "b.tar"), tmp_path / "new")
