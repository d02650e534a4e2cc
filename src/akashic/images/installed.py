"""What an installer left in a folder, the same whoever it was.

What uv and pip write differently (launchers, RECORD, INSTALLER, …) is written anew on the way into the layer;
their files are never edited.
"""

from __future__ import annotations

import base64
import configparser
import csv
import hashlib
import io
import os
import re
from collections.abc import Iterator, Sequence
from email.message import Message
from email.parser import HeaderParser
from pathlib import Path

from akashic.images.locks import LockedRequirement, Package, normal_name
from akashic.images.spec import DEPENDENCIES_FOLDER
from akashic.images.tar import Entry

_INSTALLER_FILES = ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json", "RECORD.jws")


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


def is_pure(target: Path) -> bool:
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
