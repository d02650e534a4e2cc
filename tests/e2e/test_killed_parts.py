"""`kill -9` of what is deployed: it comes back by itself, and what can go on serving does."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from akashic.delivery.local.processes import marked
from tests.e2e.small_shop import SmallShop
from tests.waiting import eventually


@pytest.fixture
def shop(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[SmallShop]:
    made = SmallShop(tmp_path, services=getattr(request, "param", False), production=False)
    made.release()
    result = made("up")
    assert result.returncode == 0, result.stdout + result.stderr
    yield made
    made.close()


def owned(shop: SmallShop) -> dict[str, Any]:
    """What the supervisor has noted of staging."""
    noted = json.loads(shop.client.paths.state_file.read_bytes())
    return dict(noted["environments"]["staging"])


def database_pid(shop: SmallShop) -> int:
    return int(owned(shop)["services"]["postgres"]["process"]["pid"])


def in_order(shop: SmallShop) -> bool:
    return shop.json("status", "staging")[0]["target"]["problems"] == [] and bool(shop.answer("staging"))


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


@pytest.mark.slow
def test_a_killed_instance_and_a_killed_proxy_are_started_again(shop: SmallShop) -> None:
    instance = int(shop.answer("staging", "/pid"))
    kill(instance)
    assert eventually(lambda: int(shop.answer("staging", "/pid")) != instance)
    details = shop("status", "staging").stdout
    assert "restarted 1 times" in details and "SIGKILL" in details

    proxy = owned(shop)["proxy"]["pid"]
    kill(proxy)
    assert eventually(lambda: owned(shop)["proxy"]["pid"] != proxy and in_order(shop))


@pytest.mark.slow
@pytest.mark.skipif(
    os.geteuid() == 0 and os.environ.get("AKASHIC") == "true",
    reason="root of a job has no other user to run PostgreSQL as",
)
@pytest.mark.parametrize("shop", [True], indirect=True, ids=["with PostgreSQL"])
def test_a_killed_database_is_started_again(shop: SmallShop) -> None:
    database = database_pid(shop)
    kill(database)
    assert eventually(lambda: database_pid(shop) != database and in_order(shop))


@pytest.mark.slow
def test_a_killed_supervisor_is_back_with_the_next_command_and_supervises(shop: SmallShop) -> None:
    instance = shop.answer("staging", "/pid")
    supervisor = shop.supervisor_pid()
    assert supervisor is not None
    kill(supervisor)
    assert shop.answer("staging", "/pid") == instance
    assert shop("status").returncode == 0
    assert shop.supervisor_pid() not in (None, supervisor)
    assert shop.answer("staging", "/pid") == instance
    kill(int(instance))
    assert eventually(lambda: shop.answer("staging", "/pid") != instance)


@pytest.mark.slow
def test_nothing_starts_again_by_itself_after_down(shop: SmallShop) -> None:
    assert shop("down").returncode == 0
    assert "stopped" in shop("status").stdout
    assert shop.supervisor_pid() is None
    assert shop("down").stdout == "nothing runs\n"


@pytest.mark.slow
def test_nothing_runs_on_when_the_checkout_is_removed(shop: SmallShop) -> None:
    assert marked(f"{shop.state_dir}/")
    shutil.rmtree(shop.path)
    assert eventually(lambda: not marked(f"{shop.state_dir}/"))
    assert eventually(lambda: not shop.client.paths.reachable.exists())
