"""The age format, through pyrage: the one place where values are encrypted and decrypted.

The library is an extra (`secrets`) and is loaded when the first value needs it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from akashic.errors import AkashicError


class AgeError(AkashicError):
    """The library is not installed, or refuses a key or a text. Never holds either."""


def generate() -> tuple[str, str]:
    """A new identity and its recipient."""
    identity = _pyrage().x25519.Identity.generate()
    return str(identity), str(identity.to_public())


def recipient_of(identity: str) -> str:
    """The public half of an identity. Raises AgeError."""
    return str(_identity(identity).to_public())


def check_recipient(recipient: str) -> None:
    """Raises AgeError when it is none."""
    _recipient(recipient)


def encrypt(data: bytes, recipients: Sequence[str]) -> bytes:
    """The age file (binary) that each recipient can open. Raises AgeError."""
    keys = [_recipient(recipient) for recipient in recipients]
    encrypted: bytes = _pyrage().encrypt(data, keys)
    return encrypted


def decrypt(data: bytes, identities: Sequence[str]) -> bytes:
    """What is in an age file. Raises AgeError when no identity opens it, or it is damaged."""
    library = _pyrage()
    keys = [_identity(identity) for identity in identities]
    try:
        opened: bytes = library.decrypt(data, keys)
    except library.DecryptError:
        raise AgeError("no key opens it, or it is damaged") from None
    return opened


def _identity(text: str) -> Any:
    library = _pyrage()
    try:
        return library.x25519.Identity.from_str(text)
    except library.IdentityError:
        raise AgeError("not an age secret key") from None


def _recipient(text: str) -> Any:
    library = _pyrage()
    try:
        return library.x25519.Recipient.from_str(text)
    except library.RecipientError:
        raise AgeError("not an age recipient") from None


def _pyrage() -> Any:
    try:
        import pyrage  # type: ignore[import-untyped]
    except ImportError:
        raise AgeError(
            "secrets need the age library", hint="pip install '.[local]' in a checkout of Akashic brings it"
        ) from None
    return pyrage
