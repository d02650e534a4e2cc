"""Where an image comes from: an in-toto statement with a SLSA v1 provenance predicate, not signed.

Who reads it must know that it is a claim of the machine that built the image, no more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from akashic.images.source import Source

MEDIA_TYPE = "application/vnd.in-toto+json"
ENGINELESS = "urn:akashic:build:engineless-image:v1"
DOCKERFILE = "urn:akashic:build:dockerfile:v1"


def statement(
    name: str,
    *,
    digest: str,
    build_type: str,
    parameters: Mapping[str, Any],
    materials: Sequence[Mapping[str, Any]],
    builder_id: str,
    invocation_id: str,
) -> dict[str, Any]:
    """The statement about one image. Without `invocation_id` the same build gives the same bytes."""
    run: dict[str, Any] = {"builder": {"id": builder_id or "akashic"}}
    if invocation_id:
        run["metadata"] = {"invocationId": invocation_id}
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": name, "digest": {"sha256": digest.removeprefix("sha256:")}}],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": build_type,
                "externalParameters": dict(parameters),
                "resolvedDependencies": [dict(material) for material in materials],
            },
            "runDetails": run,
        },
    }


def commit_material(source: Source) -> dict[str, Any]:
    """The commit that was built, as a material."""
    return {
        "uri": f"git+commit:{source.commit}",
        "digest": {"gitCommit": source.commit},
        "name": source.prefix or ".",
    }
