"""What the services answer: fields, errors, older protocols, ends of jobs."""

from __future__ import annotations

import base64
import gzip
import io
import json
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from akashic.journal.archive import ArchiveRefused
from akashic.journal.artifact import ArtifactError
from akashic.journal.caches import CacheScopes


def zipped(**files: bytes) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return made.getvalue()


def test_fields_come_in_either_spelling_numbers_as_text_and_unknown_ones_are_ignored(desk: Any) -> None:
    client = desk.client()
    ids = {"workflowRunBackendId": client.ids["workflow_run_backend_id"],
           "workflowJobRunBackendId": client.ids["workflow_job_run_backend_id"]}  # fmt: skip
    asked = {**ids, "name": "a", "version": 4, "expiresAt": "2023-11-20T00:00:00.123Z", "colour": "red"}
    created = client.twirp("ArtifactService", "CreateArtifact", asked)
    assert created.json()["ok"] is True
    content = zipped(f=b"x")
    client.send("PUT", created.json()["signed_upload_url"], content)
    done = client.twirp(
        "ArtifactService",
        "FinalizeArtifact",
        {**ids, "name": "a", "size": str(len(content)), "hash": {"value": ""}},
    )
    assert done.json()["artifact_id"] == "1"
    listed = client.twirp("ArtifactService", "ListArtifacts", {**ids, "idFilter": "1"}).json()["artifacts"]
    assert [(a["database_id"], a["name"], a["size"]) for a in listed] == [("1", "a", str(len(content)))]
    assert client.twirp("ArtifactService", "ListArtifacts", {**ids, "idFilter": {"value": "2"}}).json() == {
        "artifacts": []
    }


def test_an_artifact_is_refused_when_it_is_not_what_was_announced(desk: Any) -> None:
    client = desk.client()
    named = {**client.ids, "name": "a"}
    address = client.twirp("ArtifactService", "CreateArtifact", {**named, "version": 4}).json()[
        "signed_upload_url"
    ]
    early = client.twirp("ArtifactService", "FinalizeArtifact", {**named, "size": "3"})
    assert (early.status, early.json()["code"]) == (400, "invalid_argument")
    client.send("PUT", address, b"abc")
    assert client.twirp("ArtifactService", "FinalizeArtifact", {**named, "size": "4"}).status == 400
    wrong = client.twirp(
        "ArtifactService", "FinalizeArtifact", {**named, "size": "3", "hash": "sha256:" + "0" * 64}
    )
    assert wrong.status == 400 and "announced" in wrong.json()["msg"]
    assert desk.artifacts.find_all() == []
    assert client.twirp("ArtifactService", "FinalizeArtifact", {**named, "size": "3"}).json()["ok"]
    again = client.twirp("ArtifactService", "FinalizeArtifact", {**named, "size": "3"})
    assert again.json()["artifact_id"] == "1", "the answer to the first call may have been lost"


@pytest.mark.parametrize("name", ["", "..", "a/b", "a\\b", "a:b", "x" * 300, "a\0b"])
def test_a_name_that_is_none_is_refused(desk: Any, name: str) -> None:
    client = desk.client()
    answer = client.twirp("ArtifactService", "CreateArtifact", {**client.ids, "name": name, "version": 4})
    assert (answer.status, answer.json()["code"]) == (400, "invalid_argument")


def test_two_jobs_cannot_make_one_artifact_or_one_cache(desk: Any) -> None:
    first, second = desk.client(key="a"), desk.client(key="b")
    for client, status in ((first, 200), (second, 409), (first, 200)):
        answer = client.twirp("ArtifactService", "CreateArtifact", {**client.ids, "name": "x", "version": 4})
        assert answer.status == status
        answer = client.twirp("CacheService", "CreateCacheEntry", {"key": "k", "version": "v"})
        assert answer.status == status
    assert second.save_cache("k", b"", version="other").json()["ok"]


