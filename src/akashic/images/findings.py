"""What a scan finds: findings, their severities, what was allowed and until when, and SARIF."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import date
from fnmatch import fnmatchcase
from typing import Any, Literal

import msgspec

from akashic.errors import UsageError

Severity = Literal["low", "medium", "high", "critical"]
SEVERITIES: tuple[Severity, ...] = ("low", "medium", "high", "critical")
_LEVELS = {"low": "note", "medium": "warning", "high": "error", "critical": "error"}
_SCORES = {"low": "2.0", "medium": "5.0", "high": "8.0", "critical": "9.5"}


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One finding. `where` is a path in the image, a package, or a part of the configuration; `unfixed` says
    that no version without it is known; `allowed` is the reason for which it was accepted, empty when it was
    not."""

    rule: str
    severity: Severity
    where: str
    message: str
    line: int = 0
    hint: str = ""
    unfixed: bool = False
    allowed: str = ""


SCANNERS = ("vuln", "secret", "misconfig", "license")


def scanner_of(finding: Finding) -> str:
    """Which kind of scanner finds such a thing, by the names that users know."""
    for beginning, scanner in (("vulnerability/", "vuln"), ("secret/", "secret"), ("license-", "license")):
        if finding.rule.startswith(beginning):
            return scanner
    return {"sensitive-file": "secret", "advisory-unreadable": "vuln"}.get(finding.rule, "misconfig")


class Allowance(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A finding that is accepted: rule and place (globs), why, and the day from which it no longer is."""

    rule: str
    reason: str
    expires: date
    where: str = "*"


class AllowList(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The file that lists what is accepted."""

    allow: tuple[Allowance, ...] = ()


def parse_allow_list(data: bytes, file: str) -> AllowList:
    """Read the list (YAML or JSON). Raises UsageError: every entry needs a reason and a day."""
    try:
        found = msgspec.yaml.decode(data, type=AllowList)
    except msgspec.MsgspecError as error:
        raise UsageError(f"{file}: not a valid list of accepted findings: {error}") from None
    for entry in found.allow:
        if not entry.reason.strip():
            raise UsageError(f"{file}: {entry.rule}: an accepted finding needs a reason")
    return found


def apply_allow_list(
    findings: Sequence[Finding], allow: AllowList, today: date
) -> tuple[list[Finding], list[str]]:
    """The findings, with those that are accepted marked, and a sentence for each entry that has expired."""
    valid = [entry for entry in allow.allow if entry.expires > today]
    expired = [
        f"accepted until {entry.expires} and no longer: {entry.rule} at {entry.where} ({entry.reason})"
        for entry in allow.allow
        if entry.expires <= today
    ]
    marked: list[Finding] = []
    for finding in findings:
        match = next(
            (e for e in valid if fnmatchcase(finding.rule, e.rule) and fnmatchcase(finding.where, e.where)),
            None,
        )
        marked.append(msgspec.structs.replace(finding, allowed=match.reason) if match else finding)
    return marked, expired


def at_least(findings: Sequence[Finding], severity: Severity) -> list[Finding]:
    """The findings that are not accepted and at least as severe."""
    least = SEVERITIES.index(severity)
    return [f for f in findings if not f.allowed and SEVERITIES.index(f.severity) >= least]


def sarif(findings: Sequence[Finding], *, version: str) -> dict[str, Any]:
    """The findings as SARIF 2.1.0, as GitHub's code scanning reads it."""
    rules = sorted({(finding.rule, finding.severity) for finding in findings})
    seen: dict[str, int] = {}
    for rule, _ in rules:
        seen.setdefault(rule, len(seen))
    scores = {rule: _SCORES[severity] for rule, severity in rules}
    return {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "akashic image scan",
                        "version": version,
                        "rules": [
                            {"id": rule, "properties": {"security-severity": scores[rule]}} for rule in seen
                        ],
                    }
                },
                "results": [_result(finding, seen[finding.rule]) for finding in findings],
            }
        ],
    }


def _result(finding: Finding, rule_index: int) -> dict[str, Any]:
    identity = f"{finding.rule}\0{finding.where}\0{finding.line}\0{finding.message}"
    location: dict[str, Any] = {"artifactLocation": {"uri": finding.where.lstrip("/") or "image"}}
    if finding.line:
        location["region"] = {"startLine": finding.line}
    result: dict[str, Any] = {
        "ruleId": finding.rule,
        "ruleIndex": rule_index,
        "level": _LEVELS[finding.severity],
        "message": {"text": f"{finding.message}. {finding.hint}" if finding.hint else finding.message},
        "locations": [{"physicalLocation": location}],
        "partialFingerprints": {"akashic/v1": hashlib.sha256(identity.encode()).hexdigest()},
    }
    if finding.allowed:
        result["suppressions"] = [{"kind": "external", "justification": finding.allowed}]
    return result
