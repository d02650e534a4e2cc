"""Known vulnerabilities, from a folder of OSV records (ossf.github.io/osv-schema), so that none is asked for
over a network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from akashic.errors import UsageError
from akashic.images.findings import Finding, Severity
from akashic.images.locks import Package
from akashic.images.versions import version_key

RECORD_BYTES_MAX = 4 * 1024 * 1024
_SEVERITIES: dict[str, Severity] = {
    "LOW": "low",
    "MODERATE": "medium",
    "MEDIUM": "medium",
    "HIGH": "high",
    "CRITICAL": "critical",
}


def vulnerable(packages: Sequence[Package], folder: Path) -> list[Finding]:
    """A finding for each package that a record of the folder is about. Raises UsageError for a folder without
    records; a record that cannot be read is a finding, never passed over."""
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder of advisories")
    by_name = {package.name: package for package in packages}
    findings: list[Finding] = []
    count = 0
    for path in sorted(folder.rglob("*.json")):
        count += 1
        try:
            if path.stat().st_size > RECORD_BYTES_MAX:
                raise ValueError(f"larger than {RECORD_BYTES_MAX} bytes")
            record = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
            findings.extend(_matches(record, by_name))
        except (msgspec.MsgspecError, ValueError, TypeError, AttributeError) as error:
            findings.append(
                Finding(
                    rule="advisory-unreadable",
                    severity="medium",
                    where=path.name,
                    message=f"an advisory cannot be read, so it was not checked: {error}",
                )
            )
    if not count:
        raise UsageError(f"{folder}: holds no advisories (*.json)", hint="unpack OSV's PyPI export there")
    return findings


def _matches(record: dict[str, Any], packages: dict[str, Package]) -> Iterator[Finding]:
    if record.get("withdrawn"):
        return
    for affected in record.get("affected", []):
        about = affected.get("package", {})
        if str(about.get("ecosystem", "")).partition(":")[0] != "PyPI":
            continue
        package = packages.get(str(about.get("name", "")).lower().replace("_", "-").replace(".", "-"))
        if package is None or not _is_affected(package.version, affected):
            continue
        names = [str(record.get("id", "?")), *(str(alias) for alias in record.get("aliases", []))]
        fixed = _fixed(affected)
        yield Finding(
            rule=f"vulnerability/{names[0]}",
            severity=_severity(record, affected),
            where=f"{package.name}=={package.version}",
            message=f"{', '.join(names)}: {str(record.get('summary', 'a known vulnerability'))[:300]}",
            hint=f"fixed in {', '.join(fixed)}" if fixed else "no fixed version is known",
        )


def _is_affected(version: str, affected: dict[str, Any]) -> bool:
    if version in affected.get("versions", []):
        return True
    key = version_key(version)
    if key is None:
        return True  # what cannot be compared is reported, not assumed to be safe
    for part in affected.get("ranges", []):
        if part.get("type") not in ("ECOSYSTEM", "SEMVER"):
            continue
        inside = False
        for event in part.get("events", []):
            for kind, bound in event.items():
                at = version_key("0" if bound == "0" else str(bound))
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
