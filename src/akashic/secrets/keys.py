"""The identity that opens secrets: where it lies, how it is made, and what is said when it is not there.

It never lies in the repository. Order: `AKASHIC_KEY` (the key itself), `AKASHIC_KEY_FILE`, then
`~/.config/akashic/key.txt` (below XDG_CONFIG_HOME), a file as age-keygen writes it.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path

import msgspec

from akashic.errors import AkashicError, UsageError
from akashic.secrets import age

KEY_FILE_BYTES_MAX = 64 * 1024

_IDENTITY = re.compile(r"AGE-SECRET-KEY-1[A-Z0-9]{50,70}")


class SecretsError(AkashicError):
    """Secrets cannot be read or kept; never holds a value or a key."""


class Identities(msgspec.Struct, frozen=True, kw_only=True):
    """Keys that open secrets, and the place they came from. Shows no key."""

    keys: tuple[str, ...]
    place: str

    def __repr__(self) -> str:
        return f"Identities({len(self.keys)} from {self.place})"

    __str__ = __repr__


def key_path(environ: Mapping[str, str]) -> Path:
    """Where the identity key of this user lies (whether it exists or not)."""
    if given := environ.get("AKASHIC_KEY_FILE"):
        return Path(given).expanduser()
    home = environ.get("HOME") or str(Path.home())
    return Path(environ.get("XDG_CONFIG_HOME") or f"{home}/.config") / "akashic" / "key.txt"


def find_identities(environ: Mapping[str, str]) -> Identities:
    """This user's keys. Raises SecretsError when there is none, others can read it, or it is no key."""
    if text := environ.get("AKASHIC_KEY"):
        return _parse(text, "AKASHIC_KEY")
    path = key_path(environ)
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(KEY_FILE_BYTES_MAX)
    except FileNotFoundError:
        raise SecretsError(
            f"no key to open the secrets with: {path} does not exist",
            hint="run akashic secret init, or set AKASHIC_KEY or AKASHIC_KEY_FILE",
        ) from None
    except OSError as error:
        raise SecretsError(f"{path}: cannot read the key: {error.strerror}") from None
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise SecretsError(
            f"{path}: other users may open the key file (mode {stat.S_IMODE(mode):04o})",
            hint=f"chmod 600 {path}",
        )
    return _parse(content.decode("utf-8", "replace"), str(path))


def create_identity(path: Path) -> str:
    """Make a key file that only this user can read, and return its recipient (the public half).

    Raises UsageError when the file exists: a key that is overwritten is lost.
    """
    identity, recipient = age.generate()
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise UsageError(f"{path}: a key is there already; it was not touched") from None
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(f"# public key: {recipient}\n{identity}\n")
        file.flush()
        os.fsync(file.fileno())
    return recipient


def recipients_of(identities: Identities) -> tuple[str, ...]:
    """The public halves of keys."""
    return tuple(age.recipient_of(key) for key in identities.keys)


def check_recipient(text: str) -> str:
    """The recipient itself. Raises UsageError when it is none (or, worse, a secret key)."""
    cleaned = text.strip()
    if _IDENTITY.search(cleaned.upper()):
        raise UsageError(
            "that is a secret key, not a recipient", hint="give the public key that begins with age1"
        )
    try:
        age.check_recipient(cleaned)
    except age.AgeError as error:
        hint = error.hint or "expected a public key: age1…"
        raise UsageError(f"{cleaned[:80]!r} is not a recipient: {error.message}", hint=hint) from None
    return cleaned


def _parse(text: str, place: str) -> Identities:
    lines = [line.strip() for line in text.splitlines()]
    keys = tuple(line for line in lines if line and not line.startswith("#"))
    if not all(_IDENTITY.fullmatch(key) for key in keys):
        raise SecretsError(f"{place}: holds something that is no age secret key")
    if not keys:
        raise SecretsError(f"{place}: holds no key", hint="expected a line AGE-SECRET-KEY-1…")
    return Identities(keys=keys, place=place)
