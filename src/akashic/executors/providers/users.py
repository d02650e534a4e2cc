"""As whom a server runs when we are root: an existing account without rights, never a new one."""

from __future__ import annotations

import os
import pwd
import shutil
from collections.abc import Sequence

from akashic.executors.protocol import ExecutorError
from akashic.executors.providers.protocol import ServiceUser

_SEARCH_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


def service_user(*names: str) -> ServiceUser | None:
    """The first account of `names`, else `nobody`; None when we are not root and stay who we are."""
    if os.geteuid() != 0:
        return None
    for name in (*names, "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return ServiceUser(uid=entry.pw_uid, gid=entry.pw_gid, name=name)
    raise ExecutorError(
        "the service refuses to run as root, and there is no account `nobody` to run it as",
        hint="add an unprivileged account, or run as another user",
    )


def as_user(
    argv: Sequence[str], user: ServiceUser | None, paths: Sequence[str], *, durable: bool
) -> tuple[str, ...]:
    """The command line that runs `argv` as `user`. Where that user cannot reach one of `paths` (a virtual
    environment or a repository below /root), it keeps the one capability that lets it, and no other: reading
    for what lasts, also writing for what goes away with a job, where the first one is not to be had."""
    if user is None:
        return tuple(argv)
    setpriv = shutil.which("setpriv", path=_SEARCH_PATH)
    if setpriv is None:
        raise ExecutorError(
            "running a service as an unprivileged user needs setpriv", hint="install util-linux"
        )
    capability = "dac_read_search" if durable else "dac_override"
    reach = (
        ()
        if all(_reachable(path, user) for path in paths)
        else (
            f"--inh-caps=+{capability}",
            f"--ambient-caps=+{capability}",
            # access(2) asks as whom we run, not what we may, unless this is set; PostgreSQL looks with it
            # whether its programmes are there.
            "--securebits=+no_setuid_fixup",
        )
    )
    return (
        setpriv, f"--reuid={user.uid}", f"--regid={user.gid}", "--clear-groups", *reach, "--", *argv,
    )  # fmt: skip


def _reachable(path: str, user: ServiceUser) -> bool:
    folder = os.path.dirname(os.path.realpath(path))
    while True:
        try:
            info = os.stat(folder)
        except OSError:
            return False
        bits = 0o100 if info.st_uid == user.uid else 0o010 if info.st_gid == user.gid else 0o001
        if not info.st_mode & bits:
            return False
        if folder == "/":
            return True
        folder = os.path.dirname(folder)
