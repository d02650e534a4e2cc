"""The name of a branch as one label of a host name (RFC 1035): what a preview is called."""

from __future__ import annotations

import hashlib
import re

SLUG_CHARACTERS_MAX = 40
HASH_CHARACTERS = 6


def slug_of(branch: str) -> str:
    """At most 40 of a–z, 0–9 and inner dashes. Slashes become dashes; a name that loses more than that ends
    with a part of its hash, so that `Fix_1` and `fix-1` are two."""
    plain = re.sub(r"[^a-z0-9]+", "-", branch.lower()).strip("-")
    if plain == branch.replace("/", "-") and len(plain) <= SLUG_CHARACTERS_MAX:
        return plain
    digest = hashlib.sha256(branch.encode("utf-8", "surrogatepass")).hexdigest()[:HASH_CHARACTERS]
    short = plain[: SLUG_CHARACTERS_MAX - HASH_CHARACTERS - 1].strip("-")
    return f"{short}-{digest}".strip("-")
