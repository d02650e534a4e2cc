"""Test results, coverage and findings that steps left in the workspace: recognised, summarised, kept.

Formats: JUnit XML, Cobertura XML, LCOV, SARIF 2.1.0. An XML file may have any name: its root tells.
Files are hostile: XML with a document type is refused (it is how entities are defined and
expanded), sizes, depths and numbers are capped.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from akashic.engine.requests import TestReport
from akashic.errors import AkashicError
from akashic.executors.protocol import Unsupported
from akashic.runner.state import JobState

FILE_BYTES_MAX = 32 * 1024 * 1024
REPORTS_MAX = 50
FILES_SEEN_MAX = 200_000
ELEMENTS_MAX = 1_000_000
FINDINGS_MAX = 100_000
_HEAD_BYTES = 4096
_XML_NAME = re.compile(
    r"(?i)(junit|test|result|report|coverage|cobertura|surefire|pytest|xunit|nose|e2e).*\.xml$"
)
_OTHER_XML_NAME = re.compile(r"(?i)\.xml$")
_LCOV_NAME = re.compile(r"(?i)(^lcov.*|.*\.lcov|coverage.*)\.?(info|lcov|dat)$")
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


class NoReportError(Exception):
    """The file is not a report, or not one that is safe to read; the message says why."""


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
            if kind == "other" and _root(content) not in ("testsuites", "testsuite", "coverage"):
                return None
            content += file.read(FILE_BYTES_MAX + 1 - len(content))
    except OSError as error:
        raise NoReportError(error.strerror or "cannot be read") from error
    if len(content) > FILE_BYTES_MAX:
        raise NoReportError(f"larger than {FILE_BYTES_MAX // (1024 * 1024)} MiB")
    if kind == "sarif":
        return read_sarif(content, shown)
    return read_lcov(content, shown) if kind == "lcov" else read_xml(content, shown)


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


def read_xml(content: bytes, shown: str) -> TestReport | None:
    """JUnit or Cobertura. Raises NoReportError for XML with a document type, or that is broken."""
    # Imported here: most jobs leave no report.
    from xml.parsers import expat

    parser = expat.ParserCreate()
    tally = _Tally()
    count = 0

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal count
        count += 1
        if count > ELEMENTS_MAX:
            raise NoReportError(f"more than {ELEMENTS_MAX:,} elements")
        tally.start(name.rpartition(":")[2], attributes)

    def refuse(*_: Any) -> None:
        raise NoReportError("it defines a document type or entities, which a report does not need")

    def doctype(name: str, system: str | None, public: str | None, internal: bool) -> None:
        # Cobertura names its DTD; nothing is fetched. Definitions of its own are how entities explode.
        if internal or name != "coverage":
            refuse()

    parser.StartElementHandler = start
    parser.EndElementHandler = lambda name: tally.end(name.rpartition(":")[2])
    parser.StartDoctypeDeclHandler = doctype
    parser.EntityDeclHandler = refuse
    parser.ExternalEntityRefHandler = lambda *_: 0
    parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)
    try:
        parser.Parse(content, True)
    except expat.ExpatError as error:
        raise NoReportError(f"not well-formed XML: {error}") from error
    return tally.report(shown)


class _Tally:
    """Counts test cases and covered lines while a document is read."""

    def __init__(self) -> None:
        self._root = ""
        self._title = ""
        self._rate = ""
        self._covered = ""
        self._valid = ""
        self._case: str | None = None
        self._passed = self._failed = self._errors = self._skipped = 0

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if not self._root:
            self._root = name
            self._rate = attributes.get("line-rate", "")
            self._covered = attributes.get("lines-covered", "")
            self._valid = attributes.get("lines-valid", "")
        if name == "testsuite" and not self._title:
            self._title = attributes.get("name", "")[:200]
        if name == "testcase":
            self._case = "passed"
        elif self._case is not None:
            outcome = {"failure": "failed", "error": "errors", "skipped": "skipped"}.get(name)
            if outcome is not None and self._case == "passed":
                self._case = outcome

    def end(self, name: str) -> None:
        if name == "testcase" and self._case is not None:
            self._passed += self._case == "passed"
            self._failed += self._case == "failed"
            self._errors += self._case == "errors"
            self._skipped += self._case == "skipped"
            self._case = None

    def report(self, shown: str) -> TestReport | None:
        if self._root in ("testsuites", "testsuite"):
            return TestReport(
                kind="junit",
                path=shown,
                title=self._title or "tests",
                passed=self._passed,
                failed=self._failed,
                errors=self._errors,
                skipped=self._skipped,
            )
        if self._root == "coverage":
            percent = _percent(self._covered, self._valid)
            if percent is None:
                rate = _number(self._rate)
                percent = None if rate is None else min(100.0, max(0.0, rate * 100))
            return (
                None
                if percent is None
                else TestReport(kind="coverage", path=shown, title="coverage", coverage_percent=percent)
            )
        return None


def read_lcov(content: bytes, shown: str) -> TestReport | None:
    """LCOV: lines hit of lines found."""
    found = hit = 0
    for prefix, digits in re.findall(rb"^(LF|LH):(\d{1,9})\s*$", content, re.MULTILINE):
        if prefix == b"LF":
            found += int(digits)
        else:
            hit += int(digits)
    if not found:
        return None
    return TestReport(
        kind="coverage", path=shown, title="coverage", coverage_percent=min(100.0, 100 * hit / found)
    )


def read_sarif(content: bytes, shown: str) -> TestReport:
    """SARIF: findings by level. Raises NoReportError."""
    try:
        document = json.loads(content)
        runs = document["runs"]
        names: list[str] = []
        findings: dict[str, int] = {}
        total = 0
        for run in runs:
            driver = run.get("tool", {}).get("driver", {})
            names.append(str(driver.get("name", ""))[:100])
            defaults = {
                rule.get("id"): rule.get("defaultConfiguration", {}).get("level", "warning")
                for rule in driver.get("rules", [])
            }
            for result in run.get("results") or []:
                total += 1
                if total > FINDINGS_MAX:
                    raise NoReportError(f"more than {FINDINGS_MAX:,} findings")
                if result.get("suppressions"):
                    continue
                level = result.get("level") or defaults.get(result.get("ruleId")) or "warning"
                level = level if level in ("error", "warning", "note", "none") else "warning"
                findings[level] = findings.get(level, 0) + 1
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise NoReportError(f"not SARIF: {error}") from error
    return TestReport(
        kind="sarif",
        path=shown,
        title=", ".join(name for name in names if name) or "findings",
        findings=findings,
    )


def _percent(part: str, whole: str) -> float | None:
    numerator, denominator = _number(part), _number(whole)
    if numerator is None or not denominator:
        return None
    return min(100.0, max(0.0, 100 * numerator / denominator))


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if value == value and abs(value) < 1e12 else None
