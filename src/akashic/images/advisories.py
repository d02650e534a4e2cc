"""Known vulnerabilities, from OSV records (ossf.github.io/osv-schema) on this machine, so that none is asked
for over a network."""

from __future__ import annotations

import os
import re
import shutil
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import msgspec

from akashic.errors import UsageError
from akashic.images.findings import Finding, Severity
from akashic.images.locks import Package, normal_name
from akashic.images.versions import order_of

RECORD_BYTES_MAX = 4 * 1024 * 1024
_SEVERITIES: dict[str, Severity] = {
    "LOW": "low",
    "MODERATE": "medium",
    "MEDIUM": "medium",
    "HIGH": "high",
    "CRITICAL": "critical",
}


class AdvisorySource(Protocol):
    """Where advisories come from."""

    def records(self) -> Iterator[tuple[str, Callable[[], bytes]]]:
        """Every record: its name, and what reads it (raising ValueError or OSError when it cannot be)."""
        ...


class FolderSource:
    """OSV records as files of a folder, and the zips in it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def records(self) -> Iterator[tuple[str, Callable[[], bytes]]]:
        for path in sorted(self._folder.rglob("*.json")):
            yield path.name, partial(_read_file, path)
        for path in sorted(self._folder.rglob("*.zip")):
            yield from ZipSource(path).records()


class ZipSource:
    """The archive that OSV exports for an ecosystem (`all.zip`); nothing is unpacked."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def records(self) -> Iterator[tuple[str, Callable[[], bytes]]]:
        try:
            with zipfile.ZipFile(self._path) as archive:
                for member in archive.infolist():
                    if member.filename.endswith(".json"):
                        yield member.filename, partial(_read_member, archive, member)
        except (OSError, zipfile.BadZipFile) as error:
            raise UsageError(f"{self._path}: not a readable zip: {error}") from None


def open_source(path: Path) -> AdvisorySource:
    """The source at a path: a folder, or OSV's zip. Raises UsageError."""
    if path.is_dir():
        return FolderSource(path)
    if path.is_file():
        return ZipSource(path)
    raise UsageError(f"{path}: no such folder or zip of advisories")


def import_advisories(path: Path, store: Path) -> tuple[str, int]:
    """Check OSV's zip and keep it in `store` for later scans, in place of the one for the same ecosystem.

    Returns the ecosystem and the number of records. Raises UsageError when no record in it can be read.
    """
    ecosystems: Counter[str] = Counter()
    count = 0
    for _, read in ZipSource(path).records():
        count += 1
        with suppress(msgspec.MsgspecError, ValueError, OSError, TypeError, AttributeError):
            record = msgspec.json.decode(read(), type=dict[str, Any])
            for affected in record.get("affected", []):
                ecosystems[str(affected["package"]["ecosystem"]).partition(":")[0]] += 1
    if not ecosystems:
        raise UsageError(f"{path}: holds no OSV records", hint="expected the all.zip that OSV exports")
    name = ecosystems.most_common(1)[0][0]
    store.mkdir(parents=True, exist_ok=True)
    safe = re.sub(r"[^A-Za-z0-9.-]+", "-", name)
    temporary = store / f".{safe}.{os.getpid()}"
    shutil.copyfile(path, temporary)
    temporary.replace(store / f"{safe}.zip")
    return name, count


def _read_file(path: Path) -> bytes:
    if path.stat().st_size > RECORD_BYTES_MAX:
        raise ValueError(f"larger than {RECORD_BYTES_MAX} bytes")
    return path.read_bytes()


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    # What the archive says of the size may be a lie: no more than that is unpacked.
    with archive.open(member) as file:
        content = file.read(RECORD_BYTES_MAX + 1)
    if len(content) > RECORD_BYTES_MAX:
        raise ValueError(f"larger than {RECORD_BYTES_MAX} bytes")
    return content


