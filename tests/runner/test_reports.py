"""Reports that steps leave behind."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from akashic.runner.report_formats import (
    NoReportError,
    read_coverage_json,
    read_go_profile,
    read_lcov,
    read_sarif,
    read_xml,
)
from akashic.runner.reports import describe, read_report

JUNIT = b"""<?xml version="1.0"?><testsuites><testsuite name="unit">
<testcase name="a"/><testcase name="b"><failure message="x">y</failure></testcase>
<testcase name="c"><skipped/></testcase><testcase name="d"><error/></testcase>
<testcase name="e"><system-out/></testcase>
</testsuite></testsuites>"""
COBERTURA = b"""<?xml version="1.0"?><!DOCTYPE coverage SYSTEM "http://cobertura.sourceforge.net/xml/coverage-04.dtd">
<coverage line-rate="0.5" lines-covered="3" lines-valid="4"><packages/></coverage>"""


def test_junit_counts_each_case_once() -> None:
    report = read_xml(JUNIT, "r.xml")
    assert report is not None
    assert (report.kind, report.title) == ("junit", "unit")
    assert (report.passed, report.failed, report.skipped, report.errors) == (2, 1, 1, 1)


def test_coverage_of_cobertura_and_lcov() -> None:
    report = read_xml(COBERTURA, "coverage.xml")
    assert report is not None and report.coverage_percent == 75.0
    rate_only = read_xml(b'<coverage line-rate="0.25"/>', "coverage.xml")
    assert rate_only is not None and rate_only.coverage_percent == 25.0
    lcov = read_lcov(b"SF:a\nLF:8\nLH:6\nend_of_record\nLF:2\nLH:0\n", "lcov.info")
    assert lcov is not None and lcov.coverage_percent == 60.0
    assert read_lcov(b"nothing", "lcov.info") is None


def test_sarif_counts_findings_by_level() -> None:
    document = {
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "scan",
                        "rules": [{"id": "R1", "defaultConfiguration": {"level": "error"}}],
                    }
                },
                "results": [
                    {"ruleId": "R1"},
                    {"level": "note"},
                    {"ruleId": "R2"},
                    {"level": "error", "suppressions": [{"kind": "inSource"}]},
                ],
            }
        ]
    }
    report = read_sarif(json.dumps(document).encode(), "x.sarif")
    assert report.title == "scan" and report.findings == {"error": 1, "note": 1, "warning": 1}


def test_xml_that_is_no_report_is_left_alone() -> None:
    assert read_xml(b"<project/>", "test.xml") is None
    with pytest.raises(NoReportError):
        read_xml(b"<testsuite>", "test.xml")


LCOV = b"SF:a\nLF:8\nLH:6\nend_of_record\nLF:2\nLH:0\n"
SARIF = b'{"runs": [{"tool": {"driver": {"name": "scan"}}, "results": [{"level": "note"}, {}]}]}'
GO_PROFILE = b"mode: set\nexample.org/a/a.go:1.1,2.2 3 1\nexample.org/a/a.go:4.1,5.2 1 0\n"
COVERAGE_JSON = b'{"meta": {"format": 2}, "totals": {"percent_covered": 81.5}}'
SAMPLES = {
    JUNIT: read_xml,
    COBERTURA: read_xml,
    LCOV: read_lcov,
    SARIF: read_sarif,
    GO_PROFILE: read_go_profile,
    COVERAGE_JSON: read_coverage_json,
}


@pytest.mark.parametrize("sample", SAMPLES)
@given(at=st.integers(0, 400), cut=st.integers(0, 12), junk=st.binary(max_size=12), digits=st.booleans())
def test_a_damaged_report_is_read_or_refused(
    sample: bytes, at: int, cut: int, junk: bytes, digits: bool
) -> None:
    at %= len(sample)
    if digits:
        junk = b"9" * len(junk) * 20
    reader = SAMPLES[sample]
    assert reader(sample, "x") is not None
    try:
        report = reader(sample[:at] + junk + sample[at + cut :], "x")
    except NoReportError as error:
        assert str(error)
    else:
        assert report is None or report.coverage_percent is None or 0 <= report.coverage_percent <= 100


@given(st.binary(max_size=200))
def test_any_bytes_are_a_report_or_none(content: bytes) -> None:
    for reader in set(SAMPLES.values()):
        with suppress(NoReportError):
            assert reader(content, "x") is None


def test_links_and_other_names_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "real.txt").write_bytes(JUNIT)
    (tmp_path / "junit.xml").symlink_to(tmp_path / "real.txt")
    with pytest.raises(NoReportError):
        read_report(tmp_path / "junit.xml", "junit.xml")
    assert read_report(tmp_path / "real.txt", "real.txt") is None


@pytest.mark.parametrize("name", ["unit.xml", "e2e-smoke.XML", "TEST-com.example.xml", "output.xml"])
def test_a_report_is_known_by_its_root_whatever_its_file_is_called(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(JUNIT)
    report = read_report(tmp_path / name, name)
    assert report is not None and (report.kind, report.passed) == ("junit", 2)


@pytest.mark.parametrize(
    "content",
    [b"<project><coverage/></project>", b"<!-- <testsuite> --><project/>", b"<broken", b"", b"\xff\xfe<\0"],
)
def test_other_xml_of_no_particular_name_is_left_alone_in_silence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "pom.xml").write_bytes(content)
    assert read_report(tmp_path / "pom.xml", "pom.xml") is None


def test_reports_written_by_the_job_are_summarised_and_kept(house: Any) -> None:
    outcome = house.run(
        f"""
        - run: |
            mkdir out old
            cat > out/junit.xml <<'END'
            <testsuite name="unit s3cret-title"><testcase/><testcase><failure/></testcase></testsuite>
            END
            cp out/junit.xml out/unit.xml
            sed -i s/failure/skipped/ out/unit.xml
            echo '<project>' > out/pom.xml
            cp out/junit.xml old/junit.xml && touch -d '2001-01-01' old/junit.xml
            echo '{json.dumps({"runs": []})}' > out/scan.sarif
            echo '<!DOCTYPE x [<!ENTITY a "b">]><testsuite/>' > out/test-bad.xml
            echo "::add-mask::s3cret-title"
        """
    )
    assert [(r.kind, r.path) for r in outcome.result.reports] == [
        ("junit", "out/junit.xml"),
        ("sarif", "out/scan.sarif"),
        ("junit", "out/unit.xml"),
    ]
    junit = outcome.result.reports[0]
    assert (junit.passed, junit.failed, junit.title) == (1, 1, "unit ***")
    kept = outcome.parts.blobs.read_bytes(junit.digest)
    assert b"testsuite" in kept and b"s3cret-title" not in kept
    assert "Report out/test-bad.xml: not read" in outcome.log
    assert "Report out/pom.xml" not in outcome.log


JACOCO = """<?xml version="1.0"?><!DOCTYPE report PUBLIC "-//JACOCO//DTD Report 1.1//EN" "report.dtd">
<report name="app"><package name="p"><counter type="LINE" missed="9" covered="1"/></package>
<counter type="BRANCH" missed="1" covered="1"/><counter type="LINE" missed="1" covered="3"/></report>"""
CLOVER = """<?xml version="1.0"?><coverage generated="1"><project><file><metrics statements="1"
coveredstatements="1"/></file><metrics statements="10" coveredstatements="4"/></project></coverage>"""
GO = """mode: set
example.com/a/a.go:3.2,5.10 3 1
example.com/a/a.go:7.2,8.10 1 0
example.com/a/a.go:7.2,8.10 1 0
"""
TRX = """<TestRun xmlns="http://microsoft.com/schemas/VisualStudio/TeamTest/2010"><ResultSummary>
<Counters total="6" executed="5" passed="3" failed="2" error="0" notExecuted="1"/>
</ResultSummary></TestRun>"""
NUNIT = '<test-run total="4" passed="2" failed="1" skipped="1"><test-suite passed="2"/></test-run>'
XUNIT = """<assemblies><assembly name="/b/A.dll" passed="2" failed="1" skipped="0" errors="1"/>
<assembly name="B.dll" passed="1" failed="0" skipped="0" errors="0"/></assemblies>"""

BY_DEFAULT = [
    # the file as its tool calls it, its content, what is said of it
    ("junit.xml", JUNIT.decode(), "2 passed, 1 failed, 1 errors, 1 skipped"),  # pytest, jest
    (
        "TEST-com.acme.AppTest.xml",
        JUNIT.decode(),
        "2 passed, 1 failed, 1 errors, 1 skipped",
    ),  # Gradle
    ("results.trx", TRX, "3 passed, 2 failed, 0 errors, 1 skipped"),  # dotnet test
    ("TestResult.xml", NUNIT, "2 passed, 1 failed, 0 errors, 1 skipped"),  # NUnit
    ("xunit.xml", XUNIT, "3 passed, 1 failed, 1 errors, 0 skipped"),  # xUnit.net
    ("coverage.xml", COBERTURA.decode(), "75.0 % of lines covered"),  # coverage.py, coverlet, gcovr
    ("cobertura-coverage.xml", COBERTURA.decode(), "75.0 % of lines covered"),  # Istanbul
    ("jacoco.xml", JACOCO, "75.0 % of lines covered"),
    ("jacocoTestReport.xml", JACOCO, "75.0 % of lines covered"),  # Gradle
    ("clover.xml", CLOVER, "40.0 % of lines covered"),  # PHPUnit, Jest
    ("lcov.info", "SF:a\nLF:8\nLH:6\nend_of_record\n", "75.0 % of lines covered"),  # Jest, c8, llvm-cov
    ("coverage.lcov", "SF:a\nLF:8\nLH:6\nend_of_record\n", "75.0 % of lines covered"),  # coverage.py
    ("coverage.out", GO, "75.0 % of lines covered"),
    ("cover.out", GO, "75.0 % of lines covered"),
    ("c.out", GO, "75.0 % of lines covered"),
    ("coverprofile.out", GO, "75.0 % of lines covered"),
    ("coverage.json", '{"totals": {"percent_covered": 75.0}}', "75.0 % of lines covered"),  # coverage.py
    ("coverage-summary.json", '{"total": {"lines": {"pct": 75}}}', "75.0 % of lines covered"),  # Istanbul
    (".last_run.json", '{"result": {"line": 75.0}}', "75.0 % of lines covered"),  # SimpleCov
    ("semgrep.sarif", '{"runs": [{"tool": {"driver": {"name": "s"}}, "results": [{}]}]}', "s: 1 warning"),
    (
        "results.sarif.json",
        '{"runs": [{"tool": {"driver": {"name": "s"}}, "results": []}]}',
        "s: no findings",
    ),
]


@pytest.mark.parametrize(("name", "content", "said"), BY_DEFAULT, ids=[row[0] for row in BY_DEFAULT])
def test_files_are_recognised_as_tools_call_them(tmp_path: Path, name: str, content: str, said: str) -> None:
    (tmp_path / name).write_text(content)
    report = read_report(tmp_path / name, name)
    assert report is not None and describe(report) == said


def test_files_of_the_same_names_that_are_no_reports(tmp_path: Path) -> None:
    for name, content in (
        ("coverage.json", "{}"),
        ("profile.txt", "me: a person"),
        ("report.xml", "<report/>"),
    ):
        (tmp_path / name).write_text(content)
        assert read_report(tmp_path / name, name) is None
    assert read_coverage_json(b'{"totals": {"percent_covered": "x"}}', "c.json") is None
    with pytest.raises(NoReportError):
        read_coverage_json(b"[" * 100_000, "c.json")
    assert read_go_profile(b"mode: set\n" + b"a" * 5000 + b":1.1,2.2 1 1\n", "c.out") is None
