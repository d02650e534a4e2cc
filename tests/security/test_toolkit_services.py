"""Attacks 1, 2, 9, 12, 14, 15, 17 and 27 against the services that actions call."""

from __future__ import annotations

import base64
import io
import json
import socket
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from akashic.errors import AkashicError
from akashic.journal.archive import ArchiveRefused
from akashic.toolkit.oidc import job_claims, subject, wants_tokens
from akashic.toolkit.server import HttpServer
from tests.toolkit import conftest as house
from tests.toolkit.conftest import checkout, desk, probe

__all__ = ["checkout", "desk", "probe"]


NAMES = ["..", "../../x", "/etc/passwd", "a/../../x", "%2e%2e/x", "..%2fx", "a\0b", "C:\\x", "e\u0301/../x"]


@pytest.fixture
def world(desk: Any, tmp_path: Path) -> Iterator[Any]:
    """The services, with watched folders around their stores: nothing may appear in them."""
    yield desk
    around = {path for path in tmp_path.rglob("*") if desk.folder not in (path, *path.parents)}
    assert around <= {desk.folder.parent, desk.folder.parent.parent}


@pytest.mark.parametrize("name", NAMES)
def test_attack_1_names_never_become_paths(world: Any, name: str) -> None:
    client = world.client()
    created = client.twirp("ArtifactService", "CreateArtifact", {**client.ids, "name": name, "version": 4})
    if created.status == 200:
        # `%2e%2e…` without a slash is a name like any other, as it is.
        assert name.isprintable() and "/" not in name and name != ".."
    base = client.send("POST", "/_apis/pipelines/workflows/77/artifacts", {"Name": "x"}).json()
    for item in (name, f"x/{name}", f"{name}/x"):
        target = f"{base['fileContainerResourceUrl']}?itemPath={quote(item, safe='')}"
        client.send("PUT", target, b"evil", {"Content-Range": "bytes 0-3/4"})
    client.send("PATCH", "/_apis/pipelines/workflows/77/artifacts?artifactName=x", {"Size": 4})
    assert client.save_cache(name, b"evil").status == 200, "keys are no paths, whatever they hold"
    assert client.restore_cache(name) == b"evil"
    stored = {path.name for path in (world.folder / "caches").rglob("*") if path.is_file()}
    assert stored <= {"manifest.json", "content.tar", ".lock"}


@pytest.mark.parametrize(
    "path",
    [
        "/blob/../../../etc/passwd",
        "/blob/a/..",
        "/blob//x",
        "/blob/a/%2e%2e",
        "/blob/a/b%00",
        "//etc/passwd",
        "/./twirp",
        "/_apis/resources/containers/%2e%2e%2f1",
        "http://elsewhere/blob/a/b",
        "/blob/a/b;.x",
        "/blob/a\\..\\b/c",
    ],
)
def test_attack_1_and_30_a_path_that_is_not_plain_leads_nowhere(world: Any, path: str) -> None:
    assert _raw(world.client(), f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()).startswith(b"HTTP/1.1 40")


def test_attack_2_no_request_without_a_token_is_answered(desk: Any) -> None:
    client = desk.client()
    client.save_cache("k", b"secret")
    client.upload_artifact("a", b"secret")
    routes = [
        ("POST", "/twirp/github.actions.results.api.v1.ArtifactService/ListArtifacts"),
        ("POST", "/twirp/github.actions.results.api.v1.CacheService/GetCacheEntryDownloadURL"),
        ("GET", "/_apis/pipelines/workflows/77/artifacts"),
        ("GET", "/_apis/resources/containers/1"),
        ("GET", "/_apis/artifactcache/cache?keys=k&version=v"),
        ("GET", f"/idtoken/{client.ids['workflow_job_run_backend_id']}"),
        ("GET", "/blob/a/content-0"),
        ("PUT", "/blob/a/upload-0"),
        ("GET", "/"),
        ("OPTIONS", "/twirp/x/y"),
    ]
    forged = _forge(client.token, {"alg": "none"})
    for method, path in routes:
        for token in ("", "x", "a.b.c", forged, client.token[:-2], client.token + "x"):
            answer = client.send(method, path, b"{}" if method == "POST" else None, token=token)
            assert answer.status in (401, 403, 404), (method, path, answer.status)
            assert b"secret" not in answer.body


