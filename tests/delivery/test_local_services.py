"""Backing services of a local environment: real servers whose data is kept."""

from __future__ import annotations

import subprocess

import pytest

from akashic.executors.providers.protocol import ServicePlan
from akashic.executors.providers.registry import PROVIDERS

POSTGRES = PROVIDERS[0]
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


def asked(address: str, sql: str) -> str:
    """What the database at an address answers."""
    plan = ServicePlan(name="db", image="postgres:16", data_dir="/nowhere", port=1)
    argv = (f"{POSTGRES.command(plan).tools_dir}/psql", "-Atqc", sql, address)
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()


@pytest.mark.skipif(bool(POSTGRES.unavailable()), reason=POSTGRES.unavailable())
def test_services_are_started_once_and_their_data_is_kept(world, fetch):
    world.configure(TEXT)
    found = world.deploy(world.release("1.0"))
    assert found.status == "promoted", found.reason
    address = fetch(world.url() + "/env/DATABASE_URL")
    assert fetch(world.url() + "/env/DB") == "console"
    assert fetch(world.url() + "/env/REDIS_URL").startswith("redis://")
    asked(address, "create table kept (id int); insert into kept values (7)")
    assert world.deploy(world.release("2.0")).status == "promoted"
    world.deployments.stop("staging")
    assert world.deploy(world.release("3.0")).status == "promoted"
    assert asked(fetch(world.url() + "/env/DATABASE_URL"), "select id from kept") == "7"
