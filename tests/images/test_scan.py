from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path

import msgspec
import pytest

from akashic.errors import UsageError
from akashic.images.advisories import vulnerable
from akashic.images.findings import Finding, apply_allow_list, at_least, parse_allow_list, sarif
from akashic.images.layout import build_layout
from akashic.images.locks import Package
from akashic.images.scan import ScanPolicy, scan_image
from akashic.images.source import find_source
from akashic.images.spec import HealthCheck, ImageSpec
from akashic.images.versions import version_key

TOKEN = "ghp_" + "a1B2" * 9


def scan(root: Path, spec: ImageSpec, tmp_path: Path) -> list[Finding]:
    built = build_layout(spec, find_source(root), tmp_path / "l", cache=tmp_path / "c")
    return scan_image(tmp_path / "l", built.digest, ScanPolicy())


def test_a_clean_image_has_no_finding(
    make_repository: Callable[..., Path], spec: ImageSpec, tmp_path: Path
) -> None:
    spec = msgspec.structs.replace(spec, healthcheck=HealthCheck(path="/health"))
    assert scan(make_repository(), spec, tmp_path) == []


def test_secrets_root_and_a_missing_health_check_are_found_and_no_secret_is_shown(
    make_repository: Callable[..., Path], spec: ImageSpec, tmp_path: Path
) -> None:
    root = make_repository(files={"settings.py": f"# first\nTOKEN = '{TOKEN}'\n"})
    spec = msgspec.structs.replace(spec, user="0", env={"KEY": TOKEN})

    findings = scan(root, spec, tmp_path)

    assert {(f.rule, f.where, f.line) for f in findings} == {
        ("secret/github-token", "/app/settings.py", 2),
        ("secret/github-token", "config/Env/KEY", 0),
        ("root-user", "config/User", 0),
        ("no-healthcheck", "config/Healthcheck", 0),
    }
    assert TOKEN not in str(findings)
    assert TOKEN not in json.dumps(sarif(findings, version="1"))


def advisory(folder: Path, name: str, record: dict[str, object]) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(json.dumps(record))


def test_an_advisory_matches_by_range_and_says_where_it_is_fixed(tmp_path: Path) -> None:
    ranges = [
        {"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "2.0"}, {"introduced": "3.0rc1"}]}
    ]
    affected = [{"package": {"ecosystem": "PyPI", "name": "Foo.Bar"}, "ranges": ranges}]
    record = {"id": "PYSEC-1", "aliases": ["CVE-1"], "summary": "bad", "affected": affected}
    advisory(tmp_path / "osv", "a.json", record | {"database_specific": {"severity": "CRITICAL"}})

    hit = [
        v
        for v in ("1.9.post1", "2.0", "2.5", "3.0rc1", "3.0")
        if vulnerable([Package(name="foo-bar", version=v)], tmp_path / "osv")
    ]

    assert hit == ["1.9.post1", "3.0rc1", "3.0"]
    (finding,) = vulnerable([Package(name="foo-bar", version="1.0")], tmp_path / "osv")
    assert (finding.severity, finding.where) == ("critical", "foo-bar==1.0")
    assert "2.0" in finding.hint


def test_an_advisory_that_cannot_be_read_is_a_finding_and_no_advisories_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "osv").mkdir()
    with pytest.raises(UsageError, match="holds no advisories"):
        vulnerable([], tmp_path / "osv")
    (tmp_path / "osv/broken.json").write_text("{")
    assert [f.rule for f in vulnerable([], tmp_path / "osv")] == ["advisory-unreadable"]


def test_versions_sort_as_python_says() -> None:
    ordered = [
        "1.0.dev1",
        "1.0a1",
        "1.0a2.dev1",
        "1.0a2",
        "1.0b1",
        "1.0rc1",
        "1.0",
        "1.0.post1",
        "1.1",
        "1.10",
        "1!0.1",
    ]
    keys = [version_key(text) for text in ordered]
    assert None not in keys
    assert keys == sorted(keys, key=lambda key: key or ())
    assert version_key("1.0") == version_key("1.0.0")
    assert version_key("nonsense!") is None


def test_an_accepted_finding_passes_the_gate_until_its_day() -> None:
    finding = Finding(rule="secret/x", severity="high", where="/app/a", message="m")
    allow = parse_allow_list(
        b"allow:\n- {rule: 'secret/*', where: '/app/*', reason: a test key, expires: 2026-06-01}\n",
        "allow.yaml",
    )
    before, none = apply_allow_list([finding], allow, date(2026, 5, 31))
    after, expired = apply_allow_list([finding], allow, date(2026, 6, 1))

    assert at_least(before, "high") == [] and none == []
    assert at_least(after, "high") == [finding] and "a test key" in expired[0]
    assert sarif(before, version="1")["runs"][0]["results"][0]["suppressions"]


@pytest.mark.parametrize(
    "text",
    [
        "allow: [{rule: a, expires: 2026-01-01}]",
        "allow: [{rule: a, reason: ' ', expires: 2026-01-01}]",
        "- 1",
    ],
)
def test_an_accepted_finding_needs_a_reason_and_a_day(text: str) -> None:
    with pytest.raises(UsageError):
        parse_allow_list(text.encode(), "allow.yaml")
