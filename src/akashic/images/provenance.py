"""Where an image comes from: an in-toto statement with a SLSA v1 provenance predicate, not signed.

Who reads it must know that it is a claim of the machine that built the image, no more.
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from akashic.images.spec import ImageSpec

MEDIA_TYPE = "application/vnd.in-toto+json"
BUILD_TYPE = "urn:akashic:build:engineless-image:v1"


def statement(
    spec: ImageSpec,
    *,
    digest: str,
    commit: str,
    prefix: str,
    dirty: bool,
    lock: str,
    builder_id: str,
    invocation_id: str,
) -> dict[str, Any]:
    """The statement about one image. Without `invocation_id` the same build gives the same bytes."""
    materials: list[dict[str, Any]] = [
        {"uri": f"git+commit:{commit}", "digest": {"gitCommit": commit}, "name": prefix or "."}
    ]
    if spec.requirements:
        materials.append(
            {"name": spec.requirements, "digest": {"sha256": hashlib.sha256(lock.encode()).hexdigest()}}
        )
    run: dict[str, Any] = {"builder": {"id": builder_id or "akashic"}}
    if invocation_id:
        run["metadata"] = {"invocationId": invocation_id}
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": spec.name, "digest": {"sha256": digest.removeprefix("sha256:")}}],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {"image": msgspec.to_builtins(spec), "uncommittedTree": dirty},
                "resolvedDependencies": materials,
            },
            "runDetails": run,
        },
    }
