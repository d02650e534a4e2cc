"""How an unpacked release is started on this machine: its command line, environment, folder and user.

The release's own paths (`/app`, `/opt/dependencies`) are those of an image; here they lie below the folder
that it was unpacked to, so every absolute path that exists in the release is mapped. The release brings no
Python of its own (label `akashic.runtime`): the interpreter that runs Akashic stands for it, without
Akashic's packages.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec

from akashic.delivery.local.paths import others_may_enter
from akashic.errors import AkashicError
from akashic.images.config import ImageConfig

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PYTHON = re.compile(r"python(3(\.\d+)?)?\Z")
_RUNTIME = re.compile(r"python>=(\d+)\.(\d+)\Z")
_PLACEHOLDER = re.compile(r"\$(?:\$|\{([^}]*)\})")


class Start(msgspec.Struct, frozen=True, kw_only=True):
    """A process to start. `user` is (uid, gid) when the starter must change to it, `owner` whom the release
    runs as in the end; None: as us."""

    argv: tuple[str, ...]
    env: dict[str, str]
    cwd: str
    user: tuple[int, int] | None = None
    owner: tuple[int, int] | None = None
    notes: tuple[str, ...] = ()


def start_of(image: ImageConfig, root: Path, *, command: tuple[str, ...], env: Mapping[str, str]) -> Start:
    """How to start `command` (empty: the image's own) of the release in `root`. Raises AkashicError."""
    argv = command or image.argv
    if not argv:
        raise AkashicError(
            "the release does not say what to start",
            hint="set image.entrypoint, or the target's command, in akashic.yaml",
        )
    user, notes = _user(image, root)
    python = _python(image)
    cwd = root / image.workdir.lstrip("/")
    if not cwd.is_dir():
        raise AkashicError(f"the release has no folder {image.workdir} to start in")
    image_env = {name: _mapped_list(value, root) for name, value in image.env.items()}
    path = ":".join(dict.fromkeys([image_env.get("PATH", ""), str(Path(python).parent), SYSTEM_PATH]))
    environment = {
        "LANG": "C.UTF-8",
        "HOME": str(cwd),
        "PYTHONNOUSERSITE": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        **image_env,
        "PATH": path.strip(":"),
        **env,
    }
    mapped = [_mapped(part, root) for part in argv]
    if _PYTHON.match(Path(argv[0]).name) and not (root / argv[0].lstrip("/")).is_file():
        mapped[0] = python
    else:
        found = shutil.which(mapped[0], path=environment["PATH"])
        if found is None:
            raise AkashicError(f"the release cannot be started: there is no command {argv[0]!r}")
        mapped[0] = found
    owner = user
    mapped, user, more = _as_user(mapped, user, python)
    return Start(
        argv=tuple(mapped), env=environment, cwd=str(cwd), user=user, owner=owner, notes=(*notes, *more)
    )


def fill(text: str, values: Mapping[str, str], *, where: str) -> str:
    """Replace `${name}` by its value, `$$` by a dollar sign. Raises AkashicError for a name without a
    value."""

    def value(match: re.Match[str]) -> str:
        name = match.group(1)
        if name is None:
            return "$"
        if name not in values:
            known = ", ".join(sorted(n for n in values if not n.startswith("secrets.")))
            raise AkashicError(f"{where}: nothing is called ${{{name}}} here", hint=f"known: {known}")
        return values[name]

    return _PLACEHOLDER.sub(value, text)


def placeholders(text: str) -> tuple[str, ...]:
    """The names that `fill` would ask for."""
    return tuple(name for name in _PLACEHOLDER.findall(text) if name)


def _mapped(part: str, root: Path) -> str:
    if not part.startswith("/"):
        return part
    inside = root / part.lstrip("/")
    return str(inside) if part != "/" and inside.exists() else part


def _mapped_list(value: str, root: Path) -> str:
    return ":".join(_mapped(part, root) for part in value.split(":"))


def _user(image: ImageConfig, root: Path) -> tuple[tuple[int, int] | None, tuple[str, ...]]:
    """The image's user when we may become it and it can read the release."""
    if os.geteuid() != 0:
        return None, ()
    uid, _, gid = image.user.partition(":")
    if not uid.isdigit() or int(uid) == 0:
        return (65_534, 65_534), ()
    if not others_may_enter(root):
        return None, (f"runs as root: the user {uid} may not read {root}",)
    return (int(uid), int(gid) if gid.isdigit() else int(uid)), ()


def _python(image: ImageConfig) -> str:
    """The interpreter that stands for the release's: ours without its virtual environment, so that a release
    runs on what its tests ran on; else a newer one of this machine. Raises AkashicError."""
    wanted = _RUNTIME.match(image.runtime)
    minimum = (int(wanted.group(1)), int(wanted.group(2))) if wanted else (3, 11)
    own = Path(getattr(sys, "_base_executable", "") or sys.executable).resolve()
    candidates = [str(own)] if sys.version_info[:2] >= minimum and own.is_file() else []
    for candidate in (*candidates, *_versioned_pythons(minimum)):
        return candidate
    wanted_text = ".".join(map(str, minimum))
    raise AkashicError(
        f"the release needs Python {wanted_text} or newer, and there is none on this machine",
        hint=f"install python{wanted_text}",
    )


def _as_user(
    argv: list[str], user: tuple[int, int] | None, python: str
) -> tuple[list[str], tuple[int, int] | None, tuple[str, ...]]:
    """The command line, who starts it, and notes: an interpreter below root's own folders is reached by a
    user without rights through the one capability that lets it read, as local services do."""
    if user is None or others_may_enter(Path(python).parent):
        return argv, user, ()
    setpriv = shutil.which("setpriv", path=SYSTEM_PATH)
    if setpriv is None:
        return argv, None, (f"runs as root: {python} is below a folder that only root may enter",)
    uid, gid = user
    capabilities = ("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search")
    prefix = [setpriv, f"--reuid={uid}", f"--regid={gid}", "--clear-groups", *capabilities, "--"]
    note = (
        f"as user {uid} the release could not start {python}, which is below a folder that only root may "
        "enter; so it was given the right to read all files"
    )
    return [*prefix, *argv], None, (note,)


def _versioned_pythons(minimum: tuple[int, int]) -> list[str]:
    names = [f"python{minimum[0]}.{minor}" for minor in range(minimum[1], minimum[1] + 6)]
    return [found for name in names if (found := shutil.which(name, path=SYSTEM_PATH))]
