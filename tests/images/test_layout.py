from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from akashic.errors import UsageError
from akashic.images import provenance, sbom
from akashic.images.layout import BuildOptions, build_layout
from akashic.images.local import local_process
from akashic.images.naming import find_image, referrers
from akashic.images.read import read_config, read_manifest, unpack, verify
from akashic.images.source import find_source
from akashic.images.spec import HealthCheck, ImageSpec
from akashic.images.store import ImageError, Layout

Make = Callable[..., Path]


def test_the_same_commit_gives_the_same_digest_in_another_folder_time_zone_umask_and_file_order(
    make_repository: Make, spec: ImageSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = make_repository()
    one = build_layout(spec, find_source(first), tmp_path / "one", cache=tmp_path / "cache")

    monkeypatch.setenv("TZ", "Pacific/Kiritimati")
    time.tzset()
    before = os.umask(0o077)
    try:
        clone = tmp_path / "elsewhere" / "deep"
        subprocess.run(["git", "clone", "-q", str(first), str(clone)], check=True)
        for file in clone.rglob("*.py"):
            os.utime(file, (1, 1))
        two = build_layout(spec, find_source(clone), tmp_path / "two", cache=tmp_path / "other-cache")
    finally:
        os.umask(before)
        monkeypatch.undo()
        time.tzset()

    assert one.digest == two.digest
    assert one.referrers == two.referrers


def test_another_commit_gives_another_digest(make_repository: Make, spec: ImageSpec, tmp_path: Path) -> None:
    a = make_repository("a")
    b = make_repository("b", {"src/hello/more.py": "x = 1\n"})

    digests = {
        build_layout(spec, find_source(r), tmp_path / "l", cache=tmp_path / "c").digest for r in (a, b)
    }

    assert len(digests) == 2


def test_an_uncommitted_change_goes_in_and_the_version_says_so(
    make_repository: Make, spec: ImageSpec, tmp_path: Path
) -> None:
    root = make_repository()
    clean = build_layout(spec, find_source(root), tmp_path / "l", cache=tmp_path / "c")
    (root / "src/hello/new.py").write_text("x = 2\n")
    (root / "noise.log").write_text("ignored")

    dirty = build_layout(spec, find_source(root), tmp_path / "l", cache=tmp_path / "c")
    unpack(tmp_path / "l", dirty.digest, tmp_path / "root")

    assert not clean.dirty and dirty.dirty
    assert dirty.version.startswith(clean.version + "-dirty.")
    assert (tmp_path / "root/app/src/hello/new.py").exists()
    assert not (tmp_path / "root/app/noise.log").exists()


def test_files_that_usually_hold_secrets_history_or_state_never_go_in(
    make_repository: Make, spec: ImageSpec, tmp_path: Path
) -> None:
    files = {".env": "A=1", "sub/.env.production": "A=1", ".env.example": "A=", ".akashic/journal.db": "x"}
    root = make_repository(files=files)

    built = build_layout(spec, find_source(root), tmp_path / "l", cache=tmp_path / "c")
    unpack(tmp_path / "l", built.digest, tmp_path / "root")

    names = {str(path.relative_to(tmp_path / "root/app")) for path in (tmp_path / "root/app").rglob("*")}
    assert ".env.example" in names
    assert not names & {".env", "sub/.env.production", ".akashic", ".git"}


def test_a_sub_folder_of_a_checkout_is_a_repository_of_its_own(
    make_repository: Make, spec: ImageSpec, tmp_path: Path
) -> None:
    root = make_repository(files={"console/src/hello/__main__.py": "print()\n", "outside.txt": "no"})

    built = build_layout(spec, find_source(root / "console"), tmp_path / "l", cache=tmp_path / "c")
    unpack(tmp_path / "l", built.digest, tmp_path / "root")

    assert [str(p.relative_to(tmp_path / "root")) for p in (tmp_path / "root").rglob("*") if p.is_file()] == [
        "app/src/hello/__main__.py"
    ]


def test_the_configuration_says_how_to_start(make_repository: Make, spec: ImageSpec, tmp_path: Path) -> None:
    spec = msgspec.structs.replace(
        spec, healthcheck=HealthCheck(path="/health", retries=5), env={"A": "b=c"}, port=8000
    )
    built = build_layout(spec, find_source(make_repository()), tmp_path / "l", cache=tmp_path / "c")

    config = read_config(tmp_path / "l", built.digest)

    assert config == built.config
    assert config.argv == ("python", "-m", "hello")
    assert config.env["A"] == "b=c"
    assert config.ports == (8000,)
    assert config.user == "1001:1001"
    assert config.healthcheck == HealthCheck(path="/health", retries=5)
    assert config.runtime == "python>=3.11"
    assert config.created == "2026-01-02T03:04:05Z"
    assert config.labels["org.opencontainers.image.revision"] == built.commit


def test_several_platforms_make_an_index_and_each_part_is_found(
    make_repository: Make, spec: ImageSpec, tmp_path: Path
) -> None:
    spec = msgspec.structs.replace(spec, platforms=("linux/amd64", "linux/arm64"))
    built = build_layout(spec, find_source(make_repository()), tmp_path / "l", cache=tmp_path / "c")

    assert built.platforms == ("linux/amd64", "linux/arm64")
    assert read_config(tmp_path / "l", built.digest, platform="linux/arm64").platform == "linux/arm64"
    with pytest.raises(ImageError, match="no part for linux/s390x"):
        read_manifest(tmp_path / "l", built.digest, platform="linux/s390x")


def test_a_tag_moves_and_the_image_that_had_it_stays(
    make_repository: Make, spec: ImageSpec, tmp_path: Path
) -> None:
    options = BuildOptions(tags=("main", "latest"))
    layout = tmp_path / "l"
    sources = [find_source(make_repository(name, {"n": name})) for name in ("a", "b")]
    old, new = [build_layout(spec, s, layout, cache=tmp_path / "c", options=options) for s in sources]

    assert find_image(layout, "latest") == new.digest
    assert find_image(layout, old.digest) == old.digest
    assert find_image(layout, new.digest[7:19]) == new.digest
    with pytest.raises(ImageError, match="no image named"):
        find_image(layout, "nothing")


def test_bill_of_materials_and_provenance_refer_to_the_image(
    make_repository: Make, spec: ImageSpec, tmp_path: Path
) -> None:
    built = build_layout(spec, find_source(make_repository()), tmp_path / "l", cache=tmp_path / "c")

    (bill,) = referrers(tmp_path / "l", built.digest, sbom.MEDIA_TYPE)
    (claim,) = referrers(tmp_path / "l", built.digest, provenance.MEDIA_TYPE)

    assert msgspec.json.decode(bill)["bomFormat"] == "CycloneDX"
    subject = msgspec.json.decode(claim)["subject"][0]
    assert subject["digest"]["sha256"] == built.digest.removeprefix("sha256:")


def test_verification_finds_damage_a_missing_part_and_nothing_else(
    make_repository: Make, spec: ImageSpec, tmp_path: Path
) -> None:
    layout = tmp_path / "l"
    built = build_layout(spec, find_source(make_repository()), layout, cache=tmp_path / "c")
    assert verify(layout) == []
    manifest = read_manifest(layout, built.digest)
    layer = Layout(layout).blob_path(manifest["layers"][0]["digest"])
    good = layer.read_bytes()

    layer.write_bytes(good[:-1] + b"x")
    assert [fault.where for fault in verify(layout)] == [manifest["layers"][0]["digest"]]
    with pytest.raises(ImageError, match="damaged"):
        unpack(layout, built.digest, tmp_path / "root")
    assert not (tmp_path / "root").exists()

    layer.unlink()
    assert [fault.message for fault in verify(layout)] == ["missing"]


def test_what_is_unpacked_starts_with_this_machines_python(
    make_repository: Make, spec: ImageSpec, tmp_path: Path
) -> None:
    root = make_repository(
        files={"src/hello/__main__.py": "import hello, os; print(hello.__file__, os.getcwd())"}
    )
    built = build_layout(spec, find_source(root), tmp_path / "l", cache=tmp_path / "c")
    config = unpack(tmp_path / "l", built.digest, tmp_path / "root")

    process = local_process(config, tmp_path / "root", env={"EXTRA": "/app"})
    done = subprocess.run(
        process.argv, env=process.env, cwd=process.cwd, capture_output=True, text=True, check=True
    )

    assert done.stdout.split() == [f"{tmp_path}/root/app/src/hello/__init__.py", f"{tmp_path}/root/app"]
    assert process.env["EXTRA"] == "/app"


def test_gzip_layers_unpack_to_the_same_files(make_repository: Make, spec: ImageSpec, tmp_path: Path) -> None:
    source = find_source(make_repository())
    trees = []
    for compression in ("none", "gzip"):
        layout, root = tmp_path / compression, tmp_path / f"root-{compression}"
        chosen = msgspec.structs.replace(spec, compression=compression)
        built = build_layout(chosen, source, layout, cache=tmp_path / "c")
        unpack(layout, built.digest, root)
        trees.append({p.relative_to(root): p.read_bytes() for p in root.rglob("*") if p.is_file()})
    assert trees[0] == trees[1] != {}


def test_what_cannot_be_built_says_what_to_mend(
    make_repository: Make, spec: ImageSpec, tmp_path: Path
) -> None:
    root = make_repository()
    cases = [
        (msgspec.structs.replace(spec, entrypoint=()), "nothing to start"),
        (msgspec.structs.replace(spec, include=("nowhere/**",)), "no file matches"),
        (msgspec.structs.replace(spec, requirements="absent.lock"), "no such file in commit"),
        (msgspec.structs.replace(spec, context="../.."), "without '..'"),
    ]
    for wrong, expected in cases:
        with pytest.raises(UsageError, match=expected):
            build_layout(wrong, find_source(root), tmp_path / "l", cache=tmp_path / "c")


def test_outside_of_a_repository_there_is_nothing_to_build(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not a git repository"):
        find_source(tmp_path)


def test_source_date_epoch_takes_the_place_of_the_commits_time(
    make_repository: Make, spec: ImageSpec, tmp_path: Path
) -> None:
    built = build_layout(
        spec,
        find_source(make_repository()),
        tmp_path / "l",
        cache=tmp_path / "c",
        options=BuildOptions(epoch_s=0),
    )
    config = unpack(tmp_path / "l", built.digest, tmp_path / "root")
    assert config.created == "1970-01-01T00:00:00Z"
    assert (tmp_path / "root/app/src/hello/__main__.py").stat().st_mtime == 0
    shutil.rmtree(tmp_path / "root")
