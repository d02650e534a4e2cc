"""What all tests share. Tests that need PostgreSQL and Redis take `database_url` and `cache_url`."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit, urlunsplit

import psycopg
import pytest
import redis

from campaign_console import migrations, resources, seeding, server, settings

PASSWORD = seeding.DEMONSTRATION_PASSWORD
EDITOR = "avery@example.com"
VIEWER = "sam@example.com"
CACHE_PREFIX_DATABASES = 16


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def _url_or_skip(name: str) -> str:
    url = os.environ.get(name)
    if not url:
        pytest.skip(f"{name} is not set; compose.yaml and compose.test.yaml start what it may point to")
    return url


@pytest.fixture
def database_url() -> Iterator[str]:
    """An empty database of its own on the server of DATABASE_URL. A dead server fails the test."""
    base = _url_or_skip("DATABASE_URL")
    name = f"test_{secrets.token_hex(6)}"
    with psycopg.connect(base, autocommit=True, connect_timeout=5) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    try:
        yield urlunsplit(urlsplit(base)._replace(path=f"/{name}"))
    finally:
        with psycopg.connect(base, autocommit=True, connect_timeout=5) as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)".encode())


@pytest.fixture
def migrated_url(database_url: str) -> str:
    migrations.apply(database_url, resources.folder("migrations"))
    return database_url


@pytest.fixture(scope="session")
def _seeded_template() -> Iterator[tuple[str, str]]:
    """A migrated and seeded database that tests copy: hashing the passwords once is enough."""
    base = _url_or_skip("DATABASE_URL")
    name = f"template_{secrets.token_hex(6)}"
    with psycopg.connect(base, autocommit=True, connect_timeout=5) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    url = urlunsplit(urlsplit(base)._replace(path=f"/{name}"))
    migrations.apply(url, resources.folder("migrations"))
    seeding.seed(url, resources.folder("seed"), password=PASSWORD)
    yield base, name
    with psycopg.connect(base, autocommit=True, connect_timeout=5) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)".encode())


@pytest.fixture
def seeded_url(_seeded_template: tuple[str, str]) -> Iterator[str]:
    """A migrated and seeded database of its own."""
    base, template = _seeded_template
    name = f"test_{secrets.token_hex(6)}"
    with psycopg.connect(base, autocommit=True, connect_timeout=5) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}".encode())
        try:
            yield urlunsplit(urlsplit(base)._replace(path=f"/{name}"))
        finally:
            connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)".encode())


@pytest.fixture
def cache_url() -> Iterator[str]:
    """A Redis database of its own (1–15), emptied before and after; another run's is never taken."""
    base = _url_or_skip("REDIS_URL")
    owner = secrets.token_hex(8)
    home = redis.Redis.from_url(base, protocol=2)
    try:
        number = _claim(home, owner)
        url = urlunsplit(urlsplit(base)._replace(path=f"/{number}"))
        client = redis.Redis.from_url(url, protocol=2)
        client.flushdb()
        try:
            yield url
        finally:
            client.flushdb()
            client.close()
            home.delete(f"test-claim:{number}")
    finally:
        home.close()


def _claim(home: redis.Redis, owner: str) -> int:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        for number in range(1, CACHE_PREFIX_DATABASES):
            if home.set(f"test-claim:{number}", owner, nx=True, ex=300):
                return number
        time.sleep(0.1)
    pytest.fail("all fifteen Redis databases are in use by other tests")


@pytest.fixture
def environ(seeded_url: str, cache_url: str, tmp_path: Path) -> dict[str, str]:
    """The environment of a whole service against real backing services."""
    return {
        "DATABASE_URL": seeded_url,
        "REDIS_URL": cache_url,
        "SESSION_SECRET": secrets.token_hex(32),
        "STORAGE_URL": f"file://{tmp_path}/assets",
        "APP_ENVIRONMENT": "test",
        "APP_VERSION": "9.9.9",
        "APP_COMMIT": "0123abc",
        "PORT": str(free_port()),
    }


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@dataclass(frozen=True, slots=True)
class Answer:
    """What the service answered."""

    status: int
    headers: dict[str, str]
    body: bytes
    cookies: list[str]

    @property
    def text(self) -> str:
        return self.body.decode()

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(slots=True)
class Client:
    """A browser without a screen: keeps cookies, follows nothing by itself."""

    base_url: str
    cookies: dict[str, str] = field(default_factory=dict)
    csrf_token: str = ""

    def request(
        self, method: str, path: str, *, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> Answer:
        parts = urlsplit(self.base_url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        connection = kind(parts.hostname or "", parts.port, timeout=15)
        sent = {"Cookie": "; ".join(f"{k}={v}" for k, v in self.cookies.items())} if self.cookies else {}
        try:
            connection.request(method, path, body=body, headers=sent | (headers or {}))
            answer = connection.getresponse()
            data = answer.read()
            lines = answer.headers.get_all("set-cookie") or []
        finally:
            connection.close()
        for line in lines:
            for name, morsel in SimpleCookie(line).items():
                if morsel["max-age"] == "0":
                    self.cookies.pop(name, None)
                else:
                    self.cookies[name] = morsel.value
        return Answer(
            answer.status, {k.lower(): v for k, v in answer.headers.items()}, data, [str(x) for x in lines]
        )

    def get(self, path: str) -> Answer:
        return self.request("GET", path)

    def form(self, path: str, fields: dict[str, str], headers: dict[str, str] | None = None) -> Answer:
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        return self.request("POST", path, body=urlencode(fields).encode(), headers=kind | (headers or {}))

    def send(
        self, method: str, path: str, value: Any = None, headers: dict[str, str] | None = None
    ) -> Answer:
        sent = {"Content-Type": "application/json", "X-CSRF-Token": self.csrf_token} | (headers or {})
        return self.request(method, path, body=json.dumps(value).encode(), headers=sent)

    def sign_in(self, email: str = EDITOR, password: str = PASSWORD) -> Answer:
        answer = self.send("POST", "/api/auth/session", {"email": email, "password": password})
        if answer.status == 201:
            self.csrf_token = answer.json()["session"]["csrf_token"]
        return answer


class Service:
    """The whole service on a port of its own, in a thread, so that coverage sees it."""

    def __init__(self, environ: dict[str, str]) -> None:
        self.settings = settings.load(environ)
        self.base_url = f"http://127.0.0.1:{self.settings.port}"
        self._server = server.build(self.settings)
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        # Signals belong to the main thread, so the part of `run` that takes them is left out.
        asyncio.run(self._server._serve())

    def __enter__(self) -> Service:
        self._thread.start()
        deadline = time.monotonic() + 20
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > deadline:
                pytest.fail("the service did not start")
            time.sleep(0.01)
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.should_exit = True
        self._thread.join(timeout=20)
        assert not self._thread.is_alive(), "the service did not stop"


@pytest.fixture
def service(environ: dict[str, str]) -> Iterator[Service]:
    with Service(environ) as running:
        yield running


@pytest.fixture
def client(service: Service) -> Client:
    return Client(service.base_url)


@pytest.fixture
def editor(client: Client) -> Client:
    assert client.sign_in().status == 201
    return client


@pytest.fixture
def viewer(service: Service) -> Client:
    found = Client(service.base_url)
    assert found.sign_in(VIEWER).status == 201
    return found