def vulnerable(packages: Sequence[Package], path: Path) -> list[Finding]:
    """A finding for each package that a record of the source at `path` is about. Raises UsageError for a
    source without records; a record that cannot be read is a finding, never passed over."""
    by_name: dict[tuple[str, str], list[Package]] = {}
    for package in packages:
        by_name.setdefault((_system(package.ecosystem), package.source or package.name), []).append(package)
    findings: list[Finding] = []
    count = 0
    for name, read in open_source(path).records():
        count += 1
        try:
            record = msgspec.json.decode(read(), type=dict[str, Any])
            findings.extend(_matches(record, by_name))
        except (msgspec.MsgspecError, ValueError, TypeError, AttributeError, OSError) as error:
            findings.append(
                Finding(
                    rule="advisory-unreadable",
                    severity="medium",
                    where=name,
                    message=f"an advisory cannot be read, so it was not checked: {error}",
                )
            )
    if not count:
        raise UsageError(
            f"{path}: holds no advisories (*.json)", hint="unpack OSV's export there, or name its zip"
        )
    return findings


def _system(ecosystem: str) -> str:
    return ecosystem.partition(":")[0]


def _matches(
    record: dict[str, Any], packages: Mapping[tuple[str, str], Sequence[Package]]
) -> Iterator[Finding]:
    if record.get("withdrawn"):
        return
    for affected in record.get("affected", []):
        about = affected.get("package", {})
        ecosystem, name = str(about.get("ecosystem", "")), str(about.get("name", ""))
        if ecosystem == "PyPI":
            name = normal_name(name)
        for package in packages.get((_system(ecosystem), name), ()):
            # `Debian:12` is about that release only, `Debian` about all of them.
            if ":" in ecosystem and ":" in package.ecosystem and ecosystem != package.ecosystem:
                continue
            if _is_affected(package, affected):
                yield _finding(record, affected, package)


def _finding(record: dict[str, Any], affected: dict[str, Any], package: Package) -> Finding:
    names = [str(record.get("id", "?")), *(str(alias) for alias in record.get("aliases", []))]
    fixed = _fixed(affected)
    summary = str(record.get("summary") or record.get("details") or "a known vulnerability")
    return Finding(
        rule=f"vulnerability/{names[0]}",
        severity=_severity(record, affected),
        where=f"{package.name}=={package.version}",
        message=f"{', '.join(names)}: {summary[:300]}",
        hint=f"fixed in {', '.join(fixed)}" if fixed else "no fixed version is known",
        unfixed=not fixed,
    )


def _is_affected(package: Package, affected: dict[str, Any]) -> bool:
    version = package.source_version or package.version
    if version in affected.get("versions", []):
        return True
    key_of = order_of(package.ecosystem)
    key = key_of(version)
    if key is None:
        return True  # what cannot be compared is reported, not assumed to be safe
    for part in affected.get("ranges", []):
        if part.get("type") not in ("ECOSYSTEM", "SEMVER"):
            continue
        inside = False
        for event in part.get("events", []):
            for kind, bound in event.items():
                if kind == "introduced" and str(bound) == "0":
                    inside = True
                    continue
                at = key_of(str(bound))
                if at is None:
                    continue
                if kind == "introduced" and key >= at:
                    inside = True
                elif (kind == "fixed" and key >= at) or (kind == "last_affected" and key > at):
                    inside = False
        if inside:
            return True
    return False


def _fixed(affected: dict[str, Any]) -> list[str]:
    events = [event for part in affected.get("ranges", []) for event in part.get("events", [])]
    return [str(event["fixed"]) for event in events if "fixed" in event]


def _severity(record: dict[str, Any], affected: dict[str, Any]) -> Severity:
    for place in (record, affected):
        word = str(place.get("database_specific", {}).get("severity", "")).upper()
        if word in _SEVERITIES:
            return _SEVERITIES[word]
    return "high"  # unknown is not harmless
