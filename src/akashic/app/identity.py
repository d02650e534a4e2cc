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
    """Who runs the command, for the record: the sudo caller if there is one, else the login name."""
    if environ.get("SUDO_USER"):
        return environ["SUDO_USER"]
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        if environ.get(name):
            return environ[name]
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid-{os.getuid()}"
