"""Secrets in every form, wherever chunks end."""

from __future__ import annotations

import base64
import hashlib
import json
import shlex
from base64 import b64encode
from urllib.parse import quote, quote_plus
from xml.sax.saxutils import escape, quoteattr

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from akashic.runner.masking import Masker
from akashic.runner.matchers import Matchers
from akashic.runner.output import LineWriter, StepOutput

SECRET = "p@ss w/ \"quotes\" & <signs>+'ticks'%äß=="
secrets = st.text(
    alphabet=st.characters(codec="utf-8", exclude_characters="\0"), min_size=8, max_size=40
).filter(lambda text: len(text.strip()) >= 8 and "*" not in text)


def masked(secret: str, text: str) -> str:
    return Masker([secret]).mask(text.encode()).decode()


@pytest.mark.parametrize(
    "form",
    [
        SECRET,
        json.dumps(SECRET),
        json.dumps(SECRET, ensure_ascii=False),
        json.dumps(json.dumps(SECRET)),
        quote(SECRET),
        quote(SECRET, safe=""),
        quote_plus(SECRET),
        quote(SECRET, safe="").lower().replace("p%40", "p%40"),
        escape(SECRET),
        quoteattr(SECRET),
        shlex.quote(SECRET),
        base64.b64encode(SECRET.encode()).decode(),
        base64.urlsafe_b64encode(SECRET.encode()).decode(),
        base64.b64encode(SECRET.encode() + b"\n").decode(),
        SECRET.encode().hex(),
        SECRET.encode().hex().upper(),
    ],
)
def test_a_secret_is_hidden_in_each_common_form(form: str) -> None:
    shown = masked(SECRET, f"before {form} after")
    assert "***" in shown
    # What may stay of a form are its quotes, never a piece of the secret.
    assert len(shown) < len("before  after") + 12, shown


@given(secret=secrets, before=st.binary(max_size=5), after=st.binary(max_size=5))
def test_base64_of_a_secret_inside_other_bytes_is_hidden_at_every_offset(
    secret: str, before: bytes, after: bytes
) -> None:
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        text = encode(before + secret.encode() + after)
        shown = Masker([secret]).mask(text)
        assert b"***" in shown
        # At most the characters that mix the secret's outer bits with its neighbours' are left.
        assert len(shown.replace(b"***", b"")) <= len(encode(before)) + len(encode(after)) + 8


@given(secret=secrets)
def test_json_url_and_hex_of_any_secret_are_hidden(secret: str) -> None:
    masker = Masker([secret])
    for form in (json.dumps(secret), quote(secret), quote(secret, safe=""), secret.encode().hex()):
        assert b"***" in masker.mask(form.encode()), form


@settings(max_examples=60)
@given(
    secret=secrets,
    around=st.text(alphabet="abc \n", max_size=20),
    cuts=st.lists(st.integers(min_value=0, max_value=200), max_size=6),
)
def test_where_chunks_end_does_not_matter(secret: str, around: str, cuts: list[int]) -> None:
    masker = Masker([secret])
    text = f"{around}{secret}{around}\n{around}{secret}\n".encode()
    whole = collect(masker, [text])
    places = sorted({min(cut, len(text)) for cut in cuts})
    pieces = [text[a:b] for a, b in zip([0, *places], [*places, len(text)], strict=True)]
    assert collect(masker, pieces) == whole
    assert secret.encode() not in whole


def collect(masker: Masker, chunks: list[bytes]) -> bytes:
    out: list[bytes] = []
    output = StepOutput(LineWriter(masker, out.append), masker, Matchers())
    for chunk in chunks:
        output.feed(chunk)
    output.finish()
    return b"".join(out)


def test_each_line_of_a_secret_is_hidden_and_short_lines_are_not() -> None:
    key = "-----BEGIN KEY-----\nMIIabcdefgh\n}\n-----END KEY-----"
    assert masked(key, "x MIIabcdefgh y {}") == "x *** y {}"
    assert masked(key, key) == "***\n***\n***\n***"


def test_a_secret_over_lines_is_hidden_when_each_line_is_a_chunk() -> None:
    masker = Masker(["ab\ncd\nef"])
    assert collect(masker, [b"ab\n", b"cd\n", b"ef\n", b"tail\n"]) == b"***\n***\n***\ntail\n"
    assert collect(masker, [b"ab\n", b"xx\n"]) == b"ab\nxx\n"
    assert collect(masker, [b"ab\n"]) == b"ab\n"


def test_overlapping_and_adjacent_secrets_become_one_mask() -> None:
    masker = Masker(["abcdef", "defghi"])
    assert masker.mask(b"-abcdefghi-") == b"-***-"
    assert masker.mask(b"-abcdefdefghi-") == b"-***-"


def test_empty_and_blank_secrets_hide_nothing() -> None:
    masker = Masker(["", "  ", "\n"])
    assert masker.mask(b"a b\nc") == b"a b\nc"


def test_short_secrets_are_hidden_raw_but_not_in_encodings_of_two_letters() -> None:
    masker = Masker(["xyz"])
    assert masker.mask(b"[xyz]") == b"[***]"
    assert masker.mask(b"zyx eHl6 7879") == b"zyx eHl6 7879" or b"***" in masker.mask(b"eHl6")


def test_output_that_is_not_utf8_passes_unchanged() -> None:
    masker = Masker(["hunter2hunter2"])
    assert masker.mask(b"\xff\xfe hunter2hunter2 \x80") == b"\xff\xfe *** \x80"


def test_a_line_without_end_is_stored_in_pieces_that_leak_nothing() -> None:
    masker = Masker(["hunter2hunter2"])
    out: list[bytes] = []
    output = StepOutput(LineWriter(masker, out.append), masker, Matchers())
    for _ in range(5):
        output.feed(b"x" * (1024 * 1024 - 7) + b"hunter2")
        output.feed(b"hunter2")
    assert out, "memory would grow without bound"
    output.finish()
    assert b"hunter2hunter2" not in b"".join(out).replace(b"\n", b"")


def test_text_and_questions() -> None:
    masker = Masker(["hunter2hunter2"])
    assert masker.mask_text("a hunter2hunter2") == "a ***"
    assert masker.holds_secret("xhunter2hunter2") and not masker.holds_secret("hunter2")


def test_many_secrets_are_found_wherever_they_stand() -> None:
    # Enough of them that they are looked for by words, of every length around a word's, at every alignment.
    secrets = [
        hashlib.sha256(f"{number}".encode()).hexdigest()[:length]
        for number in range(8)
        for length in range(5, 24)
    ]
    masker = Masker(secrets)
    for number, secret in enumerate(secrets):
        for offset in range(17):
            line = b"z" * offset + secret.encode() + b"z" * (number % 9)
            shown = masker.mask(line)
            assert secret.encode() not in shown, (secret, offset)
            assert shown.startswith(b"z" * offset + b"***")


def test_a_private_key_is_masked_in_a_flood_of_text_like_it() -> None:
    key = "-----BEGIN KEY-----\n" + "\n".join(
        b64encode(hashlib.sha384(f"{number}".encode()).digest()).decode() for number in range(25)
    )
    flood = [b64encode(hashlib.sha384(f"other {number}".encode()).digest()) for number in range(2000)]
    lines = key.encode().split(b"\n")
    for number, line in enumerate(lines):
        flood.insert(number * 70 + 3, b"x" * number + line)
    shown = Masker([key]).mask(b"\n".join(flood))
    assert not [line for line in lines if line in shown]
    assert shown.count(b"***") == len(lines)
    assert shown.count(b"\n") == len(flood) - 1
