"""Test results, coverage and findings that steps left in the workspace: recognised, summarised, kept.

An XML file may have any name: its root tells. The names of other files are those that tools give by default.
Files are hostile: links are not followed, sizes are capped, and see `report_formats`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from akashic.engine.requests import TestReport
from akashic.errors import AkashicError
from akashic.executors.protocol import Unsupported
from akashic.runner.report_formats import (
    XML_ROOTS,
    NoReportError,
    read_coverage_json,
    read_go_profile,
    read_lcov,
    read_sarif,
    read_xml,
)
from akashic.runner.state import JobState

FILE_BYTES_MAX = 32 * 1024 * 1024
REPORTS_MAX = 50
FILES_SEEN_MAX = 200_000
_HEAD_BYTES = 4096
_XML_NAME = re.compile(
    r"(?i)(junit|test|result|report|coverage|cobertura|surefire|pytest|xunit|nose|e2e|jacoco|clover).*\.xml$|\.trx$"
)
_OTHER_XML_NAME = re.compile(r"(?i)\.xml$")
_LCOV_NAME = re.compile(r"(?i)(^lcov.*|.*\.lcov|coverage.*)\.?(info|lcov|dat)$")
_GO_NAME = re.compile(r"(?i)^(c|cover|coverage|profile)\.(out|cov|txt)$|\.coverprofile$|^coverprofile")
_JSON_NAME = re.compile(r"^coverage(-summary)?\.json$|^\.last_run\.json$")
_SARIF_NAME = re.compile(r"(?i)\.sarif(\.json)?$")
_SKIPPED_FOLDERS = frozenset(
    {
        ".git",
        "node_modules",
        ".venv",
        "venv",
        "site-packages",
        "__pycache__",
        ".akashic",
        ".tox",
        ".mypy_cache",
    }
)


def collect_reports(state: JobState, say: Callable[[str], None]) -> None:
    """Summarise the reports written in the workspace since the job began, and keep their files as blobs.

    A file that looks like a report and cannot be read is named in the log; nothing here fails a job.
    """
    try:
        root = state.sandbox.host_path(state.sandbox.workspace)
    except Unsupported:
        return
    for path in _candidates(root, since=state.started_at):
        shown = state.masker.mask_text(os.path.relpath(path, root))
        try:
            report = read_report(Path(path), shown)
        except NoReportError as reason:
            say(f"Report {shown}: not read: {reason}")
            continue
        if report is None:
            continue
        digest = _keep(state, path)
        title = state.masker.mask_text(report.title)
        kept = TestReport(**{**_fields(report), "digest": digest, "title": title})
        state.reports.append(kept)
        say(f"Report {shown}: {describe(kept)}")
        if len(state.reports) >= REPORTS_MAX:
            say(f"More than {REPORTS_MAX} reports: the rest is left where it is")
            return


def _keep(state: JobState, path: str) -> str:
    try:
        if os.path.getsize(path) > FILE_BYTES_MAX:  # noqa: PTH202
            return ""
        # Masked before it is stored, as everything that leaves a job.
        return state.parts.blobs.put_bytes(state.masker.mask(Path(path).read_bytes()))
    except (OSError, AkashicError):
        return ""


def describe(report: TestReport) -> str:
    """One line for people."""
    if report.kind == "coverage":
        return (
            f"{report.coverage_percent:.1f} % of lines covered"
            if report.coverage_percent is not None
            else "coverage"
        )
    if report.kind == "sarif":
        counts = (
            ", ".join(f"{count} {level}" for level, count in sorted(report.findings.items())) or "no findings"
        )
        return f"{report.title}: {counts}"
    return f"{report.passed} passed, {report.failed} failed, {report.errors} errors, {report.skipped} skipped"


def _fields(report: TestReport) -> dict[str, Any]:
    return {name: getattr(report, name) for name in report.__struct_fields__}


def _candidates(root: str, *, since: float) -> Iterator[str]:
    """Plain files with the name of a report, changed since the job began; links are not followed."""
    seen = 0
    stack = [root]
    found: list[str] = []
    while stack:
        try:
            entries = list(os.scandir(stack.pop()))
        except OSError:
            continue
        for entry in entries:
            seen += 1
            if seen > FILES_SEEN_MAX:
                stack.clear()
                break
            if entry.is_dir(follow_symlinks=False):
                if entry.name not in _SKIPPED_FOLDERS:
                    stack.append(entry.path)
            elif _kind(entry.name) and entry.is_file(follow_symlinks=False):
                info = entry.stat(follow_symlinks=False)
                # A checkout's files are as old as their copy; what a step wrote is newer than the job.
                if info.st_mtime >= since and info.st_size:
                    found.append(entry.path)
    yield from sorted(found)


def _kind(name: str) -> str:
    if _SARIF_NAME.search(name):
        return "sarif"
    if _XML_NAME.search(name):
        return "xml"
    if _OTHER_XML_NAME.search(name):
        return "other"
    if _GO_NAME.search(name):
        return "go"
    if _JSON_NAME.search(name):
        return "json"
    return "lcov" if _LCOV_NAME.search(name) else ""


def read_report(path: Path, shown: str) -> TestReport | None:
    """The figures of one file, None when it is none of the known formats. Raises NoReportError."""
    kind = _kind(path.name)
    if not kind:
        return None
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            content = file.read(_HEAD_BYTES)
            if kind == "other" and _root(content) not in XML_ROOTS:
                return None
            content += file.read(FILE_BYTES_MAX + 1 - len(content))
    except OSError as error:
        raise NoReportError(error.strerror or "cannot be read") from error
    if len(content) > FILE_BYTES_MAX:
        raise NoReportError(f"larger than {FILE_BYTES_MAX // (1024 * 1024)} MiB")
    return _READERS.get(kind, read_xml)(content, shown)


_READERS: dict[str, Callable[[bytes, str], TestReport | None]] = {
    "sarif": read_sarif,
    "lcov": read_lcov,
    "go": read_go_profile,
    "json": read_coverage_json,
}


class _RootFound(Exception):
    """Ends the reading of a document at its root."""


def _root(head: bytes) -> str:
    """The name of the root element that the head of a document shows; "" when it shows none."""
    from xml.parsers import expat

    parser = expat.ParserCreate()

    def found(name: str, *_: Any) -> None:
        raise _RootFound(name.rpartition(":")[2])

    def refuse(*_: Any) -> None:
        raise _RootFound("")

    parser.StartElementHandler = found
    parser.EntityDeclHandler = refuse
    try:
        parser.Parse(head, False)
    except _RootFound as root:
        return str(root)
    except expat.ExpatError:
        pass
    return ""
