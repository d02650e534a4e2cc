"""Clock and identity: the one place where real time and chance enter."""

from __future__ import annotations

import os
import pwd
import time
from collections.abc import Mapping


class SystemClock:
    """The machine's clock."""

    def now(self) -> float:
        return time.time()


def new_run_id(now: float) -> str:
    """Sixteen digits, sortable by time: numeric because `github.run_id` is a number that scripts parse, and
    below 2**53 because JavaScript actions read it as a double. Uniqueness is the journal's: a run's first
    record is appended at version 0, and a collision is a Conflict that asks for another id."""
    return f"{int(now * 1000):013d}{int.from_bytes(os.urandom(4), 'big') % 1000:03d}"


def user_name(environ: Mapping[str, str]) -> str:
    """Who runs the command, as the machine knows them: nobody becomes another by setting a variable. Root is
    whom `sudo` made root, for the record."""
    uid = os.getuid()
    if uid == 0 and environ.get("SUDO_USER"):
        return environ["SUDO_USER"]
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid-{uid}"
