"""Finds a built-in action by the name in `uses:`; a built-in's module is imported when it is asked for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import import_module

from akashic.actions.protocol import Builtin

BUILTINS: Mapping[str, str] = {
    "actions/cache": "cache:CACHE",
    "actions/cache/restore": "cache:RESTORE",
    "actions/cache/save": "cache:SAVE",
    "actions/checkout": "checkout:CHECKOUT",
    "actions/download-artifact": "download_artifact:DOWNLOAD",
    "actions/github-script": "github_script:GITHUB_SCRIPT",
    "actions/setup-node": "setup_node:SETUP_NODE",
    "actions/setup-python": "setup_python:SETUP_PYTHON",
    "actions/upload-artifact": "upload_artifact:UPLOAD",
    "actions/upload-artifact/merge": "upload_artifact:MERGE",
    "aquasecurity/trivy-action": "trivy:TRIVY",
    "codecov/codecov-action": "codecov:CODECOV",
    "docker/build-push-action": "docker_build:BUILD_PUSH",
    "docker/login-action": "docker_login:LOGIN",
    "docker/metadata-action": "docker_metadata:METADATA",
    "docker/setup-buildx-action": "docker_setup:SETUP_BUILDX",
    "docker/setup-qemu-action": "docker_setup:SETUP_QEMU",
    "github/codeql-action/upload-sarif": "upload_sarif:UPLOAD_SARIF",
    "peter-evans/create-or-update-comment": "comment:CREATE_OR_UPDATE",
    "peter-evans/find-comment": "comment:FIND",
}
"""Full name in lower case → `module:ATTRIBUTE` below `akashic.actions`."""

MAJORS: Mapping[str, range] = {
    "actions/cache": range(3, 6),
    "actions/cache/restore": range(3, 6),
    "actions/cache/save": range(3, 6),
    "actions/checkout": range(2, 7),
    "actions/download-artifact": range(4, 9),
    "actions/github-script": range(6, 9),
    "actions/setup-node": range(3, 7),
    "actions/setup-python": range(4, 7),
    "actions/upload-artifact": range(4, 8),
    "actions/upload-artifact/merge": range(4, 8),
    "aquasecurity/trivy-action": range(1),
    "codecov/codecov-action": range(4, 6),
    "docker/build-push-action": range(5, 8),
    "docker/login-action": range(2, 5),
    "docker/metadata-action": range(4, 7),
    "docker/setup-buildx-action": range(2, 5),
    "docker/setup-qemu-action": range(2, 5),
    "github/codeql-action/upload-sarif": range(2, 5),
    "peter-evans/create-or-update-comment": range(3, 6),
    "peter-evans/find-comment": range(2, 5),
}
"""The major versions whose inputs, outputs and meaning each built-in follows. Another version tag is not
served by the built-in: the runner fetches the action instead."""

_VERSION_TAG = re.compile(r"v?(\d+)(?:\.\d+)*(?:[-+].*)?")


def find(name: str, ref: str = "") -> Builtin | None:
    """The built-in for `uses: name@ref`, or None: the runner looks elsewhere.

    `name` is `owner/repo` or `owner/repo/path`, compared without case. A version tag must be of a major
    version in MAJORS. A branch or a full commit SHA finds the built-in too: a pinned workflow shall run
    without a network; who wants exactly the pinned code asks the runner for no built-ins.
    """
    key = name.strip().strip("/").lower()
    place = BUILTINS.get(key)
    if place is None:
        return None
    version = _VERSION_TAG.fullmatch(ref)
    if version and not _is_commit(ref) and int(version.group(1)) not in MAJORS[key]:
        return None
    module, attribute = place.split(":")
    builtin = getattr(import_module(f"akashic.actions.{module}"), attribute)
    assert isinstance(builtin, Builtin) and builtin.name == key, place
    return builtin


def _is_commit(ref: str) -> bool:
    return len(ref) in (40, 64) and all(c in "0123456789abcdefABCDEF" for c in ref)
