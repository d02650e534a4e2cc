"""The layer of locked dependencies: the same lock and platform give the same bytes, whoever installs them.

Wheels only, each with a hash from the lock; uv where there is one, else pip. What the two write differently
(launchers, RECORD, INSTALLER, …) is written anew on the way into the layer; their files are never edited.
"""

from __future__ import annotations

import base64
import configparser
import csv
import hashlib
import io
import os
import re
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from email.message import Message
from email.parser import HeaderParser
from pathlib import Path

import msgspec

from akashic.errors import AkashicError, UsageError
from akashic.images.markers import applying
from akashic.images.spec import DEPENDENCIES_FOLDER, Compression
from akashic.images.tar import Entry, Layer, write_layer

MTIME_S = 315_532_800
"""1980-01-01: dependencies do not change with a commit, so neither does their layer."""

FORMAT = 1
"""Part of the cache key: raised when the same wheels would give another layer."""

INSTALL_TIMEOUT_S = 900.0

_PIP_ARCHITECTURES = {"linux/amd64": "x86_64", "linux/arm64": "aarch64"}
_GLIBC_MINORS = (28, 27, 26, 24, 17)
_LEGACY = {"linux/amd64": ("manylinux2014", "manylinux2010", "manylinux1"), "linux/arm64": ("manylinux2014",)}
_LOCK_OPTIONS = ("--index-url", "-i", "--extra-index-url", "--find-links", "--only-binary", "--trusted-host")
_INSTALLER_FILES = ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json", "RECORD.jws")


class Package(msgspec.Struct, frozen=True, kw_only=True):
    """An installed distribution, as its metadata says. `license` is an SPDX expression or what came closest,
    `sha256` those hashes that the lock allows."""

    name: str
    version: str
    license: str = ""
    requires: tuple[str, ...] = ()
    sha256: tuple[str, ...] = ()


class DependencyLayer(msgspec.Struct, frozen=True, kw_only=True):
    """A finished layer in the cache: its file and what is in it. `pure` means that no file depends on the
    processor."""

    path: str
    layer: Layer
    packages: tuple[Package, ...]
    pure: bool
    installer: str
    cached: bool = False


class PlatformUnavailable(AkashicError):
    """The dependencies cannot be had for a platform."""