@pytest.mark.parametrize("address", ["", "0.0.0.0", "::", "*"])
def test_attack_2_there_is_no_wildcard_listener(address: str) -> None:
    server = HttpServer(lambda request: pytest.fail("reached"), lambda request, error: pytest.fail("reached"))
    with pytest.raises(AkashicError, match="never listen on every address"):
        server.listen(address)


def test_attack_2_only_the_address_that_was_asked_for_listens(desk: Any) -> None:
    place = urlsplit(desk.client().origin)
    assert place.hostname == "127.0.0.1"
    listening = [
        line.split()[1]
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]
        if line.split()[3] == "0A" and line.split()[1].endswith(f":{place.port:04X}")
    ]
    assert listening == [f"0100007F:{place.port:04X}"]


@pytest.mark.parametrize("change", ["se", "sp", "sig", "name", "job"])
def test_attack_2_a_signed_address_is_good_for_nothing_else(desk: Any, change: str) -> None:
    client, other = desk.client(), desk.client(key="other")
    client.save_cache("k", b"content")
    found = client.twirp("CacheService", "GetCacheEntryDownloadURL", {"key": "k", "version": "v"})
    address = found.json()["signed_download_url"]
    assert client.send("GET", address).body == b"content"
    parts = urlsplit(address)
    _, blob, job, name = parts.path.split("/")
    query = dict(pair.split("=") for pair in parts.query.split("&"))
    if change == "job":
        job = other.ids["workflow_job_run_backend_id"]
    elif change == "name":
        name = name[:-1] + ("0" if name[-1] != "0" else "1")
    elif change == "se":
        query["se"] = str(int(query["se"]) + 1)
    elif change == "sp":
        query["sp"] = "w"
    else:
        query["sig"] = query["sig"][:-2] + "AA"
    changed = f"/{blob}/{job}/{name}?" + "&".join(f"{name}={value}" for name, value in query.items())
    assert client.send("GET", changed).status == 403
    assert client.send("PUT", address, b"evil").status == 403, "reading is not writing"


def test_attack_2_a_signed_address_expires(desk: Any) -> None:
    client = desk.client()
    client.save_cache("k", b"content")
    found = client.twirp("CacheService", "GetCacheEntryDownloadURL", {"key": "k", "version": "v"})
    desk.clock.time += 3601
    assert client.send("GET", found.json()["signed_download_url"]).status == 403


def test_attack_9_a_fork_writes_no_cache_and_gets_no_id_token(desk: Any) -> None:
    asked = {"trust": "fork", "permissions": {"id-token": "write"}, "github_event_name": "pull_request",
             "github_ref": "refs/pull/7/merge", "github_base_ref": "main"}  # fmt: skip
    desk.client().save_cache("deps", b"good")
    job = desk.job(**asked, key="fork")
    client = house.Client(job)
    assert job.script_variables() == {}
    assert not [name for name in job.action_variables() if "ID_TOKEN" in name]
    assert client.restore_cache("deps") == b"good"
    denied = client.save_cache("deps-2", b"evil").json()
    assert denied["ok"] is False and denied["message"].startswith("cache write denied:")
    old = client.send("POST", "/_apis/artifactcache/caches", {"key": "deps-2", "version": "v"})
    assert old.status == 403
    answer = client.send("GET", f"/idtoken/{client.ids['workflow_job_run_backend_id']}?audience=x")
    assert answer.status == 401
    assert not wants_tokens(house.make_request(**asked))
    assert not wants_tokens(house.make_request(**{**asked, "permissions": "write-all"}))
    assert [entry.key for entry in desk.caches.find_all()] == ["deps"]


