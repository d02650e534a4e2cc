"""The Python that the agent runs with inside of any image: this one, copied once with the loader and the
libraries that it needs, so that neither the image's C library nor its lack of Python matters.

The folder is mounted read-only and holds no more than the agent imports.
"""

from __future__ import annotations

import importlib.util
import os
import py_compile
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from hashlib import sha256

from akashic.executors import agent
from akashic.executors.protocol import ExecutorError

MOUNTED_AT = "/__e/agent"
_EXTENSIONS = ("_socket", "select")
_ENCODINGS = ("__init__", "aliases", "utf_8", "ascii", "latin_1")
_LIBRARY = re.compile(r"^\s*\S+ => (/\S+) \(0x[0-9a-f]+\)$")
_LIST_TIMEOUT_S = 20.0
_PREFIX = "container-agent-"
_KEPT_S = 30 * 24 * 3600.0


def python_command(*arguments: str) -> list[str]:
    """What runs the mounted Python, as a container sees it."""
    loader = [f"{MOUNTED_AT}/lib/loader", "--library-path", f"{MOUNTED_AT}/lib"]
    return [*loader, f"{MOUNTED_AT}/bin/python", "-I", "-S", *arguments]


def agent_command(socket_path: str) -> list[str]:
    """The container's first process."""
    return python_command(f"{MOUNTED_AT}/agent.pyc", socket_path)


def prepare_runtime(cache_dir: str) -> str:
    """The folder to mount, made if it is not there yet. Raises ExecutorError."""
    folder = os.path.join(cache_dir, f"{_PREFIX}{_key()}")
    if os.path.isdir(folder):
        return folder
    partial = ""
    try:
        os.makedirs(cache_dir, exist_ok=True)
        partial = tempfile.mkdtemp(prefix=".container-agent-", dir=cache_dir)
        _make(partial)
        try:
            os.rename(partial, folder)
        except OSError:
            if not os.path.isdir(folder):  # Otherwise another job was faster.
                raise
        _forget_old(cache_dir)
    except (OSError, subprocess.SubprocessError) as error:
        raise ExecutorError(f"cannot make the files that a job's container needs: {error}") from error
    finally:
        if partial:
            shutil.rmtree(partial, ignore_errors=True)
    return folder


def _forget_old(cache_dir: str) -> None:
    """Remove the folders of earlier versions, when no job can be using them any more."""
    for name in os.listdir(cache_dir):
        path = f"{cache_dir}/{name}"
        if name.startswith(_PREFIX) and time.time() - os.lstat(path).st_mtime > _KEPT_S:
            shutil.rmtree(path, ignore_errors=True)


def _key() -> str:
    facts = [sys.version, _program()]
    for path in (_program(), agent.__file__):
        info = os.stat(path)
        facts.append(f"{info.st_mtime_ns} {info.st_size}")
    return sha256("\0".join(facts).encode()).hexdigest()[:16]


def _program() -> str:
    return os.path.realpath(sys.executable)


def _make(folder: str) -> None:
    program = _program()
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    standard = f"{folder}/lib/{version}"
    for path in (f"{folder}/bin", f"{standard}/encodings", f"{standard}/lib-dynload"):
        os.makedirs(path)
    shutil.copyfile(program, f"{folder}/bin/python")
    extensions = [path for path in map(_origin, _EXTENSIONS) if path]
    for path in extensions:
        shutil.copyfile(path, f"{standard}/lib-dynload/{os.path.basename(path)}")
    loader = _loader(program)
    shutil.copyfile(loader, f"{folder}/lib/loader")
    for path in {library for file in (program, *extensions) for library in _libraries(loader, file)}:
        shutil.copyfile(path, f"{folder}/lib/{os.path.basename(path)}")
    encodings = os.path.join(sysconfig.get_path("stdlib"), "encodings")
    for name in _ENCODINGS:
        _compile(f"{encodings}/{name}.py", f"{standard}/encodings/{name}.pyc")
    # By this file Python knows its own library; what it needs of it is frozen.
    with open(f"{standard}/os.py", "wb"):
        pass
    _compile(agent.__file__, f"{folder}/agent.pyc")
    for place, _, names in os.walk(folder):
        os.chmod(place, 0o755)
        for name in names:
            os.chmod(f"{place}/{name}", 0o755)


def _compile(source: str, target: str) -> None:
    py_compile.compile(
        source, target, doraise=True, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH, quiet=1
    )


def _origin(name: str) -> str | None:
    """The file of an extension module; None when it is part of the program."""
    spec = importlib.util.find_spec(name)
    origin = spec.origin if spec is not None else None
    return origin if origin is not None and origin.startswith("/") else None


def _loader(program: str) -> str:
    """The interpreter that an ELF program names (PT_INTERP)."""
    with open(program, "rb") as file:
        head = file.read(1 << 16)
    found = re.search(rb"\0(/[!-~]*/ld-[!-~]+)\0", head)
    if head[:4] != b"\x7fELF" or found is None:
        raise OSError(8, "this Python is no dynamically linked program of Linux", program)
    return os.fsdecode(found[1])


def _libraries(loader: str, file: str) -> Iterator[str]:
    listing = subprocess.run(
        [loader, "--list", file],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_LIST_TIMEOUT_S,
        check=True,
    )
    for line in listing.stdout.splitlines():
        found = _LIBRARY.match(line)
        if found is not None:
            yield found[1]
