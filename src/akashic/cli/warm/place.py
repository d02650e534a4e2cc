"""Where the warm server listens, and what makes two commands fit for the same one.

Imported by every command: built-in modules only.
"""

import os
import sys

import akashic

SWITCH = "AKASHIC_WARM"
IDLE_TIMEOUT_S = 900
STOP_MARK = "stopped"
"""A file beside the sockets, touched when the servers are stopped: one that is still importing heeds it."""
_LANGUAGE = ("LANG", "LC_ALL", "LC_CTYPE", "TZ")
_HASH_MODULUS = (1 << 61) - 1
_PATH_BYTES_MAX = 100


def settings(environ: "os._Environ[str] | dict[str, str]") -> "dict[str, str]":
    """The variables that Python and the C library look at when a process starts."""
    return {name: value for name, value in environ.items() if name in _LANGUAGE or name.startswith("PYTHON")}


def identity(environ: "os._Environ[str] | dict[str, str]") -> str:
    """What a Python process fixes when it starts: which code, which interpreter, which language and clock."""
    flags = (
        f"{sys.flags.optimize} {sys.flags.dev_mode} {sys.flags.utf8_mode} {sys.flags.warn_default_encoding}"
    )
    return "\n".join(
        (
            akashic.__version__,
            akashic.__file__ or "",
            sys.executable,
            sys.version,
            flags,
            *sorted(f"{name}={value}" for name, value in settings(environ).items()),
        )
    )


def folder(environ: "os._Environ[str] | dict[str, str]") -> str:
    """The folder for sockets; "" where this user has no place of their own."""
    base = environ.get("XDG_RUNTIME_DIR") or environ.get("XDG_CACHE_HOME")
    if not base and environ.get("HOME"):
        base = environ["HOME"] + "/.cache"
    return f"{base}/akashic-warm" if base and base.startswith("/") else ""


def socket_path(environ: "os._Environ[str] | dict[str, str]") -> str:
    """The socket of the server for this identity; "" where there can be none. Two identities may share a
    name by chance: the server compares the whole."""
    place = folder(environ)
    number = int.from_bytes(identity(environ).encode("utf-8", "surrogateescape"), "big") % _HASH_MODULUS
    path = f"{place}/{number:016x}"
    return path if place and len(os.fsencode(path)) <= _PATH_BYTES_MAX else ""


def is_private(path: str) -> bool:
    """Whether a folder is this user's and nobody else can enter it, nor put another in its place."""
    try:
        found = os.lstat(path)
    except OSError:
        return False
    return found.st_mode == 0o040700 and found.st_uid == os.geteuid() and is_own(path.rpartition("/")[0])


def is_own(path: str) -> bool:
    """Whether a folder is this user's: `sudo` may keep the HOME of somebody else. One that everybody may
    write to must keep others from renaming what lies in it."""
    try:
        found = os.stat(path)
    except OSError:
        return False
    return found.st_uid == os.geteuid() and found.st_mode & 0o1002 != 0o0002
