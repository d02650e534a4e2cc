"""Passwords are kept as scrypt hashes with a salt of their own.

The cost (N=2^14, r=8, p=5: 16 MiB, some 150 ms) is OWASP's equivalent of its first recommendation, chosen
so that several sign-ins at once do not exhaust a small container's memory.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets

LENGTH_MIN = 12
LENGTH_MAX = 200
_N, _R, _P = 2**14, 8, 5
_MEMORY_BYTES_MAX = 64 * 1024 * 1024


def hash_password(password: str) -> str:
    """`scrypt$N$r$p$salt$hash`, salt and hash in base64."""
    salt = secrets.token_bytes(16)
    return "$".join(
        ("scrypt", str(_N), str(_R), str(_P), _encode(salt), _encode(_derive(password, salt, _N, _R, _P)))
    )


def verify_password(password: str, stored: str) -> bool:
    """Whether the password belongs to the stored hash; False, never an error, for a malformed one."""
    try:
        scheme, n, r, p, salt, expected = stored.split("$")
        if scheme != "scrypt":
            return False
        actual = _derive(password, base64.b64decode(salt), int(n), int(r), int(p))
        return hmac.compare_digest(actual, base64.b64decode(expected))
    except ValueError:
        return False


def problem_with(password: str) -> str | None:
    """Why a new password is refused, or None."""
    if len(password) < LENGTH_MIN:
        return f"A password needs at least {LENGTH_MIN} characters."
    if len(password) > LENGTH_MAX:
        return f"A password has at most {LENGTH_MAX} characters."
    return None


def _derive(password: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=n, r=r, p=p, maxmem=_MEMORY_BYTES_MAX, dklen=32)


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode()