class LockedRequirement(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the lock: the normalised name, the version, and the hashes that it allows."""

    name: str
    version: str
    sha256: tuple[str, ...]
    marker: str = ""


def normal_name(name: str) -> str:
    """A distribution's name as the packaging specification normalises it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def parse_lock(text: str, file: str) -> list[LockedRequirement]:
    """The requirements of a hash-locked file (pip's format). Raises UsageError for a line that is not locked
    to one version with at least one SHA-256, and for links, paths and includes."""
    found: list[LockedRequirement] = []
    for number, line in _logical_lines(text):
        if _is_option(line):
            continue
        where = f"{file}:{number}"
        match = re.match(
            r"([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])?\s*==\s*([^\s;\\*]+)\s*(?:;([^\\]*?))?\s+--hash",
            line,
        )
        hashes = tuple(re.findall(r"--hash[= ]sha256:([0-9a-f]{64})\b", line))
        if line.startswith("-") or match is None or not hashes:
            raise UsageError(
                f"{where}: expected 'name==version --hash=sha256:…', got {line[:60]!r}",
                hint="write the lock with: uv export --frozen --no-dev --no-emit-project -o FILE",
            )
        name = normal_name(match[1])
        found.append(
            LockedRequirement(name=name, version=match[2], sha256=hashes, marker=(match[3] or "").strip())
        )
    return found


def _is_option(line: str) -> bool:
    """Where packages may come from; the hashes say what they must be."""
    return line.startswith(_LOCK_OPTIONS) or line in ("--no-index", "--prefer-binary")


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    pending, first = "", 0
    for number, raw in enumerate(text.splitlines(), 1):
        line = re.sub(r"(^|\s)#.*$", "", raw).strip()
        first = first if pending else number
        if line.endswith("\\"):
            pending += line[:-1].rstrip() + " "
            continue
        whole, pending = (pending + line).strip(), ""
        if whole:
            yield first, whole
    if pending.strip():
        yield first, pending.strip()


def dependency_layer(
    lock_text: str, *, file: str, platform: str, python: str, compression: Compression, cache: Path
) -> DependencyLayer:
    """The layer for one platform, from the cache or installed now.

    Raises UsageError for a lock that is none, PlatformUnavailable when a wheel for the platform cannot be
    had, AkashicError when there is no installer.
    """
    if platform not in _PIP_ARCHITECTURES:
        known = ", ".join(_PIP_ARCHITECTURES)
        raise UsageError(f"platform {platform!r} is not known", hint=f"expected one of: {known}")
    requirements = applying(parse_lock(lock_text, file), platform=platform, python=python, file=file)
    key = _key(requirements, platform, python, compression)
    found = _from_cache(cache / key)
    if found is None:
        options = [line for _, line in _logical_lines(lock_text) if _is_option(line)]
        found = _build(requirements, options, platform, python, compression, cache / key)
    return found


def same_on_every_platform(lock_text: str, file: str) -> bool:
    """Whether no requirement of the lock is chosen by the processor (a pure layer then serves all)."""
    markers = ("platform_machine", "platform_version", "platform_release")
    return not any(word in item.marker for item in parse_lock(lock_text, file) for word in markers)


def _key(requirements: list[LockedRequirement], platform: str, python: str, compression: Compression) -> str:
    document = msgspec.json.encode([FORMAT, requirements, platform, python, compression, DEPENDENCIES_FOLDER])
    return hashlib.sha256(document).hexdigest()[:32]


def _from_cache(folder: Path) -> DependencyLayer | None:
    try:
        found = msgspec.json.decode((folder / "layer.json").read_bytes(), type=DependencyLayer)
        with (folder / "layer").open("rb") as file:
            digest = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
    except (OSError, msgspec.MsgspecError):
        return None
    if digest != found.layer.digest:
        return None
    return msgspec.structs.replace(found, path=str(folder / "layer"), cached=True)


def _build(
    requirements: list[LockedRequirement],
    options: Sequence[str],
    platform: str,
    python: str,
    compression: Compression,
    folder: Path,
) -> DependencyLayer:
    work = folder.with_name(f".building-{folder.name}-{os.getpid()}-{secrets.token_hex(4)}")
    target = work / "target"
    target.mkdir(parents=True)
    try:
        lock = work / "requirements.txt"
        lock.write_text(_lock_text(requirements, options), encoding="utf-8")
        installer = _install(lock, target, platform, python)
        packages = tuple(read_packages(target, requirements))
        missing = _missing(requirements, packages)
        if missing:
            raise AkashicError(f"the installer left out {', '.join(missing)} without saying why")
        with (work / "layer").open("xb") as file:
            layer = write_layer(layer_entries(target), file, mtime_s=MTIME_S, compression=compression)
        built = DependencyLayer(
            path=str(folder / "layer"),
            layer=layer,
            packages=packages,
            pure=_is_pure(target),
            installer=installer,
        )
        (work / "layer.json").write_bytes(msgspec.json.encode(built))
        shutil.rmtree(target)
        shutil.rmtree(folder, ignore_errors=True)
        try:
            work.rename(folder)
        except OSError:
            # Another build of the same lock finished first; its layer has the same bytes.
            found = _from_cache(folder)
            if found is None:
                raise
            return found
        return built
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _missing(requirements: list[LockedRequirement], packages: Sequence[Package]) -> list[str]:
    installed = {package.name for package in packages}
    return [item.name for item in requirements if item.name not in installed]


def _lock_text(requirements: Sequence[LockedRequirement], options: Sequence[str]) -> str:
    """What the installer is given: no markers, for they are decided."""
    lines = [
        f"{item.name}=={item.version} {' '.join(f'--hash=sha256:{digest}' for digest in item.sha256)}"
        for item in requirements
    ]
    return "\n".join([*options, *lines]) + "\n"


# Installing


def find_installer() -> tuple[str, tuple[str, ...]]:
    """The name and command of the installer: uv ($UV, then PATH), this Python's pip, the pip that Python
    carries for `ensurepip`, a pip on PATH. Raises AkashicError when there is none."""
    for candidate in (os.environ.get("UV", ""), shutil.which("uv") or ""):
        if candidate and os.access(candidate, os.X_OK):
            return "uv", (candidate, "pip", "install", "--python", sys.executable)
    from importlib.util import find_spec  # only a build without uv pays for these

    if find_spec("pip") is not None:
        return "pip", (sys.executable, "-m", "pip", "install")
    if (bundled := find_spec("ensurepip")) is not None and bundled.origin is not None:
        wheels = sorted((Path(bundled.origin).parent / "_bundled").glob("pip-*.whl"))
        if wheels:
            return "pip", (sys.executable, str(wheels[-1] / "pip"), "install")
    if pip := shutil.which("pip3") or shutil.which("pip"):
        return "pip", (pip, "install")
    raise AkashicError(
        "an image's dependencies need uv or pip, and neither was found", hint="install uv or pip"
    )


def install_command(
    installer: str, command: Sequence[str], lock: Path, target: Path, platform: str, python: str
) -> tuple[str, ...]:
    """The whole command that puts the locked wheels for a platform into `target`."""
    common = (
        "--target",
        str(target),
        "--require-hashes",
        "--no-deps",
        "--only-binary",
        ":all:",
        "-r",
        str(lock),
    )
    architecture = _PIP_ARCHITECTURES[platform]
    if installer == "uv":
        name = f"{architecture}-manylinux_2_28"
        return (*command, "--quiet", "--python-version", python, "--python-platform", name, *common)
    tags = [f"manylinux_2_{minor}_{architecture}" for minor in _GLIBC_MINORS]
    tags += [f"{legacy}_{architecture}" for legacy in _LEGACY[platform]]
    tags += [f"linux_{architecture}"]
    flags = [part for tag in tags for part in ("--platform", tag)]
    return (
        *command,
        *(
            "--quiet",
            "--no-compile",
            "--disable-pip-version-check",
            "--no-input",
            "--no-warn-script-location",
        ),
        *("--python-version", python, "--implementation", "cp", *flags, *common),
    )


def _install(lock: Path, target: Path, platform: str, python: str) -> str:
    installer, command = find_installer()
    argv = install_command(installer, command, lock, target, platform, python)
    # The identity key is nobody's business but ours.
    environ = {name: value for name, value in os.environ.items() if name != "AKASHIC_KEY"}
    environ.pop("UV_PYTHON", None)
    try:
        done = subprocess.run(
            argv, env=environ, capture_output=True, check=False, timeout=INSTALL_TIMEOUT_S, cwd=lock.parent
        )
    except subprocess.TimeoutExpired:
        raise AkashicError(
            f"{installer} did not finish installing within {INSTALL_TIMEOUT_S:.0f} s",
            hint="is the package index reachable?",
        ) from None
    if done.returncode != 0:
        said = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines()
        raise PlatformUnavailable(
            f"{installer} could not install the locked dependencies for {platform}, Python {python}:\n"
            + "\n".join(f"  {line}" for line in said[-8:]),
            hint="each needs a wheel for the platform; is the package index reachable?",
        )
    return installer


# What the layer holds


def layer_entries(target: Path) -> Iterator[Entry]:
    """The entries of the layer for an installed folder, normalised. Links and bytecode are left out."""
    launchers = _launchers(target)
    rewritten = {f"bin/{name}": content for name, content in launchers.items()}
    rewritten.update(_shebangs(target, set(rewritten)))
    kept = [path for path in _files(target) if path not in rewritten]
    for folder in sorted(target.glob("*.dist-info")):
        record = _record(target, folder, rewritten)
        rewritten[f"{folder.name}/RECORD"] = record
    prefix = DEPENDENCIES_FOLDER.strip("/")
    for path, content in rewritten.items():
        kind = "executable" if path.startswith("bin/") else "file"
        yield Entry(
            path=f"{prefix}/{path}", kind="executable" if kind == "executable" else "file", content=content
        )
    for path in kept:
        executable = bool((target / path).stat().st_mode & 0o100)
        yield Entry(
            path=f"{prefix}/{path}", kind="executable" if executable else "file", content=target / path
        )


def _files(target: Path) -> Iterator[str]:
    for folder, names, files in os.walk(target):
        names[:] = [name for name in names if name != "__pycache__"]
        for name in files:
            path = (Path(folder) / name).relative_to(target)
            if name.endswith(".pyc") or (target / path).is_symlink() or str(path) == ".lock":
                continue
            if path.parent.name.endswith(".dist-info") and name in _INSTALLER_FILES:
                continue
            yield path.as_posix()


def _launchers(target: Path) -> dict[str, bytes]:
    """The commands that wheels declare, each as the same small script."""
    found: dict[str, bytes] = {}
    for file in sorted(target.glob("*.dist-info/entry_points.txt")):
        parser = configparser.ConfigParser(delimiters=("=",), interpolation=None, strict=False)
        parser.optionxform = str  # type: ignore[method-assign,assignment]
        parser.read_string(file.read_text(encoding="utf-8"))
        for section in ("console_scripts", "gui_scripts"):
            for name, value in parser[section].items() if section in parser else ():
                module, _, attribute = value.split("[")[0].strip().partition(":")
                if re.fullmatch(r"[\w.-]+", name) and re.fullmatch(r"[\w.]+", module + attribute):
                    head = attribute.split(".")[0]
                    found[name] = (
                        f"#!/usr/bin/env python3\nimport sys\nfrom {module} import {head}\n"
                        f"sys.exit({attribute}())\n"
                    ).encode()
    return found


def _shebangs(target: Path, known: set[str]) -> dict[str, bytes]:
    """Other scripts whose first line names the interpreter of this machine."""
    found: dict[str, bytes] = {}
    folder = target / "bin"
    for file in sorted(folder.iterdir()) if folder.is_dir() else ():
        if f"bin/{file.name}" in known or not file.is_file() or file.is_symlink():
            continue
        with file.open("rb") as opened:
            start = opened.read(2)
            rest = opened.read() if start == b"#!" else b""
        if start == b"#!":
            first, _, body = rest.partition(b"\n")
            if b"python" in first or (b"/bin/sh" in first and body.startswith(b"'''exec'")):
                if body.startswith(b"'''exec'"):
                    body = body.split(b"\n", 2)[-1]
                found[f"bin/{file.name}"] = b"#!/usr/bin/env python3\n" + body
    return found


def _record(target: Path, folder: Path, rewritten: dict[str, bytes]) -> bytes:
    """A RECORD (the specification "Recording installed projects") of what is really in the layer."""
    source = folder / "RECORD"
    rows = list(csv.reader(io.StringIO(source.read_text(encoding="utf-8")))) if source.exists() else []
    names: set[str] = set()
    for row in filter(None, rows):
        path = row[0]
        if path.startswith(("..", "/")):
            # pip installs commands elsewhere first and moves them here.
            path = f"bin/{path.rpartition('/')[2]}"
        if path.endswith(".pyc") or (path.rpartition("/")[2] in _INSTALLER_FILES and ".dist-info/" in path):
            continue
        if path in rewritten or (target / path).is_file():
            names.add(path)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    for name in sorted(names):
        content = rewritten[name] if name in rewritten else (target / name).read_bytes()
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        writer.writerow((name, f"sha256={digest}", len(content)))
    writer.writerow((f"{folder.name}/RECORD", "", ""))
    return out.getvalue().encode()


def _is_pure(target: Path) -> bool:
    wheels = [HeaderParser().parsestr(file.read_text()) for file in target.glob("*.dist-info/WHEEL")]
    return all(wheel.get("Root-Is-Purelib", "").strip().lower() == "true" for wheel in wheels)


def read_packages(target: Path, requirements: Sequence[LockedRequirement] = ()) -> list[Package]:
    """The distributions in a folder, by name."""
    hashes = {item.name: item.sha256 for item in requirements}
    found: list[Package] = []
    for file in target.glob("*.dist-info/METADATA"):
        head = HeaderParser().parsestr(file.read_text(encoding="utf-8", errors="replace"))
        name = normal_name(str(head.get("Name", file.parent.name)))
        found.append(
            Package(
                name=name,
                version=str(head.get("Version", "")),
                license=license_of(head),
                requires=tuple(sorted(str(value) for value in head.get_all("Requires-Dist", []))),
                sha256=hashes.get(name, ()),
            )
        )
    return sorted(found, key=lambda package: package.name)


def license_of(head: Message) -> str:
    """The licence as a distribution's metadata says it, the best field first; empty when it says nothing."""
    if expression := str(head.get("License-Expression", "")).strip():
        return expression
    classifiers = [str(value) for value in head.get_all("Classifier", [])]
    named = [value.rpartition("::")[2].strip() for value in classifiers if value.startswith("License ::")]
    named = [value for value in named if value != "OSI Approved"]
    if named:
        return " OR ".join(named)
    text = str(head.get("License", "")).strip()
    return text.splitlines()[0][:80] if text else ""