def test_attack_12_a_token_opens_its_own_run_and_job_only(desk: Any) -> None:
    mine, other = desk.client(), desk.client(run_id="78", github_run_id="78")
    other.upload_artifact("private", b"secret")
    asked = {"workflow_run_backend_id": other.ids["workflow_run_backend_id"]}
    answer = mine.twirp("ArtifactService", "ListArtifacts", {**mine.ids, **asked})
    assert (answer.status, answer.json()["code"]) == (403, "permission_denied")
    for method in ("GetSignedArtifactURL", "DeleteArtifact"):
        assert mine.twirp("ArtifactService", method, {**mine.ids, "name": "private"}).status == 404
        assert mine.twirp("ArtifactService", method, {**other.ids, "name": "private"}).status == 403
    assert mine.send("GET", "/_apis/pipelines/workflows/78/artifacts").status == 403
    (kept,) = desk.artifacts.find_all()
    assert mine.send("GET", f"/_apis/resources/containers/{kept.id}").status == 404
    sibling = desk.client(key="sibling")
    for method in ("CreateArtifact", "FinalizeArtifact"):
        wrong = {**sibling.ids, "name": "x", "version": 4, "size": "0"}
        assert mine.twirp("ArtifactService", method, wrong).status == 403


def test_attack_12_a_job_cannot_finish_what_another_began(desk: Any) -> None:
    first, second = desk.client(key="first"), desk.client(key="second")
    created = first.twirp("CacheService", "CreateCacheEntry", {"key": "k", "version": "v"})
    first.send("PUT", created.json()["signed_upload_url"], b"x")
    number = first.send("POST", "/_apis/artifactcache/caches", {"key": "l", "version": "v"}).json()["cacheId"]
    finish = {"key": "k", "version": "v", "size_bytes": "1"}
    assert second.twirp("CacheService", "FinalizeCacheEntryUpload", finish).status == 404
    headers = {"Content-Range": "bytes 0-0/*"}
    assert second.send("PATCH", f"/_apis/artifactcache/caches/{number}", b"e", headers).status == 404
    box = first.send("POST", "/_apis/pipelines/workflows/77/artifacts", {"Name": "x"}).json()
    target = box["fileContainerResourceUrl"] + "?itemPath=x/f"
    assert second.send("PUT", target, b"e", {"Content-Range": "bytes 0-0/1"}).status == 404


def test_attack_12_a_token_dies_with_its_job(desk: Any) -> None:
    job = desk.job()
    client = house.Client(job)
    client.save_cache("k", b"x")
    found = client.twirp("CacheService", "GetCacheEntryDownloadURL", {"key": "k", "version": "v"}).json()
    created = client.twirp("CacheService", "CreateCacheEntry", {"key": "l", "version": "v"}).json()
    job.close()
    assert client.twirp("ArtifactService", "ListArtifacts", client.ids).status == 401
    assert client.send("GET", found["signed_download_url"]).status == 403
    assert client.send("PUT", created["signed_upload_url"], b"late").status == 403
    later = desk.client(attempt=2)
    assert client.twirp("ArtifactService", "ListArtifacts", client.ids).status == 401, (
        "nor for the next attempt"
    )
    assert later.ids != client.ids


def test_attack_12_a_token_that_leaked_from_one_job_opens_nothing_in_the_next(checkout: Any) -> None:
    place = checkout("v4")
    place.commit(
        """
on: push
jobs:
  first:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v4
      - uses: ./.github/actions/probe
        with:
          script: |
            const {ACTIONS_RESULTS_URL: url, ACTIONS_RUNTIME_TOKEN: token} = process.env
            const list = url + 'twirp/github.actions.results.api.v1.ArtifactService/ListArtifacts'
            const [, run, job] = JSON.parse(Buffer.from(token.split('.')[1], 'base64url')).scp.split(':')
            const request = {
              method: 'POST',
              headers: {authorization: 'Bearer ' + token, 'content-type': 'application/json'},
              body: JSON.stringify({workflow_run_backend_id: run, workflow_job_run_backend_id: job})
            }
            console.log('mine ' + (await fetch(list, request)).status)
            fs.writeFileSync(process.env.AKASHIC_STATE + '/leaked.json', JSON.stringify({list, request}))
  second:
    runs-on: ubuntu-latest
    needs: first
    steps:
      - uses: actions/checkout@v4
      - uses: ./.github/actions/probe
        with:
          script: |
            const {list, request} = JSON.parse(fs.readFileSync(process.env.AKASHIC_STATE + '/leaked.json'))
            console.log('leaked ' + (await fetch(list, request)).status)
"""
    )
    output = place.akashic("run", "push")
    assert "mine 200" in output and "leaked 401" in output


