"""Secrets are replaced by `***` where output enters the system, before anything is stored or shown.

Behaviour: GitHub's "Secure use reference" and the runner's secret masker (each secret and each of its lines,
several encodings, overlapping hits become one mask), widened by the forms in `encodings`. Masking is defence
in depth: an encrypted or arbitrarily split secret cannot be found.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable
from typing import Literal

from akashic.runner.encodings import as_bytes, encodings

MASK = b"***"
_PROBES = 4
_Kind = Literal["I", "Q"]
_WORDS: tuple[tuple[int, _Kind], ...] = ((4, "I"), (8, "Q"))
"""Lengths of words in bytes, and what `memoryview.cast` calls them."""
_MANY = 32
"""More forms are looked for by words: to look at all words of the data costs as much as 36 searches."""
# Most text is lower-case words, spaces and digits; a secret's rarest bytes decide fastest that it is absent.
_COMMON_FIRST = b" etaoinsrhldcumfpgwybvk0123456789.-/_:,=\"'jxqzTSAIMCPDRNEBFLOHGUWYVKJXQZ"
_RARITY = {byte: rank for rank, byte in enumerate(_COMMON_FIRST)}


def _probes(needle: bytes) -> tuple[bytes, ...]:
    rarest = sorted(set(needle), key=lambda byte: -_RARITY.get(byte, 256))
    return tuple(bytes((byte,)) for byte in rarest[:_PROBES])


_Needle = tuple[int, bytes, tuple[bytes, ...]]
"""A form's length, the form, and its next rarest bytes."""


class _WordIndex:
    """Forms by some of their words, so that the cost of looking for them does not depend on their number.

    Wherever a form of twice a word's length less one stands, it covers a whole aligned word of the data, and
    that is one of as many words in a row of the form as a word has bytes.
    """

    def __init__(self, word_bytes: int, kind: _Kind) -> None:
        self._word_bytes = word_bytes
        self._kind = kind
        self.length_min = 2 * word_bytes - 1
        self._forms: dict[int, list[bytes]] = {}

    def add(self, form: bytes) -> None:
        # From the middle: the begin of a key or of an address is what others have, too.
        first = (len(form) - self.length_min) // 2
        for at in range(first, first + self._word_bytes):
            word = int.from_bytes(form[at : at + self._word_bytes], sys.byteorder)
            self._forms.setdefault(word, []).append(form)

    def present(self, data: bytes) -> list[bytes]:
        """The forms that stand in `data`."""
        aligned = len(data) // self._word_bytes * self._word_bytes
        words = memoryview(data)[:aligned].cast(self._kind).tolist()
        known = self._forms
        if known.keys().isdisjoint(words):
            return []
        candidates = {form for word in words if word in known for form in known[word]}
        return [form for form in candidates if form in data]


class Masker:
    """A growing set of secrets, and the replacement of all their forms. Safe for use by several threads."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._lock = threading.Lock()
        self._forms: frozenset[bytes] = frozenset()
        # By their rarest byte, the shortest first: most text rules most groups out at once.
        self._groups: tuple[tuple[bytes, tuple[tuple[_Needle, ...], ...]], ...] = ()
        self._indexes: tuple[_WordIndex, ...] = ()
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
            indexes = tuple(_WordIndex(*word) for word in _WORDS)
            groups: dict[bytes, tuple[list[_Needle], ...]] = {}
            for form in sorted(forms, key=len):
                first, *others = _probes(form)
                size = sum(len(form) >= index.length_min for index in indexes)
                kinds = groups.setdefault(first, tuple([] for _ in range(len(indexes) + 1)))
                kinds[size].append((len(form), form, tuple(others)))
                if size:
                    indexes[size - 1].add(form)
            self._indexes = indexes
            self._groups = tuple((first, tuple(map(tuple, kinds))) for first, kinds in groups.items())
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
        possible = [kinds for first, kinds in self._groups if first in data]
        wanted = [kinds[0] for kinds in possible]
        hits: list[bytes] = []
        for number, index in enumerate(self._indexes, 1):
            if sum(len(kinds[number]) for kinds in possible) > _MANY:
                hits += index.present(data)
            else:
                wanted += [kinds[number] for kinds in possible]
        return hits + _present_one_by_one(wanted, data)


def _present_one_by_one(wanted: list[tuple[_Needle, ...]], data: bytes) -> list[bytes]:
    size = len(data)
    seen: dict[bytes, bool] = {}
    hits: list[bytes] = []
    for needles in wanted:
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
