"""Uploads and downloads in the words of Azure's Blob service."""

from __future__ import annotations

import base64
import hashlib
import random
import threading
from collections.abc import Callable
from email.utils import formatdate
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from akashic.toolkit.blobs import http_date

JS_PREFIX = b"0d2ea3a4-2a1c-4b4d-9a5e-111111111111"


def js_id(number: int) -> str:
    """A block's name as @azure/storage-blob makes it."""
    return base64.b64encode(JS_PREFIX + str(number).rjust(48 - len(JS_PREFIX), "0").encode()).decode()


def go_id(number: int) -> str:
    """A block's name as Go's azblob makes it."""
    return base64.b64encode(bytes(range(16)) + number.to_bytes(4, "big")).decode()


def free_id(number: int) -> str:
    """A name that tells nothing."""
    return base64.b64encode(bytes([number])).decode()


def block_list(names: list[str]) -> bytes:
    inner = "".join(f"<Latest>{name}</Latest>" for name in names)
    return f'<?xml version="1.0" encoding="utf-8" standalone="yes"?><BlockList>{inner}</BlockList>'.encode()


def quoted(name: str) -> str:
    return name.replace("+", "%2B").replace("/", "%2F").replace("=", "%3D")


@pytest.fixture
def sent(desk: Any) -> Callable[..., bytes]:
    """Send blocks into a cache and give back what is stored."""

    def send(blocks: dict[str, bytes], order: list[str], arrival: list[str], name: str = "k") -> bytes:
        client = desk.client()
        fields = {"key": name, "version": "v"}
        address = client.twirp("CacheService", "CreateCacheEntry", fields).json()["signed_upload_url"]
        for block in arrival:
            put = client.send("PUT", f"{address}&comp=block&blockid={quoted(block)}", blocks[block])
            assert put.status == 201, put.body
        put = client.send("PUT", f"{address}&comp=blocklist", block_list(order))
        assert put.status == 201 and put.headers["etag"], put.body
        done = client.twirp("CacheService", "FinalizeCacheEntryUpload", fields)
        assert done.json()["ok"], done.body
        content: bytes | None = client.restore_cache(name)
        assert content is not None
        return content

    return send


@pytest.mark.parametrize("make_id", [js_id, go_id, free_id])
def test_blocks_in_any_order_become_what_the_list_says(
    sent: Callable[..., bytes], make_id: Callable[[int], str]
) -> None:
    chance = random.Random(7)
    blocks = {make_id(n): chance.randbytes(5000 if n < 11 else 123) for n in range(12)}
    order = list(blocks)
    for number in range(4):
        arrival = order.copy()
        chance.shuffle(arrival)
        assert sent(blocks, order, arrival, f"key {number}") == b"".join(blocks.values())


def test_a_list_may_leave_blocks_out_and_name_them_in_another_order(sent: Callable[..., bytes]) -> None:
    blocks = {js_id(n): bytes([65 + n]) * 1000 for n in range(5)}
    order = [js_id(3), js_id(0), js_id(4)]
    assert sent(blocks, order, list(blocks)) == b"D" * 1000 + b"A" * 1000 + b"E" * 1000


def test_a_block_that_is_sent_again_replaces_the_first(desk: Any) -> None:
    client = desk.client()
    fields = {"key": "k", "version": "v"}
    address = client.twirp("CacheService", "CreateCacheEntry", fields).json()["signed_upload_url"]
    for content in (b"a" * 900, b"b" * 700, b"c" * 900):
        client.send("PUT", f"{address}&comp=block&blockid={quoted(js_id(0))}", content)
    client.send("PUT", f"{address}&comp=block&blockid={quoted(js_id(1))}", b"d" * 10)
    for _ in range(2):
        put = client.send("PUT", f"{address}&comp=blocklist", block_list([js_id(0), js_id(1)]))
        assert put.status == 201
    client.twirp("CacheService", "FinalizeCacheEntryUpload", {**fields, "size_bytes": 910})
    assert client.restore_cache("k") == b"c" * 900 + b"d" * 10


def test_blocks_that_come_at_once_do_not_disturb_each_other(desk: Any) -> None:
    client = desk.client()
    fields = {"key": "k", "version": "v"}
    address = client.twirp("CacheService", "CreateCacheEntry", fields).json()["signed_upload_url"]
    blocks = {js_id(n): random.Random(n).randbytes(300_000) for n in range(24)}
    waiting = list(blocks.items())

    def work() -> None:
        while waiting:
            name, content = waiting.pop()
            client.send("PUT", f"{address}&comp=block&blockid={quoted(name)}", content)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    client.send("PUT", f"{address}&comp=blocklist", block_list(list(blocks)))
    client.twirp("CacheService", "FinalizeCacheEntryUpload", fields)
    assert client.restore_cache("k") == b"".join(blocks.values())


