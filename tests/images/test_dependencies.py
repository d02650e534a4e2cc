from __future__ import annotations

import base64
import hashlib
import os
import shutil
import tarfile
import zipfile
from pathlib import Path

import pytest

from akashic.errors import UsageError
from akashic.images.dependencies import dependency_layer
from akashic.images.installers import PlatformUnavailable, find_installer, install_command
from akashic.images.locks import parse_lock


def make_wheel(folder: Path, *, tag: str = "py3-none-any", name: str = "greeting") -> str:
    """A small wheel with a module, a command and a script; returns its lock line."""
    info = f"{name}-1.0.dist-info"
    pure = "true" if tag == "py3-none-any" else "false"
    files = {
        f"{name}.py": "def main():\n    print('hello')\n",
        f"{name}-1.0.data/scripts/{name}-script": "#!python\nprint('script')\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\nLicense-Expression: MIT\n",
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: {pure}\nTag: {tag}\n",
        f"{info}/entry_points.txt": f"[console_scripts]\n{name} = {name}:main\n",
    }
    rows = []
    for path, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        rows.append(f"{path},sha256={digest},{len(text)}")
    files[f"{info}/RECORD"] = "\n".join([*rows, f"{info}/RECORD,,"]) + "\n"
    wheel = folder / f"{name}-1.0-{tag}.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in files.items():
            archive.writestr(zipfile.ZipInfo(path), text)
    return f"{name}==1.0 --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n"


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    folder = tmp_path / "wheels"
    folder.mkdir()
    return folder


def build(lock: str, cache: Path, platform: str = "linux/amd64") -> object:
    return dependency_layer(
        lock, file="lock", platform=platform, python="3.11", compression="none", cache=cache
    )


def offline(wheels: Path) -> str:
    return f"--find-links {wheels}\n"


def test_the_layer_holds_the_module_its_command_and_a_true_record(wheels: Path, tmp_path: Path) -> None:
    lock = offline(wheels) + make_wheel(wheels)

    layer = dependency_layer(
        lock, file="lock", platform="linux/amd64", python="3.11", compression="none", cache=tmp_path / "c"
    )

    with tarfile.open(layer.path) as archive:
        names = {member.name for member in archive if member.isfile()}
        script = archive.extractfile("opt/dependencies/bin/greeting-script")
        record = archive.extractfile("opt/dependencies/greeting-1.0.dist-info/RECORD")
        assert script is not None and record is not None
        assert script.read().startswith(b"#!/usr/bin/env python3\n")
        recorded = {line.split(",")[0] for line in record.read().decode().splitlines()}
    assert {f"opt/dependencies/{name}" for name in recorded} == names
    assert "opt/dependencies/bin/greeting" in names
    assert [(p.name, p.version, p.license) for p in layer.packages] == [("greeting", "1.0", "MIT")]
    assert layer.pure


def test_uv_and_pip_give_the_same_bytes(
    wheels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uv = os.environ.get("UV") or shutil.which("uv")
    if uv is None:
        pytest.skip("uv is not installed")
    lock = offline(wheels) + make_wheel(wheels)
    monkeypatch.setenv("UV", uv)
    with_uv = dependency_layer(
        lock, file="lock", platform="linux/amd64", python="3.11", compression="none", cache=tmp_path / "uv"
    )
    monkeypatch.delenv("UV")
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    with_pip = dependency_layer(
        lock, file="lock", platform="linux/amd64", python="3.11", compression="none", cache=tmp_path / "pip"
    )
    assert (with_uv.installer, with_pip.installer) == ("uv", "pip")
    assert with_uv.layer == with_pip.layer


def test_the_second_time_comes_from_the_cache_and_a_damaged_cache_is_made_anew(
    wheels: Path, tmp_path: Path
) -> None:
    lock = offline(wheels) + make_wheel(wheels)
    cache = tmp_path / "c"
    first = dependency_layer(
        lock, file="lock", platform="linux/amd64", python="3.11", compression="none", cache=cache
    )
    second = dependency_layer(
        lock, file="lock", platform="linux/amd64", python="3.11", compression="none", cache=cache
    )
    Path(second.path).write_bytes(b"poison")
    third = dependency_layer(
        lock, file="lock", platform="linux/amd64", python="3.11", compression="none", cache=cache
    )
    assert (first.cached, second.cached, third.cached) == (False, True, False)
    assert first.layer == second.layer == third.layer
    assert [path.name for path in cache.iterdir()] == [Path(first.path).parent.name]


def test_a_wheel_that_is_not_there_for_a_platform_is_said_with_its_name(wheels: Path, tmp_path: Path) -> None:
    lock = offline(wheels) + "--no-index\n" + make_wheel(wheels, tag="cp311-cp311-manylinux_2_17_x86_64")
    assert not dependency_layer(
        lock, file="lock", platform="linux/amd64", python="3.11", compression="none", cache=tmp_path / "c"
    ).pure
    with pytest.raises(PlatformUnavailable, match="linux/arm64"):
        build(lock, tmp_path / "c", "linux/arm64")


def test_a_wheel_with_other_bytes_than_the_lock_is_refused(wheels: Path, tmp_path: Path) -> None:
    make_wheel(wheels)
    lock = offline(wheels) + f"--no-index\ngreeting==1.0 --hash=sha256:{'0' * 64}\n"
    with pytest.raises(PlatformUnavailable):
        build(lock, tmp_path / "c")
    assert not list((tmp_path / "c").iterdir())


@pytest.mark.parametrize(
    "line",
    ["requests", "requests>=2", "requests==2.0", "-e .", "-r other.txt", "x @ https://example.com/x.whl"],
)
def test_a_line_that_is_not_locked_is_refused_with_its_place(line: str) -> None:
    with pytest.raises(UsageError, match="lock:2: expected 'name==version"):
        parse_lock(f"# made by hand\n{line}\n", "lock")


def test_continued_lines_markers_and_extras_are_read() -> None:
    digest = "a" * 64
    head = "Foo_Bar[x]==1.2 ; python_version < '4' \\\n"
    text = f"{head}    --hash=sha256:{digest} \\\n    --hash=sha256:{'b' * 64}\n"
    (found,) = parse_lock(text, "lock")
    assert (found.name, found.version, found.marker) == ("foo-bar", "1.2", "python_version < '4'")
    assert found.sha256 == (digest, "b" * 64)


def test_installers_are_told_to_take_wheels_for_the_platform_with_hashes_only(tmp_path: Path) -> None:
    for installer in ("uv", "pip"):
        argv = install_command(
            installer, (installer,), tmp_path / "lock", tmp_path / "t", "linux/arm64", "3.12"
        )
        assert {"--require-hashes", "--no-deps", "--only-binary", ":all:", "3.12"} <= set(argv)
        assert any("aarch64" in word for word in argv)


def test_there_is_an_installer_on_every_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("UV", raising=False)
    monkeypatch.setenv("PATH", "/nowhere")
    assert find_installer()[0] == "pip"
