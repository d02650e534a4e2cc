"""The secrets file in the repository: set, list, rotate, remove, resolve.

Values are encrypted to all recipients with age. A write replaces the file as a whole, under a lock, after the
old one was read and understood; a broken file is never overwritten. No message of this module holds a value.
"""

from __future__ import annotations

import base64
import fcntl
import os
import secrets as chance
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from akashic.errors import UsageError
from akashic.secrets import age
from akashic.secrets.document import (
    FILE_BYTES_MAX,
    REPOSITORY,
    VALUE_BYTES_MAX,
    Document,
    Entry,
    Recipient,
    check_name,
    check_scope,
    parse,
    render,
)
from akashic.secrets.keys import Identities, SecretsError, check_recipient, find_identities, recipients_of
from akashic.secrets.secret import Secret

PADDING_BYTES = 64
"""Plain texts are padded to a multiple of this, so that a value's length does not show."""


class SecretInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What may be shown of a secret. `set_at` is seconds since the epoch."""

    name: str
    scope: str
    set_at: int


class _Plain(msgspec.Struct, frozen=True, kw_only=True):
    """What is encrypted: the value, and what stands beside it in the open."""

    name: str
    scope: str
    set_at: int
    value: str
    padding: str = ""

    def __repr__(self) -> str:
        return f"_Plain({self.name})"

    __str__ = __repr__


class SecretsFile:
    """The file at `path`. `environ` says where this user's key is (see `keys`); names need no key."""

    def __init__(self, path: Path, *, environ: Mapping[str, str], now: Callable[[], float]) -> None:
        self.path = path
        self._environ = environ
        self._now = now

    # Reading

    def exists(self) -> bool:
        return self.path.exists()

    def list(self, scope: str | None = None) -> list[SecretInfo]:
        """Names, scopes and times, sorted; never values. Empty when there is no file."""
        return [
            SecretInfo(name=entry.name, scope=entry.scope, set_at=entry.set_at)
            for entry in self._read().secrets
            if scope is None or same_scope(entry.scope, scope)
        ]

    def recipients(self) -> tuple[Recipient, ...]:
        return self._read().recipients

    def resolve(
        self, environment: str = "", trust: str = "trusted", also: Sequence[str] = ()
    ) -> dict[str, str]:
        """The values that a job gets: the repository's, then those of the scopes in `also`, then the
        environment's over them. As on GitHub the case of an environment's name does not matter.

        Anything but `trusted` gets nothing, and no key is needed to say so; nor when there are no secrets.
        Raises SecretsError when the key is missing or wrong, or a value was tampered with.
        """
        if trust != "trusted":
            return {}
        scopes = (REPOSITORY, *also, environment) if environment else (REPOSITORY, *also)
        wanted = list(dict.fromkeys(scope.casefold() for scope in scopes))
        entries = [entry for entry in self._read().secrets if entry.scope.casefold() in wanted]
        if not entries:
            return {}
        identities = find_identities(self._environ)
        chosen: dict[str, Entry] = {}
        for scope in wanted:
            chosen.update({entry.name: entry for entry in entries if entry.scope.casefold() == scope})
        return {name: self._decrypt(entry, identities).reveal() for name, entry in sorted(chosen.items())}

    def get(self, name: str, environment: str = "") -> Secret | None:
        """One value for our own use (a webhook's URL), hidden; None without one. Raises SecretsError."""
        wanted = check_name(name)
        found = {entry.scope.casefold(): entry for entry in self._read().secrets if entry.name == wanted}
        entry = found.get(environment.casefold()) if environment else None
        entry = entry or found.get(REPOSITORY)
        return None if entry is None else self._decrypt(entry, find_identities(self._environ))

    # Changing

    def init(self, recipients: Sequence[Recipient]) -> None:
        """Make the file, without secrets. Raises UsageError when it is there or nobody could read it."""
        if not recipients:
            raise UsageError("a secrets file needs at least one recipient")
        checked = tuple(
            msgspec.structs.replace(recipient, key=check_recipient(recipient.key)) for recipient in recipients
        )
        with self._locked():
            if self.exists():
                raise UsageError(f"{self.path}: is there already; it was not touched")
            self._write(Document(recipients=checked))

    def set(self, name: str, value: Secret, *, scope: str = REPOSITORY) -> bool:
        """Keep a value; whether it is a new secret. Needs no key, only the recipients."""
        name, scope = check_name(name), check_scope(scope)
        _check_value(name, value)
        with self._locked():
            document = self._read_for_change()
            others = [entry for entry in document.secrets if not _is(entry, scope, name)]
            entry = self._encrypt(document.recipients, name, scope, value)
            self._write(msgspec.structs.replace(document, secrets=(*others, entry)))
            return len(others) == len(document.secrets)

    def set_many(self, values: Mapping[str, Secret], *, scope: str = REPOSITORY) -> int:
        """Keep several values in one write: all or none. The number of new secrets."""
        checked = {check_name(name): value for name, value in values.items()}
        check_scope(scope)
        for name, value in checked.items():
            _check_value(name, value)
        with self._locked():
            document = self._read_for_change()
            others = [
                entry
                for entry in document.secrets
                if not same_scope(entry.scope, scope) or entry.name not in checked
            ]
            entries = [
                self._encrypt(document.recipients, name, scope, value) for name, value in checked.items()
            ]
            self._write(msgspec.structs.replace(document, secrets=(*others, *entries)))
            return len(others) + len(entries) - len(document.secrets)

    def rotate(self, name: str, value: Secret, *, scope: str = REPOSITORY) -> None:
        """Replace the value of a secret that exists. Raises UsageError when it does not, or is the same."""
        name = check_name(name)
        current = next((entry for entry in self._read().secrets if _is(entry, scope, name)), None)
        if current is None:
            raise UsageError(
                f"there is no secret {name} in {scope}", hint="akashic secret set makes a new one"
            )
        if self._decrypt(current, find_identities(self._environ)) == value:
            raise UsageError(f"the new value of {name} is the old one; nothing was changed")
        self.set(name, value, scope=scope)

    def remove(self, name: str, *, scope: str = REPOSITORY) -> None:
        """Raises UsageError when there is no such secret."""
        name = check_name(name)
        with self._locked():
            document = self._read_for_change()
            others = tuple(entry for entry in document.secrets if not _is(entry, scope, name))
            if len(others) == len(document.secrets):
                raise UsageError(f"there is no secret {name} in {scope}", hint="akashic secret list")
            self._write(msgspec.structs.replace(document, secrets=others))

    def re_encrypt(self, recipients: Sequence[Recipient] | None = None) -> int:
        """Encrypt every value anew, to other recipients when given; the number of values. All or nothing."""
        with self._locked():
            document = self._read_for_change()
            new = document.recipients if recipients is None else tuple(recipients)
            if not new:
                raise UsageError("a secrets file needs at least one recipient; it was not changed")
            for recipient in new:
                check_recipient(recipient.key)
            entries: list[Entry] = []
            if document.secrets:
                identities = find_identities(self._environ)
                for entry in document.secrets:
                    value = self._decrypt(entry, identities)
                    entries.append(self._encrypt(new, entry.name, entry.scope, value, set_at=entry.set_at))
            self._write(Document(recipients=new, secrets=tuple(entries)))
            return len(entries)

    def add_recipient(self, recipient: Recipient) -> int:
        """Let somebody else read; the number of values encrypted anew. Raises UsageError when they may."""
        known = self._read_for_change().recipients
        key = check_recipient(recipient.key)
        if any(other.key == key for other in known):
            raise UsageError(f"{key} is a recipient already")
        return self.re_encrypt((*known, msgspec.structs.replace(recipient, key=key)))

    def remove_recipient(self, who: str) -> int:
        """Take a recipient (by key or name) off; the number of values encrypted anew. What they could read
        they may have kept: rotate the values. Refuses to lock this user out."""
        known = self._read_for_change().recipients
        rest = tuple(recipient for recipient in known if who not in (recipient.key, recipient.name))
        if len(rest) == len(known):
            raise UsageError(f"no recipient {who[:80]!r}", hint="akashic secret recipients shows them")
        mine = set(recipients_of(find_identities(self._environ)))
        if not mine & {recipient.key for recipient in rest}:
            raise UsageError("that would leave you without access; it was not changed")
        return self.re_encrypt(rest)

    # Encryption

    def _encrypt(
        self,
        recipients: Sequence[Recipient],
        name: str,
        scope: str,
        value: Secret,
        *,
        set_at: int | None = None,
    ) -> Entry:
        at = int(self._now()) if set_at is None else set_at
        plain = _Plain(name=name, scope=scope, set_at=at, value=value.reveal())
        short = -len(msgspec.json.encode(plain)) % PADDING_BYTES
        data = msgspec.json.encode(msgspec.structs.replace(plain, padding=" " * short))
        encrypted = age.encrypt(data, [recipient.key for recipient in recipients])
        return Entry(name=name, scope=scope, set_at=at, value=base64.b64encode(encrypted).decode("ascii"))

    def _decrypt(self, entry: Entry, identities: Identities) -> Secret:
        what = f"{entry.name} ({entry.scope})"
        try:
            data = age.decrypt(base64.b64decode(entry.value, validate=True), identities.keys)
            plain = msgspec.json.decode(data, type=_Plain)
        except age.AgeError as error:
            raise SecretsError(
                f"{self.path}: {what} cannot be opened with the key from {identities.place}: {error.message}",
                hint=error.hint or "who can read it adds you with: akashic secret recipients add age1…",
            ) from None
        except (ValueError, msgspec.MsgspecError):
            raise SecretsError(f"{self.path}: the value of {what} is damaged") from None
        if (plain.name, plain.scope, plain.set_at) != (entry.name, entry.scope, entry.set_at):
            raise SecretsError(
                f"{self.path}: the value of {what} was encrypted as another ({plain.name}, {plain.scope}) "
                "or at another time: the file was edited by hand",
                hint="git log shows by whom",
            )
        return Secret(plain.value)

    # The file

    def _read(self) -> Document:
        try:
            with self.path.open("rb") as file:
                data = file.read(FILE_BYTES_MAX + 1)
        except FileNotFoundError:
            return Document()
        except OSError as error:
            raise SecretsError(f"{self.path}: cannot read: {error.strerror}") from None
        return parse(data, str(self.path))

    def _read_for_change(self) -> Document:
        if not self.exists():
            raise UsageError(f"{self.path} does not exist", hint="run akashic secret init")
        document = self._read()
        for recipient in document.recipients:
            check_recipient(recipient.key)
        return document

    def _write(self, document: Document) -> None:
        temporary = self.path.with_name(f"{self.path.name}.{chance.token_hex(6)}.tmp")
        try:
            with temporary.open("xb") as file:
                file.write(render(document))
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self.path)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise SecretsError(f"{self.path}: cannot write: {error.strerror}; it was not changed") from None

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One writer at a time. The folder is locked: the file itself is replaced by each write."""
        try:
            descriptor = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise SecretsError(f"{self.path.parent}: cannot open: {error.strerror}") from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def same_scope(one: str, other: str) -> bool:
    """Whether two names of environments are the same: GitHub's are not case sensitive."""
    return one.casefold() == other.casefold()


def _is(entry: Entry, scope: str, name: str) -> bool:
    return entry.name == name and same_scope(entry.scope, scope)


def _check_value(name: str, value: Secret) -> None:
    if not value:
        raise UsageError(f"the value of {name} is empty; nothing was changed")
    size = len(value.reveal().encode())
    if size > VALUE_BYTES_MAX:
        raise UsageError(f"the value of {name} is {size} bytes long; at most {VALUE_BYTES_MAX} are kept")
