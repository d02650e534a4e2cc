from __future__ import annotations

import io
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from akashic.errors import UsageError
from akashic.images.archive import import_archive
from akashic.images.engine import EngineOptions, EnginePlan, build_args
from akashic.images.engine_choice import choose_engine
from akashic.images.layout import build_layout
from akashic.images.read import read_config, read_manifest
from akashic.images.source import Source, find_source
from akashic.images.spec import ImageSpec
from akashic.images.store import ImageError, digest_of


def test_without_a_dockerfile_or_an_engine_auto_says_why_and_docker_refuses(spec: ImageSpec) -> None:
    assert choose_engine("auto", spec, None, {}).reason == (
        "built without an engine: image.dockerfile is not set"
    )
    nowhere = {"DOCKER_HOST": "unix:///nonexistent/docker.sock"}
    choice = choose_engine("auto", spec, b"FROM a", nowhere)
    assert not choice.uses_engine and "no container engine at unix:///nonexistent" in choice.reason
    with pytest.raises(UsageError, match="no container engine"):
        choose_engine("docker", spec, b"FROM a", nowhere)


def test_arguments_that_a_dockerfile_declares_are_given_and_no_others(spec: ImageSpec) -> None:
    spec = msgspec.structs.replace(spec, build_args={"FLAVOUR": "plain"})
    plan = EnginePlan(
        spec=spec,
        entries=(),
        dockerfile="Dockerfile",
        version="1.2",
        source=Source(root="/", prefix="", commit="c0ffee", commit_time_s=0, dirty=False),
        created_s=86_400,
    )
    text = "ARG PYTHON_VERSION=3\nFROM scratch\nARG VERSION\nARG BUILD_DATE=x\nARG FLAVOUR\n"
    options = EngineOptions(args={"VERSION": "$(touch x)"}, inline_cache=True)
    assert build_args(plan, options, text) == {
        "PYTHON_VERSION": "3.11",
        "VERSION": "$(touch x)",
        "BUILD_DATE": "1970-01-02T00:00:00Z",
        "FLAVOUR": "plain",
        "BUILDKIT_INLINE_CACHE": "1",
    }


def archive_of(layout: Path, target: Path) -> Path:
    with tarfile.open(target, "w") as archive:
        archive.add(layout, arcname="", recursive=True)
    return target


def take(archive: Path, layout: Path) -> dict[str, Any]:
    with archive.open("rb") as file:
        return import_archive(file, layout)


def test_an_engines_archive_is_taken_in_and_verified(
    make_repository: Callable[..., Path], spec: ImageSpec, tmp_path: Path
) -> None:
    built = build_layout(spec, find_source(make_repository()), tmp_path / "l", cache=tmp_path / "c")
    index = msgspec.json.decode((tmp_path / "l/index.json").read_bytes())
    index["manifests"] = [entry for entry in index["manifests"] if entry["digest"] == built.digest]
    (tmp_path / "l/index.json").write_bytes(msgspec.json.encode(index))

    descriptor = take(archive_of(tmp_path / "l", tmp_path / "a.tar"), tmp_path / "new")
    assert read_config(tmp_path / "new", descriptor["digest"]) == built.config

    (tmp_path / "l/blobs/sha256" / built.digest[7:]).write_bytes(b"other")
    shutil.rmtree(tmp_path / "new")
    with pytest.raises(ImageError, match="damaged"):
        take(archive_of(tmp_path / "l", tmp_path / "b.tar"), tmp_path / "new")


def docker_archive(target: Path, layers: list[bytes], *, damaged: bool = False) -> Path:
    """What engines before version 25 save: plain layers, a link for one that is there twice."""
    diff_ids = [digest_of(layer) for layer in layers]
    config = msgspec.json.encode(
        {
            "os": "linux",
            "architecture": "amd64",
            "config": {"Cmd": ["true"]},
            "rootfs": {"diff_ids": diff_ids},
        }
    )
    listed = [
        {"Config": "c.json", "RepoTags": ["a:1"], "Layers": [f"{i}/layer.tar" for i in range(len(layers))]}
    ]
    members = {f"{i}/layer.tar": layer + (b"x" if damaged else b"") for i, layer in enumerate(layers)}
    members |= {"c.json": config, "manifest.json": msgspec.json.encode(listed)}
    with tarfile.open(target, "w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            if name == "1/layer.tar" and layers[1] == layers[0]:
                info.type, info.linkname = tarfile.SYMTYPE, "../0/layer.tar"
                archive.addfile(info)
            else:
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return target


def test_an_older_engines_archive_becomes_an_oci_image(tmp_path: Path) -> None:
    descriptor = take(docker_archive(tmp_path / "a.tar", [b"one", b"one", b"two"]), tmp_path / "l")
    manifest = read_manifest(tmp_path / "l", descriptor["digest"])
    assert [layer["digest"] for layer in manifest["layers"]] == [
        digest_of(b) for b in (b"one", b"one", b"two")
    ]
    assert read_config(tmp_path / "l", descriptor["digest"]).command == ("true",)
    with pytest.raises(ImageError, match="damaged"):
        take(docker_archive(tmp_path / "b.tar", [b"one"], damaged=True), tmp_path / "l")
    with pytest.raises(ImageError):
        (tmp_path / "c.tar").write_bytes(b"no tar at all")
        take(tmp_path / "c.tar", tmp_path / "l")
