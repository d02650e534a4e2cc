"""The bill of materials: what is in an image, as CycloneDX 1.6 JSON, from the installed metadata."""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from akashic.images.config import timestamp
from akashic.images.locks import Package

MEDIA_TYPE = "application/vnd.cyclonedx+json"

_SPDX_ID = re.compile(r"[A-Za-z0-9.+-]+")


def cyclonedx(
    name: str, version: str, packages: Sequence[Package], *, subject_digest: str, created_s: int
) -> dict[str, Any]:
    """The document. Its serial number comes from the image's digest, so that it is reproducible too."""
    root = f"{name}@{version}"
    known = {package.name for package in packages}
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, subject_digest)}",
        "version": 1,
        "metadata": {
            "timestamp": timestamp(created_s),
            "tools": {"components": [{"type": "application", "name": "akashic"}]},
            "component": {
                "type": "container",
                "bom-ref": root,
                "name": name,
                "version": version,
                "properties": [{"name": "oci:image:digest", "value": subject_digest}],
            },
        },
        "components": [_component(package) for package in packages],
        "dependencies": [
            {"ref": root, "dependsOn": [purl(package) for package in packages]},
            *(
                {
                    "ref": purl(package),
                    "dependsOn": [purl(other) for other in _needs(package, packages, known)],
                }
                for package in packages
            ),
        ],
    }


def purl(package: Package) -> str:
    """The package URL (package-url/purl-spec) of a Python distribution or a distribution's package."""
    system, _, release = package.ecosystem.partition(":")
    kinds = {"Debian": "deb/debian", "Ubuntu": "deb/ubuntu", "Alpine": "apk/alpine"}
    if system not in kinds:
        return f"pkg:pypi/{package.name}@{package.version}"
    distribution = f"?distro={system.lower()}-{release.removeprefix('v')}" if release else ""
    version = quote(package.version, safe="+.~-_")
    return f"pkg:{kinds[system]}/{quote(package.name, safe='+.~-_')}@{version}{distribution}"


def _component(package: Package) -> dict[str, Any]:
    component: dict[str, Any] = {
        "type": "library",
        "bom-ref": purl(package),
        "name": package.name,
        "version": package.version,
        "purl": purl(package),
    }
    if package.license:
        # A single SPDX identifier is an expression as well; other words are a name.
        words = package.license.replace("(", " ").replace(")", " ").split()
        expression = all(_SPDX_ID.fullmatch(word) for word in words) and (
            len(words) == 1 or any(word in ("AND", "OR", "WITH") for word in words)
        )
        spdx = expression and not any(char.isspace() for char in "".join(words))
        component["licenses"] = (
            [{"expression": package.license}] if spdx else [{"license": {"name": package.license}}]
        )
    return component


def _needs(package: Package, packages: Sequence[Package], known: set[str]) -> list[Package]:
    names: set[str] = set()
    for requirement in package.requires:
        match = re.match(r"[A-Za-z0-9][A-Za-z0-9._-]*", requirement)
        if match and "extra ==" not in requirement:
            names.add(re.sub(r"[-_.]+", "-", match[0]).lower())
    return [other for other in packages if other.name in names & known and other.name != package.name]
