"""Looks through an image for what should not be in one: secrets, dangerous modes, root, licences that the
policy does not accept, known vulnerabilities. Needs no network; nothing of the image is run or unpacked."""

from __future__ import annotations

import posixpath
import re
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from akashic.images.advisories import vulnerable
from akashic.images.config import ImageConfig
from akashic.images.findings import Finding, Severity
from akashic.images.inventory import Inventory, Reader, walk_layers
from akashic.images.locks import Package
from akashic.images.read import read_config, read_manifest

FILE_BYTES_MAX = 4 * 1024 * 1024
"""Larger files are not searched for secrets."""

# High-signal only: each begins with a mark that its issuer gives to nothing else.
SECRET_PATTERNS: tuple[tuple[str, Severity, str], ...] = (
    ("private-key", "critical", r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----\s+[A-Za-z0-9+/=]{40}"),
    ("age-secret-key", "critical", r"AGE-SECRET-KEY-1[A-Z0-9]{58}"),
    ("aws-access-key", "critical", r"\b(?:AKIA|ASIA)[A-Z2-7]{16}\b"),
    ("github-token", "critical", r"\b(?:gh[pousr]_[A-Za-z0-9]{36,255}|github_pat_[A-Za-z0-9_]{82})\b"),
    ("gitlab-token", "critical", r"\bglpat-[A-Za-z0-9_-]{20,}"),
    ("slack-token", "high", r"\bxox[abpr]-[0-9]{8,}-[A-Za-z0-9-]{20,}"),
    (
        "slack-webhook",
        "high",
        r"https://hooks\.slack\.com/services/T[A-Z0-9]{6,}/B[A-Z0-9]{6,}/[A-Za-z0-9]{20,}",
    ),
    ("stripe-key", "critical", r"\b[rs]k_live_[A-Za-z0-9]{24,}"),
    ("google-api-key", "high", r"\bAIza[A-Za-z0-9_-]{35}\b"),
    ("openai-key", "critical", r"\bsk-(?:proj-)?[A-Za-z0-9_-]{20,}T3BlbkFJ[A-Za-z0-9_-]{20,}"),
    ("npm-token", "critical", r"\bnpm_[A-Za-z0-9]{36}\b"),
    ("pypi-token", "critical", r"\bpypi-AgEIcHlwaS5vcmc[A-Za-z0-9_-]{50,}"),
)
_SECRETS = [(rule, severity, re.compile(text.encode())) for rule, severity, text in SECRET_PATTERNS]
_FORBIDDEN_FILES = re.compile(
    r"(?:^|/)(?:\.env(?:\.(?!example|sample|template)[^/]*)?|\.git|\.akashic|id_(?:rsa|ed25519))(?:/|$)"
)

# What every distribution ships with its owner's rights; the list is Debian's and Alpine's base systems'.
_USUAL_SETUID = re.compile(
    r"/(?:usr/)?s?bin/(?:chage|chfn|chsh|expiry|gpasswd|mount|newgrp|passwd|su|umount|unix_chkpwd|wall|write"
    r"|bbsuid)|/usr/bin/ssh-agent|/usr/lib/openssh/ssh-keysign|/(?:usr/)?sbin/pam_extrausers_chkpwd"
)


class ScanPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """What is looked for besides what always is. `licenses_denied` are words of licence names (without regard
    to case); `advisories` is a folder of OSV records."""

    licenses_denied: tuple[str, ...] = ("AGPL", "SSPL", "BUSL")
    advisories: str = ""


def scan_image(layout: Path, digest: str, policy: ScanPolicy, *, platform: str = "") -> list[Finding]:
    """All findings, the most severe first. Raises ImageError when the image is missing or damaged."""
    config = read_config(layout, digest, platform=platform)
    manifest = read_manifest(layout, digest, platform=platform)
    findings = list(_about_config(config))
    inventory = Inventory()

    def look(member: tarfile.TarInfo, read: Reader) -> None:
        findings.extend(_about_mode(member))
        if member.isreg() and member.size <= FILE_BYTES_MAX:
            findings.extend(_about_content(member, read()))

    walk_layers(layout, manifest, inventory.visit, look)
    installed = inventory.packages()
    findings.extend(_about_licenses(installed, policy))
    if policy.advisories:
        findings.extend(vulnerable(installed, Path(policy.advisories)))
    order = {"critical": 0, "high": 1, "medium": 2, "low": 3}
    return sorted(set(findings), key=lambda f: (order[f.severity], f.rule, f.where, f.line))


def _about_config(config: ImageConfig) -> Iterator[Finding]:
    user = config.user.partition(":")[0]
    if user in ("", "0", "root"):
        yield Finding(
            rule="root-user",
            severity="high",
            where="config/User",
            message="the image runs as root",
            hint="set image.user to an unprivileged user, such as 1001:1001",
        )
    if not config.has_healthcheck:
        yield Finding(
            rule="no-healthcheck",
            severity="low",
            where="config/Healthcheck",
            message="the image has no health check",
            hint="set image.healthcheck",
        )
    for name, value in config.env.items():
        for rule, severity, pattern in _SECRETS:
            if pattern.search(value.encode()):
                yield Finding(
                    rule=f"secret/{rule}",
                    severity=severity,
                    where=f"config/Env/{name}",
                    message="a secret in the image's environment",
                )


def _path(member: tarfile.TarInfo) -> str:
    return "/" + posixpath.normpath(member.name).lstrip("/")


def _about_mode(member: tarfile.TarInfo) -> Iterator[Finding]:
    name = _path(member)
    if member.isreg() and member.mode & 0o6000:
        yield Finding(
            rule="setuid",
            severity="low" if _USUAL_SETUID.fullmatch(name) else "high",
            where=name,
            message=f"runs with its owner's rights (mode {member.mode & 0o7777:04o})",
        )
    if not member.issym() and member.mode & 0o002 and not member.mode & 0o1000:
        yield Finding(
            rule="world-writable",
            severity="medium",
            where=name,
            message=f"every user may write to it (mode {member.mode & 0o7777:04o})",
        )
    if _FORBIDDEN_FILES.search(member.name):
        yield Finding(
            rule="sensitive-file",
            severity="high",
            where=name,
            message="a file that usually holds secrets or history",
        )


def _about_content(member: tarfile.TarInfo, content: bytes) -> Iterator[Finding]:
    if b"\0" in content[:8192]:
        return
    for rule, severity, pattern in _SECRETS:
        for match in pattern.finditer(content):
            yield Finding(
                rule=f"secret/{rule}",
                severity=severity,
                where=_path(member),
                line=content.count(b"\n", 0, match.start()) + 1,
                message="looks like a secret (it is not shown)",
                hint="remove it, and rotate it: it is in the history",
            )


def _about_licenses(packages: Sequence[Package], policy: ScanPolicy) -> Iterator[Finding]:
    for package in packages:
        where = f"{package.name}=={package.version}"
        denied = next(
            (word for word in policy.licenses_denied if word.lower() in package.license.lower()), ""
        )
        if denied:
            yield Finding(
                rule="license-denied",
                severity="high",
                where=where,
                message=f"its licence ({package.license}) is not accepted ({denied})",
            )
        elif not package.license and package.ecosystem == "PyPI":
            yield Finding(
                rule="license-unknown", severity="low", where=where, message="its metadata names no licence"
            )
