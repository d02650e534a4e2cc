"""The key that signs ID tokens: made at the first use, kept for this user only.

It lies beside the key of the secrets file, not in the state folder, which is given to every job: who reads
the key can say anything of a job. A container sees neither; a job on the host that looks for it finds it, as
it finds everything of its user. Source: RFC 7518 (RS256), RFC 7638 (thumbprints).
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from akashic.errors import AkashicError
from akashic.toolkit.tokens import encode

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

KEY_BITS = 2048
KEY_BYTES_MAX = 64 * 1024


class SigningKey:
    """An RSA key."""

    def __init__(self, private: RSAPrivateKey) -> None:
        self._private = private
        numbers = private.public_key().public_numbers()
        self._public = {"e": _number(numbers.e), "kty": "RSA", "n": _number(numbers.n)}
        self.id = encode(hashlib.sha256(msgspec.json.encode(self._public)).digest())

    def sign(self, data: bytes) -> bytes:
        """The RS256 signature."""
        from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
        from cryptography.hazmat.primitives.hashes import SHA256

        return self._private.sign(data, PKCS1v15(), SHA256())

    def jwks(self) -> dict[str, Any]:
        """The public half, as relying parties read it."""
        return {"keys": [{**self._public, "use": "sig", "alg": "RS256", "kid": self.id}]}


def key_path(environ: Mapping[str, str]) -> Path:
    """Where the key of this user lies, whether it exists or not."""
    home = environ.get("HOME") or str(Path.home())
    return Path(environ.get("XDG_CONFIG_HOME") or f"{home}/.config") / "akashic" / "oidc-key.pem"


def load_or_make(path: Path) -> SigningKey:
    """The key at `path`, made when there is none. Raises AkashicError when the library is missing, others
    may read the key, or it is none."""
    try:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import rsa
    except ImportError:
        raise AkashicError(
            "ID tokens (permissions: id-token: write) need the Python package cryptography",
            hint="Install it into the environment that akashic runs in, or install akashic's extra oidc.",
        ) from None
    if not path.exists():
        private = rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS)
        _write_once(
            path,
            private.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            ),
        )
    try:
        with path.open("rb") as file:
            if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077:
                raise AkashicError(
                    f"{path}: others can read the key that signs ID tokens",
                    hint=f"Remove it, so that a new one is made, or: chmod 600 {path}",
                )
            found = serialization.load_pem_private_key(file.read(KEY_BYTES_MAX), password=None)
    except (OSError, ValueError) as error:
        raise AkashicError(f"{path}: the key that signs ID tokens cannot be read: {error}") from error
    if not isinstance(found, rsa.RSAPrivateKey):
        raise AkashicError(f"{path}: expected an RSA key")
    return SigningKey(found)


def _write_once(path: Path, content: bytes) -> None:
    """Two who make a key at once end with the same one."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fresh = path.with_name(f".{path.name}-{os.urandom(6).hex()}")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with open(descriptor, "wb") as file:
                file.write(content)
            with suppress(FileExistsError):
                os.link(fresh, path)
        finally:
            fresh.unlink()
    except OSError as error:
        raise AkashicError(
            f"{path}: the key that signs ID tokens cannot be kept: {error.strerror}"
        ) from error


def _number(value: int) -> str:
    return encode(value.to_bytes((value.bit_length() + 7) // 8, "big"))