def test_methods_and_bodies_that_are_none(desk: Any) -> None:
    client = desk.client()
    path = "/twirp/github.actions.results.api.v1.ArtifactService/"
    assert client.send("POST", path + "Explode", client.ids).json()["code"] == "bad_route"
    assert client.send("POST", "/twirp/x.Y/Z", {}).status == 404
    for body in (b"{", b"[]", b"\xff", b'"x"', b"[" * 100_000):
        answer = client.send("POST", path + "ListArtifacts", body, {"Content-Type": "application/json"})
        assert (answer.status, answer.json()["code"]) == (400, "malformed"), body[:10]
    binary = client.send("POST", path + "ListArtifacts", b"", {"Content-Type": "application/protobuf"})
    assert (binary.status, binary.json()["code"]) == (404, "bad_route")
    wrong = client.twirp("ArtifactService", "ListArtifacts", {**client.ids, "id_filter": [1]})
    assert (wrong.status, wrong.json()["code"]) == (400, "invalid_argument")


def test_a_zip_bomb_is_kept_and_never_unpacked(desk: Any, tmp_path: Path) -> None:
    client = desk.client()
    client.upload_artifact("bomb", zipped(big=bytes(100 << 20)))
    (artifact,) = desk.artifacts.find_all()
    target = tmp_path / "target"
    target.mkdir()
    import os

    descriptor = os.open(target, os.O_RDONLY)
    with pytest.raises(ArchiveRefused, match="bomb"):
        desk.artifacts.extract(artifact, descriptor)
    os.close(descriptor)
    assert list(target.iterdir()) == []


def test_old_protocol_several_jobs_add_to_one_artifact(desk: Any, tmp_path: Path) -> None:
    for key, name, content, packed in (
        ("a", "one.txt", b"1" * 9, False),
        ("b", "d/two.txt", b"2" * 9000, True),
    ):
        job = desk.job(key=key)
        client = type(desk.client())(job)
        path = "/_apis/pipelines/workflows/77/artifacts?api-version=6.0-preview"
        created = client.send("POST", path, {"Type": "actions_storage", "Name": "all"})
        assert created.status == 201
        address = created.json()["fileContainerResourceUrl"]
        body = gzip.compress(content) if packed else content
        half = len(body) // 2
        for start, end in ((half, len(body)), (0, half)):
            headers = {"Content-Range": f"bytes {start}-{end - 1}/{len(body)}"}
            if packed:
                headers["Content-Encoding"] = "gzip"
            put = client.send("PUT", f"{address}?itemPath=all/{name}", body[start:end], headers)
            assert put.status in (200, 201), put.body
        patched = client.send("PATCH", path + "&artifactName=all", {"Size": len(body)})
        assert patched.status == 200, patched.body
        job.close()
    client = desk.client(key="c")
    (listed,) = client.send("GET", path).json()["value"]
    items = client.send("GET", listed["fileContainerResourceUrl"] + "?itemPath=all").json()["value"]
    assert sorted(item["path"] for item in items) == ["all/d/two.txt", "all/one.txt"]
    found = {item["path"]: client.send("GET", item["contentLocation"]).body for item in items}
    assert found == {"all/one.txt": b"1" * 9, "all/d/two.txt": b"2" * 9000}
    assert desk.left_over == []


def test_old_protocol_a_file_with_a_hole_is_refused(desk: Any) -> None:
    client = desk.client()
    path = "/_apis/pipelines/workflows/77/artifacts?api-version=6.0-preview"
    address = client.send("POST", path, {"Name": "x"}).json()["fileContainerResourceUrl"]
    client.send("PUT", f"{address}?itemPath=x/f", b"abc", {"Content-Range": "bytes 0-2/6"})
    assert client.send("PATCH", path + "&artifactName=x", {"Size": 6}).status == 400
    assert desk.artifacts.find_all() == []


def test_old_caches(desk: Any) -> None:
    client = desk.client()
    base = "/_apis/artifactcache/"
    assert client.send("GET", base + "cache?keys=k,a&version=v").status == 204
    number = client.send("POST", base + "caches", {"key": "k1", "version": "v"}).json()["cacheId"]
    for start, content in ((3, b"def"), (0, b"abc")):
        headers = {"Content-Range": f"bytes {start}-{start + 2}/*"}
        assert client.send("PATCH", f"{base}caches/{number}", content, headers).status == 204
    assert client.send("POST", f"{base}caches/{number}", {"size": 7}).status == 400
    assert client.send("POST", f"{base}caches/{number}", {"size": 6}).status == 204
    found = client.send("GET", base + "cache?keys=x,k&version=v").json()
    assert (found["cacheKey"], found["scope"]) == ("k1", "refs/heads/main")
    assert client.send("GET", found["archiveLocation"]).body == b"abcdef"
    assert client.send("POST", base + "caches", {"key": "k1", "version": "v"}).status == 409
    assert client.send("GET", base + "caches?key=k").json()["totalCount"] == 1
    assert client.restore_cache("k1") == b"abcdef", "both protocols see the same caches"


