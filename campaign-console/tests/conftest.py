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
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit, urlunsplit

import psycopg
import pytest
import redis

from campaign_console import migrations, passwords, resources, seeding, server, settings

PASSWORD = seeding.DEMONSTRATION_PASSWORD
EDITOR = "avery@example.com"
VIEWER = "sam@example.com"
CACHE_DATABASES = 16
CACHE_CLAIM_S = 900
# In the order of their references.
TABLES = ("accounts", "campaigns", "assets", "activity")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def _url_or_skip(name: str) -> str:
    url = os.environ.get(name)
    if not url:
        pytest.skip(f"{name} is not set; compose.yaml and compose.test.yaml start what it may point to")
    return url


@contextmanager
def _database(purpose: str) -> Iterator[str]:
    """A new, empty database on the server of DATABASE_URL. A dead server fails the test."""
    base = _url_or_skip("DATABASE_URL")
    name = f"{purpose}_{secrets.token_hex(6)}"
    with psycopg.connect(base, autocommit=True, connect_timeout=5) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
        try:
            yield urlunsplit(urlsplit(base)._replace(path=f"/{name}"))
        finally:
            connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)".encode())


@pytest.fixture
def database_url() -> Iterator[str]:
    """An empty database of its own, for what changes the schema."""
    with _database("empty") as url:
        yield url


@pytest.fixture
def migrated_url(database_url: str) -> str:
    migrations.apply(database_url, resources.folder("migrations"))
    return database_url


@dataclass(slots=True)
class _Seeded:
    """A migrated and seeded database, and how it becomes what it was again."""

    url: str
    connection: psycopg.Connection[Any]
    _changed: bool = False

    def keep(self) -> None:
        """Remember all rows as they are now."""
        found = self.connection.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'schema_migrations'"
        ).fetchall()
        assert {row[0] for row in found} == set(TABLES), "a migration added a table: name it in TABLES"
        self._run(
            "CREATE SCHEMA kept", *(f"CREATE UNLOGGED TABLE kept.{t} AS TABLE public.{t}" for t in TABLES)
        )

    def restore(self) -> None:
        """The rows that were kept, and numbers that go on where they did. Faster than a new database."""
        if self._changed:
            self._run(
                f"TRUNCATE {', '.join(TABLES)}",
                *(f"INSERT INTO {t} OVERRIDING SYSTEM VALUE TABLE kept.{t}" for t in TABLES),
                *(
                    f"SELECT setval(pg_get_serial_sequence('{t}', 'id'), coalesce(max(id), 1), count(*) > 0)"
                    f" FROM {t}"
                    for t in TABLES
                ),
            )
        self._changed = True

    def _run(self, *statements: str) -> None:
        self.connection.execute("; ".join(statements).encode())


@pytest.fixture(scope="session")
def _seeded() -> Iterator[_Seeded]:
    with _database("seeded") as url:
        migrations.apply(url, resources.folder("migrations"))
        # A hash carries its cost, so cheap ones are verified by the same code; tests/unit has the real cost.
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(passwords, "_N", 2**4)
            seeding.seed(url, resources.folder("seed"), password=PASSWORD)
        with psycopg.connect(url, autocommit=True, connect_timeout=5) as connection:
            seeded = _Seeded(url, connection)
            seeded.keep()
            yield seeded


@pytest.fixture
def seeded_url(_seeded: _Seeded) -> str:
    """A migrated and seeded database, as if no test had touched it."""
    _seeded.restore()
    return _seeded.url


@pytest.fixture(scope="session")
def _cache() -> Iterator[redis.Redis]:
    """A Redis database of our own (1–15); another run's is never taken."""
    base = _url_or_skip("REDIS_URL")
    with redis.Redis.from_url(base, protocol=2) as home:
        number = _claim(home)
        try:
            with redis.Redis.from_url(
                urlunsplit(urlsplit(base)._replace(path=f"/{number}")), protocol=2
            ) as client:
                yield client
                client.flushdb()
        finally:
            home.delete(f"test-claim:{number}")


def _claim(home: redis.Redis) -> int:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        for number in range(1, CACHE_DATABASES):
            if home.set(f"test-claim:{number}", "taken", nx=True, ex=CACHE_CLAIM_S):
                return number
        time.sleep(0.1)
    pytest.fail("all fifteen Redis databases are in use by other tests")


def _url_of(cache: redis.Redis) -> str:
    number = cache.connection_pool.connection_kwargs["db"]
    return urlunsplit(urlsplit(_url_or_skip("REDIS_URL"))._replace(path=f"/{number}"))


@pytest.fixture
def cache_url(_cache: redis.Redis) -> str:
    """An empty Redis database."""
    _cache.flushdb()
    return _url_of(_cache)


def _environ(database_url: str, cache_url: str, folder: Path) -> dict[str, str]:
    return {
        "DATABASE_URL": database_url,
        "REDIS_URL": cache_url,
        "SESSION_SECRET": secrets.token_hex(32),
        "STORAGE_URL": f"file://{folder}/assets",
        "APP_ENVIRONMENT": "test",
        "APP_VERSION": "9.9.9",
        "APP_COMMIT": "0123abc",
        "PORT": str(free_port()),
    }


@pytest.fixture
def environ(seeded_url: str, cache_url: str, tmp_path: Path) -> dict[str, str]:
    """The environment of a whole service against real backing services."""
    return _environ(seeded_url, cache_url, tmp_path)


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


@pytest.fixture(scope="session")
def _running(
    _seeded: _Seeded, _cache: redis.Redis, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    with Service(_environ(_seeded.url, _url_of(_cache), tmp_path_factory.mktemp("service"))) as running:
        yield running


@pytest.fixture
def service(_running: Service, seeded_url: str, cache_url: str) -> Service:
    """The whole service, its database and its cache as if it had just started.

    What it counts in memory goes on from test to test: a test of that starts a Service of its own.
    """
    return _running


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
