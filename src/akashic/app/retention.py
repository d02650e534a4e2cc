"""What has expired is removed, once a day, by whoever happens to run something."""

from __future__ import annotations

import os
from contextlib import suppress

from akashic.app.application import Application

INTERVAL_S = 24 * 3600.0
"""Looking at every artifact of ten thousand runs takes a moment, so it is not done at each run."""
MARK = "retention"


def remove_expired(application: Application) -> list[str]:
    """Remove artifacts and caches whose time is over, when that was not done for a day; a line for each."""
    now = application.clock.now()
    mark = application.state_dir / MARK
    with suppress(FileNotFoundError):
        if 0 <= now - mark.stat().st_mtime < INTERVAL_S:
            return []
    mark.touch()
    os.utime(mark, (now, now))
    lines = []
    # A store that was never used is not made for this.
    if (application.state_dir / "artifacts").is_dir():
        lines += [
            f"artifact {artifact.name} of run {artifact.run_id} has expired and was removed"
            for artifact in application.artifacts.remove_expired()
        ]
    if (application.state_dir / "caches").is_dir():
        lines += [
            f"cache {entry.key} was not used for long and was removed" for entry in application.caches.evict()
        ]
    return lines
