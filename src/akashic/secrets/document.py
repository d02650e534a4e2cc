"""The secrets file's text: names, scopes and times in the open, each value encrypted on its own.

So a review shows which secret changed, and a merge of two changes is an ordinary one. What stands in the open
is also inside of what is encrypted; a value moved to another name or scope by hand is refused.
"""

from __future__ import annotations

import re

import msgspec

from akashic.errors import UsageError
from akashic.secrets.keys import SecretsError

FORMAT = 1
REPOSITORY = "repository"
"""The scope of secrets that every environment gets."""

FILE_BYTES_MAX = 16 * 1024 * 1024
VALUE_BYTES_MAX = 48 * 1024
"""GitHub's limit for a secret ("Using secrets in GitHub Actions")."""

_NAME = re.compile(r"[A-Z_][A-Z0-9_]{0,254}")
_SCOPE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./-]{0,254}")


class Recipient(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Somebody who may read: a public key, and whose it is."""

    key: str
    name: str = ""


class Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One secret. `set_at` is when its value was last set (seconds since the epoch), `value` the base64 of
    the age file."""

    name: str
    scope: str = REPOSITORY
    set_at: int
    value: str


class Document(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole file; entries are sorted by scope and name, each there once."""

    akashic_secrets: int = FORMAT
    recipients: tuple[Recipient, ...] = ()
    secrets: tuple[Entry, ...] = ()


def check_name(name: str) -> str:
    """The name in upper case, as GitHub keeps it. Raises UsageError when it cannot be one."""
    upper = name.upper()
    if not _NAME.fullmatch(upper) or upper.startswith("GITHUB_"):
        raise UsageError(
            f"{name[:80]!r} cannot be a secret's name",
            hint="letters, digits and '_', not first a digit, not beginning with GITHUB_",
        )
    return upper


def check_scope(scope: str) -> str:
    """The scope itself. Raises UsageError when it cannot be one."""
    if not _SCOPE.fullmatch(scope):
        raise UsageError(
            f"{scope[:80]!r} cannot be a scope", hint="expected 'repository' or an environment's name"
        )
    return scope


def parse(data: bytes, file: str) -> Document:
    """Read the file. Raises SecretsError when it is not one of ours, damaged, or of a later format."""
    try:
        if len(data) > FILE_BYTES_MAX:
            raise SecretsError(f"{file}: larger than {FILE_BYTES_MAX} bytes")
        document = msgspec.json.decode(data, type=Document)
    except msgspec.MsgspecError as error:
        # The decoder's own words name the field and never the value.
        raise SecretsError(
            f"{file}: not a valid secrets file: {error}",
            hint="git shows its last good version; it was not changed",
        ) from None
    if document.akashic_secrets != FORMAT:
        raise SecretsError(
            f"{file}: written by another version (format {document.akashic_secrets}, known: {FORMAT})"
        )
    seen: set[tuple[str, str]] = set()
    for entry in document.secrets:
        if (entry.scope, entry.name) in seen:
            raise SecretsError(
                f"{file}: {entry.name} is there twice in {entry.scope}", hint="remove one of them"
            )
        seen.add((entry.scope, entry.name))
        if entry.name != check_name(entry.name):
            raise SecretsError(f"{file}: {entry.name!r} is not in upper case")
        check_scope(entry.scope)
    return document


def render(document: Document) -> bytes:
    """The file's bytes: sorted, one field a line, so that a change of one secret is a change of few lines."""
    ordered = sorted(document.secrets, key=lambda entry: (entry.scope, entry.name))
    data = msgspec.json.encode(msgspec.structs.replace(document, secrets=tuple(ordered)))
    return msgspec.json.format(data, indent=2) + b"\n"
