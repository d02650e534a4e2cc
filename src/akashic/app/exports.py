"""Artifacts of runs as folders, for who looks for them there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from akashic.app.application import Application
from akashic.journal.beneath import open_beneath


def export_artifacts(application: Application, run_ids: Sequence[str], folder: Path) -> Iterator[str]:
    """Unpack the artifacts of runs into `folder`/run id/name; a line for each. Raises ArtifactError,
    OSError."""
    for run_id in run_ids:
        for artifact in application.artifacts.find_all(run_id):
            target = folder / run_id / artifact.name
            target.mkdir(parents=True, exist_ok=True)
            with open_beneath(str(target), (), create=False) as place:
                facts = application.artifacts.extract(artifact, place, modes=True)
            yield f"{artifact.name}: {facts.files} file(s) in {target}"