def test_a_list_that_names_what_was_not_sent_is_refused(desk: Any) -> None:
    client = desk.client()
    address = client.twirp("CacheService", "CreateCacheEntry", {"key": "k", "version": "v"}).json()[
        "signed_upload_url"
    ]
    put = client.send("PUT", f"{address}&comp=blocklist", block_list([js_id(0)]))
    assert (put.status, put.headers["x-ms-error-code"]) == (400, "InvalidBlockList")
    assert b"<Code>InvalidBlockList</Code>" in put.body
    for body in (b"<BlockList><Latest>%%</Latest></BlockList>", b"", b"<!DOCTYPE x><BlockList></BlockList>"):
        put = client.send("PUT", f"{address}&comp=blocklist", body)
        assert (put.status, put.headers["x-ms-error-code"]) == (400, "InvalidXmlDocument")


def test_a_digest_that_is_given_is_checked(desk: Any) -> None:
    client = desk.client()
    address = client.twirp("CacheService", "CreateCacheEntry", {"key": "k", "version": "v"}).json()[
        "signed_upload_url"
    ]
    good = base64.b64encode(hashlib.md5(b"content", usedforsecurity=False).digest()).decode()
    assert client.send("PUT", address, b"contenT", {"Content-MD5": good}).status == 400
    assert client.send("PUT", address, b"content", {"Content-MD5": good}).status == 201


@pytest.fixture
def stored(desk: Any) -> tuple[Any, str]:
    """A client and the address of 1,000 bytes."""
    client = desk.client()
    client.save_cache("k", bytes(range(250)) * 4)
    found = client.twirp("CacheService", "GetCacheEntryDownloadURL", {"key": "k", "version": "v"})
    return client, found.json()["signed_download_url"]


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [
        ("bytes=0-9", 0, 9),
        ("bytes=990-", 990, 999),
        ("bytes=-5", 995, 999),
        ("bytes=900-5000", 900, 999),
        ("bytes=-5000", 0, 999),
    ],
)
@pytest.mark.parametrize("header", ["Range", "x-ms-range"])
def test_parts_are_read(stored: tuple[Any, str], asked: str, first: int, last: int, header: str) -> None:
    client, address = stored
    got = client.send("GET", address, headers={header: asked})
    assert got.status == 206
    assert got.headers["content-range"] == f"bytes {first}-{last}/1000"
    assert got.body == (bytes(range(250)) * 4)[first : last + 1]
    assert got.headers["x-ms-blob-type"] == "BlockBlob"


@pytest.mark.parametrize(
    "asked", ["bytes=1000-", "bytes=5-4", "bytes=0-1,3-4", "bytes=-", "lines=1-2", "bytes=-0"]
)
def test_a_part_that_is_not_there_is_refused(stored: tuple[Any, str], asked: str) -> None:
    client, address = stored
    assert client.send("GET", address, headers={"Range": asked}).status == 416


def test_head_tells_the_size_and_if_match_keeps_a_reader_on_one_blob(stored: tuple[Any, str]) -> None:
    client, address = stored
    head = client.send("HEAD", address, headers={"x-ms-client-request-id": "abc"})
    assert (head.status, head.headers["content-length"], head.body) == (200, "1000", b"")
    assert head.headers["x-ms-client-request-id"] == "abc"
    tag = head.headers["etag"]
    assert client.send("GET", address, headers={"If-Match": tag}).status == 200
    assert client.send("GET", address, headers={"If-Match": '"another"'}).status == 412


def test_a_body_in_chunks_is_taken(desk: Any) -> None:
    client = desk.client()
    created = client.twirp("CacheService", "CreateCacheEntry", {"key": "k", "version": "v"}).json()
    pieces = iter([b"one ", b"two ", b"three" * 50_000])
    assert client.send("PUT", created["signed_upload_url"], pieces).status == 201
    client.twirp("CacheService", "FinalizeCacheEntryUpload", {"key": "k", "version": "v"})
    assert client.restore_cache("k") == b"one two " + b"three" * 50_000


def test_blocks_that_come_in_chunks_are_taken(desk: Any) -> None:
    client = desk.client()
    fields = {"key": "k", "version": "v"}
    address = client.twirp("CacheService", "CreateCacheEntry", fields).json()["signed_upload_url"]
    for number in (1, 0):
        pieces = iter([bytes([65 + number]) * 1000] * 3)
        put = client.send("PUT", f"{address}&comp=block&blockid={quoted(js_id(number))}", pieces)
        assert put.status == 201, put.body
    client.send("PUT", f"{address}&comp=blocklist", block_list([js_id(0), js_id(1)]))
    client.twirp("CacheService", "FinalizeCacheEntryUpload", fields)
    assert client.restore_cache("k") == b"A" * 3000 + b"B" * 3000


@given(st.integers(0, 4_102_444_800))
def test_dates_are_written_as_the_standard_library_writes_them(seconds: int) -> None:
    assert http_date(seconds) == formatdate(seconds, usegmt=True)
