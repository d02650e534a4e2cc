"""Push and pull against a real registry, and against one that misbehaves."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from akashic.containers.auth import Credentials
from akashic.errors import AkashicError
from akashic.images import registry as registry_module
from akashic.images.connections import RegistryUnreachable, is_loopback
from akashic.images.layout import BuildOptions, BuiltImage, build_layout
from akashic.images.naming import referrers
from akashic.images.read import read_config, unpack
from akashic.images.references import parse_reference
from akashic.images.registry import RegistryError, Repository, referrers_tag
from akashic.images.source import find_source
from akashic.images.spec import ImageSpec
from akashic.images.store import ImageError, Layout, digest_of
from akashic.images.transfer import open_repository, pull, push
from akashic.testing.registry import PASSWORD, USER, LoopbackRegistry

NONE: dict[str, str] = {"DOCKER_CONFIG": "/nonexistent"}


@pytest.fixture
def built(make_repository: Callable[..., Path], spec: ImageSpec, tmp_path: Path) -> BuiltImage:
    source = find_source(make_repository())
    return build_layout(
        spec, source, tmp_path / "layout", cache=tmp_path / "cache", options=BuildOptions(tags=("main",))
    )


def test_an_image_is_pushed_with_what_refers_to_it_and_comes_back_the_same(
    built: BuiltImage, registry: LoopbackRegistry, tmp_path: Path
) -> None:
    name = f"{registry.host}/team/hello"
    with open_repository(name, NONE) as repository:
        first = push(Path(built.path), built.digest, repository, ("main", "main-1"))
        again = push(Path(built.path), built.digest, repository, ("main",))
        assert {entry["artifactType"] for entry in repository.referrers(built.digest)} == {
            "application/vnd.cyclonedx+json",
            "application/vnd.in-toto+json",
        }
        assert repository.tags() == ["main", "main-1", referrers_tag(built.digest)]
        pull(repository, parse_reference(f"{name}:main"), tmp_path / "copy")

    assert first.digest == built.digest
    assert first.names == (f"{name}:main", f"{name}:main-1")
    assert first.sent > 0 and again.sent == 0 and again.present == first.sent + first.present
    assert read_config(tmp_path / "copy", built.digest) == built.config
    unpack(tmp_path / "copy", built.digest, tmp_path / "root")
    assert (tmp_path / "root/app/src/hello/__main__.py").is_file()


def test_a_tag_moves_only_after_every_part_is_there(
    built: BuiltImage, registry: LoopbackRegistry, tmp_path: Path
) -> None:
    manifest = Layout(Path(built.path)).read_json(built.digest)
    Layout(Path(built.path)).blob_path(manifest["layers"][0]["digest"]).unlink()
    with open_repository(f"{registry.host}/team/broken", NONE) as repository:
        with pytest.raises(ImageError, match="missing"):
            push(Path(built.path), built.digest, repository, ("main",))
        assert repository.tags() == []


def test_a_registry_that_wants_a_login_gets_the_users_and_says_so_without(
    built: BuiltImage, private_registry: LoopbackRegistry, tmp_path: Path
) -> None:
    name = f"{private_registry.host}/team/hello"
    with (
        open_repository(name, NONE) as repository,
        pytest.raises(RegistryError, match="it wants a login") as caught,
    ):
        push(Path(built.path), built.digest, repository, ("main",))
    assert f"docker login {private_registry.host}" in caught.value.hint

    wrong = Credentials(username=USER, password="wrong")
    with (
        Repository(private_registry.host, "team/hello", credential=wrong) as repository,
        pytest.raises(RegistryError, match="the login was refused"),
    ):
        repository.tags()

    with open_repository(name, private_registry.docker_config(tmp_path / "docker")) as repository:
        push(Path(built.path), built.digest, repository, ("main",))
        assert "main" in repository.tags()
        with pytest.raises(RegistryError, match="does not let anybody remove"):
            repository.delete_manifest(built.digest)
    assert PASSWORD not in repr(wrong) and "wrong" not in repr(wrong)


def test_what_is_not_there_is_said(registry: LoopbackRegistry, tmp_path: Path) -> None:
    with open_repository(f"{registry.host}/team/none", NONE) as repository:
        assert repository.manifest("main") is None
        assert repository.tags() == []
        assert repository.referrers(digest_of(b"x")) == []
        with pytest.raises(ImageError, match="no such image"):
            pull(repository, parse_reference("team/none:main"), tmp_path / "copy")
    with Repository("127.0.0.1:1", "a") as repository, pytest.raises(RegistryUnreachable, match="answer"):
        repository.tags()


def test_only_loopback_is_spoken_to_without_tls(tmp_path: Path) -> None:
    assert is_loopback("127.0.0.1:5000") and is_loopback("localhost") and is_loopback("[::1]:80")
    assert not is_loopback("127.0.0.1.example.com") and not is_loopback("10.0.0.1:5000")


# A registry that lies


@contextmanager
def answering(
    reply: Callable[[http.server.BaseHTTPRequestHandler], None],
) -> Iterator[tuple[str, list[dict[str, str]]]]:
    seen: list[dict[str, str]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append({"path": self.path, **{k.lower(): v for k, v in self.headers.items()}})
            reply(self)

        do_HEAD = do_POST = do_PUT = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_port}", seen
    finally:
        server.shutdown()
        server.server_close()


def send(handler: http.server.BaseHTTPRequestHandler, status: int, body: bytes, **headers: str) -> None:
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    if handler.command != "HEAD":
        handler.wfile.write(body)


def test_attack_19_other_bytes_than_those_of_the_digest_are_not_taken() -> None:
    wanted = digest_of(b"{}")
    with (
        answering(lambda handler: send(handler, 200, b'{"other": 1}')) as (host, _),
        Repository(host, "a") as repository,
    ):
        with pytest.raises(ImageError, match="another manifest"):
            repository.manifest(wanted)
        with pytest.raises(ImageError, match="other bytes"):
            repository.read_blob(wanted)


def test_a_storage_server_that_a_blob_lies_on_does_not_learn_the_login() -> None:
    content = b"layer"
    with answering(lambda handler: send(handler, 200, content)) as (storage, seen_there):

        def reply(handler: http.server.BaseHTTPRequestHandler) -> None:
            if "authorization" not in {name.lower() for name in handler.headers}:
                send(handler, 401, b"", WWW_Authenticate='Basic realm="r"')
            else:
                send(handler, 307, b"", Location=f"http://{storage}/signed?x=1")

        credential = Credentials(username="u", password="p")
        with answering(reply) as (host, _), Repository(host, "a", credential=credential) as repository:
            assert repository.read_blob(digest_of(content)) == content
    assert seen_there and all("authorization" not in request for request in seen_there)


def test_a_token_is_asked_for_where_the_registry_says_and_used() -> None:
    def reply(handler: http.server.BaseHTTPRequestHandler) -> None:
        if handler.path.startswith("/token"):
            send(handler, 200, b'{"token": "t0k"}')
        elif handler.headers.get("Authorization") == "Bearer t0k":
            send(handler, 200, json.dumps({"tags": ["b", "a"]}).encode())
        else:
            place = (
                f'Bearer realm="http://{handler.headers["Host"]}/token",service="s",scope="repository:a:pull"'
            )
            send(handler, 401, b"", WWW_Authenticate=place)

    credential = Credentials(username="u", password="p")
    with answering(reply) as (host, seen), Repository(host, "a", credential=credential) as repository:
        assert repository.tags() == ["a", "b"]
    asked = next(request for request in seen if request["path"].startswith("/token"))
    assert asked["path"] == "/token?service=s&scope=repository%3Aa%3Apull"
    assert asked["authorization"].startswith("Basic ")


def test_what_a_registry_says_is_one_printable_line() -> None:
    body = json.dumps({"errors": [{"code": "DENIED", "message": "no\x1b[31m\nway"}]}).encode()
    with (
        answering(lambda handler: send(handler, 500, body)) as (host, _),
        Repository(host, "a") as repository,
        pytest.raises(AkashicError) as caught,
    ):
        repository.tags()
    assert caught.value.message.endswith("(DENIED: no [31m way)")


def test_referrers_of_an_image_stay_with_it(built: BuiltImage) -> None:
    assert len(referrers(Path(built.path), built.digest)) == 2


def test_a_busy_registry_is_asked_again_and_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry_module, "RETRY_PAUSE_S", 0.0)
    answers = iter([503, 429, 200])

    def reply(handler: http.server.BaseHTTPRequestHandler) -> None:
        if handler.path == "/v2/":
            send(handler, 200, b"")
        else:
            send(handler, next(answers, 503), b'{"tags": ["a"]}', Retry_After="0")

    with answering(reply) as (host, seen), Repository(host, "a") as repository:
        assert repository.tags() == ["a"]
        asked = len(seen)
        with pytest.raises(RegistryError, match="503"):
            repository.tags()
        assert len(seen) - asked == 1 + registry_module.RETRIES


def test_a_place_to_upload_to_elsewhere_does_not_learn_the_login() -> None:
    with answering(lambda handler: send(handler, 201, b"")) as (storage, there):

        def reply(handler: http.server.BaseHTTPRequestHandler) -> None:
            if handler.command == "HEAD":
                send(handler, 404, b"")
            elif "Authorization" not in handler.headers:
                send(handler, 401, b"", WWW_Authenticate='Basic realm="r"')
            else:
                send(handler, 202, b"", Location=f"http://{storage}/put?state=1")

        credential = Credentials(username="u", password="p")
        with answering(reply) as (host, _), Repository(host, "a", credential=credential) as repository:
            assert repository.put_blob(digest_of(b"x"), b"x")
    assert [request["path"].partition("&")[0] for request in there] == ["/put?state=1"]
    assert "authorization" not in there[0]