def test_attack_12_a_token_expires_with_the_job_s_time(desk: Any) -> None:
    client = desk.client(timeout_s=60)
    desk.clock.time += 60 + 3601
    assert client.twirp("ArtifactService", "ListArtifacts", client.ids).status == 401


def test_attack_14_a_pull_request_cannot_poison_its_base(desk: Any) -> None:
    pull = desk.client(key="pull", github_event_name="pull_request", github_ref="refs/pull/7/merge",
                       github_base_ref="main")  # fmt: skip
    main, branch = desk.client(key="main"), desk.client(key="branch", github_ref="refs/heads/feature")
    target = desk.client(key="target", github_event_name="pull_request_target")
    main.save_cache("deps-main", b"good")
    assert pull.save_cache("deps-1", b"evil").json()["ok"]
    assert branch.save_cache("deps-2", b"evil").json()["ok"]
    assert target.save_cache("deps-3", b"evil").json()["ok"] is False
    assert main.restore_cache("deps-1", "deps-") == b"good"
    assert main.restore_cache("deps-2", "deps-2") is None
    assert pull.restore_cache("deps-9", "deps-main") == b"good", "the base's caches can be read"
    listed = main.send("GET", "/_apis/artifactcache/caches?key=deps").json()["artifactCaches"]
    assert {entry["scope"] for entry in listed} == {"refs/heads/main"}


def test_attack_14_what_a_client_packed_is_never_unpacked_as_ours(desk: Any) -> None:
    from akashic.actions.scopes import cache_scopes
    from akashic.journal.caches import cache_version

    version = cache_version(["deps"])
    desk.client().save_cache("deps", b"evil", version=version)
    scopes = cache_scopes(house.GITHUB, "trusted")
    assert desk.caches.find("deps", ["deps"], version, scopes) is None


def test_attack_15_a_hostile_zip_places_nothing(desk: Any, tmp_path: Path) -> None:
    import os

    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("fine.txt", "x")
        archive.writestr("../../escaped.txt", "evil")
        link = zipfile.ZipInfo("link")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    client = desk.client()
    client.upload_artifact("evil", made.getvalue())
    (artifact,) = desk.artifacts.find_all()
    target = tmp_path / "target"
    target.mkdir()
    descriptor = os.open(target, os.O_RDONLY)
    with pytest.raises(ArchiveRefused):
        desk.artifacts.extract(artifact, descriptor)
    os.close(descriptor)
    assert list(target.iterdir()) == []
    items = client.send("GET", f"/_apis/resources/containers/{artifact.id}?itemPath=evil")
    assert items.status == 409, "nor are such names handed to old clients, which join them to a path"


@pytest.mark.parametrize(
    "raw",
    [
        b"\x00\x01\x02\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
        b"GET / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 200 + b"\r\n",
        b"GET / HTTP/1.1\r\nA: " + b"b" * 40_000 + b"\r\n\r\n",
        b"GET /?" + b"a=b&" * 5000 + b" HTTP/1.1\r\n\r\n",
        b"GET /?a=1&a=2 HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nA : b\r\n\r\n",
        b"GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n",
        b"GET / HTTP/3.0\r\n\r\n",
        b"GET  / HTTP/1.1\r\n\r\n",
        "GET /é HTTP/1.1\r\n\r\n".encode(),
    ],
)
def test_attack_27_no_input_ends_the_server(desk: Any, raw: bytes) -> None:
    client = desk.client()
    answer = _raw(client, raw)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 4"), answer[:80]
    assert client.twirp("ArtifactService", "ListArtifacts", client.ids).status == 200


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=300), st.sampled_from(["GET", "PUT", "POST", "PATCH", "HEAD"]))
def test_attack_27_random_requests_are_answered_or_dropped(desk: Any, noise: bytes, method: str) -> None:
    client = desk.client()
    head = (
        f"{method} /twirp/github.actions.results.api.v1.ArtifactService/ListArtifacts HTTP/1.1\r\n".encode()
    )
    for raw in (noise + b"\r\n\r\n", head + noise + b"\r\n\r\n"):
        answer = _raw(client, raw)
        assert answer == b"" or (answer.startswith(b"HTTP/1.1 ") and b" 500 " not in answer[:14])
    assert client.twirp("ArtifactService", "ListArtifacts", client.ids).status == 200


