"""Secrets are replaced by `***` where output enters the system, before anything is stored or shown.

Behaviour: GitHub's "Secure use reference" and the runner's secret masker (each secret and each of its lines,
several encodings, overlapping hits become one mask), widened by the forms in `encodings`. Masking is defence
in depth: an encrypted or arbitrarily split secret cannot be found.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable

from akashic.runner.encodings import as_bytes, encodings

MASK = b"***"
_PROBES = 4
# Most text is lower-case words, spaces and digits; a secret's rarest bytes decide fastest that it is absent.
_COMMON_FIRST = b" etaoinsrhldcumfpgwybvk0123456789.-/_:,=\"'jxqzTSAIMCPDRNEBFLOHGUWYVKJXQZ"
_RARITY = {byte: rank for rank, byte in enumerate(_COMMON_FIRST)}


def _probes(needle: bytes) -> tuple[bytes, ...]:
    rarest = sorted(set(needle), key=lambda byte: -_RARITY.get(byte, 256))
    return tuple(bytes((byte,)) for byte in rarest[:_PROBES])


_Needle = tuple[int, bytes, tuple[bytes, ...]]
"""A form's length, the form, and its next rarest bytes."""


class Masker:
    """A growing set of secrets, and the replacement of all their forms. Safe for use by several threads."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._lock = threading.Lock()
        self._forms: frozenset[bytes] = frozenset()
        # By their rarest byte, the shortest first: most text rules most groups out at once.
        self._groups: tuple[tuple[bytes, tuple[_Needle, ...]], ...] = ()
        self._line_prefixes: tuple[bytes, ...] = ()
        self._bytes_max = 0
        self.add(*secrets)

    def add(self, *secrets: str) -> None:
        """Hide these from now on; what is empty or only white space is ignored."""
        with self._lock:
            forms = self._forms.union(*(encodings(secret) for secret in secrets))
            if forms == self._forms:
                return
            self._forms = forms
            groups: dict[bytes, list[_Needle]] = {}
            for form in sorted(forms, key=len):
                first, *others = _probes(form)
                groups.setdefault(first, []).append((len(form), form, tuple(others)))
            self._groups = tuple((first, tuple(needles)) for first, needles in groups.items())
            self._line_prefixes = tuple(
                form[: at + 1] for form in forms for at in range(len(form) - 1) if form[at] == 10
            )
            self._bytes_max = max(map(len, forms))

    def mask(self, data: bytes) -> bytes:
        """`data` with every secret replaced. A secret over several lines leaves one mask a line."""
        hits = self._present(data)
        return _replace(data, hits) if hits else data

    def mask_text(self, text: str) -> str:
        """The same for text; the result can be written as UTF-8."""
        if not self._groups and text.isascii():
            return text
        return self.mask(as_bytes(text)).decode("utf-8", "replace")

    def holds_secret(self, text: str) -> bool:
        """Whether any form of any secret is in `text`."""
        return bool(self._present(as_bytes(text)))

    def pending_lines(self, data: bytes) -> int:
        """How many bytes at the end of `data` (which ends with a newline) could be the beginning of a secret
        over several lines: they wait for what follows."""
        prefixes = self._line_prefixes
        if not prefixes or not data.endswith(prefixes):
            return 0
        return max(len(prefix) for prefix in prefixes if data.endswith(prefix))

    def line_cut(self, data: bytes, cut: int) -> int:
        """The last line start at or before `cut` that no secret in `data` runs across."""
        hits = self._present(data)
        cut = data.rfind(b"\n", 0, cut) + 1
        for begin, end in reversed(_spans(data, hits) if hits else []):
            if begin < cut < end:
                cut = data.rfind(b"\n", 0, begin) + 1
        return cut

    def pending(self, data: bytes) -> int:
        """How many bytes at the end of `data` could be the beginning of any secret."""
        tail = data[-(self._bytes_max - 1) :] if self._bytes_max > 1 else b""
        longest = 0
        for needle in self._forms:
            at = tail.find(needle[:1], max(0, len(tail) - len(needle) + 1))
            while at >= 0 and len(tail) - at > longest:
                if needle.startswith(tail[at:]):
                    longest = len(tail) - at
                    break
                at = tail.find(needle[:1], at + 1)
        return longest

    def _present(self, data: bytes) -> list[bytes]:
        size = len(data)
        seen: dict[bytes, bool] = {}
        hits: list[bytes] = []
        for first, needles in self._groups:
            if first not in data:
                continue
            for length, needle, probes in needles:
                if length > size:
                    break
                for probe in probes:
                    known = seen.get(probe)
                    if known is None:
                        known = seen[probe] = probe in data
                    if not known:
                        break
                else:
                    if needle in data:
                        hits.append(needle)
        return hits


def _spans(data: bytes, needles: list[bytes]) -> list[tuple[int, int]]:
    """Where the needles stand, in order; overlapping and adjacent places are one."""
    found: list[tuple[int, int]] = []
    for needle in needles:
        at = data.find(needle)
        while at >= 0:
            found.append((at, at + len(needle)))
            at = data.find(needle, at + 1)
    found.sort()
    merged = [found[0]]
    for begin, end in found:
        start, last = merged[-1]
        if begin <= last:
            if end > last:
                merged[-1] = (start, end)
        else:
            merged.append((begin, end))
    return merged


def _replace(data: bytes, needles: list[bytes]) -> bytes:
    pieces: list[bytes] = []
    done = 0
    for begin, end in _spans(data, needles):
        pieces.append(data[done:begin])
        lines = data.count(b"\n", begin, end)
        pieces.append(b"\n".join([MASK] * (lines + 1)) if lines else MASK)
        done = end
    pieces.append(data[done:])
    return b"".join(pieces)
