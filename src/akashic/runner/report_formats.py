"""The figures of a report: JUnit, NUnit, xUnit and TRX; Cobertura, JaCoCo, Clover, LCOV, Go's coverage
profiles and the JSON of coverage tools; SARIF 2.1.0.

Reports are hostile: XML that defines entities is refused, and elements, findings and numbers are capped.
"""

from __future__ import annotations

import json
import re
from typing import Any

from akashic.engine.requests import TestReport

ELEMENTS_MAX = 1_000_000
FINDINGS_MAX = 100_000
_TEST_ROOTS = frozenset({"testsuites", "testsuite", "TestRun", "test-run", "assemblies"})
XML_ROOTS = _TEST_ROOTS | {"coverage", "report"}
"""Roots of XML documents that are a report, or may be one."""
_GO_BLOCK = re.compile(
    rb"^(\S[^\n]{0,4096}:\d{1,9}\.\d{1,9},\d{1,9}\.\d{1,9}) (\d{1,9}) (\d{1,18})\r?$", re.MULTILINE
)


class NoReportError(Exception):
    """The file is not a report, or not one that is safe to read; the message says why."""


def read_xml(content: bytes, shown: str) -> TestReport | None:
    """JUnit, NUnit, xUnit, TRX; Cobertura, JaCoCo, Clover. Raises NoReportError for XML that defines a
    document type, or that is broken."""
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
        # Cobertura and JaCoCo name their DTD; nothing is fetched. Own definitions are how entities explode.
        if internal or name not in ("coverage", "report"):
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
        self._path: list[str] = []
        self._root = ""
        self._title = ""
        self._rate = ""
        self._covered: float = 0
        self._valid: float = 0
        self._case: str | None = None
        self._counts = {"passed": 0, "failed": 0, "errors": 0, "skipped": 0}

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self._path.append(name)
        if not self._root:
            self._root = name
            self._rate = attributes.get("line-rate", "")
            self._lines(attributes, "lines-covered", "lines-valid")
        if name == "testsuite" and not self._title:
            self._title = attributes.get("name", "")[:200]
        if name == "testcase":
            self._case = "passed"
        elif self._case is not None:
            outcome = {"failure": "failed", "error": "errors", "skipped": "skipped"}.get(name)
            if outcome is not None and self._case == "passed":
                self._case = outcome
        else:
            self._summary(attributes)

    def end(self, name: str) -> None:
        if self._path:
            self._path.pop()
        if name == "testcase" and self._case is not None:
            self._counts[self._case] += 1
            self._case = None

    def report(self, shown: str) -> TestReport | None:
        if self._root in _TEST_ROOTS:
            return TestReport(
                kind="junit",
                path=shown,
                title=self._title or "tests",
                passed=self._counts["passed"],
                failed=self._counts["failed"],
                errors=self._counts["errors"],
                skipped=self._counts["skipped"],
            )
        percent = 100 * self._covered / self._valid if self._valid else None
        if percent is None and self._root == "coverage":
            rate = _number(self._rate)
            percent = None if rate is None else rate * 100
        if self._root not in XML_ROOTS or percent is None:
            return None
        return TestReport(
            kind="coverage", path=shown, title="coverage", coverage_percent=min(100.0, max(0.0, percent))
        )

    def _summary(self, attributes: dict[str, str]) -> None:
        """Formats that say their sums themselves, each at one place of the document."""
        match self._path:
            case ["report", "counter"] if attributes.get("type") == "LINE":  # JaCoCo
                missed, covered = (
                    _number(attributes.get("missed", "")),
                    _number(attributes.get("covered", "")),
                )
                self._covered, self._valid = covered or 0, (covered or 0) + (missed or 0)
            case ["coverage", "project", "metrics"]:  # Clover
                self._lines(attributes, "coveredstatements", "statements")
            case ["TestRun", "ResultSummary", "Counters"]:  # TRX of .NET
                self._count(attributes, {"passed": "passed", "failed": "failed", "error": "errors"})
                self._count(attributes, {"notExecuted": "skipped"})
            case ["test-run"]:  # NUnit 3
                self._count(attributes, {"passed": "passed", "failed": "failed", "skipped": "skipped"})
            case ["assemblies", "assembly"]:  # xUnit.net 2
                self._title = self._title or attributes.get("name", "").replace("\\", "/").rpartition("/")[2]
                self._count(attributes, {"passed": "passed", "failed": "failed", "skipped": "skipped"})
                self._count(attributes, {"errors": "errors"})

    def _lines(self, attributes: dict[str, str], covered: str, valid: str) -> None:
        self._covered = max(0.0, _number(attributes.get(covered, "")) or 0)
        self._valid = max(0.0, _number(attributes.get(valid, "")) or 0)

    def _count(self, attributes: dict[str, str], names: dict[str, str]) -> None:
        for name, kind in names.items():
            number = _number(attributes.get(name, "")) or 0
            self._counts[kind] += int(max(0, number))


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


def read_go_profile(content: bytes, shown: str) -> TestReport | None:
    """A coverage profile of `go test`: statements run of statements; a block may be there several times."""
    if not content.startswith(b"mode: "):
        return None
    blocks: dict[bytes, tuple[int, bool]] = {}
    for place, statements, count in _GO_BLOCK.findall(content):
        blocks[place] = (int(statements), blocks.get(place, (0, False))[1] or int(count) > 0)
        if len(blocks) > ELEMENTS_MAX:
            raise NoReportError(f"more than {ELEMENTS_MAX:,} blocks")
    total = sum(statements for statements, _ in blocks.values())
    if not total:
        return None
    run = sum(statements for statements, was_run in blocks.values() if was_run)
    return TestReport(kind="coverage", path=shown, title="coverage", coverage_percent=100 * run / total)


def read_coverage_json(content: bytes, shown: str) -> TestReport | None:
    """The sums of coverage.py (`coverage json`), Istanbul (`json-summary`) and SimpleCov."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise NoReportError(f"not JSON: {error}") from error
    for path in (("totals", "percent_covered"), ("total", "lines", "pct"), ("result", "line")):
        value = document
        for name in path:
            value = value.get(name) if isinstance(value, dict) else None
        if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= 100:
            return TestReport(kind="coverage", path=shown, title="coverage", coverage_percent=float(value))
    return None


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if value == value and abs(value) < 1e12 else None
