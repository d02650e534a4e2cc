"""How an unpacked image is started on this machine, as it would be in a container of its own.

A path in the image (`/app/…`, `/opt/dependencies`) becomes the path where the image lies; the interpreter
that the image does not bring is this machine's.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec

from akashic.images.config import ImageConfig
from akashic.images.store import ImageError

PYTHONS = ("python", "python3")


class LocalProcess(msgspec.Struct, frozen=True, kw_only=True):
    """What to start: the command line (its first word is absolute), the whole environment, the folder."""

    argv: tuple[str, ...]
    env: dict[str, str]
    cwd: str


def local_process(
    config: ImageConfig,
    root: Path,
    *,
    env: Mapping[str, str],
    python: str = sys.executable,
    bytecode: Path | None = None,
) -> LocalProcess:
    """How to start the image that is unpacked at `root`.

    `env` is added last and taken literally: its paths are this machine's. `bytecode` is where Python may keep
    compiled files (the image itself is not written to). Raises ImageError when there is nothing to start or
    the program is not there.
    """
    if not config.argv:
        raise ImageError("the image has neither an entry point nor a command")
    places = _top_folders(root)
    environ = {name: _translate_list(value, root, places) for name, value in config.env.items()}
    # The image's PATH names folders of a base image that is not there: this machine's stand in.
    environ["PATH"] = ":".join(
        part for part in environ.get("PATH", "").split(":") if part.startswith(str(root))
    ).strip(":")
    environ["PATH"] = ":".join(filter(None, (environ["PATH"], str(Path(python).parent), os.defpath)))
    if bytecode is None:
        environ["PYTHONDONTWRITEBYTECODE"] = "1"
    else:
        environ["PYTHONPYCACHEPREFIX"] = str(bytecode)
    environ.update(env)
    argv = [_translate(word, root, places) for word in config.argv]
    argv[0] = _program(argv[0], environ["PATH"], python)
    if "/bin/" in argv[0] and argv[0].startswith(str(root)) and _is_python_script(Path(argv[0])):
        argv.insert(0, python)
    cwd = _translate(config.workdir, root, places)
    if not Path(cwd).is_dir():
        raise ImageError(f"the image's working directory {config.workdir} does not exist in it")
    return LocalProcess(argv=tuple(argv), env=environ, cwd=cwd)


def _program(word: str, path: str, python: str) -> str:
    if word in PYTHONS or (word.rpartition("/")[2] in PYTHONS and not Path(word).exists()):
        return python
    found = shutil.which(word, path=path)
    if found is None:
        raise ImageError(f"the image starts {word!r}, which is neither in it nor on this machine")
    return found


def _is_python_script(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(64).startswith(b"#!/usr/bin/env python3")
    except OSError:
        return False


def _top_folders(root: Path) -> tuple[str, ...]:
    return tuple(sorted(entry.name for entry in root.iterdir()))


def _translate(word: str, root: Path, places: tuple[str, ...]) -> str:
    if word == "/":
        return str(root)
    for place in places:
        if word == f"/{place}" or word.startswith(f"/{place}/"):
            # Only what is in the image moves; /usr/bin/env and the like stay this machine's.
            return str(root) + word if os.path.lexists(str(root) + word) else word
    return word


def _translate_list(value: str, root: Path, places: tuple[str, ...]) -> str:
    if not value.startswith("/"):
        return value
    return ":".join(_translate(part, root, places) for part in value.split(":"))
