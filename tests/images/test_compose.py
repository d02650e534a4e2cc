from __future__ import annotations

import pytest

from akashic.errors import UsageError
from akashic.images.compose import parse_compose

TEXT = """
x-app: &app
  image: ${IMAGE:-shop:latest}
  environment: {DATABASE_URL: "postgres://db/${NAME}", EMPTY: , DEBUG: true, PRICE: $$5}
services:
  app:
    <<: *app
    ports: ["3000:3000"]
    depends_on:
      migrate: {condition: service_completed_successfully}
      db: {condition: service_healthy}
  migrate:
    <<: *app
    command: shop migrate "two words"
    depends_on: [db]
  db:
    image: postgres:15
    tmpfs: /data
    healthcheck: {test: pg_isready -U a, interval: 1m30s, timeout: 500ms, retries: 3}
"""


def test_services_come_in_the_order_in_which_they_can_be_started() -> None:
    db, migrate, app = parse_compose(TEXT, "compose.yaml", {"IMAGE": "sha256:1", "NAME": "shop"})
    assert (db.name, migrate.name, app.name) == ("db", "migrate", "app")
    assert app.image == migrate.image == "sha256:1"
    assert app.env == {"DATABASE_URL": "postgres://db/shop", "DEBUG": "true", "PRICE": "$5"}
    assert app.needs == {"migrate": "service_completed_successfully", "db": "service_healthy"}
    assert migrate.command == ("shop", "migrate", "two words") and app.command is None
    assert db.tmpfs == ("/data",)
    assert db.health == {
        "Test": ["CMD-SHELL", "pg_isready -U a"],
        "Interval": 90_000_000_000,
        "Timeout": 500_000_000,
        "Retries": 3,
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "not valid YAML"),
        ("services: {}", "there are no services"),
        ("services: {a: {build: .}}", "services/a: a trial cannot do build"),
        ("services: {a: {image: i, volumes: ['./x:/x']}}", "mounts no folder of this machine: ./x:/x"),
        ("services: {a: {image: i, privileged: true}}", "a trial cannot do privileged"),
        ("services: {a: {image: i, depends_on: [b]}}", "there is no service 'b'"),
        ("services: {a: {image: i, depends_on: [b]}, b: {image: i, depends_on: [a]}}", "wait for each other"),
        ("services: {a: {image: '${X:?set it}'}}", "X is not set: set it"),
        ("services: {a: {image: i, healthcheck: {interval: soon}}}", "'soon' is not a duration"),
        ("services: {a: {}}", "expected an image"),
    ],
)
def test_what_cannot_be_done_is_named(text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_compose(text, "compose.yaml", {})
    assert message in caught.value.message