def test_when_a_job_ends_what_it_did_not_finish_is_gone_and_free_again(desk: Any) -> None:
    job = desk.job(key="a")
    client = type(desk.client(key="z"))(job)
    created = client.twirp("ArtifactService", "CreateArtifact", {**client.ids, "name": "x", "version": 4})
    client.send("PUT", created.json()["signed_upload_url"], b"half")
    client.twirp("CacheService", "CreateCacheEntry", {"key": "k", "version": "v"})
    client.send("POST", "/_apis/pipelines/workflows/77/artifacts", {"Name": "y"})
    assert len(desk.left_over) == 3
    job.close()
    assert desk.left_over == []
    other = desk.client(key="b")
    other.upload_artifact("x", zipped(f=b"1"))
    assert other.save_cache("k", b"1").json()["ok"]
    assert desk.left_over == []


def test_caches_go_when_they_are_old_or_too_many(tmp_path: Path) -> None:
    from akashic.journal.caches import CacheStore

    time = [1000.0]
    store = CacheStore(tmp_path, now=lambda: time[0], size_bytes_max=250, age_s_max=100)
    scopes = CacheScopes(read=("r",), write="r")
    for name in ("a", "b", "c"):
        time[0] += 1
        folder = store.scratch()
        (folder / "content").write_bytes(name.encode() * 100)
        assert store.adopt(name, "v", scopes, folder / "content") is not None
    assert [entry.key for entry in store.find_all()] == ["c", "b"]
    time[0] += 60
    with store.open(store.find_all(key_prefix="b")[0]) as content:
        assert content.read(1) == b"b"
    time[0] += 60
    store.evict()
    assert [entry.key for entry in store.find_all()] == ["b"], "what was read lately stays"


def test_content_can_be_adopted_once(desk: Any) -> None:
    folder = desk.artifacts.scratch()
    (folder / "content").write_bytes(b"x")
    artifact = desk.artifacts.adopt("x", folder / "content", run_id="1", run_attempt=1)
    assert (artifact.filename, artifact.bytes) == ("x", 1)
    (folder / "content").write_bytes(b"y")
    with pytest.raises(ArtifactError, match="already exists"):
        desk.artifacts.adopt("x", folder / "content", run_id="1", run_attempt=1)


def test_discovery_and_key(desk: Any) -> None:
    pytest.importorskip("cryptography", reason="ID tokens need the package cryptography")
    client = desk.client()
    about = client.send("GET", "/.well-known/openid-configuration", token="").json()
    assert about["issuer"] == client.origin
    keys = client.send("GET", about["jwks_uri"], token="").json()["keys"]
    assert [(key["kty"], key["alg"], key["use"]) for key in keys] == [("RSA", "RS256", "sig")]
    assert set(keys[0]) == {"kty", "alg", "use", "kid", "n", "e"}, "nothing private"