def test_attack_41_subjects_are_unambiguous() -> None:
    def of(**changes: Any) -> str:
        return subject(house.make_request(**changes))

    assert of() == "repo:octo/app:ref:refs/heads/main"
    assert of(environment="production") == "repo:octo/app:environment:production"
    assert of(github_event_name="pull_request") == "repo:octo/app:pull_request"
    assert of(environment="x:ref:refs/heads/main") == "repo:octo/app:environment:x%3Aref%3Arefs/heads/main"
    assert of(environment="a:b") != of(environment="a%3Ab")
    for repository in ("octo/app:environment:production", "octo", "a/b/c", "", "octo/app\n"):
        with pytest.raises(AkashicError):
            of(github_repository=repository)
    for ref in ("", "refs/heads/x:environment:production"):
        with pytest.raises(AkashicError):
            of(github_ref=ref)


def test_attack_41_a_job_cannot_choose_its_claims(desk: Any) -> None:
    pytest.importorskip("cryptography", reason="ID tokens need the package cryptography")
    job = desk.job(permissions={"id-token": "write"})
    other = desk.job(permissions={"id-token": "write"}, key="other")
    variables = job.script_variables()
    client = house.Client(job)
    token = variables["ACTIONS_ID_TOKEN_REQUEST_TOKEN"]
    address = variables["ACTIONS_ID_TOKEN_REQUEST_URL"]
    answer = client.send("GET", f"{address}&audience=x&sub=repo:evil", token=token)
    claims = json.loads(base64.urlsafe_b64decode(answer.json()["value"].split(".")[1] + "=="))
    expected = {**job_claims(house.make_request()), "aud": "x", "iss": client.origin}
    assert {name: claims[name] for name in expected} == expected
    assert claims["exp"] - claims["iat"] == 300
    default = client.send("GET", address, token=token).json()["value"].split(".")[1]
    assert json.loads(base64.urlsafe_b64decode(default + "=="))["aud"] == "https://github.com/octo"
    assert client.send("GET", address, token=client.token).status == 401, (
        "the other token is for other things"
    )
    assert client.twirp("ArtifactService", "ListArtifacts", client.ids, token=token).status == 401
    theirs = other.script_variables()["ACTIONS_ID_TOKEN_REQUEST_URL"]
    assert client.send("GET", theirs, token=token).status == 403


def test_attack_41_a_key_that_others_can_read_is_not_used(tmp_path: Path) -> None:
    pytest.importorskip("cryptography", reason="ID tokens need the package cryptography")
    from akashic.toolkit.keys import load_or_make

    key = tmp_path / "config" / "key.pem"
    made = load_or_make(key)
    assert key.stat().st_mode & 0o777 == 0o600
    assert load_or_make(key).id == made.id
    key.chmod(0o644)
    with pytest.raises(AkashicError, match="others can read"):
        load_or_make(key)


def _raw(client: Any, request: bytes) -> bytes:
    place = urlsplit(client.origin)
    with socket.create_connection((place.hostname, place.port), timeout=10) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        try:
            while chunk := connection.recv(65536):
                answer += chunk
        except ConnectionResetError:
            pass
        return answer


def _forge(token: str, head: dict[str, str]) -> str:
    first = base64.urlsafe_b64encode(json.dumps(head).encode()).decode().rstrip("=")
    return f"{first}.{token.split('.')[1]}."