def test_without_the_library_only_who_asks_for_a_token_is_told(
    desk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives", None)
    job = desk.job(permissions={"id-token": "write"})
    variables = job.script_variables()
    client = type(desk.client(key="z"))(job)
    answer = client.send(
        "GET", variables["ACTIONS_ID_TOKEN_REQUEST_URL"], token=variables["ACTIONS_ID_TOKEN_REQUEST_TOKEN"]
    )
    assert answer.status == 400
    assert "extra oidc" in answer.json()["message"]
    assert client.send("GET", "/.well-known/jwks").status == 400
    client.upload_artifact("a", b"the rest works")


def test_a_repository_that_has_no_clear_name_gets_no_token(desk: Any) -> None:
    job = desk.job(permissions="write-all", github_repository="a/b:environment:x")
    variables = job.script_variables()
    answer = type(desk.client(key="z"))(job).send(
        "GET", variables["ACTIONS_ID_TOKEN_REQUEST_URL"], token=variables["ACTIONS_ID_TOKEN_REQUEST_TOKEN"]
    )
    assert (answer.status, answer.json()["code"]) == (403, "permission_denied")
    assert "owner/name" in answer.json()["message"]


def test_who_sends_too_much_is_told_so(desk: Any) -> None:
    client = desk.client()
    path = "/twirp/github.actions.results.api.v1.ArtifactService/ListArtifacts"
    answer = client.send("POST", path, b" " * (5 << 20), {"Content-Type": "application/json"})
    assert answer.status == 413


def test_a_full_disk_is_told_and_nothing_is_kept(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno
    import os

    client = desk.client()
    created = client.twirp("CacheService", "CreateCacheEntry", {"key": "k", "version": "v"}).json()

    def full(*_: Any) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", full)
    put = client.send("PUT", created["signed_upload_url"], b"x")
    assert (put.status, put.headers["x-ms-error-code"]) == (507, "InsufficientStorage")
    number = client.send("POST", "/_apis/artifactcache/caches", {"key": "l", "version": "v"}).json()[
        "cacheId"
    ]
    piece = client.send(
        "PATCH", f"/_apis/artifactcache/caches/{number}", b"x", {"Content-Range": "bytes 0-0/*"}
    )
    assert piece.status == 507 and "No space" in piece.json()["message"]
    monkeypatch.undo()
    assert client.restore_cache("k") is None


def test_buildkit_learns_that_somebody_else_was_faster(desk: Any) -> None:
    """Its client takes a conflict from `typeKey`, or from the words "already exists"; any other error ends a
    build's export."""
    client = desk.client()
    client.save_cache("k", b"x")
    again = client.twirp("CacheService", "CreateCacheEntry", {"key": "k", "version": "v"})
    number = client.send("POST", "/_apis/artifactcache/caches", {"key": "k", "version": "toolkit"})
    assert number.status == 201, "another version is another cache"
    older = client.send("POST", "/_apis/artifactcache/caches", {"key": "k", "version": "v"})
    for answer in (again, older):
        assert answer.status == 409
        assert "already exists" in answer.json()["message"] and "AlreadyExists" in answer.json()["typeKey"]


def test_the_token_tells_buildkit_its_scopes_and_its_time(desk: Any) -> None:
    client = desk.client(
        github_event_name="pull_request", github_ref="refs/pull/7/merge", github_base_ref="main"
    )
    claims = json.loads(base64.urlsafe_b64decode(client.token.split(".")[1] + "=="))
    assert json.loads(claims["ac"]) == [
        {"Scope": "refs/pull/7/merge", "Permission": 3},
        {"Scope": "refs/heads/main", "Permission": 1},
    ]
    assert claims["nbf"] <= desk.clock.time < claims["exp"]


def test_a_cache_that_lost_a_part_is_removed_and_not_handed_out(desk: Any) -> None:
    client = desk.client()
    client.save_cache("k", b"content")
    (stored,) = (desk.folder / "caches").rglob("content.tar")
    stored.write_bytes(b"cont")
    found = client.twirp("CacheService", "GetCacheEntryDownloadURL", {"key": "k", "version": "v"}).json()
    assert client.send("GET", found["signed_download_url"]).status == 404
    assert client.restore_cache("k") is None


def test_more_connections_than_there_may_be_are_turned_away(
    desk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import socket
    from urllib.parse import urlsplit

    from akashic.toolkit import server

    monkeypatch.setattr(server, "CONNECTIONS_MAX", 2)
    client = desk.client()
    place = urlsplit(client.origin)
    held = [socket.create_connection((place.hostname, place.port), timeout=10) for _ in range(2)]
    with socket.create_connection((place.hostname, place.port), timeout=10) as third:
        assert third.recv(100).startswith(b"HTTP/1.1 503 ")
    for connection in held:
        connection.close()
    for _ in range(100):
        try:
            answer = client.twirp("ArtifactService", "ListArtifacts", client.ids)
        except ConnectionError:
            continue
        if answer.status == 200:
            return
    pytest.fail("the places of those that have gone were never free again")
